// What the health check remembers between its looks: one item `health` of the state table, so that an outage of the database is remembered as well.
// Pure: (memory, what a look saw) -> memory; (memory, now) -> what is recent.
//
//   60 minutes, 72 hours, 30 days    looks known, looks up, and what the clients' calls came to
//   6 stretches of ten minutes       the clients' latencies and batches, and what the server's counters moved by
//
// What clients and server count up is in here once, as the look before saw it (growth.ts); slots are short (slots.ts).

import type { BatchCounts } from '../../model.ts'
import type { ClientCounts } from '../../resilience/client-metrics.ts'
import { countOf, mergeHistograms, percentileMs, type Histogram } from '../../resilience/histogram.ts'
import {
  countedBy,
  countedLast,
  growthOf,
  hasRestarted,
  nothingCounted,
  toBatches,
  toCounters,
  type Counted,
  type Growth,
} from './growth.ts'
import type { Observation } from '../observation.ts'
import { emptyRing, movedTo, slotAt, within, withSlot, type Ring } from './ring.ts'
import { plus, sum, toAvailability, toNumbers, toOperations, type Numbers } from './slots.ts'

/** Of a stretch of time. A minute in which nobody looked is unknown: neither up nor down. */
export type Availability = { readonly knownMinutes: number; readonly upMinutes: number }

/** What the clients of all instances did in a stretch of time. Of latency there is a histogram of its own. */
export type Operations = Omit<ClientCounts, 'latency'> & {
  /** Failed attempts that were contention: locks, deadlocks, serialization. */
  readonly contended: number
  /** Calls that failed for good: neither succeeded nor refused by an open circuit. */
  readonly failed: number
}

/** Percentiles of what the clients measured; null when there was nothing to measure. */
export type Latency = { readonly p50Ms: number; readonly p95Ms: number; readonly p99Ms: number; readonly count: number } | null

export type ServerCounters = Readonly<
  Record<'commits' | 'rollbacks' | 'deadlocks' | 'conflicts' | 'tempBytes' | 'blocksHit' | 'blocksRead' | 'sessionsLost', number>
>

/** What `assess` reads beside the observation. Every stretch ends now, and is never longer than it says: its oldest slot may be cut off. */
export type Recent = {
  readonly availability: Readonly<Record<'hour' | 'day' | 'week' | 'month', Availability>>
  readonly operations: Readonly<Record<'fiveMinutes' | 'halfHour' | 'hour' | 'sixHours' | 'threeDays', Operations>>
  /** Of successful calls in the last hour. */
  readonly latency: Latency
  /** Of the last hour. */
  readonly batches: BatchCounts
  /** Differences of the server's counters over the last hour, as far as they were seen; null when no two looks can be compared. */
  readonly counters: ServerCounters | null
  /** The last hour by minutes, oldest first, the current one last. Null: nobody looked. */
  readonly minutes: readonly { readonly atMs: number; readonly isUp: boolean | null }[]
  /** Since when something is parked, as far as looks tell; null when nothing is. */
  readonly parkedSinceMs: number | null
  /** Of the last quarter of an hour, oldest first, without the minutes that nobody knows. */
  readonly parkedHistory: readonly { readonly atMs: number; readonly parked: number }[]
  /** In the last two minutes a look was the first to see a new start time of the server. */
  readonly wasRestarted: boolean
  /** What the clients did between the last look and the one before. It belongs to one look only, however many are made at once. */
  readonly sinceLastLook: { readonly operations: Operations; readonly latency: Histogram }
}

/** JSON, the item `health`. */
export type Memory = {
  readonly lookedAtMs: number
  /** Of the failures in the slots: they are there as a number in this list, and a count. */
  readonly classes: readonly string[]
  readonly minutes: Ring<Numbers>
  readonly hours: Ring<Numbers>
  readonly days: Ring<Numbers>
  readonly tenMinutes: Ring<TenMinutes>
  /** How many were parked, by minute, and one more: 0 is for nobody knows. */
  readonly parked: Ring<number>
  readonly parkedSinceMs: number | null
  readonly counted: Counted
  readonly restartSeenAtMs: number | null
  readonly sinceLastLook: { readonly counts: Numbers; readonly latency: Histogram }
}

