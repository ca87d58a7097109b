import { describe, expect, it } from 'vitest'
import { systemClock } from '../../shared/clock.ts'
import type { RunOutcome } from '../../shared/model.ts'
import { newTally } from '../../shared/resilience/client-metrics.ts'
import { claim, finish, type ClaimResult, type CollectorState, type Pacing } from '../../shared/state/claim.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { updateItem } from '../../shared/state/state-table.ts'

const minuteMs = 60_000
/** 2025-11-21T10:00:00Z: a tick of every interval used here. */
const tickMs = Date.parse('2025-11-21T10:00:00Z')
const baseIntervalMs = 5 * minuteMs
const leaseForMs = 2 * minuteMs

/** A collector's item, changed by each call as the state table would be. */
function collector(initial?: Partial<CollectorState>) {
  const finished: CollectorState = {
    nextDueAtMs: tickMs,
    intervalFactor: 1,
    fetchFailures: 0,
    cooldownUntilMs: null,
    cursor: null,
    lastSuccessAtMs: null,
    lastOutcome: null,
    lastRunId: null,
    ...initial,
  }
  const item = {
    data: initial ? finished : (undefined as CollectorState | undefined),
    claim(runId: string, scheduledAtMs: number, extra: Partial<Parameters<typeof claim>[1]> = {}): ClaimResult {
      const { data, result } = claim(item.data, { runId, scheduledAtMs, nowMs: scheduledAtMs, baseIntervalMs, leaseForMs, ...extra })
      item.data = data ?? item.data
      return result
    },
    finish(runId: string, outcome: RunOutcome, nowMs: number, extra: Partial<Parameters<typeof finish>[1]> = {}): boolean {
      const { data, result } = finish(item.data, { runId, outcome, nowMs, ...extra })
      item.data = data ?? item.data
      return result.finished
    },
  }
  return item
}

/** One whose run `a` holds the lease. */
function running(initial: Partial<CollectorState>) {
  const item = collector(initial)
  item.claim('a', tickMs)
  return item
}

