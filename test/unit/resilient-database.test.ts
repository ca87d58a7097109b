import { describe, expect, it } from 'vitest'
import { DatabaseError, type AttemptLimits } from '../../shared/db/database.ts'
import { createResilientDatabase, type CallOptions } from '../../shared/db/resilient-database.ts'
import { AmbiguousOutcomeError, CircuitOpenError, DeadlineExceededError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import { newTally } from '../../shared/resilience/client-metrics.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { StateTable } from '../../shared/state/state-table.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createFakeDatabase, lost, refused, unreachable, type Scripted } from '../support/fake-database.ts'

const startMs = Date.UTC(2026, 0, 1)
const limits: AttemptLimits = { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500 }
const breakerRules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
const write = { name: 'write', text: 'select 1', values: [] }
const rows = [{ id: 1 }]

const random = () => 0.5

/** A resilient database over a script, with real breakers over a state table in memory. `random` 0.5: half of each back-off, no jitter. */
function build(script: readonly Scripted[], options: { streams?: boolean; table?: StateTable; attempts?: number } = {}) {
  const clock = createFakeClock(startMs)
  const table = options.table ?? createMemoryStateTable()
  const breakerOf = (scope: string) =>
    createBreaker({ scope, key: `breaker:${scope}`, table, rules: breakerRules, clock, random, log: silentLog, viewForMs: 0 })
  const breaker = breakerOf('database')
  const streams = new Map<string, ReturnType<typeof breakerOf>>()
  const streamBreaker = (name: string) => {
    const known = streams.get(name) ?? breakerOf(`stream:${name}`)
    streams.set(name, known)
    return known
  }
  const database = createFakeDatabase(...script)
  const resilient = createResilientDatabase({
    database,
    breaker,
    ...(options.streams ? { streamBreaker } : {}),
    rules: { attempts: options.attempts ?? 3, baseMs: 500, capMs: 5_000 },
    limits,
    clock,
    random,
    log: silentLog,
  })
  const call = (more: Partial<CallOptions> = {}) =>
    resilient.query(write, { deadlineAtMs: clock.nowMs() + 55_000, repeat: 'idempotent', ...more })
  return { clock, breaker, streamBreaker, database, resilient, call, table }
}

/** What a promise rejects with. */
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error,
  )

describe('the resilient database, healthy', () => {
  it('answers the rows of the first attempt, writes nothing to the state table and waits for nothing', async () => {
    const table = createMemoryStateTable()
    const { call, database, clock, resilient } = build([rows], { table })
    expect(await call()).toEqual(rows)
    expect(database.attempts).toHaveLength(1)
    expect(database.attempts[0]?.limits).toEqual(limits)
    expect(clock.sleptMs).toEqual([])
    expect(await table.list()).toEqual([])
    expect(resilient.counters()).toEqual({ ...newTally(), calls: 1, succeeded: 1, attempts: 1, latency: { 0: 1 } })
  })

  it('answers one list of rows for each statement of a transaction', async () => {
    const { resilient } = build([rows])
    expect(await resilient.transaction([write, write], { deadlineAtMs: startMs + 55_000 })).toEqual([rows, rows])
  })
})

