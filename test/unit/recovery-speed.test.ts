// How soon a circuit is closed once its database is back, and how often a dead one is connected to: the two bounds that breaker.maxOpenForMs
// is chosen by. In simulated time, with seeded jitter.

import { describe, expect, it } from 'vitest'
import { replayParked } from '../../shared/collect/replay-parked.ts'
import { writeOrPark } from '../../shared/collect/write-or-park.ts'
import { parseSettings } from '../../shared/config.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { silentLog } from '../../shared/log.ts'
import { admit, record, type Admission, type BreakerRules, type BreakerState } from '../../shared/resilience/circuit-breaker.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryTools } from '../support/collect-tools.ts'
import { createFakeDatabase, unreachable } from '../support/fake-database.ts'
import { createMemoryParkedWrites } from '../support/memory-parked-writes.ts'
import { at, dex } from '../support/rows.ts'

const settings = parseSettings({})
const startAtMs = at('10:00')
/** One when the circuit opens, one at its minute's tick. */
const looksOfTheHealthCheck = 2
/** What a probe takes on a server that has just come back: connecting and one batch. Generous. */
const probeForMs = 1_000

/** mulberry32 */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** One outage over the pure breaker: three failed attempts open it, one prober takes each lease as it comes due. */
function outage(rules: BreakerRules, outageForMs: number, random: () => number): { closedAfterMs: number; connections: number } {
  let state: BreakerState | undefined
  let connections = 0
  const see = (admission: Admission, outcome: 'success' | 'failure', nowMs: number) => {
    connections++
    state = record(state, { admission, outcome, nowMs, rules, random }).data ?? state
  }
  let nowMs = 0
  for (const pauseMs of [0, 500, 1_000]) {
    nowMs += random() * pauseMs
    see(admit(state, { nowMs, token: 'writer', rules, mayProbe: false }).result, 'failure', nowMs)
  }
  for (let probe = 1; state?.state === 'open'; probe++) {
    nowMs = state.retryAtMs
    const { data, result } = admit(state, { nowMs, token: `probe ${probe}`, rules, mayProbe: true })
    state = data ?? state
    if (nowMs < outageForMs) see(result, 'failure', nowMs)
    else see(result, 'success', (nowMs += probeForMs))
  }
  return { closedAfterMs: nowMs - outageForMs, connections: connections - 1 }
}

const p95 = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.95)] as number
const seeds = Array.from({ length: 2_000 }, (_, seed) => seed)
const delays = (rules: BreakerRules) =>
  seeds.map((seed) => {
    const random = seeded(seed)
    // any instant of the breaker's cycle
    return outage(rules, 15_000 + random() * 105_000, random).closedAfterMs
  })
const connectionsIn60s = (rules: BreakerRules) => Math.max(...seeds.map((seed) => outage(rules, 60_000, seeded(seed)).connections))

describe('the pure breaker with its default rules', () => {
  it('is closed within 10 s of the return of its database, in 95 of 100 outages', () => {
    expect(p95(delays(settings.breaker))).toBeLessThan(10_000)
  })

  it('lets a dead database be connected to once every 5 s in an outage of 60 s, whatever the jitter', () => {
    expect(connectionsIn60s(settings.breaker) + looksOfTheHealthCheck).toBeLessThanOrEqual(12)
  })

  it('both bounds leave little room: doubling to 60 s breaks the one, never growing from 5 s the other', () => {
    expect(p95(delays({ ...settings.breaker, maxOpenForMs: 60_000 }))).toBeGreaterThan(40_000)
    expect(p95(delays({ ...settings.breaker, maxOpenForMs: 10_500 }))).toBeGreaterThan(10_000)
    expect(connectionsIn60s({ ...settings.breaker, maxOpenForMs: 5_000 }) + looksOfTheHealthCheck).toBeGreaterThan(15)
    expect(connectionsIn60s({ ...settings.breaker, maxOpenForMs: 8_000 }) + looksOfTheHealthCheck).toBeGreaterThan(12)
  })
})

/** A collector opens the circuit and parks; from then on the replayer runs as its minute's tick starts it, until a little after the next one. */
async function replayThrough(outageForMs: number, random: () => number) {
  const parked = createMemoryParkedWrites()
  const memory = createMemoryTools({ startAtMs, parked })
  const { clock, state } = memory
  const backAtMs = startAtMs + outageForMs
  const connectedAtMs: number[] = []
  const database = createFakeDatabase(() => {
    connectedAtMs.push(clock.nowMs())
    if (clock.nowMs() < backAtMs) throw unreachable()
    return []
  })
  let closedAtMs = Number.NaN
  const breaker = createBreaker({
    scope: 'database',
    key: 'breaker:database',
    table: state,
    rules: settings.breaker,
    clock,
    random,
    log: silentLog,
    onTransition: ({ kind }) => void (kind === 'closed' && (closedAtMs = clock.nowMs())),
  })
  const resilient = createResilientDatabase({
    database,
    breaker,
    rules: settings.retry,
    limits: settings.database,
    clock,
    random,
    log: silentLog,
  })
  const tools = { ...memory, database: resilient }
  const run = { collector: 'dexes', runId: 'r', table: 'dexes', deadlineAtMs: startAtMs + 55_000 } as const
  await writeOrPark({ dexes: [dex()] }, tools, run)
  const firstAttempts = connectedAtMs.length
  for (let tickAtMs = clock.nowMs(); parked.waiting.length > 0; tickAtMs += 60_000) {
    clock.advance(Math.max(0, tickAtMs - clock.nowMs()))
    await replayParked(tools, { deadlineAtMs: tickAtMs + 65_000 })
  }
  return { closedAfterMs: closedAtMs - backAtMs, firstAttempts, during: connectedAtMs.filter((atMs) => atMs < backAtMs).length }
}

describe('the replayer', () => {
  it('whose first try is refused goes on to the next lease as soon as it is due, and is in within 10 s of the return in 95 of 100', async () => {
    const outages = await Promise.all(
      Array.from({ length: 200 }, (_, seed) => {
        const random = seeded(seed)
        return replayThrough(5_000 + random() * 170_000, random)
      }),
    )
    expect(outages.every(({ firstAttempts }) => firstAttempts === 3)).toBe(true)
    // in memory a probe takes no time: the second that it takes elsewhere is left over
    expect(p95(outages.map(({ closedAfterMs }) => closedAfterMs))).toBeLessThan(9_000 + 900)
  })

  it('connects to a dead database at most 10 times in 60 s, the first attempts included', async () => {
    const outages = await Promise.all(Array.from({ length: 100 }, (_, seed) => replayThrough(60_000, seeded(seed))))
    expect(Math.max(...outages.map(({ during }) => during))).toBeLessThanOrEqual(12 - looksOfTheHealthCheck)
  })
})
