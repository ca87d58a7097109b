// What it takes to make pg fail on purpose: clients over the adapter and without it, through a proxy, to fake servers and to wrong addresses.
// Everything that a test opens here ends with that test.

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { Client, Pool, type ClientConfig } from 'pg'
import { onTestFinished, vi } from 'vitest'
import { startFaultProxy, type FaultMode, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import type { AttemptLimits, Statement } from '../../shared/db/database.ts'
import { createPgDatabase, type PgDatabaseOptions } from '../../shared/db/pg-database.ts'
import { databaseUrl, type TestSchema } from './postgres.ts'
import { pgOptions } from './pg-options.ts'

export const limits: AttemptLimits = { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500 }
export const statement = (text: string, values: Statement['values'] = []): Statement => ({ name: 'statement', text, values })

/** What is thrown, or a failure of the test. */
export const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error: unknown) => error,
  )

/** The adapter, with the schema of a test, to the run's database unless told otherwise. */
export function openDatabase(schema: string, options: Partial<PgDatabaseOptions> = {}) {
  const database = createPgDatabase({
    url: databaseUrl(),
    schema,
    ...pgOptions,
    poolMax: 1,
    ...options,
  })
  onTestFinished(() => database.end())
  return database
}

/** pg's own client, not connected; with a listener as the adapter has one: without it an 'error' event ends the process. */
export function pgClient(config: ClientConfig): Client {
  const client = new Client(config)
  client.on('error', () => {})
  onTestFinished(() => client.end())
  return client
}

export function pgPool(config: ConstructorParameters<typeof Pool>[0]): Pool {
  const pool = new Pool(config)
  pool.on('error', () => {})
  onTestFinished(async () => (pool.ended ? undefined : pool.end()))
  return pool
}

/** The run's database under another address, user or name. */
export function urlWith(change: (url: URL) => void): string {
  const url = new URL(databaseUrl())
  change(url)
  return url.href
}

export async function startProxy(): Promise<FaultProxy> {
  const { hostname, port } = new URL(databaseUrl())
  return startFaultProxy({ target: { host: hostname, port: Number(port || 5432) } })
}

/** What `provoke` gives while the proxy does that to connections. */
export async function inMode(proxy: FaultProxy, mode: FaultMode, provoke: () => Promise<unknown>): Promise<unknown> {
  onTestFinished(() => proxy.mode({ kind: 'pass' }))
  await proxy.mode(mode)
  return provoke()
}

/** Waits until a statement with these words in it runs. */
export async function untilRunning(schema: TestSchema, words: string): Promise<void> {
  const text = `select 1 from pg_stat_activity where pid <> pg_backend_pid() and state = 'active' and query like $1`
  await vi.waitUntil(async () => (await schema.sql(text, [`%${words}%`])).length > 0, { timeout: 10_000, interval: 20 })
}

/** A server on the loopback of which each connection is handled by `serve`; answers a URL for it. */
export async function fakeServer(serve: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    serve(socket)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return `postgres://tokay:secret@127.0.0.1:${(server.address() as AddressInfo).port}/postgres`
}

/** Says yes to TLS and shows a certificate. */
export const tlsServer = (certificate: { key: string; cert: string }): Promise<string> =>
  fakeServer((socket) =>
    socket.once('data', () => {
      socket.write('S')
      new TLSSocket(socket, { isServer: true, ...certificate }).on('error', () => {})
    }),
  )

/** One message of the server's side of the protocol. */
export function protocolMessage(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

/** Nobody listens there, and nobody did a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A socket that takes any name for these addresses, and tries one after the other. */
export function socketTo(...addresses: readonly string[]): Socket {
  const socket = new net.Socket()
  const lookup = (_host: string, _options: object, done: (error: null, found: object[]) => void) =>
    done(
      null,
      addresses.map((address) => ({ address, family: 4 })),
    )
  const connect = net.Socket.prototype.connect as (options: object) => Socket
  return Object.assign(socket, {
    connect: (port: number, host: string) => connect.call(socket, { port, host, lookup, autoSelectFamily: true }),
  })
}