describe('the resilient database, retrying', () => {
  it('backs off with full jitter between three attempts, and counts calls and attempts apart', async () => {
    const { call, database, clock, resilient } = build([unreachable(), lost(), rows])
    expect(await call()).toEqual(rows)
    expect(database.attempts).toHaveLength(3)
    expect(clock.sleptMs).toEqual([250, 500])
    expect(resilient.counters()).toEqual({
      ...newTally(),
      calls: 1,
      succeeded: 1,
      attempts: 3,
      retries: 2,
      failures: { connection: 2 },
      latency: { 0: 1 },
    })
  })

  it('hands up the last failure itself once the attempts are used up', async () => {
    const last = lost()
    const { call } = build([unreachable(), unreachable(), last])
    expect(await failureOf(call())).toBe(last)
  })

  it.each([
    ['bad rows', refused('22P02')],
    ['a missing partition', refused('23514', { routine: 'ExecFindPartition' })],
    ['a missing table', refused('42P01')],
    ['a wrong password', refused('28P01')],
    ['a full disk', refused('53100')],
    ['a statement that is not sendable', new TypeError('statement write, $1 is of type undefined')],
  ])('hands %s up untouched after one attempt', async (_what, error) => {
    const { call, database, clock } = build([error])
    expect(await failureOf(call())).toBe(error)
    expect(database.attempts).toHaveLength(1)
    expect(clock.sleptMs).toEqual([])
  })

  it('tries contention five times within a second, and a lock timeout twice', async () => {
    const contended = build([refused('40001'), refused('40P01'), refused('40001'), refused('40001'), rows])
    expect(await contended.call()).toEqual(rows)
    expect(contended.database.attempts).toHaveLength(5)
    expect(contended.clock.nowMs() - startMs).toBeLessThan(1_000)
    const locked = build([refused('55P03')])
    expect(await failureOf(locked.call())).toMatchObject({ sqlState: '55P03' })
    expect(locked.database.attempts).toHaveLength(2)
  })

  it('stops retrying when its budget is used up, and a call that succeeds at once still does', async () => {
    const { call, database, resilient, breaker } = build([refused('40001')])
    for (let i = 0; i < 4; i++) await failureOf(call())
    // 10 tokens: 4 + 4 + 2 retries, then none
    expect(database.attempts).toHaveLength(5 + 5 + 3 + 1)
    expect(resilient.counters().retries).toBe(10)
    expect((await breaker.view()).state).toBe('closed')
  })
})

describe('the resilient database and the deadline', () => {
  it('sends nothing when an attempt could not leave the reserve', async () => {
    const { call, database, resilient } = build([rows])
    const error = await failureOf(call({ deadlineAtMs: startMs + 6_999 }))
    expect(error).toBeInstanceOf(DeadlineExceededError)
    expect((error as Error).cause).toBeUndefined()
    expect(database.attempts).toHaveLength(0)
    expect(resilient.counters()).toMatchObject({ calls: 1, attempts: 0, refused: 0 })
  })

  it("shrinks an attempt and the server's timeouts to the time left, in proportion", async () => {
    const { call, database } = build([rows])
    await call({ deadlineAtMs: startMs + 10_000 })
    expect(database.attempts[0]?.limits).toEqual({ attemptForMs: 5_000, statementForMs: 4_000, lockForMs: 1_500 })
    await call({ deadlineAtMs: startMs + 7_000 })
    expect(database.attempts[1]?.limits).toEqual({ attemptForMs: 2_000, statementForMs: 1_600, lockForMs: 1_500 })
  })

  it('does not start a retry that could not leave the reserve, and names the last failure as the cause', async () => {
    const { call, database, clock } = build([
      () => {
        clock.advance(9_000)
        throw lost()
      },
    ])
    const error = await failureOf(call({ deadlineAtMs: startMs + 16_000 }))
    expect(error).toBeInstanceOf(DeadlineExceededError)
    expect((error as Error).cause).toMatchObject({ name: 'DatabaseError', applied: 'unknown' })
    expect(database.attempts).toHaveLength(1)
    expect(clock.sleptMs).toEqual([])
  })

  it('makes no further attempt once the caller has aborted', async () => {
    const stop = new AbortController()
    const { call, database, resilient } = build([
      () => {
        stop.abort()
        throw unreachable()
      },
    ])
    expect(await failureOf(call({ signal: stop.signal }))).toMatchObject({ errno: 'ECONNREFUSED' })
    expect(database.attempts).toHaveLength(1)
    expect(resilient.counters().retries).toBe(0)
  })

  it('makes no further attempt when the caller aborts its back-off', async () => {
    const stop = new AbortController()
    const { call, database, clock } = build([unreachable()])
    clock.sleep = async () => stop.abort()
    expect(await failureOf(call({ signal: stop.signal }))).toMatchObject({ errno: 'ECONNREFUSED' })
    expect(database.attempts).toHaveLength(1)
  })
})

