import { describe, expect, it } from 'vitest'
import type { Database } from '../../shared/db/database.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { newTally, type ClientTally } from '../../shared/resilience/client-metrics.ts'
import { createStreamBreakers, createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { createRecordedLog } from '../support/collect-tools.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createFakeDatabase, refused } from '../support/fake-database.ts'

const startAtMs = Date.UTC(2026, 0, 1)
const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 9_000, leaseForMs: 15_000 }
const write = { name: 'write', text: 'select 1', values: [] }

/** A database whose attempts take these times, one after the other; `connects` says which of them make a connection. */
function build(tookMs: readonly (number | (() => never))[], connects: readonly boolean[] = []) {
  const clock = createFakeClock(startAtMs)
  const table = createMemoryStateTable()
  const log = createRecordedLog()
  const shared = { table, rules, clock, random: () => 0.5, log }
  const breaker = createBreaker({ ...shared, scope: 'database', key: 'breaker:database' })
  const streamBreaker = createStreamBreakers(shared)
  let connected = 0
  const fake = createFakeDatabase(
    ...tookMs.map((ms, i) => () => {
      if (connects[i]) connected++
      if (typeof ms === 'function') return ms()
      clock.advance(ms)
      return [{ id: 1 }]
    }),
  )
  const database: Database = { ...fake, connections: () => ({ connected, discarded: 0, lost: 0, poolResets: 0 }) }
  const resilient = createResilientDatabase({
    database,
    breaker,
    streamBreaker,
    rules: { attempts: 3, baseMs: 500, capMs: 5_000 },
    limits: { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500 },
    slowMs: 5_000,
    clock,
    random: () => 0.5,
    log,
  })
  const call = (options: { stream?: string; mayProbe?: boolean; tally?: ClientTally } = {}) =>
    resilient.query(write, { deadlineAtMs: clock.nowMs() + 55_000, repeat: 'idempotent', ...options })
  return { breaker, streamBreaker, call, clock, log, table, resilient, tally: newTally() }
}

describe('a success that took longer than breaker.slowMs', () => {
  it('is a success for its caller, and three of them open the circuit with the reason slow', async () => {
    const { call, breaker } = build([5_001])
    expect(await call()).toEqual([{ id: 1 }])
    expect(await call()).toEqual([{ id: 1 }])
    expect((await breaker.view()).state).toBe('closed')
    expect(await call()).toEqual([{ id: 1 }])
    expect(await breaker.view()).toMatchObject({ state: 'open', reason: 'slow' })
  })

  it('is told in the log', async () => {
    const { call, log } = build([5_001])
    await call()
    expect(log.named('database.attempt-slow')).toMatchObject([{ level: 'warn', name: 'write', tookMs: 5_001 }])
  })

  it('just in time counts nowhere, and a quick one wipes out what was counted', async () => {
    const { call, breaker, table } = build([5_000, 5_001, 5_001, 10, 5_001, 5_001, 10])
    await call()
    expect(await table.list()).toEqual([])
    for (let i = 0; i < 5; i++) await call()
    expect((await breaker.view()).state).toBe('closed')
  })

  it('is not slow when it had to connect first: a database that wakes takes its time once', async () => {
    const { call, table } = build([9_000], [true, true, true, true])
    for (let i = 0; i < 4; i++) await call()
    expect(await table.list()).toEqual([])
  })

  it('as a probe leaves the circuit open: the database answers, but not in time', async () => {
    const { call, breaker, clock } = build([5_001, 5_001, 5_001, 5_001, 10])
    for (let i = 0; i < 3; i++) await call()
    clock.advance(5_000)
    expect(await call({ mayProbe: true })).toEqual([{ id: 1 }])
    expect(await breaker.view()).toMatchObject({ state: 'open', streak: 2, reason: 'slow' })
    clock.advance(10_000)
    await call({ mayProbe: true })
    expect((await breaker.view()).state).toBe('closed')
  })

  it("is no matter of the stream's: its own circuit sees a success", async () => {
    const { call, streamBreaker, breaker } = build([5_001])
    for (let i = 0; i < 3; i++) await call({ stream: 'trades' })
    expect((await breaker.view()).state).toBe('open')
    expect((await streamBreaker('trades').view()).state).toBe('closed')
  })
})

describe('the breakers of the streams', () => {
  it('are one for each table, under the key of its name', async () => {
    const { streamBreaker } = build([1])
    expect(streamBreaker('trades')).toBe(streamBreaker('trades'))
    expect([streamBreaker('trades').scope, streamBreaker('pools').scope]).toEqual(['stream:trades', 'stream:pools'])
  })
})

describe('the latency of a client', () => {
  it('is of the attempts that succeeded, in the tally, the total and the windows alike', async () => {
    const { resilient, tally, call } = build([3, 3, 40, 20_000])
    for (let i = 0; i < 4; i++) await call({ tally })
    // up to 3.36 ms, up to 45.25 ms, and the last bucket
    expect(tally.latency).toEqual({ 15: 2, 30: 1, 64: 1 })
    expect(resilient.counters().latency).toEqual(tally.latency)
    expect(resilient.metrics().last5Minutes.latency).toEqual(tally.latency)
  })

  it('leaves out failed attempts, their back-off, and attempts that had to connect', async () => {
    const failing = () => {
      throw refused('40001')
    }
    const { tally, call } = build([400, 3, failing, 5], [true])
    for (let i = 0; i < 3; i++) await call({ tally })
    expect(tally).toMatchObject({ calls: 3, succeeded: 3, attempts: 4, failures: { contention: 1 } })
    expect(tally.latency).toEqual({ 15: 1, 18: 1 })
  })

  it('of one that a clock ended before it began is not counted', async () => {
    const { tally, call } = build([-5])
    await call({ tally })
    expect(tally.succeeded).toBe(1)
    expect(tally.latency).toEqual({})
  })
})
