// What the health check remembers: rings of minutes, hours and days, and what came between two looks, under every clock and in any order.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { recentOf, remember, type Memory, type Recent } from '../../shared/health/memory/memory.ts'
import type { DatabaseSeen, Observation } from '../../shared/health/observation.ts'
import type { BatchCounts } from '../../shared/model.ts'
import { newTally, type ClientCounts } from '../../shared/resilience/client-metrics.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { answering, away, collectorState, observed, openBreaker } from '../support/observed.ts'

const [secondMs, minuteMs, hourMs, dayMs] = [1_000, 60_000, 3_600_000, 86_400_000]
/** A full day, UTC. */
const start = Date.parse('2025-09-15T00:00:00Z')

const client = (counts: Partial<ClientCounts> = {}): ClientCounts => ({ ...newTally(), ...counts })
const calls = (n: number, more: Partial<ClientCounts> = {}) => client({ calls: n, succeeded: n, attempts: n, ...more })
const asleep = { kind: 'not-asked', why: 'it sleeps' } as const

/** A look at `atMs`, after its start, with one collector that has counted so far. */
const at = (atMs: number, counts: ClientCounts | undefined = undefined, more: Partial<Observation> = {}): Observation =>
  observed({ atMs: start + atMs, collectors: { trades: collectorState(counts ? { client: counts } : {}) }, ...more })

/** Each memory goes through JSON, as it does in the state table. */
function afterLooks(looks: readonly Observation[], from?: Memory): Memory {
  const memory = looks.reduce<Memory | undefined>((known, seen) => JSON.parse(JSON.stringify(remember(known, seen))) as Memory, from)
  if (!memory) throw new Error('no look')
  return memory
}
const recentAfter = (...looks: readonly Observation[]): Recent => recentOf(afterLooks(looks), looks.at(-1)?.atMs ?? 0)