describe('the resilient database and the circuit', () => {
  it('opens it with one exhausted operation, and then sends nothing for anyone', async () => {
    const { call, database, breaker, resilient } = build([unreachable()])
    expect(await failureOf(call())).toMatchObject({ errno: 'ECONNREFUSED' })
    expect(await breaker.view()).toMatchObject({ state: 'open', reason: 'connection', retryAtMs: startMs + 750 + 5_000 })
    expect(await resilient.isOpen()).toBe(true)
    const error = await failureOf(call())
    expect(error).toBeInstanceOf(CircuitOpenError)
    expect(error).toMatchObject({ scope: 'database', retryAfterMs: 5_000 })
    expect(database.attempts).toHaveLength(3)
    expect(resilient.counters()).toMatchObject({ calls: 2, attempts: 3, refused: 1 })
  })

  it('does not sleep or try again behind the failure that opened it', async () => {
    const { call, database, clock, breaker } = build([refused('53100'), refused('53100'), unreachable()])
    await failureOf(call())
    await failureOf(call())
    expect(await failureOf(call())).toMatchObject({ errno: 'ECONNREFUSED' })
    expect((await breaker.view()).state).toBe('open')
    expect(database.attempts).toHaveLength(3)
    expect(clock.sleptMs).toEqual([])
  })

  it('hands up its own failure when others opened the circuit during its back-off', async () => {
    const table = createMemoryStateTable()
    const other = build([unreachable()], { table })
    const { call, database } = build(
      [
        async () => {
          await failureOf(other.call())
          throw lost()
        },
        rows,
      ],
      { table },
    )
    expect(await failureOf(call())).toMatchObject({ name: 'DatabaseError', applied: 'unknown' })
    expect(database.attempts).toHaveLength(1)
  })

  it('lets only who may probe through when a probe is due, and that one attempt closes it', async () => {
    const { call, clock, database, breaker } = build([unreachable(), unreachable(), unreachable(), rows])
    await failureOf(call())
    clock.advance(5_000)
    expect(await failureOf(call())).toBeInstanceOf(CircuitOpenError)
    expect(await call({ mayProbe: true })).toEqual(rows)
    expect((await breaker.view()).state).toBe('closed')
    expect(await call()).toEqual(rows)
    expect(database.attempts).toHaveLength(5)
  })

  it('makes a failed probe once, reopens for twice as long, and waits for nothing', async () => {
    const { call, clock, database, breaker } = build([unreachable()])
    await failureOf(call())
    clock.advance(5_000)
    const sleeps = clock.sleptMs.length
    expect(await failureOf(call({ mayProbe: true }))).toMatchObject({ errno: 'ECONNREFUSED' })
    expect(database.attempts).toHaveLength(4)
    expect(clock.sleptMs).toHaveLength(sleeps)
    expect(await breaker.view()).toMatchObject({ state: 'open', streak: 2, retryAtMs: clock.nowMs() + 10_000 })
  })

  it('closes on a probe that meets bad rows: the server has answered', async () => {
    const { call, clock, breaker } = build([unreachable(), unreachable(), unreachable(), refused('22P02')])
    await failureOf(call())
    clock.advance(5_000)
    expect(await failureOf(call({ mayProbe: true }))).toMatchObject({ sqlState: '22P02' })
    expect((await breaker.view()).state).toBe('closed')
  })

  it("gives a probe's lease back when the attempt was never sent", async () => {
    const bug = new TypeError('statement write has no text')
    const { call, clock, breaker } = build([unreachable(), unreachable(), unreachable(), bug])
    await failureOf(call())
    clock.advance(5_000)
    expect(await failureOf(call({ mayProbe: true }))).toBe(bug)
    expect(await breaker.view()).toMatchObject({ state: 'open', token: null, retryAtMs: clock.nowMs() + 150 })
  })

  it('does not count bad rows, a schema that does not fit, or its own full pool', async () => {
    const full = new DatabaseError('connect: all in use', { statement: 'connect', applied: 'not-sent', errno: 'POOL_EXHAUSTED' })
    const { call, breaker, table } = build([refused('23505'), refused('42703'), refused('28P01'), refused('22P02'), full])
    for (let i = 0; i < 5; i++) await failureOf(call())
    expect((await breaker.view()).state).toBe('closed')
    expect(await table.list()).toEqual([])
  })

  it('an operator who forced it closed is seen as closed', async () => {
    const table = createMemoryStateTable()
    await table.compareAndSet('breaker:database', 0, {
      state: 'open',
      epoch: 1,
      openedAtMs: startMs,
      retryAtMs: startMs + 5_000,
      streak: 1,
      token: null,
      reason: null,
      override: { forced: 'closed', untilMs: startMs + 60_000 },
    })
    const { call, resilient } = build([rows], { table })
    expect(await resilient.isOpen()).toBe(false)
    expect(await call()).toEqual(rows)
  })
})