type TenMinutes = { readonly latency?: Histogram; readonly batches?: Numbers; readonly server?: Numbers }

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const sizes = { minutes: 60, hours: 72, days: 30, tenMinutes: 6, parked: 15 } as const

/** Looks at the same time end in any order: one that is older than the last by less is late. More, and the clock was set back. */
const lateForMs = 2 * minuteMs
const restartIsNewsForMs = 2 * minuteMs

const blank: Memory = {
  lookedAtMs: 0,
  classes: [],
  minutes: emptyRing,
  hours: emptyRing,
  days: emptyRing,
  tenMinutes: emptyRing,
  parked: emptyRing,
  parkedSinceMs: null,
  counted: nothingCounted,
  restartSeenAtMs: null,
  sinceLastLook: { counts: [], latency: {} },
}

const numberOf = (atMs: number, slotMs: number) => Math.floor(atMs / slotMs)

/** What a look adds. */
export function remember(memory: Memory | undefined, seen: Observation): Memory {
  const known = memory ?? blank
  const { atMs } = seen
  if (atMs < known.lookedAtMs && known.lookedAtMs - atMs <= lateForMs) return withLateLook(known, seen)
  const now = countedBy(seen)
  const growth = growthOf(known.counted, now)
  const classes = [...new Set([...known.classes, ...Object.keys(growth.operations?.failures ?? {})])]
  const counts = growth.operations ? toNumbers(growth.operations, classes) : []
  const moved = upTo(known, atMs)
  return {
    ...moved,
    ...looked(moved, atMs, isUp(seen, growth.operations), counts),
    ...parkedIn(moved, seen),
    tenMinutes: withGrowth(moved.tenMinutes, numberOf(atMs, 10 * minuteMs), growth),
    counted: countedLast(known.counted, now),
    restartSeenAtMs: hasRestarted(known.counted, now) ? atMs : known.restartSeenAtMs,
    lookedAtMs: atMs,
    classes,
    sinceLastLook: { counts, latency: growth.latency },
  }
}

/** It tells of its minute. What came between two looks was counted by the newer one, and is not told twice. */
const withLateLook = (known: Memory, seen: Observation): Memory => ({
  ...known,
  ...looked(known, seen.atMs, isUp(seen, null), []),
  sinceLastLook: blank.sinceLastLook,
})

const upTo = (memory: Memory, atMs: number): Memory => ({
  ...memory,
  minutes: movedTo(memory.minutes, numberOf(atMs, minuteMs), sizes.minutes),
  hours: movedTo(memory.hours, numberOf(atMs, hourMs), sizes.hours),
  days: movedTo(memory.days, numberOf(atMs, 24 * hourMs), sizes.days),
  tenMinutes: movedTo(memory.tenMinutes, numberOf(atMs, 10 * minuteMs), sizes.tenMinutes),
  parked: movedTo(memory.parked, numberOf(atMs, minuteMs), sizes.parked),
})

/** A minute with several looks was up when all that know say so; in its hour and its day it counts once. */
function looked(
  { minutes, hours, days }: Memory,
  atMs: number,
  up: boolean | null,
  counts: Numbers,
): Pick<Memory, 'minutes' | 'hours' | 'days'> {
  const [minute, hour, day] = [numberOf(atMs, minuteMs), numberOf(atMs, hourMs), numberOf(atMs, 24 * hourMs)]
  const before = slotAt(minutes, minute) || []
  const [knownBefore = 0, upBefore = 0] = before
  const knownNow = up === null ? knownBefore : 1
  const upNow = up === null ? upBefore : up && upBefore >= knownBefore ? 1 : 0
  const availability = [knownNow - knownBefore, upNow - upBefore]
  const added = [...availability, ...counts.slice(availability.length)]
  return {
    minutes: withSlot(minutes, minute, plus(before, added), sizes.minutes),
    hours: withSlot(hours, hour, bounded(plus(slotAt(hours, hour) || [], added), 60), sizes.hours),
    days: withSlot(days, day, bounded(plus(slotAt(days, day) || [], availability), 24 * 60), sizes.days),
  }
}

/** Under a clock that was set back, minutes come a second time. */
function bounded([known = 0, up = 0, ...counts]: Numbers, minutes: number): Numbers {
  const knownAtMost = Math.min(known, minutes)
  return [knownAtMost, Math.max(0, Math.min(up, knownAtMost)), ...counts]
}