describe('availability', () => {
  it('counts a minute once, however many looks are made in it: up when all of them say so', () => {
    const up = (...states: readonly DatabaseSeen[]) =>
      recentAfter(...states.map((database, n) => at(n * 3 * secondMs, undefined, { database }))).availability
    expect(up(answering(), answering())).toEqual({
      hour: { knownMinutes: 1, upMinutes: 1 },
      day: { knownMinutes: 1, upMinutes: 1 },
      week: { knownMinutes: 1, upMinutes: 1 },
      month: { knownMinutes: 1, upMinutes: 1 },
    })
    const down = { knownMinutes: 1, upMinutes: 0 }
    expect(up(answering(), away, answering())).toEqual({ hour: down, day: down, week: down, month: down })
    expect(up(away, answering()).hour).toEqual(down)
    expect(up(asleep, answering()).hour).toEqual({ knownMinutes: 1, upMinutes: 1 })
    expect(up(answering(), asleep).hour).toEqual({ knownMinutes: 1, upMinutes: 1 })
  })

  it('of a minute that nobody looked at is unknown, never up', () => {
    const { availability, minutes } = recentAfter(at(0), at(10 * minuteMs), at(11 * minuteMs, undefined, { database: away }))
    expect(availability.hour).toEqual({ knownMinutes: 3, upMinutes: 2 })
    expect(minutes).toHaveLength(60)
    expect(minutes.slice(-12).map(({ isUp }) => isUp)).toEqual([true, ...Array<null>(9).fill(null), true, false])
    expect(minutes.at(-1)?.atMs).toBe(start + 11 * minuteMs)
  })

  it('of which nobody has a memory is unknown', () => {
    expect(recentOf(undefined, start)).toMatchObject({
      availability: { hour: { knownMinutes: 0, upMinutes: 0 }, month: { knownMinutes: 0, upMinutes: 0 } },
      operations: { threeDays: { calls: 0, failures: {} } },
      latency: null,
      counters: null,
      parkedSinceMs: null,
      wasRestarted: false,
    })
  })

  it('goes on ageing while nobody looks', () => {
    const memory = afterLooks([at(0)])
    const known = (afterMs: number) => recentOf(memory, start + afterMs).availability
    expect([known(59 * minuteMs).hour.knownMinutes, known(60 * minuteMs).hour.knownMinutes]).toEqual([1, 0])
    expect([known(23 * hourMs).day.knownMinutes, known(24 * hourMs).day.knownMinutes]).toEqual([1, 0])
    expect([known(6 * dayMs).week.knownMinutes, known(7 * dayMs).week.knownMinutes]).toEqual([1, 0])
    expect([known(29 * dayMs).month.knownMinutes, known(30 * dayMs).month.knownMinutes]).toEqual([1, 0])
  })

  it('while the database is left asleep is what the calls of others say', () => {
    const isUp = (counts: ClientCounts, more: Partial<Observation> = {}) =>
      recentAfter(at(0, client()), at(minuteMs, counts, { database: asleep, ...more })).minutes.at(-1)?.isUp
    expect(isUp(client())).toBe(null)
    expect(isUp(calls(1))).toBe(true)
    expect(isUp(client({ calls: 1, attempts: 3, failures: { connection: 3 } }))).toBe(false)
    // somebody else's lock is an answer
    expect(isUp(client({ calls: 1, attempts: 2, failures: { 'lock-timeout': 2 } }))).toBe(true)
    expect(isUp(client({ calls: 3, succeeded: 1, attempts: 5, failures: { connection: 4 } }))).toBe(true)
    expect(isUp(client(), { breaker: openBreaker() })).toBe(false)
  })

  it('is what a list of all minutes says, after any looks with any gaps', () => {
    const steps = fc.array(fc.record({ afterMs: gap, up: fc.option(fc.boolean(), { nil: null }) }), { minLength: 1, maxLength: 120 })
    fc.assert(
      fc.property(steps, (walk) => {
        let nowMs = start
        const minutes = new Map<number, boolean>()
        const looks = walk.map(({ afterMs, up }) => {
          nowMs += afterMs
          const minute = Math.floor(nowMs / minuteMs)
          if (up !== null) minutes.set(minute, (minutes.get(minute) ?? true) && up)
          return at(nowMs - start, undefined, { database: up === null ? asleep : up ? answering() : away })
        })
        const since = (slotMs: number, count: number) => {
          const slots = [...minutes].filter(([m]) => Math.floor((m * minuteMs) / slotMs) > Math.floor(nowMs / slotMs) - count)
          return { knownMinutes: slots.length, upMinutes: slots.filter(([, up]) => up).length }
        }
        expect(recentAfter(...looks).availability).toEqual({
          hour: since(minuteMs, 60),
          day: since(hourMs, 24),
          week: since(dayMs, 7),
          month: since(dayMs, 30),
        })
      }),
      { numRuns: 200 },
    )
  })
})

/** Mostly seconds and minutes, sometimes hours and days. */
const gap = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 90 * secondMs }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 * hourMs }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 12 * dayMs }) },
)