describe('the resilient database and the streams', () => {
  it('three operations that lost to locks park their own table; others go on', async () => {
    const { call, database, breaker, streamBreaker } = build([...Array.from({ length: 6 }, () => refused('55P03')), rows], {
      streams: true,
    })
    for (let i = 0; i < 3; i++) await failureOf(call({ stream: 'pools' }))
    expect(database.attempts).toHaveLength(6)
    expect((await breaker.view()).state).toBe('closed')
    expect((await streamBreaker('pools').view()).state).toBe('open')
    expect(await failureOf(call({ stream: 'pools' }))).toMatchObject({ name: 'CircuitOpenError', scope: 'stream:pools' })
    expect(await call({ stream: 'trades' })).toEqual(rows)
    expect(await call()).toEqual(rows)
  })

  it('the next writer is the probe of a table that was locked: tried once, and reopened when it still is', async () => {
    const { call, clock, database, streamBreaker } = build([...Array.from({ length: 7 }, () => refused('55P03')), rows], { streams: true })
    for (let i = 0; i < 3; i++) await failureOf(call({ stream: 'pools' }))
    clock.advance(5_000)
    expect(await failureOf(call({ stream: 'pools' }))).toMatchObject({ sqlState: '55P03' })
    expect(database.attempts).toHaveLength(7)
    expect(await streamBreaker('pools').view()).toMatchObject({ state: 'open', streak: 2 })
    clock.advance(10_000)
    expect(await call({ stream: 'pools' })).toEqual(rows)
    expect((await streamBreaker('pools').view()).state).toBe('closed')
  })

  it('contention that a retry healed counts nowhere', async () => {
    const { call, table } = build([refused('40P01'), rows, refused('40P01'), rows, refused('40P01'), rows], { streams: true })
    for (let i = 0; i < 3; i++) await call({ stream: 'pools' })
    expect(await table.list()).toEqual([])
  })

  it("gives a stream's lease back when the database's circuit refuses", async () => {
    const { call, clock, streamBreaker, database } = build([...Array.from({ length: 6 }, () => refused('55P03')), unreachable()], {
      streams: true,
    })
    for (let i = 0; i < 3; i++) await failureOf(call({ stream: 'pools' }))
    await failureOf(call())
    clock.advance(4_500)
    expect(await failureOf(call({ stream: 'pools' }))).toMatchObject({ name: 'CircuitOpenError', scope: 'database' })
    expect(await streamBreaker('pools').view()).toMatchObject({ state: 'open', token: null })
    expect(database.attempts).toHaveLength(9)
  })
})