describe('claim', () => {
  it('a collector that never ran is due, and runs without a cursor', () => {
    const item = collector()
    expect(item.claim('a', tickMs)).toEqual({ verdict: 'run', cursor: null })
    expect(item.data).toEqual({
      nextDueAtMs: tickMs + baseIntervalMs,
      intervalFactor: 1,
      fetchFailures: 0,
      cooldownUntilMs: null,
      lease: { runId: 'a', untilMs: tickMs + leaseForMs },
      cursor: null,
      lastSuccessAtMs: null,
      lastOutcome: null,
      lastRunId: null,
    })
  })

  it('a claim that is sent again by the same run is yours, with the same cursor and without a longer lease', () => {
    const item = collector({ cursor: { page: 3 } })
    expect(item.claim('a', tickMs)).toEqual({ verdict: 'run', cursor: { page: 3 } })
    const before = item.data
    expect(item.claim('a', tickMs, { nowMs: tickMs + 30_000 })).toEqual({ verdict: 'run', cursor: { page: 3 } })
    expect(item.data).toBe(before)
  })

  it('another run is told until when the lease holds', () => {
    const item = collector({})
    item.claim('a', tickMs)
    expect(item.claim('b', tickMs, { nowMs: tickMs + 1_000 })).toEqual({ verdict: 'leased', untilMs: tickMs + leaseForMs })
  })

  it('a tick that is delivered again after its run has ended is not due', () => {
    const item = collector({})
    item.claim('a', tickMs)
    item.finish('a', 'complete', tickMs + 4_000)
    expect(item.claim('a', tickMs, { nowMs: tickMs + 5_000 })).toEqual({ verdict: 'not-due', untilMs: tickMs + baseIntervalMs })
  })

  it('an older tick that is delivered after a newer one has run is not due', () => {
    const item = collector({})
    item.claim('b', tickMs)
    item.finish('b', 'complete', tickMs + 4_000)
    expect(item.claim('a', tickMs - baseIntervalMs, { nowMs: tickMs + 5_000 }).verdict).toBe('not-due')
  })

  it('a lost run is replaced as soon as its lease has ended, whatever was due', () => {
    const item = collector({ intervalFactor: 4, cursor: { page: 3 } })
    item.claim('a', tickMs)
    expect(item.claim('b', tickMs + minuteMs).verdict).toBe('leased')
    expect(item.claim('b', tickMs + leaseForMs)).toEqual({ verdict: 'run', cursor: { page: 3 } })
  })

  it('a lost run that comes back late finds its lease gone and changes nothing', () => {
    const item = collector({ cursor: { page: 3 } })
    item.claim('a', tickMs)
    item.claim('b', tickMs + leaseForMs)
    const before = item.data
    expect(item.finish('a', 'complete', tickMs + leaseForMs + 1_000, { cursor: { page: 9 } })).toBe(false)
    expect(item.data).toBe(before)
  })

  it('a run that ends after its lease, with nobody in between, still counts', () => {
    const item = collector({})
    item.claim('a', tickMs)
    expect(item.finish('a', 'complete', tickMs + leaseForMs + 1_000, { cursor: { page: 9 } })).toBe(true)
    expect(item.data?.cursor).toEqual({ page: 9 })
  })

  it.each([
    [1, 1],
    [1.4, 1],
    [1.5, 2],
    [2.25, 2],
    [3.375, 3],
    [16, 16],
    [0.2, 1],
  ])('an interval factor of %d runs each whole %d ticks', (intervalFactor, ticks) => {
    const item = collector({ intervalFactor })
    const ran: number[] = []
    for (let tick = 0; tick <= 33; tick++) {
      const atMs = tickMs + tick * baseIntervalMs
      if (item.claim(`run-${tick}`, atMs).verdict !== 'run') continue
      ran.push(tick)
      item.finish(`run-${tick}`, 'complete', atMs + 4_000)
    }
    expect(ran.slice(0, 3)).toEqual([0, ticks, 2 * ticks])
  })

  it('no tick is lost when the schedule is 10 s early or late', () => {
    const item = collector({})
    const jitterMs = [0, -10_000, 10_000, -10_000, 10_000, 10_000, -10_000, 0]
    const verdicts = jitterMs.map((offMs, tick) => {
      const atMs = tickMs + tick * minuteMs + offMs
      const { verdict } = item.claim(`run-${tick}`, atMs, { baseIntervalMs: minuteMs })
      item.finish(`run-${tick}`, 'complete', atMs + 1_000)
      return verdict
    })
    expect(verdicts).toEqual(Array.from({ length: 8 }, () => 'run'))
  })

  it('a shorter interval in the settings holds from the next tick, not after the old interval', () => {
    const item = collector({})
    item.claim('a', tickMs, { baseIntervalMs: 60 * minuteMs })
    item.finish('a', 'complete', tickMs + 4_000)
    expect(item.claim('b', tickMs + 5 * minuteMs, { baseIntervalMs: 5 * minuteMs }).verdict).toBe('run')
  })

  it('a clock that jumped back an hour neither keeps a dead lease nor an old due time', () => {
    const item = collector({})
    item.claim('a', tickMs)
    expect(item.claim('b', tickMs - 60 * minuteMs).verdict).toBe('run')
    item.finish('b', 'complete', tickMs - 60 * minuteMs)
    const unharmed = collector({ nextDueAtMs: tickMs })
    expect(unharmed.claim('b', tickMs - 60 * minuteMs).verdict).toBe('run')
  })

  it('a lease of twice the asked length holds, a millisecond more has no holder: its clock jumped back', () => {
    const leased = (forMs: number) => ({ nextDueAtMs: tickMs + baseIntervalMs, lease: { runId: 'a', untilMs: tickMs + forMs } })
    expect(collector(leased(2 * leaseForMs)).claim('b', tickMs).verdict).toBe('leased')
    expect(collector(leased(2 * leaseForMs + 1)).claim('b', tickMs).verdict).toBe('run')
  })

  it('a tick half a base interval early is due, a millisecond earlier is not', () => {
    const halfMs = baseIntervalMs / 2
    expect(collector({ nextDueAtMs: tickMs + halfMs }).claim('a', tickMs).verdict).toBe('run')
    expect(collector({ nextDueAtMs: tickMs + halfMs + 1 }).claim('a', tickMs)).toEqual({
      verdict: 'not-due',
      untilMs: tickMs + halfMs + 1,
    })
  })

  it('a due time one interval and a half ahead is waited for, a millisecond further is none of this schedule', () => {
    const furthestMs = tickMs + baseIntervalMs * 1.5
    expect(collector({ nextDueAtMs: furthestMs }).claim('a', tickMs).verdict).toBe('not-due')
    expect(collector({ nextDueAtMs: furthestMs + 1 }).claim('a', tickMs).verdict).toBe('run')
  })

  it('a cooldown is over at its end, not a millisecond earlier', () => {
    expect(collector({ cooldownUntilMs: tickMs }).claim('a', tickMs).verdict).toBe('run')
    expect(collector({ cooldownUntilMs: tickMs + 1 }).claim('a', tickMs)).toEqual({ verdict: 'cooldown', untilMs: tickMs + 1 })
  })

  it('by hand a run passes over due and cooldown, and leaves the schedule as it is', () => {
    const item = collector({ nextDueAtMs: tickMs + baseIntervalMs, cooldownUntilMs: tickMs + minuteMs, fetchFailures: 5 })
    expect(item.claim('by-hand', tickMs, { force: true }).verdict).toBe('run')
    item.finish('by-hand', 'complete', tickMs + 4_000)
    expect(item.data?.nextDueAtMs).toBe(tickMs + baseIntervalMs)
  })

  it('by hand a run does not start beside another one', () => {
    const item = collector({})
    item.claim('a', tickMs)
    expect(item.claim('by-hand', tickMs + 1_000, { force: true })).toEqual({ verdict: 'leased', untilMs: tickMs + leaseForMs })
  })

  it('of thirty instances that claim one tick at once exactly one runs', async () => {
    const table = createMemoryStateTable()
    const tools = { clock: systemClock, random: Math.random }
    const claims = Array.from({ length: 30 }, (_, i) =>
      updateItem(
        table,
        'collector:trades',
        (data: CollectorState | undefined) =>
          claim(data, { runId: `run-${i}`, scheduledAtMs: tickMs, nowMs: tickMs + i, baseIntervalMs, leaseForMs }),
        tools,
      ),
    )
    const verdicts = (await Promise.all(claims)).map((c) => c.verdict).toSorted()
    expect(verdicts).toEqual([...Array.from({ length: 29 }, () => 'leased'), 'run'])
  })
})