describe('operations', () => {
  it('are what the clients of all collectors did between two looks', () => {
    const collectors = (trades: ClientCounts, dexes: ClientCounts) => ({
      trades: collectorState({ client: trades }),
      dexes: collectorState({ client: dexes }),
    })
    const before = collectors(calls(100, { failures: { connection: 7 } }), calls(5))
    const after = collectors(
      client({ calls: 110, succeeded: 104, refused: 2, attempts: 113, retries: 5, failures: { connection: 9, 'lock-timeout': 3 } }),
      calls(9, { rollbacks: 1, reconnections: 2, poolResets: 1, failures: { contention: 1 } }),
    )
    const expected = {
      calls: 14,
      succeeded: 8,
      refused: 2,
      failed: 4,
      attempts: 17,
      retries: 5,
      rollbacks: 1,
      reconnections: 2,
      poolResets: 1,
      contended: 4,
      failures: { connection: 2, 'lock-timeout': 3, contention: 1 },
    }
    const recent = recentAfter(at(0, undefined, { collectors: before }), at(minuteMs, undefined, { collectors: after }))
    expect(recent.operations).toEqual({
      fiveMinutes: expected,
      halfHour: expected,
      hour: expected,
      sixHours: expected,
      threeDays: expected,
    })
    expect(recent.sinceLastLook.operations).toEqual(expected)
  })

  it('of the first look are none: nobody knows since when its counts are', () => {
    expect(recentAfter(at(0, calls(1_000))).operations.threeDays.calls).toBe(0)
  })

  it('of a collector that begins are all its own', () => {
    const collectors = { trades: collectorState({ client: calls(3) }), dexes: collectorState({ client: calls(20) }) }
    expect(recentAfter(at(0, calls(1)), at(minuteMs, undefined, { collectors })).operations.hour.calls).toBe(22)
  })

  it('leave each stretch when they are older than it', () => {
    const memory = afterLooks([at(0, calls(0)), at(minuteMs, calls(10))])
    const still = (afterMs: number) =>
      Object.entries(recentOf(memory, start + minuteMs + afterMs).operations).flatMap(([stretch, seen]) =>
        seen.calls > 0 ? [stretch] : [],
      )
    expect(still(4 * minuteMs)).toEqual(['fiveMinutes', 'halfHour', 'hour', 'sixHours', 'threeDays'])
    expect(still(5 * minuteMs)).toEqual(['halfHour', 'hour', 'sixHours', 'threeDays'])
    expect(still(30 * minuteMs)).toEqual(['hour', 'sixHours', 'threeDays'])
    expect(still(60 * minuteMs)).toEqual(['sixHours', 'threeDays'])
    expect(still(6 * hourMs)).toEqual(['threeDays'])
    expect(still(72 * hourMs)).toEqual([])
  })

  it('that were counted from zero again count nothing until the next look', () => {
    const latency = { 20: 50 }
    const looks = [at(0, calls(100, { latency })), at(minuteMs, calls(3)), at(2 * minuteMs, calls(8, { latency: { 20: 5 } }))]
    expect(recentAfter(...looks.slice(0, 2)).operations.hour.calls).toBe(0)
    expect(recentAfter(...looks).operations.hour.calls).toBe(5)
    expect(recentAfter(...looks).latency?.count).toBe(5)
  })

  it('are not lost to a look that could not read the state table', () => {
    const blind = at(minuteMs, undefined, { stateAnswers: false, collectors: {} })
    expect(recentAfter(at(0, calls(10)), blind, at(2 * minuteMs, calls(15))).operations.hour.calls).toBe(5)
  })

  it('of a longer gap than an hour belong to no stretch', () => {
    expect(recentAfter(at(0, calls(0)), at(hourMs, calls(10))).operations.fiveMinutes.calls).toBe(10)
    expect(recentAfter(at(0, calls(0)), at(hourMs + 1, calls(10))).operations.threeDays.calls).toBe(0)
  })

  it('are counted once and belong to one look, in whatever order looks at the same time end', () => {
    const looks = fc.uniqueArray(fc.integer({ min: 0, max: 110 * secondMs }), { minLength: 2, maxLength: 10 })
    fc.assert(
      fc.property(looks, fc.array(fc.nat(9), { minLength: 2, maxLength: 10 }), (times, order) => {
        const counted = (ms: number) => calls(Math.floor(ms / 100), { latency: { 20: Math.floor(ms / 100) } })
        const shuffled = order.reduce((list, place, n) => swapped(list, n % list.length, place % list.length), times)
        let memory = afterLooks([at(0, counted(0))])
        let told = 0
        for (const ms of shuffled) {
          memory = afterLooks([at(ms, counted(ms))], memory)
          const { operations, latency } = recentOf(memory, start + ms).sinceLastLook
          told += operations.calls
          expect(latency).toEqual(operations.calls > 0 ? { 20: operations.calls } : {})
        }
        const newest = Math.floor(Math.max(...times) / 100)
        const recent = recentOf(memory, start + Math.max(...times))
        expect([recent.operations.hour.calls, recent.operations.threeDays.calls, told]).toEqual([newest, newest, newest])
      }),
      { numRuns: 300 },
    )
  })
})

const swapped = <Item>(list: readonly Item[], a: number, b: number) => list.with(a, list[b] as Item).with(b, list[a] as Item)