describe('the resilient database and statements that nobody calls idempotent', () => {
  const unguarded = (made: ReturnType<typeof build>) => made.call({ repeat: 'if-unapplied' })

  it('has them committed in steps; idempotent ones go in one', async () => {
    const made = build([rows])
    await unguarded(made)
    await made.call()
    expect(made.database.attempts.map((attempt) => attempt.limits)).toEqual([{ ...limits, holdCommit: true }, limits])
  })

  it('is on its guard when nothing is said', async () => {
    const { resilient, database } = build([lost()])
    expect(await failureOf(resilient.transaction([write], { deadlineAtMs: startMs + 55_000 }))).toBeInstanceOf(AmbiguousOutcomeError)
    expect(database.attempts).toHaveLength(1)
  })

  it('tells of an unknown outcome at once, with the failure as its cause, and the breaker counts it', async () => {
    const failure = lost()
    const made = build([failure])
    const error = await failureOf(unguarded(made))
    expect(error).toBeInstanceOf(AmbiguousOutcomeError)
    expect(error).toMatchObject({ statement: 'write', cause: failure })
    expect((error as Error).message).toContain('may have been applied or not (write: Connection terminated unexpectedly)')
    expect(made.clock.sleptMs).toEqual([])
    for (let i = 0; i < 2; i++) await failureOf(unguarded(made))
    expect((await made.breaker.view()).state).toBe('open')
  })

  it.each([
    ['a connection that was never made', unreachable()],
    ['a deadlock', refused('40P01')],
    ['a restarting server', refused('57P03')],
  ])('tries them again after %s: nothing was applied', async (_what, failure) => {
    const made = build([failure, rows])
    expect(await unguarded(made)).toEqual(rows)
    expect(made.database.attempts).toHaveLength(2)
  })

  it('hands up a mistake of the caller as it is: it was never sent', async () => {
    const bug = new TypeError('statement write has no text')
    expect(await failureOf(unguarded(build([bug])))).toBe(bug)
  })
})

describe('the resilient database and the ledger', () => {
  const entry = { batchId: '0b1c2d3e-4f50-8123-9abc-def012345678', rows: 2 }
  const once = ({ resilient }: ReturnType<typeof build>) => resilient.exactlyOnce(entry, [write], { deadlineAtMs: startMs + 55_000 })

  it('enters the batch first, in the same transaction, and answers the rows of the other statements', async () => {
    const made = build([rows])
    expect(await once(made)).toEqual({ applied: 'now', answers: [rows] })
    expect(made.database.attempts.map(({ statements }) => statements.map(({ name, values }) => [name, values]))).toEqual([
      [
        ['enter_ledger', [entry.batchId, 0, 2]],
        ['write', []],
      ],
    ])
    expect(made.database.attempts[0]?.limits).toEqual({ ...limits, holdCommit: true })
  })

  it('tries again whatever became of an attempt, and takes the ledger at its word', async () => {
    const made = build([lost(), refused('TK001')])
    expect(await once(made)).toEqual({ applied: 'already' })
    expect(made.resilient.counters()).toMatchObject({ calls: 1, succeeded: 1, attempts: 2, failures: { connection: 1 } })
  })

  it('tries five times, within two seconds, to get past its own earlier attempt, and no breaker counts it', async () => {
    const made = build([refused('TK002')], { streams: true })
    expect(await failureOf(once(made))).toMatchObject({ sqlState: 'TK002' })
    expect(made.database.attempts).toHaveLength(5)
    expect(made.clock.nowMs() - startMs).toBeLessThan(2_000)
    expect(await made.table.list()).toEqual([])
  })

  it('hands up a failure whose outcome is unknown as it is: the same call may be made again', async () => {
    const last = lost()
    expect(await failureOf(once(build([lost(), lost(), last])))).toBe(last)
  })

  it('sends nothing for a batch without a uuid', async () => {
    const made = build([rows])
    const error = await failureOf(made.resilient.exactlyOnce({ ...entry, batchId: '7' }, [write], { deadlineAtMs: startMs + 55_000 }))
    expect(error).toBeInstanceOf(TypeError)
    expect(made.resilient.counters().calls).toBe(0)
  })
})

