// The pool over a real server: what a connection has been through never reaches its next user, and a dead one costs nobody an attempt.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { openTools } from '../../cli/runtime.ts'
import { systemClock } from '../../shared/clock.ts'
import { parseSettings } from '../../shared/config.ts'
import type { AttemptLimits, Database, Statement } from '../../shared/db/database.ts'
import { createPgDatabase, type PgDatabaseOptions } from '../../shared/db/pg-database.ts'
import { silentLog } from '../../shared/log.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createSchema, databaseUrl, postgresAddress, type TestSchema } from '../support/postgres.ts'
import { pgOptions } from '../support/pg-options.ts'

const limits: AttemptLimits = { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500 }
const pid: Statement = { name: 'pid', text: 'select pg_backend_pid() as pid, pg_sleep(0.1)', values: [] }
const insert = (id: number): Statement => ({ name: 'insert', text: 'insert into items values ($1::int)', values: [id] })

let schema: TestSchema
let proxy: FaultProxy
const opened: Database[] = []

function open(options: Partial<PgDatabaseOptions> = {}): Database {
  const database = createPgDatabase({
    url: proxy.url(databaseUrl()),
    schema: schema.name,
    ...pgOptions,
    poolMax: 1,
    ...options,
  })
  opened.push(database)
  return database
}

const pidOf = async (database: Database) => (await database.query(pid, limits))[0]?.['pid'] as number
const pidsOf = (database: Database, calls: number) => Promise.all(Array.from({ length: calls }, () => pidOf(database)))
const ids = async () => (await schema.sql<{ id: number }>('select id from items order by id')).map((row) => row.id)

/** Watches what is sent, until it is called. */
function spyOnTexts(): () => string[] {
  const spy = vi.spyOn(Client.prototype, 'query')
  return () => {
    const texts = spy.mock.calls.map(([config]) => (typeof config === 'string' ? config : (config as unknown as { text: string }).text))
    spy.mockRestore()
    return texts
  }
}

beforeEach(async () => {
  schema = await createSchema('pool')
  await schema.sql('create table items (id int primary key)')
  proxy = await startFaultProxy({ target: postgresAddress() })
})
afterEach(async () => {
  await proxy.mode({ kind: 'reset' })
  for (const database of opened.splice(0)) await database.end()
  await proxy.close()
  await schema.drop()
})

describe('a transaction that somebody left on a connection', () => {
  it.each([
    ['open', ['begin', 'insert into items values (1)']],
    ['aborted', ['begin', 'insert into items values (1)', 'select 1 / 0']],
  ])('%s: never reaches the next user; it is rolled back, and counted', async (_state, texts) => {
    const database = open()
    const spy = vi.spyOn(Client.prototype, 'query')
    const before = await pidOf(database)
    const connection = spy.mock.contexts.at(-1) as Client
    spy.mockRestore()
    for (const text of texts) await connection.query(text).catch(() => undefined) // the last one is meant to fail
    await database.query(insert(7), limits)
    expect(await pidOf(database)).not.toBe(before)
    expect(await ids()).toEqual([7])
    expect(database.connections?.()).toEqual({ connected: 2, discarded: 1, lost: 1, poolResets: 0 })
  })
})