describe('latency and batches', () => {
  it('are of the last hour', () => {
    const batches = (n: number): BatchCounts => ({
      count: n,
      rows: 90 * n,
      waitedMs: 7 * n,
      sourceLimited: n / 2,
      sourceLimitedRows: 10 * n,
    })
    const look = (ms: number, n: number) =>
      at(ms, undefined, { collectors: { trades: collectorState({ client: calls(n, { latency: { 20: n } }), batches: batches(n) }) } })
    const memory = afterLooks([look(0, 0), look(minuteMs, 20), look(21 * minuteMs, 60)])
    const then = (ms: number) => recentOf(memory, start + ms)
    expect(then(21 * minuteMs).latency).toEqual({
      p50Ms: expect.closeTo(7.31, 2),
      p95Ms: expect.closeTo(7.31, 2),
      p99Ms: expect.closeTo(7.31, 2),
      count: 60,
    })
    expect(then(21 * minuteMs).batches).toEqual({ count: 60, rows: 5_400, waitedMs: 420, sourceLimited: 30, sourceLimitedRows: 600 })
    expect([then(61 * minuteMs).latency?.count, then(61 * minuteMs).batches.count]).toEqual([40, 40])
    expect(then(80 * minuteMs).latency).toBe(null)
  })
})

describe("the server's counters", () => {
  const server = (ms: number, counters: object, more: { startedAtMs?: number } = {}) =>
    at(ms, undefined, { database: answering({ counters, server: { startedAtMs: start - dayMs, ...more } }) })

  it('are what they moved by in the last hour', () => {
    const looks = [
      server(0, { commits: 100, deadlocks: 4, sessionsKilled: 1 }),
      server(minuteMs, { commits: 130, deadlocks: 6, sessionsKilled: 2, sessionsFatal: 3, sessionsAbandoned: 5 }),
      server(2 * minuteMs, { commits: 135, deadlocks: 6, sessionsKilled: 2, sessionsFatal: 3, sessionsAbandoned: 5 }),
    ]
    expect(recentAfter(...looks).counters).toEqual({
      commits: 35,
      rollbacks: 0,
      deadlocks: 2,
      conflicts: 0,
      tempBytes: 0,
      blocksHit: 0,
      blocksRead: 0,
      sessionsLost: 9,
    })
    expect(recentOf(afterLooks(looks), start + 70 * minuteMs).counters).toBe(null)
  })

  it('are null when they were seen once only; that nothing moved is something else', () => {
    expect(recentAfter(server(0, { commits: 100 })).counters).toBe(null)
    expect(recentAfter(server(0, { commits: 100 }), server(minuteMs, { commits: 100 })).counters).toMatchObject({ commits: 0 })
  })

  it('are not compared over a restart, a reset of the statistics, or a number that shrank', () => {
    const first = server(0, { commits: 100 })
    const later = (counters: object, more?: { startedAtMs: number }) => recentAfter(first, server(minuteMs, counters, more)).counters
    expect(later({ commits: 900 }, { startedAtMs: start })).toBe(null)
    expect(later({ commits: 900, statsResetAtMs: start })).toBe(null)
    expect(later({ commits: 99 })).toBe(null)
    expect(recentAfter(first, server(minuteMs, { commits: 50 }), server(2 * minuteMs, { commits: 57 })).counters).toMatchObject({
      commits: 7,
    })
  })

  it('wait for the next answer: one look in vain between two does not matter', () => {
    const down = at(minuteMs, undefined, { database: away })
    expect(recentAfter(server(0, { commits: 100 }), down, server(2 * minuteMs, { commits: 109 })).counters).toMatchObject({ commits: 9 })
  })

  it('show a restart for two minutes, and the first look shows none', () => {
    const restarted = server(minuteMs, {}, { startedAtMs: start })
    expect(recentAfter(server(0, {})).wasRestarted).toBe(false)
    expect(recentAfter(server(0, {}), restarted).wasRestarted).toBe(true)
    const memory = afterLooks([server(0, {}), restarted, server(2 * minuteMs, {}, { startedAtMs: start })])
    expect([2, 3, 4].map((minute) => recentOf(memory, start + minute * minuteMs).wasRestarted)).toEqual([true, true, false])
  })
})