describe('the resilient database for a caller that ignores the circuit', () => {
  it('goes through an open one, retries behind it, and leaves closing it to the probe', async () => {
    const { call, database, breaker } = build([unreachable(), unreachable(), unreachable(), unreachable(), rows])
    await failureOf(call())
    expect((await breaker.view()).state).toBe('open')
    expect(await call({ ignoreCircuit: true })).toEqual(rows)
    expect(database.attempts).toHaveLength(5)
    expect((await breaker.view()).state).toBe('open')
    expect(await failureOf(call())).toBeInstanceOf(CircuitOpenError)
  })

  it('is still counted: its failures open the circuit for the others, and its own attempts go on', async () => {
    const { call, database, breaker } = build([refused('53100'), refused('53100'), unreachable(), rows])
    for (let i = 0; i < 2; i++) await failureOf(call({ ignoreCircuit: true }))
    // the third failure opens it; this call's own retry goes on
    expect(await call({ ignoreCircuit: true })).toEqual(rows)
    expect(database.attempts).toHaveLength(4)
    expect((await breaker.view()).state).toBe('open')
  })

  it("goes through a stream's open circuit as well", async () => {
    const { call, streamBreaker } = build([...Array.from({ length: 6 }, () => refused('55P03')), rows], { streams: true })
    for (let i = 0; i < 3; i++) await failureOf(call({ stream: 'pools' }))
    expect((await streamBreaker('pools').view()).state).toBe('open')
    expect(await call({ stream: 'pools', ignoreCircuit: true })).toEqual(rows)
  })
})

describe("the resilient database's counts", () => {
  it('of one run are its own tally, whoever else calls meanwhile', async () => {
    const { call, resilient } = build([unreachable(), rows, refused('22P02'), rows])
    const tally = newTally()
    await call({ tally })
    await failureOf(call({ tally }))
    await call()
    const failures = { connection: 1, data: 1 }
    const own = { ...newTally(), calls: 2, succeeded: 1, attempts: 3, retries: 1, rollbacks: 1, failures, latency: { 0: 1 } }
    expect(tally).toEqual(own)
    expect(resilient.counters()).toEqual({ ...own, calls: 3, succeeded: 2, attempts: 4, latency: { 0: 2 } })
  })

  it('over windows have a success rate of the calls that ended, the refused ones included', async () => {
    const { call, clock, resilient } = build([rows, unreachable()])
    await call()
    clock.advance(600_000)
    for (let i = 0; i < 3; i++) await failureOf(call())
    const { last5Minutes, lastHour } = resilient.metrics()
    expect(last5Minutes).toMatchObject({ calls: 3, succeeded: 0, refused: 2, attempts: 3, successRate: 0 })
    expect(lastHour).toMatchObject({ calls: 4, succeeded: 1, refused: 2, attempts: 4, successRate: 0.25 })
  })

  it('take what the driver lost once, whoever sees it first', async () => {
    const made = build([rows])
    let lostSoFar = { connected: 4, discarded: 9, lost: 0, poolResets: 0 }
    const database = { ...made.database, connections: () => lostSoFar }
    const resilient = createResilientDatabase({
      database,
      breaker: made.breaker,
      rules: { attempts: 3, baseMs: 500, capMs: 5_000 },
      limits,
      clock: made.clock,
      random,
      log: silentLog,
    })
    const tally = newTally()
    const call = () => resilient.query(write, { deadlineAtMs: startMs + 55_000, tally })
    await call()
    lostSoFar = { ...lostSoFar, lost: 3, poolResets: 1 }
    await call()
    await call()
    expect(tally).toMatchObject({ calls: 3, reconnections: 3, poolResets: 1 })
    expect(resilient.counters()).toMatchObject({ reconnections: 3, poolResets: 1, connections: lostSoFar })
  })
})