describe('the size of the pool', () => {
  it('is never passed, however many ask, and all of it is used', async () => {
    const database = open({ poolMax: 20, url: databaseUrl() })
    const pids = await pidsOf(database, 60)
    expect(new Set(pids).size).toBe(20)
    expect(database.connections?.().connected).toBe(20)
  })

  it('is the same after some were killed: the dead ones are replaced, and no call meets them', async () => {
    const database = open({ poolMax: 5, url: databaseUrl() })
    const before = [...new Set(await pidsOf(database, 10))]
    await schema.sql('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [before.slice(0, 3)])
    await vi.waitUntil(() => database.connections?.().poolResets === 1, { timeout: 10_000 })
    const after = [...new Set(await pidsOf(database, 10))]
    expect(after).toHaveLength(5)
    expect(after.filter((backend) => before.includes(backend))).toEqual([])
    expect(database.connections?.()).toMatchObject({ connected: 10, lost: 5 })
  })

  it('and the lifetime of a connection are settings of the local run', async () => {
    const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-pool-'))
    const clock = createFakeClock()
    const tools = await openTools({
      settings: parseSettings({ database: { poolMax: 2, lifetimeMs: 10_000 } }),
      source: { name: 'simulator', baseUrl: 'http://127.0.0.1:1', close: async () => {} },
      databaseUrl: databaseUrl(),
      dataDir,
      log: silentLog,
      clock,
    })
    const { directDatabase } = tools
    const first = [...new Set(await pidsOf(directDatabase, 6))]
    expect(first).toHaveLength(2)
    clock.advance(10_000)
    expect(first).toEqual(expect.arrayContaining(await pidsOf(directDatabase, 2)))
    clock.advance(1)
    expect((await pidsOf(directDatabase, 2)).filter((backend) => first.includes(backend))).toEqual([])
    // their age is no failure
    expect(directDatabase.connections?.()).toEqual({ connected: 4, discarded: 2, lost: 0, poolResets: 0, size: 2 })
    await tools.close()
    await fs.rm(dataDir, { recursive: true })
  })
})

describe('a pool that is sized by its load', () => {
  /** A load until it is told to stop: so many callers, each of whom inserts rows of its own one after the other. */
  function load(database: Database, callers: number, heldForMs: number) {
    const stopping = new AbortController()
    const acknowledged: number[] = []
    const caller = async (number: number) => {
      for (let n = 0; !stopping.signal.aborted; n++) {
        const id = number * 100_000 + n
        const text = 'insert into items select $1::int from pg_sleep($2::float8)'
        await database.query({ name: 'slow_insert', text, values: [id, heldForMs / 1_000] }, limits)
        acknowledged.push(id)
      }
    }
    const all = Promise.all(Array.from({ length: callers }, (_, n) => caller(n + 1)))
    return async () => {
      stopping.abort()
      await all
      return acknowledged.toSorted((a, b) => a - b)
    }
  }
  const sizeOf = (database: Database) => database.connections?.().size
  const backends = async (application: string) => {
    const text = 'select count(*)::int as n from pg_stat_activity where application_name = $1'
    return (await schema.sql<{ n: number }>(text, [application]))[0]?.n
  }
  const named = (application: string) => {
    const url = new URL(databaseUrl())
    url.searchParams.set('application_name', application)
    return url.href
  }

  it('grows while callers wait and shrinks when they are gone, and every write that it acknowledged is there', async () => {
    let aheadMs = 0
    const application = `tokay-sized-${process.pid}`
    const database = open({
      poolMax: 8,
      url: named(application),
      clock: { ...systemClock, nowMs: () => Date.now() + aheadMs },
      // none goes because it was idle
      idleForMs: 600_000,
      sizedByLoad: { isCircuitClosed: () => true },
    })
    expect(sizeOf(database)).toBe(2)
    const stop = load(database, 24, 300)
    await vi.waitUntil(() => sizeOf(database) === 8, { timeout: 10_000 })
    await vi.waitUntil(async () => (await backends(application)) === 8, { timeout: 10_000 })
    const acknowledged = await stop()
    expect(await ids()).toEqual(acknowledged)
    expect(acknowledged.length).toBeGreaterThanOrEqual(24)

    // two stretches of ten seconds: the first one still has the load in it
    for (let id = 1; id <= 2; id++) {
      aheadMs += 10_000
      await database.query(insert(id), limits)
    }
    expect(sizeOf(database)).toBe(2)
    // those that are too many go as they come back
    await Promise.all(Array.from({ length: 30 }, (_, n) => database.query(insert(10 + n), limits)))
    for (let n = 0; n < 8; n++) await database.query(insert(50 + n), limits)
    await vi.waitUntil(async () => (await backends(application)) === 2, { timeout: 10_000 })
    const [burst, last] = [Array.from({ length: 30 }, (_, n) => 10 + n), Array.from({ length: 8 }, (_, n) => 50 + n)]
    expect(await ids()).toEqual([1, 2, ...burst, ...last, ...acknowledged])
    expect(database.connections?.()).toMatchObject({ lost: 0, poolResets: 0, size: 2 })
  })

  it('stays as it is while the circuit is not closed, however many wait', async () => {
    const clock = createFakeClock()
    const database = open({ poolMax: 8, url: databaseUrl(), clock, sizedByLoad: { isCircuitClosed: () => false } })
    const stop = load(database, 8, 100)
    await vi.waitUntil(() => database.connections?.().connected === 2, { timeout: 10_000 })
    // whoever asks now waits for more than a quarter of a second
    for (let n = 0; n < 2; n++) {
      clock.advance(10_000)
      await database.query(pid, limits)
    }
    const acknowledged = await stop()
    expect(database.connections?.()).toMatchObject({ connected: 2, size: 2 })
    expect(await ids()).toEqual(acknowledged)
  })
})

describe('a connection that was idle', () => {
  it('for no more than validateAfterMs is used unasked, and so is a new one; after that it is asked for a sign of life', async () => {
    const clock = createFakeClock()
    const database = open({ clock, validateAfterMs: 500 })
    const asked = async () => {
      const sent = spyOnTexts()
      await database.query(insert(clock.nowMs() % 1_000_000), limits)
      return sent()[0]
    }
    expect(await asked()).toBe('begin')
    clock.advance(500)
    expect(await asked()).toBe('begin')
    clock.advance(501)
    expect(await asked()).toBe('select 1')
    expect(database.connections?.()).toEqual({ connected: 1, discarded: 0, lost: 0, poolResets: 0 })
  })

  it('and died in silence is found out and replaced: the call succeeds at its first attempt', async () => {
    const clock = createFakeClock()
    const database = open({ clock })
    await database.query(insert(1), limits)
    await proxy.mode({ kind: 'blackhole' })
    await proxy.mode({ kind: 'pass' })
    clock.advance(600)
    await database.query(insert(2), limits)
    expect(await ids()).toEqual([1, 2])
    expect(database.connections?.()).toEqual({ connected: 2, discarded: 1, lost: 1, poolResets: 0 })
  })

  it('is not even asked when another one was found dead: no second wait', async () => {
    const clock = createFakeClock()
    const database = open({ clock, poolMax: 4 })
    expect(new Set(await pidsOf(database, 8)).size).toBe(4)
    await proxy.mode({ kind: 'blackhole' })
    await proxy.mode({ kind: 'pass' })
    clock.advance(600)
    const sent = spyOnTexts()
    for (let id = 1; id <= 4; id++) await database.query(insert(id), limits)
    expect(sent().filter((text) => text === 'select 1')).toHaveLength(1)
    expect(database.connections?.()).toEqual({ connected: 5, discarded: 4, lost: 4, poolResets: 0 })
  })

  it('and is dead while the server is away as well fails as never sent, within the attempt', async () => {
    const clock = createFakeClock()
    const database = open({ clock, connectForMs: 500, wakeForMs: 500 })
    await database.query(insert(1), limits)
    await proxy.mode({ kind: 'blackhole' })
    clock.advance(600)
    const startedMs = performance.now()
    await expect(database.query(insert(2), limits)).rejects.toMatchObject({ statement: 'connect', applied: 'not-sent' })
    expect(performance.now() - startedMs).toBeLessThan(5_000)
  })

  it('takes no longer to find out than the attempt has', async () => {
    const clock = createFakeClock()
    const database = open({ clock })
    await database.query(insert(1), limits)
    await proxy.mode({ kind: 'blackhole' })
    clock.advance(600)
    const startedMs = performance.now()
    await expect(database.query(insert(2), { ...limits, attemptForMs: 200 })).rejects.toMatchObject({ applied: 'not-sent' })
    expect(performance.now() - startedMs).toBeLessThan(900)
  })
})

describe('a transaction with its commit held', () => {
  it('takes three round trips, however many statements it has', async () => {
    const database = open()
    await database.query(pid, limits)
    await proxy.mode({ kind: 'delay', oneWayMs: 100 })
    const startedMs = performance.now()
    const statements = Array.from({ length: 10 }, (_, id) => insert(id))
    await database.transaction(statements, { ...limits, holdCommit: true })
    const tookMs = performance.now() - startedMs
    // one by one they would take 2,600 ms
    expect(tookMs).toBeGreaterThan(590)
    expect(tookMs).toBeLessThan(1_400)
  })
})