describe('what is parked', () => {
  const parked = (minute: number, count: number | undefined | null) => at(minute * minuteMs, undefined, { parked: count })

  it('is so since the first look that saw it, through looks that could not ask, until one that sees none', () => {
    const since = (...counts: readonly (number | undefined | null)[]) =>
      recentAfter(...counts.map((count, n) => parked(n, count))).parkedSinceMs
    expect(since(0, 3, undefined, 1)).toBe(start + minuteMs)
    expect(since(3, 0)).toBe(null)
    expect(since(3, 0, 2)).toBe(start + 2 * minuteMs)
    expect(since(undefined)).toBe(null)
    expect(since(3, null)).toBe(null)
  })

  it('has a history of a quarter of an hour, without the minutes that nobody knows', () => {
    const looks = Array.from({ length: 20 }, (_, minute) => parked(minute, minute === 10 ? undefined : 100 - minute))
    const { parkedHistory } = recentAfter(...looks)
    expect(parkedHistory).toHaveLength(14)
    expect(parkedHistory[0]).toEqual({ atMs: start + 5 * minuteMs, parked: 95 })
    expect(parkedHistory.at(-1)).toEqual({ atMs: start + 19 * minuteMs, parked: 81 })
    expect(recentAfter(parked(0, 0)).parkedHistory).toEqual([{ atMs: start, parked: 0 }])
  })
})

describe('a clock', () => {
  it('that is set back takes what lies in the future away, and no minute counts twice', () => {
    const hourOfLooks = Array.from({ length: 60 }, (_, minute) => at(minute * minuteMs, calls(minute)))
    const memory = afterLooks([...hourOfLooks, at(30 * minuteMs, calls(70))])
    const { availability, operations, minutes } = recentOf(memory, start + 30 * minuteMs)
    expect(availability.hour).toEqual({ knownMinutes: 31, upMinutes: 31 })
    expect(minutes.at(-1)).toEqual({ atMs: start + 30 * minuteMs, isUp: true })
    // 30 until then, and what came since the look before
    expect(operations.hour.calls).toBe(30 + 11)
    const again = Array.from({ length: 30 }, (_, n) => at((31 + n) * minuteMs, calls(71 + n)))
    expect(recentOf(afterLooks(again, memory), start + 60 * minuteMs).availability).toMatchObject({
      hour: { knownMinutes: 60, upMinutes: 60 },
      day: { knownMinutes: 61, upMinutes: 61 },
    })
  })

  it('that is a year ahead for one look costs the history, not the next looks', () => {
    const memory = afterLooks([at(0, calls(0)), at(365 * dayMs, calls(5)), at(minuteMs, calls(9)), at(2 * minuteMs, calls(12))])
    const { availability, operations } = recentOf(memory, start + 2 * minuteMs)
    expect(availability.month).toEqual({ knownMinutes: 2, upMinutes: 2 })
    expect(operations.hour.calls).toBe(4 + 3)
  })

  it('whatever it does, and whatever was looked at: nothing is negative, longer than its stretch, or ahead of now', () => {
    const jump = fc.oneof({ weight: 6, arbitrary: gap }, { weight: 2, arbitrary: fc.integer({ min: -3 * dayMs, max: 0 }) })
    const step = fc.record({
      jumpMs: jump,
      up: fc.boolean(),
      more: fc.nat(50),
      failing: fc.constantFrom('connection', 'lock-timeout', 'slow'),
      reset: fc.nat(9),
      parked: fc.option(fc.nat(9), { nil: undefined }),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (walk) => {
        let [atMs, counts] = [0, client()]
        let memory: Memory | undefined
        for (const { jumpMs, up, more, failing, reset, parked } of walk) {
          atMs += jumpMs
          const { calls: before, failures } = counts
          counts = reset === 0 ? client() : calls(before + more, { failures: { ...failures, [failing]: (failures[failing] ?? 0) + more } })
          memory = afterLooks([at(atMs, counts, { database: up ? answering() : away, parked })], memory)
          expect(unsound(recentOf(memory, start + atMs), start + atMs)).toBe(null)
        }
      }),
      { numRuns: 300 },
    )
  })
})

