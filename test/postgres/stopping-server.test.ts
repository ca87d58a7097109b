// What pg says while a server of our own is full, stops, crashes and starts: what it tells those who connect, and those who are connected.

import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { startPostgres, type LocalPostgres } from '../../cli/local/embedded-postgres.ts'
import { DatabaseError } from '../../shared/db/database.ts'
import { failureOf } from '../../shared/db/pg-failure.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'
import { freePort, limits, openDatabase, pgClient, rejection, statement } from '../support/provoke.ts'

let baseDir: string
let server: LocalPostgres

beforeAll(async () => {
  baseDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-test-stopping-'))
  // as root the server runs under another account, which must be able to enter
  await fs.chmod(baseDir, 0o755)
  await (await startPostgres({ baseDir })).stop()
})
afterAll(() => fs.rm(baseDir, { recursive: true, force: true }))

async function start(port?: number): Promise<LocalPostgres> {
  server = await startPostgres({ baseDir, ...(port === undefined ? {} : { port }) })
  const { stop } = server
  onTestFinished(stop)
  return server
}

async function connected(): Promise<Client> {
  const client = pgClient({ connectionString: server.url })
  await client.connect()
  return client
}
const pidOf = async (client: Client) => (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid ?? 0

/** What somebody who connects now is told, over the adapter. */
const connecting = (url = server.url) => rejection(openDatabase('public', { url }).query(statement('select 1'), limits))

/** Starts a statement that lasts, and waits until it runs. Answers what the client is told of it, and the notices that came before. */
async function running(client: Client) {
  const notices: (string | undefined)[] = []
  client.on('notice', ({ code }) => void notices.push(code))
  const pid = await pidOf(client)
  const failed = rejection(client.query('select pg_sleep(20)'))
  const watcher = await connected()
  const text = `select from pg_stat_activity where pid = $1 and query like '%pg_sleep%' and wait_event = 'PgSleep'`
  await vi.waitUntil(async () => (await watcher.query(text, [pid])).rowCount === 1, { timeout: 10_000, interval: 20 })
  await watcher.end()
  return async () => ({ ...seen(failureOf('select', await failed, 'unknown')), notices })
}

function seen(error: unknown) {
  if (!(error instanceof DatabaseError)) throw error
  const { cause, sqlState, severity, applied } = error
  return { says: cause instanceof Error ? cause.message : error.message, sqlState, severity, applied, class: classifyFailure(error).class }
}

/** A server that is asked to stop in the middle of its recovery finishes that first, and is long about it. */
async function untilItIsBack(): Promise<void> {
  const connects = () =>
    pgClient({ connectionString: server.url })
      .connect()
      .then(
        () => true,
        () => false,
      )
  await vi.waitUntil(connects, { timeout: 20_000, interval: 20 })
}

/** Asks again until the answer is of this kind. */
async function untilTold(sqlState: string, url?: string): Promise<unknown> {
  let last: unknown
  await vi.waitUntil(
    async () => {
      last = await connecting(url)
      return (last as DatabaseError).sqlState === sqlState
    },
    { timeout: 20_000, interval: 20 },
  )
  return last
}

describe('a server of our own', () => {
  it('that has no connection left says 53300', async () => {
    await start()
    const clients: Client[] = []
    let error: unknown
    while (error === undefined && clients.length < 200) {
      const client = pgClient({ connectionString: server.url })
      error = await client.connect().then(
        () => void clients.push(client),
        () => connecting(),
      )
    }
    expect(seen(error)).toEqual({
      says: 'sorry, too many clients already',
      sqlState: '53300',
      severity: 'FATAL',
      applied: 'not-sent',
      class: 'saturated',
    })
  })

  it('that is asked to stop says 57P03 to who connects, and 57P01 to who is connected once it ends sessions', async () => {
    await start()
    const client = await connected()
    const told = await running(client)
    process.kill(server.pid, 'SIGTERM')
    expect(seen(await untilTold('57P03'))).toEqual({
      says: 'the database system is shutting down',
      sqlState: '57P03',
      severity: 'FATAL',
      applied: 'not-sent',
      class: 'unavailable',
    })
    process.kill(server.pid, 'SIGINT')
    expect(await told()).toEqual({
      says: 'terminating connection due to administrator command',
      sqlState: '57P01',
      severity: 'FATAL',
      applied: 'unknown',
      class: 'unavailable',
      notices: [],
    })
  })

  it('that is stopped at once says so in a notice, and the statement ends without any code', async () => {
    await start()
    const told = await running(await connected())
    process.kill(server.pid, 'SIGQUIT')
    expect(await told()).toEqual({
      says: 'Connection terminated unexpectedly',
      sqlState: undefined,
      severity: undefined,
      applied: 'unknown',
      class: 'connection',
      notices: ['57P01'],
    })
  })

  it("that loses a backend says 57P02 to the others in a notice; the lost one's own statement ends without any code", async () => {
    await start()
    const [one, other] = [await connected(), await connected()]
    const pid = await pidOf(one)
    const [toldOne, toldOther] = [await running(one), await running(other)]
    process.kill(pid, 'SIGKILL')
    const ended = { says: 'Connection terminated unexpectedly', sqlState: undefined, severity: undefined, applied: 'unknown' }
    expect(await toldOne()).toEqual({ ...ended, class: 'connection', notices: [] })
    expect(await toldOther()).toEqual({ ...ended, class: 'connection', notices: ['57P02'] })
    await untilItIsBack()
  })

  it('that loses a backend tells an idle client by an error event', async () => {
    await start()
    const [idle, other] = [await connected(), await connected()]
    const event = once(idle, 'error')
    process.kill(await pidOf(other), 'SIGKILL')
    expect(((await event)[0] as Error).message).toBe('Connection terminated unexpectedly')
    await untilItIsBack()
  })

  it('that is starting says 57P03', async () => {
    // it starts for as long as it waits for an archived file
    const held = path.join(baseDir, 'held')
    await fs.writeFile(held, '')
    const data = path.join(baseDir, 'data')
    const { uid, gid } = await fs.stat(data)
    await fs.appendFile(
      path.join(data, 'postgresql.auto.conf'),
      `\nrestore_command = 'while [ -e "${held}" ]; do sleep 0.05; done; false'\n`,
    )
    await fs.writeFile(path.join(data, 'recovery.signal'), '')
    await fs.chown(path.join(data, 'recovery.signal'), uid, gid)
    const port = await freePort()
    const started = start(port)
    const password = await fs.readFile(path.join(data, 'tokay-password'), 'utf8')
    const error = await untilTold('57P03', `postgres://tokay:${password.trim()}@127.0.0.1:${port}/postgres`)
    await fs.rm(held)
    expect(seen(error)).toEqual({
      says: 'the database system is starting up',
      sqlState: '57P03',
      severity: 'FATAL',
      applied: 'not-sent',
      class: 'unavailable',
    })
    await started
  })
})
