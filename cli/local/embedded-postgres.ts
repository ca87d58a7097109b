// A real Postgres for one machine: start or adopt it, survive kill -9 of either side, never run as root, never listen beyond the loopback.
//
//   absent --initdb under another name, rename--> stopped --spawn--> starting --answers with our data folder--> ready
//   ready  --kill -9 of node--> orphan --next start: adopts it--> ready
//   ready  --kill -9 of postgres--> stale lock file --next start: spawn, again while children are dying--> ready
//   ready  --stop of the last user (postgres-users)--> stopped
//
// `<base>/data` is the cluster with its password, `<base>/users` who uses it, `<base>/postgres.log` what it says.

import { spawn, execFile, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { ConfigError } from '../../shared/errors.ts'
import { silentLog, type Log } from '../../shared/log.ts'
import { childEnvironment, lendAccount, openBaseDir, type Account } from './postgres-account.ts'
import { initialise, nativeFolder, prepareBinaries, readPassword, removeLeftovers, type Binaries } from './postgres-binaries.ts'
import { dropForeignLock, isServerOf, readLock } from './postgres-lock.ts'
import { enter, processStart, type PostgresUser } from './postgres-users.ts'

export { defaultDataDir } from './postgres-account.ts'

const run = promisify(execFile)

export type LocalPostgres = {
  /** Holds the superuser's password: never log it. */
  readonly url: string
  readonly pid: number
  /** It ran already. It keeps the port it has. */
  readonly adopted: boolean
  /** Stops the server unless another process uses it. Idempotent; takes at most 5 s. */
  stop(): Promise<void>
}

export type PostgresOptions = {
  /** Everything of this server lies here. As root: where others may enter, such as below `defaultDataDir`. */
  readonly baseDir: string
  /** Folder with bin, lib and share. Default: the installed platform package. */
  readonly native?: string
  /** Default: a free one. */
  readonly port?: number
  /** Too low: a crash recovery is given up on (it goes on by itself, and the next start adopts it). */
  readonly timeoutMs?: number
  readonly log?: Log
}

/** A small machine's share: the collectors write batches of 1,000 rows. fsync stays on. */
const settings = ['shared_buffers=64MB', 'max_connections=60', 'timezone=UTC', 'log_timezone=UTC', 'log_checkpoints=off']
const network = ['listen_addresses=127.0.0.1', 'unix_socket_directories=']

/**
 * Starts the Postgres of `baseDir`, or joins the one that runs there.
 * @throws ConfigError on what the user has to change; nothing is changed then.
 */
export async function startPostgres(options: PostgresOptions): Promise<LocalPostgres> {
  const log = options.log ?? silentLog
  const base = await openBaseDir(options.baseDir)
  await removeLeftovers(base)
  const account = await lendAccount(base)
  const binaries = await prepareBinaries(options.native ?? nativeFolder(), base, account)
  const data = path.join(base, 'data')
  if (!existsSync(data)) {
    await initialise(binaries, base, account)
    log.info({ event: 'postgres.initialised', dataDir: data, version: binaries.majorVersion })
  }
  const password = await readPassword(base, binaries.majorVersion)
  const user = await enter(base)
  const place: Place = { base, data, account, binaries, password, user }
  try {
    const server = await startOrAdopt(place, options)
    log.info({ event: server.adopted ? 'postgres.adopted' : 'postgres.started', pid: server.pid, port: server.port, dataDir: data })
    let stopping: Promise<void> | undefined
    return {
      url: server.url,
      pid: server.pid,
      adopted: server.adopted,
      stop: () => (stopping ??= leave(place, log)),
    }
  } catch (error) {
    await user.left()
    throw error
  }
}

/**
 * The server that runs in `baseDir`, whether it answers or not; undefined when there is none. Starts nothing, uses nothing, changes nothing.
 * @throws ConfigError when the folder is none of ours, or this account may not read its password
 */
export async function urlOfRunning(baseDir: string): Promise<string | undefined> {
  const base = await fs.realpath(baseDir).catch(() => undefined) // nothing was ever started there
  if (base === undefined) return undefined
  const data = path.join(base, 'data')
  const lock = await readLock(data)
  if (!lock?.port || processStart(lock.pid) === undefined || !(await isServerOf(lock.pid, data))) return undefined
  return urlOf(await readPassword(base), lock.port)
}

/** Holds the superuser's password. */
const urlOf = (password: string, port: number) => `postgres://tokay:${password}@127.0.0.1:${port}/postgres`

type Place = {
  readonly base: string
  readonly data: string
  readonly account: Account
  readonly binaries: Binaries
  readonly password: string
  readonly user: PostgresUser
}

type Server = { readonly url: string; readonly pid: number; readonly port: number; readonly adopted: boolean }

async function startOrAdopt(place: Place, options: PostgresOptions): Promise<Server> {
  const { data, user } = place
  const { port, timeoutMs = 60_000 } = options
  const untilMs = performance.now() + timeoutMs
  let attempt: Attempt | undefined
  let portTakenSinceMs: number | undefined
  while (performance.now() < untilMs) {
    const lock = await readLock(data)
    if (lock?.port) {
      const url = urlOf(place.password, lock.port)
      if ((await servesFolder(url, data)) && !(await user.someoneLeaves())) {
        return { url, pid: lock.pid, port: lock.port, adopted: attempt?.child.pid !== lock.pid }
      }
    }
    if (attempt && hasEnded(attempt)) {
      const said = await attempt.said()
      const portTaken = /Address already in use/.test(said)
      if (!portTaken && !/lock file|shared memory|shutdown request/.test(said))
        throw new Error(`Postgres did not start: ${said.slice(-600)}; its log is ${place.base}/postgres.log`)
      // A killed server's children can hold the port a little longer.
      portTakenSinceMs = portTaken ? (portTakenSinceMs ?? performance.now()) : undefined
      if (port !== undefined && portTakenSinceMs !== undefined && performance.now() - portTakenSinceMs > 1_000) {
        throw new ConfigError([`port ${port} on 127.0.0.1 is taken by another program: end it, or give Postgres another port or none`])
      }
      await sleep(100) // a rival holds the lock file, dying children the shared memory, a leaver has stopped it: all pass
    }
    if (!attempt || hasEnded(attempt)) {
      await dropForeignLock(data)
      attempt = await spawnPostgres(place, port ?? (await freePort()))
    }
    await sleep(20)
  }
  throw new Error(`Postgres in ${data} did not answer within ${timeoutMs} ms; its log is ${place.base}/postgres.log`)
}

type Attempt = { readonly child: ChildProcess; said(): Promise<string> }

const hasEnded = ({ child }: Attempt) => child.exitCode !== null || child.signalCode !== null || child.pid === undefined

async function spawnPostgres(place: Place, port: number): Promise<Attempt> {
  const logFile = path.join(place.base, 'postgres.log')
  const out = await fs.open(logFile, 'a', 0o600)
  const from = (await out.stat()).size
  const options = [...settings, ...network, `port=${port}`].flatMap((setting) => ['-c', setting])
  const child = spawn(path.join(place.binaries.bin, 'postgres'), ['-D', place.data, ...options], {
    ...place.account,
    ...childEnvironment,
    // Ctrl-C in the terminal must reach us alone, so that batches are flushed before the database goes.
    detached: true,
    stdio: ['ignore', out.fd, out.fd],
  })
  let spawnError = ''
  child.once('error', (error) => (spawnError = error.message))
  child.unref()
  await out.close()
  return { child, said: async () => spawnError || (await fs.readFile(logFile)).subarray(from).toString('utf8').trim() }
}

async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Asked of the server itself: a pid or a port may belong to anybody by now. */
async function servesFolder(url: string, data: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000, query_timeout: 2_000 })
  client.on('error', () => {}) // the same failure rejects connect or query
  try {
    await client.connect()
    return (await client.query<{ data_directory: string }>('show data_directory')).rows[0]?.data_directory === data
  } catch {
    return false // still starting, ending, or another program: the caller asks again until its time is up
  } finally {
    await client.end().catch(() => {}) // it may never have been connected
  }
}