/** What can not be, in words. */
function unsound({ availability, operations, minutes, parkedHistory }: Recent, nowMs: number): string | null {
  const longest = { hour: 60, day: 1_440, week: 10_080, month: 43_200 }
  for (const [stretch, most] of Object.entries(longest)) {
    const { knownMinutes, upMinutes } = availability[stretch as keyof typeof longest]
    if (knownMinutes > most || upMinutes > knownMinutes || upMinutes < 0) return `${stretch}: ${upMinutes} of ${knownMinutes}`
  }
  const numbers = Object.values(operations).flatMap(({ failures, ...counts }) => [...Object.values(counts), ...Object.values(failures)])
  if (numbers.some((n) => !Number.isInteger(n) || n < 0)) return `counted ${numbers.join()}`
  if (minutes.length !== 60 || minutes.some(({ atMs }) => atMs > nowMs)) return 'minutes ahead of now'
  if (parkedHistory.some(({ atMs }) => atMs > nowMs || atMs < nowMs - 15 * minuteMs)) return 'parked ahead of now'
  return null
}

describe('the item in the state table', () => {
  it('changes nothing that it was given', () => {
    const memory = afterLooks([at(0, calls(1)), at(minuteMs, calls(5, { failures: { slow: 1 } }))])
    const before = JSON.stringify(memory)
    remember(memory, at(2 * minuteMs, calls(9, { failures: { slow: 2 } })))
    expect(JSON.stringify(memory)).toBe(before)
  })

  /** `trouble`: how likely an hour has any, and then in how many of its minutes. */
  function simulated(days: number, trouble: number): Memory {
    const random = seededRandom(11)
    const upTo = (n: number) => Math.floor(random() * n)
    const names = ['connection', 'unanswered', 'lock-timeout', 'contention', 'slow', 'saturated']
    const counts = newTally()
    let [memory, isBad]: [Memory | undefined, boolean] = [undefined, false]
    let [commits, batches] = [0, 0]
    for (let minute = 0; minute < days * 24 * 60; minute++) {
      if (minute % 60 === 0) isBad = random() < trouble
      const isDown = isBad && random() < 0.5
      counts.calls += 60
      counts.attempts += 60
      counts.succeeded += 60
      if (isDown) {
        counts.succeeded -= 12
        counts.refused += upTo(6)
        counts.attempts += 12
        counts.retries += upTo(12)
        counts.rollbacks += upTo(5)
        counts.reconnections += upTo(5)
        counts.poolResets += upTo(2)
        const name = names[upTo(names.length)] as string
        counts.failures[name] = (counts.failures[name] ?? 0) + 12
      }
      for (let call = 0; call < 40; call++) {
        const bucket = 12 + upTo(15)
        counts.latency[bucket] = (counts.latency[bucket] ?? 0) + 1
      }
      commits += 500 + upTo(100)
      batches += 8
      const counters = { commits, rollbacks: minute, blocksHit: 900 * commits, blocksRead: commits, tempBytes: 1_000 * commits }
      const seen = observed({
        atMs: start + minute * minuteMs,
        collectors: {
          trades: collectorState({
            client: counts,
            batches: { count: batches, rows: 90 * batches, waitedMs: 400 * batches, sourceLimited: 3, sourceLimitedRows: 200 },
          }),
        },
        parked: isDown ? upTo(500) : 0,
        database: isDown ? away : answering({ counters, server: { startedAtMs: start - dayMs } }),
      })
      memory = remember(memory, seen)
    }
    if (!memory) throw new Error('no look')
    return memory
  }

  const bytesOf = (memory: Memory) => JSON.stringify(memory).length

  it('is small after 30 days of a look a minute, and has every minute of them', () => {
    const memory = simulated(30, 1 / 168)
    expect(bytesOf(memory)).toBeLessThan(4_500)
    const { month } = recentOf(memory, start + 30 * dayMs - minuteMs).availability
    expect(month.knownMinutes).toBe(43_200)
    // four or five bad hours, half of their minutes
    expect(43_200 - month.upMinutes).toBeGreaterThan(30)
    expect(43_200 - month.upMinutes).toBeLessThan(300)
  })

  it('is no larger than a few units of a write where every third hour is bad, or nothing but trouble comes for days', () => {
    expect(bytesOf(simulated(4, 1 / 3))).toBeLessThan(6_500)
    expect(bytesOf(simulated(4, 1))).toBeLessThan(9_000)
  })
})