describe('finish', () => {
  it('a complete run, its batches written or parked, releases, moves the cursor and forgets earlier failures', () => {
    const item = running({ fetchFailures: 4, cursor: { page: 3 } })
    expect(item.finish('a', 'complete', tickMs + 4_000, { cursor: { page: 4 } })).toBe(true)
    expect(item.data).toEqual({
      nextDueAtMs: tickMs + baseIntervalMs,
      intervalFactor: 1,
      fetchFailures: 0,
      cooldownUntilMs: null,
      cursor: { page: 4 },
      lastSuccessAtMs: tickMs + 4_000,
      lastOutcome: 'complete',
      lastRunId: 'a',
    })
  })

  it('a partial run neither resets nor counts failures, and is no success', () => {
    const item = running({ fetchFailures: 4, lastSuccessAtMs: tickMs - minuteMs })
    item.finish('a', 'partial', tickMs + 4_000, { cursor: { page: 4 } })
    expect(item.data).toEqual({
      nextDueAtMs: tickMs + baseIntervalMs,
      intervalFactor: 1,
      fetchFailures: 4,
      cooldownUntilMs: null,
      cursor: { page: 4 },
      lastSuccessAtMs: tickMs - minuteMs,
      lastOutcome: 'partial',
      lastRunId: 'a',
    })
  })

  it('a deferred run counts nothing, keeps the cursor, and is due again at the next tick', () => {
    const item = running({ intervalFactor: 4, fetchFailures: 4, cursor: { page: 3 } })
    item.finish('a', 'deferred', tickMs + 4_000)
    expect(item.data).toMatchObject({ fetchFailures: 4, cooldownUntilMs: null, cursor: { page: 3 }, lastSuccessAtMs: null })
    expect(item.claim('b', tickMs + baseIntervalMs).verdict).toBe('run')
  })

  it('five failed runs in a row cool down for 60 s, four do not; then it is tried again', () => {
    const item = collector({})
    const verdicts = [0, 1, 2, 3, 4, 5, 6].map((tick) => {
      const atMs = tickMs + tick * minuteMs
      const { verdict } = item.claim(`run-${tick}`, atMs, { baseIntervalMs: minuteMs })
      item.finish(`run-${tick}`, 'failed', atMs + 4_000)
      return verdict
    })
    // the fifth failure is at 4:04, so the tick at 5:00 is refused and the one at 6:00 runs
    expect(verdicts).toEqual(['run', 'run', 'run', 'run', 'run', 'cooldown', 'run'])
    expect(item.data).toMatchObject({ fetchFailures: 6, cooldownUntilMs: tickMs + 6 * minuteMs + 4_000 + 60_000, lastOutcome: 'failed' })
  })

  it("what a run asked of the database is added to what the collector's runs did before", () => {
    const counts = { ...newTally(), calls: 3, attempts: 4, failures: { connection: 1 } }
    const item = running({})
    const first = finish(item.data, { runId: 'a', outcome: 'complete', client: counts, nowMs: tickMs })
    expect(first.data?.client).toEqual(counts)
    const second = claim(first.data, {
      runId: 'b',
      scheduledAtMs: tickMs + baseIntervalMs,
      nowMs: tickMs + baseIntervalMs,
      baseIntervalMs,
      leaseForMs,
    })
    const more = { ...newTally(), calls: 1, attempts: 1 }
    expect(finish(second.data, { runId: 'b', outcome: 'complete', client: more, nowMs: tickMs }).data?.client).toEqual({
      ...counts,
      calls: 4,
      attempts: 5,
    })
    expect(finish(second.data, { runId: 'b', outcome: 'complete', nowMs: tickMs }).data?.client).toEqual(counts)
  })

  it('a run whose item is gone has nothing to finish', () => {
    expect(finish(undefined, { runId: 'a', outcome: 'complete', nowMs: tickMs })).toEqual({ data: undefined, result: { finished: false } })
  })

  it('finishing twice changes nothing the second time', () => {
    const item = running({})
    item.finish('a', 'failed', tickMs + 4_000)
    const before = item.data
    expect(item.finish('a', 'failed', tickMs + 5_000)).toBe(false)
    expect(item.data).toBe(before)
  })
})

