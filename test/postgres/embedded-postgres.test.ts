// The life of a server, on the real binaries. As root Postgres runs under the lent account; one group runs node itself as an ordinary account.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startPostgres, type LocalPostgres, type PostgresOptions } from '../../cli/local/embedded-postgres.ts'
import { isAlive } from '../../cli/local/postgres-users.ts'
import { createSchema } from '../support/postgres.ts'

const isRoot = process.getuid?.() === 0
const supervisor = new URL('../../cli/local/embedded-postgres.ts', import.meta.url).href

/** Holds every folder of this file; others may enter it. */
let home: string
/** A cluster that the tests share which leave it whole: initdb takes half a second. */
let shared: string

beforeAll(async () => {
  home = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-test-embedded-'))
  await fs.chmod(home, 0o755)
  shared = path.join(home, 'shared')
  await (await startPostgres({ baseDir: shared })).stop()
})

afterAll(() => fs.rm(home, { recursive: true, force: true }))

async function start(options: PostgresOptions): Promise<LocalPostgres> {
  const postgres = await startPostgres(options)
  onTestFinished(() => postgres.stop())
  return postgres
}

async function ask(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

type Owner = {
  readonly child: ChildProcess
  readonly server: { url: string; pid: number; adopted: boolean }
  /** Stops the server as a clean end of the process does, and waits for that end. */
  leave(): Promise<void>
  /** Ends the process by a signal and waits for that. */
  kill(signal: NodeJS.Signals): Promise<void>
}

/** Another process that starts the server of `baseDir` and stops it when its stdin closes. */
async function startInOtherProcess(baseDir: string, as: { uid?: number; gid?: number } = {}): Promise<Owner> {
  const script = `
    const { startPostgres } = await import(${JSON.stringify(supervisor)})
    const postgres = await startPostgres({ baseDir: ${JSON.stringify(baseDir)} })
    console.log(JSON.stringify({ url: postgres.url, pid: postgres.pid, adopted: postgres.adopted }))
    process.stdin.on('end', () => postgres.stop()).resume()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    ...as,
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const line = await new Promise<string>((resolve, reject) => {
    readline.createInterface({ input: child.stdout! }).once('line', resolve)
    child.once('exit', (code) => reject(new Error(`the other process ended with ${code} before its server was ready`)))
  })
  return {
    child,
    server: JSON.parse(line) as Owner['server'],
    async leave() {
      child.stdin!.end()
      await ended
    },
    async kill(signal) {
      process.kill(-child.pid!, signal) // the whole process group, as Ctrl-C does
      await ended
    },
  }
}

const lockFile = (baseDir: string) => path.join(baseDir, 'data', 'postmaster.pid')

describe('a start', () => {
  it('answers on the loopback only, with a password, durable, and under an account that is not root', async () => {
    const postgres = await start({ baseDir: shared })
    const [settings] = await ask(
      postgres.url,
      `select current_setting('listen_addresses') as listen, current_setting('unix_socket_directories') as sockets, current_setting('fsync') as fsync,
              current_setting('shared_buffers') as buffers, current_setting('max_connections') as connections, current_setting('timezone') as zone,
              split_part(version(), '.', 1) as version`,
    )
    expect(settings).toEqual({
      listen: '127.0.0.1',
      sockets: '',
      fsync: 'on',
      buffers: '64MB',
      connections: '60',
      zone: 'UTC',
      version: 'PostgreSQL 18',
    })
    expect(postgres.adopted).toBe(false)
    expect(new URL(postgres.url).hostname).toBe('127.0.0.1')
    expect(await uidOf(postgres.pid)).not.toBe(0)
    const withoutPassword = new URL(postgres.url)
    withoutPassword.password = 'wrong'
    await expect(ask(withoutPassword.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
  })

  it('finds the rows of before its stop, and nothing answers in between', async () => {
    const first = await start({ baseDir: shared })
    await ask(first.url, 'create table kept as select 7 as n')
    await first.stop()
    await first.stop() // a second stop changes nothing
    await expect(ask(first.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    const second = await start({ baseDir: shared })
    expect(await ask(second.url, 'table kept')).toEqual([{ n: 7 }])
  })

  it('uses the port it was given', async () => {
    const port = await unusedPort()
    const postgres = await start({ baseDir: shared, port })
    expect(Number(new URL(postgres.url).port)).toBe(port)
  })

  it('is not held up by a lock file whose pid another program of the same account has by now', async () => {
    const { uid, gid } = await fs.stat(path.join(shared, 'data'))
    const other = spawn('sleep', ['60'], { ...(isRoot ? { uid, gid } : {}), cwd: '/', stdio: 'ignore' })
    onTestFinished(() => void other.kill('SIGKILL'))
    await fs.writeFile(lockFile(shared), `${other.pid}\n${shared}/data\n1763719200\n5432\n\n127.0.0.1\n`)
    const postgres = await start({ baseDir: shared, timeoutMs: 15_000 })
    expect(postgres.adopted).toBe(false)
  })

  it('is not held up by what a killed start left half-made, and removes it', async () => {
    const left = path.join(shared, 'data.999999999.abcdef')
    await fs.mkdir(left)
    await start({ baseDir: shared })
    expect(existsSync(left)).toBe(false)
  })
})

describe('kill -9', () => {
  it('of node leaves a server that the next start adopts and stops', async () => {
    const owner = await startInOtherProcess(shared)
    await ask(owner.server.url, 'create table orphan as select 1 as n')
    await owner.kill('SIGKILL')
    const postgres = await start({ baseDir: shared })
    expect({ adopted: postgres.adopted, pid: postgres.pid, url: postgres.url }).toEqual({
      adopted: true,
      pid: owner.server.pid,
      url: owner.server.url,
    })
    expect(await ask(postgres.url, 'table orphan')).toEqual([{ n: 1 }])
    await postgres.stop()
    await expect(ask(postgres.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('of postgres loses no committed row, and the next start brings it back', async () => {
    const first = await start({ baseDir: shared })
    await ask(first.url, 'create table committed as select 1 as n')
    process.kill(first.pid, 'SIGKILL')
    const second = await start({ baseDir: shared })
    expect(second.adopted).toBe(false)
    expect(second.pid).not.toBe(first.pid)
    expect(await ask(second.url, 'table committed')).toEqual([{ n: 1 }])
  })

  it('of postgres is waited out while its children still hold the shared memory', async () => {
    const first = await start({ baseDir: shared })
    const [child] = await ask(first.url, `select pid from pg_stat_activity where backend_type = 'checkpointer'`)
    const childPid = Number(child?.['pid'])
    process.kill(childPid, 'SIGSTOP')
    process.kill(first.pid, 'SIGKILL')
    const log = path.join(shared, 'postgres.log')
    const from = (await fs.stat(log)).size
    const second = start({ baseDir: shared })
    await expect.poll(async () => (await fs.readFile(log, 'utf8')).slice(from), { timeout: 10_000 }).toContain('shared memory block')
    process.kill(childPid, 'SIGCONT')
    expect((await second).adopted).toBe(false)
  })

  it('of postgres under a parent that never reaps it does not block the next start', async () => {
    const owner = await startInOtherProcess(shared)
    owner.child.kill('SIGSTOP')
    process.kill(owner.server.pid, 'SIGKILL')
    const postgres = await start({ baseDir: shared, timeoutMs: 15_000 })
    expect(postgres.adopted).toBe(false)
    expect(isAlive(owner.server.pid)).toBe(true) // killed, and still there: a zombie
    expect(await ask(postgres.url, 'select 1 as n')).toEqual([{ n: 1 }])
    await owner.kill('SIGKILL')
  })
})

describe('two processes', () => {
  it('that start at once on an empty folder share one server, and it stops with the last of them', async () => {
    const baseDir = path.join(home, 'race')
    const [a, b] = await Promise.all([startInOtherProcess(baseDir), startInOtherProcess(baseDir)])
    expect(a.server.pid).toBe(b.server.pid)
    expect([a.server.adopted, b.server.adopted].toSorted()).toEqual([false, true])
    const [starter, guest] = a.server.adopted ? [b, a] : [a, b]
    await starter.leave()
    expect(await ask(guest.server.url, 'select 1 as n')).toEqual([{ n: 1 }])
    await guest.leave()
    expect(existsSync(lockFile(baseDir))).toBe(false)
    expect((await fs.readdir(baseDir)).toSorted()).toEqual(['data', 'postgres.log', 'users'])
  })

  it('or four starts in one process, on a server that was killed, share one as well', async () => {
    const killed = await start({ baseDir: shared })
    process.kill(killed.pid, 'SIGKILL')
    // Its recovery takes longer than the losers need to find the winner's lock file.
    const four = await Promise.all([1, 2, 3, 4].map(() => start({ baseDir: shared })))
    expect(new Set(four.map(({ pid }) => pid)).size).toBe(1)
    expect(four.filter(({ adopted }) => !adopted)).toHaveLength(1)
    await Promise.all([killed, ...four].map((postgres) => postgres.stop()))
    expect(existsSync(lockFile(shared))).toBe(false)
  })

  it('do not end each other: a stop while another uses the server leaves it running', async () => {
    const owner = await startInOtherProcess(shared)
    const guest = await start({ baseDir: shared })
    expect(guest.adopted).toBe(true)
    await guest.stop()
    expect(await ask(owner.server.url, 'select 1 as n')).toEqual([{ n: 1 }])
    await owner.leave()
    expect(existsSync(lockFile(shared))).toBe(false)
  })

  it('and Ctrl-C: the signal of the terminal reaches node, not the server', async () => {
    const owner = await startInOtherProcess(shared)
    await owner.kill('SIGINT')
    expect(await ask(owner.server.url, 'select 1 as n')).toEqual([{ n: 1 }])
    expect((await start({ baseDir: shared })).pid).toBe(owner.server.pid)
  })
})

describe('an ordinary account', () => {
  const nobody = isRoot ? idsOf('nobody') : undefined
  const reaches = nobody !== undefined && canRead(nobody, new URL(supervisor).pathname) && canRead(nobody, process.execPath)

  it('runs the server as itself, and root later runs it under the same account', async ({ skip }) => {
    skip(isRoot && !reaches, 'there is no account nobody, or it can not read this checkout')
    const baseDir = path.join(home, 'ordinary')
    await fs.mkdir(baseDir)
    if (nobody) await fs.chown(baseDir, nobody.uid, nobody.gid)
    const owner = await startInOtherProcess(baseDir, nobody)
    const uid = nobody?.uid ?? process.getuid?.()
    expect(await uidOf(owner.server.pid)).toBe(uid)
    await ask(owner.server.url, 'create table mine as select 1 as n')
    await owner.leave()
    expect(existsSync(lockFile(baseDir))).toBe(false)
    const postgres = await start({ baseDir })
    expect(await ask(postgres.url, 'table mine')).toEqual([{ n: 1 }])
    expect(await uidOf(postgres.pid)).toBe(uid)
  })
})

describe('the test run', () => {
  it('gives each test a schema of its own, which goes with it', async () => {
    const [one, two] = await Promise.all([createSchema('own'), createSchema('own')])
    await one.sql('create table t as select 1 as n')
    expect(await one.sql('select current_schema() as name, n from t')).toEqual([{ name: one.name, n: 1 }])
    await expect(two.sql('table t')).rejects.toMatchObject({ code: '42P01' })
    await one.drop()
    expect(await two.sql('select count(*)::int as n from pg_namespace where nspname = $1', [one.name])).toEqual([{ n: 0 }])
    await two.drop()
  })
})

async function unusedPort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function uidOf(pid: number): Promise<number> {
  if (process.platform === 'linux') return (await fs.stat(`/proc/${pid}`)).uid // slim images have no ps
  return Number(execFileSync('ps', ['-o', 'uid=', '-p', String(pid)], { encoding: 'utf8' }))
}

function idsOf(name: string): { uid: number; gid: number } | undefined {
  try {
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, name], { encoding: 'utf8' })))
    return uid && gid ? { uid, gid } : undefined
  } catch {
    return undefined // no such account here
  }
}

function canRead(as: { uid: number; gid: number }, file: string): boolean {
  try {
    execFileSync('test', ['-r', file], { ...as, cwd: '/' })
    return true
  } catch {
    return false // a checkout in a closed folder
  }
}