async function leave(place: Place, log: Log): Promise<void> {
  const { data, user } = place
  try {
    if (!(await user.beginLeaving())) {
      log.info({ event: 'postgres.left', dataDir: data, reason: 'another process uses it' })
      return
    }
    // Not the pid of our own start: that server may have been killed, and another user's start has replaced it.
    const pid = (await readLock(data))?.pid
    if (pid === undefined || !(await isServerOf(pid, data))) return
    // Fast: ends sessions and writes a checkpoint. Immediate: neither; the next start recovers from the write-ahead log, nothing is lost.
    for (const [signal, waitMs] of [
      ['SIGINT', 4_000],
      ['SIGQUIT', 1_000],
    ] as const) {
      await signalServer(place, pid, signal)
      const untilMs = performance.now() + waitMs
      while (performance.now() < untilMs) {
        if ((await readLock(data))?.pid !== pid) {
          log.info({ event: 'postgres.stopped', pid, signal })
          return
        }
        await sleep(20)
      }
    }
    log.error({ event: 'postgres.not-stopped', pid, dataDir: data })
  } finally {
    await user.left()
  }
}

async function signalServer(place: Place, pid: number, signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
  if (process.platform === 'win32') {
    // Windows has no signals: node would just terminate the process.
    await run(path.join(place.binaries.bin, 'pg_ctl'), ['kill', signal.slice(3), String(pid)], childEnvironment)
    return
  }
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // it has just ended
  }
}