describe('how batches filled', () => {
  it("is added to what the collector's runs did before", () => {
    const item = running({})
    const batches = { count: 2, rows: 900, waitedMs: 4_000, sourceLimited: 1, sourceLimitedRows: 100 }
    item.finish('a', 'complete', tickMs, { batches })
    expect(item.data?.batches).toEqual(batches)
    item.claim('b', tickMs + baseIntervalMs)
    item.finish('b', 'complete', tickMs + baseIntervalMs, { batches })
    expect(item.data?.batches).toEqual({ count: 4, rows: 1_800, waitedMs: 8_000, sourceLimited: 2, sourceLimitedRows: 200 })
    item.claim('c', tickMs + 2 * baseIntervalMs)
    item.finish('c', 'complete', tickMs + 2 * baseIntervalMs)
    expect(item.data?.batches?.count).toBe(4)
  })
})

describe('the pace of a collector', () => {
  const sums = (calls: number, contended: number) => ({ calls, succeeded: calls, attempts: calls, contended })
  const counts = (calls: number, contended: number) => ({
    ...newTally(),
    calls,
    succeeded: calls,
    attempts: calls,
    failures: { 'lock-timeout': contended },
  })
  /** Decided by this collector five minutes ago, when all together had made 100 calls. */
  const paced = { pace: { ...sums(100, 0), sinceMs: tickMs - 5 * minuteMs }, client: counts(50, 0) }
  const other = (fields: Partial<CollectorState>): CollectorState => ({ ...(collector({}).data as CollectorState), ...fields })
  const pacing = (fields: Partial<Pacing> = {}): Pacing => ({
    others: [other({ client: counts(50, 0) })],
    isCircuitClosed: true,
    maxFactor: 16,
    baseIntervalMs,
    ...fields,
  })

  it('is set by what all collectors met together: locks of the others stretch it', () => {
    const item = running(paced)
    item.finish('a', 'complete', tickMs, { client: counts(20, 0), pacing: pacing({ others: [other({ client: counts(70, 10) })] }) })
    expect(item.data).toMatchObject({ intervalFactor: 1.5, pace: { ...sums(140, 10), sinceMs: tickMs } })
  })

  it('holds from the next run on: stretched to two ticks, it comes a tick later', () => {
    const item = running(paced)
    item.finish('a', 'complete', tickMs, { client: counts(40, 10), pacing: pacing() })
    expect(item.data).toMatchObject({ intervalFactor: 1.5, nextDueAtMs: tickMs + 2 * baseIntervalMs })
    expect(item.claim('b', tickMs + baseIntervalMs).verdict).toBe('not-due')
    expect(item.claim('b', tickMs + 2 * baseIntervalMs).verdict).toBe('run')
  })

  it('brings the next run forward when it comes back', () => {
    const item = running({ ...paced, intervalFactor: 2.6 })
    expect(item.data?.nextDueAtMs).toBe(tickMs + 3 * baseIntervalMs)
    item.finish('a', 'complete', tickMs, { client: counts(40, 0), pacing: pacing() })
    expect(item.data?.intervalFactor).toBeCloseTo(2.34, 10)
    expect(item.data?.nextDueAtMs).toBe(tickMs + 2 * baseIntervalMs)
  })

  it('is one for all: what another has decided since is taken over, and not decided again', () => {
    const item = running(paced)
    const decided = other({ intervalFactor: 6, pace: { ...sums(130, 30), sinceMs: tickMs - minuteMs }, client: counts(80, 30) })
    item.finish('a', 'complete', tickMs, { client: counts(40, 20), pacing: pacing({ others: [decided] }) })
    expect(item.data).toMatchObject({ intervalFactor: 6, pace: decided.pace, nextDueAtMs: tickMs + 6 * baseIntervalMs })
  })

  it('is not judged while the circuit is not closed', () => {
    const item = running(paced)
    item.finish('a', 'complete', tickMs, { client: counts(40, 40), pacing: pacing({ isCircuitClosed: false }) })
    expect(item.data).toMatchObject({ intervalFactor: 1, pace: { ...sums(140, 40), sinceMs: tickMs } })
  })

  it('leaves a deferred run due at the next tick', () => {
    const item = running(paced)
    item.finish('a', 'deferred', tickMs + 1_000, { client: counts(40, 40), pacing: pacing() })
    expect(item.data).toMatchObject({ intervalFactor: 1.5, nextDueAtMs: tickMs + 1_000 })
  })

  it('is forgotten at the next tick when stretching is switched off', () => {
    const item = collector({ intervalFactor: 8 })
    expect(item.claim('a', tickMs, { maxFactor: 1 }).verdict).toBe('run')
    expect(item.data?.nextDueAtMs).toBe(tickMs + baseIntervalMs)
    const waiting = collector({ intervalFactor: 8, nextDueAtMs: tickMs + 7 * baseIntervalMs })
    expect(waiting.claim('a', tickMs, { maxFactor: 1 }).verdict).toBe('run')
  })
})