/** What is known without asking, where the database was left asleep: the calls of others. A lock that they met is an answer, too. */
export function isUp({ database, breaker }: Observation, operations: Operations | null): boolean | null {
  if (database.kind !== 'not-asked') return database.kind === 'answers'
  const { succeeded = 0, failed = 0, contended = 0 } = operations ?? {}
  if (succeeded > 0 || contended > 0) return true
  return breaker?.state === 'open' || failed > 0 ? false : null
}

function parkedIn({ parked: ring, parkedSinceMs }: Memory, { parked, atMs }: Observation): Pick<Memory, 'parked' | 'parkedSinceMs'> {
  // could not be asked: whatever was so still is, as far as anybody knows
  if (parked === undefined) return { parked: ring, parkedSinceMs }
  if (parked === null) return { parked: ring, parkedSinceMs: null }
  return {
    parked: withSlot(ring, numberOf(atMs, minuteMs), parked + 1, sizes.parked),
    parkedSinceMs: parked === 0 ? null : (parkedSinceMs ?? atMs),
  }
}

function withGrowth(ring: Ring<TenMinutes>, number: number, { latency, batches, server }: Growth): Ring<TenMinutes> {
  const before = slotAt(ring, number) || {}
  const content: TenMinutes = {
    ...before,
    ...(countOf(latency) > 0 ? { latency: mergeHistograms(before.latency, latency) } : {}),
    ...(batches && batches.some((n) => n > 0) ? { batches: plus(before.batches ?? [], batches) } : {}),
    ...(server ? { server: plus(before.server ?? [], server) } : {}),
  }
  return withSlot(ring, number, content, sizes.tenMinutes)
}

/** All that is known at `nowMs`. Without a memory nothing is: no minute, no call. */
export function recentOf(memory: Memory | undefined, nowMs: number): Recent {
  const { minutes, hours, days, tenMinutes, classes, parked, parkedSinceMs, restartSeenAtMs, sinceLastLook } = memory ?? blank
  const minute = numberOf(nowMs, minuteMs)
  const operations = (ring: Ring<Numbers>, newest: number, count: number) => toOperations(within(ring, newest, count), classes)
  const ofHour = within(tenMinutes, numberOf(nowMs, 10 * minuteMs), sizes.tenMinutes)
  const counters = ofHour.flatMap(({ server }) => (server ? [server] : []))
  const hour = numberOf(nowMs, hourMs)
  const day = numberOf(nowMs, 24 * hourMs)
  return {
    availability: {
      hour: toAvailability(within(minutes, minute, 60)),
      day: toAvailability(within(hours, hour, 24)),
      week: toAvailability(within(days, day, 7)),
      month: toAvailability(within(days, day, 30)),
    },
    operations: {
      fiveMinutes: operations(minutes, minute, 5),
      halfHour: operations(minutes, minute, 30),
      hour: operations(minutes, minute, 60),
      sixHours: operations(hours, hour, 6),
      threeDays: operations(hours, hour, 72),
    },
    latency: toLatency(mergeHistograms(...ofHour.map(({ latency }) => latency))),
    batches: toBatches(sum(ofHour.flatMap(({ batches }) => (batches ? [batches] : [])))),
    counters: counters.length === 0 ? null : toCounters(sum(counters)),
    minutes: Array.from({ length: 60 }, (_, n) => {
      const number = minute - 59 + n
      const [known = 0, up = 0] = slotAt(minutes, number) || []
      return { atMs: number * minuteMs, isUp: known === 0 ? null : up > 0 }
    }),
    parkedSinceMs,
    parkedHistory: Array.from({ length: sizes.parked }, (_, n) => minute - sizes.parked + 1 + n).flatMap((number) => {
      const count = slotAt(parked, number)
      return count === 0 ? [] : [{ atMs: number * minuteMs, parked: count - 1 }]
    }),
    wasRestarted: restartSeenAtMs !== null && Math.abs(nowMs - restartSeenAtMs) <= restartIsNewsForMs,
    sinceLastLook: { operations: toOperations([sinceLastLook.counts], classes), latency: sinceLastLook.latency },
  }
}

/** Null when it is empty. */
export function toLatency(histogram: Histogram): Latency {
  const at = (share: number) => percentileMs(histogram, share) ?? 0
  const count = countOf(histogram)
  return count === 0 ? null : { p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99), count }
}
