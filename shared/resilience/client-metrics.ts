// What a client did, in counts: since its start, for one run, and over the last minutes. A call is one query, transaction or operation; it has
// one attempt or more.
//
// The windows are a ring of buckets of 10 s. A bucket is known by the time that it stands for: after an hour of silence (a frozen container)
// its place is taken over, never added to, and what lies outside a window, also in the future of a clock that jumped back, is not read.

import { addHistogram, type Histogram, type OpenHistogram } from './histogram.ts'

export type ClientCounts = {
  /** Ended, in whatever way. */
  readonly calls: number
  readonly succeeded: number
  /** Calls that a breaker refused before anything was sent. */
  readonly refused: number
  readonly attempts: number
  readonly retries: number
  /** Attempts whose transaction the server rolled back. */
  readonly rollbacks: number
  /** Connections that a failure cost: each had to be made again. */
  readonly reconnections: number
  /** Times that every connection was condemned at once. */
  readonly poolResets: number
  /** Failed attempts by class. */
  readonly failures: Readonly<Record<string, number>>
  /**
   * Of the attempts that succeeded, in whole milliseconds, waiting for a free connection included. Without those that had to connect first:
   * that says more of the way there, and of a database that wakes, than of how it answers.
   */
  readonly latency: Histogram
}

/** The counts that are plain numbers. */
export type CountField = Exclude<keyof ClientCounts, 'failures' | 'latency'>

/** Where the client counts as it goes. One run's own tally is made with `newTally` and given along with each call. */
export type ClientTally = { -readonly [Field in CountField]: number } & {
  readonly failures: Record<string, number>
  readonly latency: OpenHistogram
}

/** Failed attempts that were contention: locks, deadlocks, serialization. */
export const contendedIn = ({ failures }: Pick<ClientCounts, 'failures'>) => (failures['contention'] ?? 0) + (failures['lock-timeout'] ?? 0)

/** Calls that failed for good: neither succeeded nor refused by an open circuit. */
export const failedIn = ({ calls, succeeded, refused }: Pick<ClientCounts, 'calls' | 'succeeded' | 'refused'>) =>
  calls - succeeded - refused

export const newTally = (): ClientTally => ({
  calls: 0,
  succeeded: 0,
  refused: 0,
  attempts: 0,
  retries: 0,
  rollbacks: 0,
  reconnections: 0,
  poolResets: 0,
  failures: {},
  latency: {},
})

function addCounts(to: ClientTally, more: ClientCounts): void {
  // what an older release has counted has no latency
  const { failures, latency = {}, ...counts } = more
  addHistogram(to.latency, latency)
  for (const [field, count] of Object.entries(counts)) to[field as keyof typeof counts] += count
  for (const [reason, count] of Object.entries(failures)) to.failures[reason] = (to.failures[reason] ?? 0) + count
}

export function sumOfCounts(...all: readonly (ClientCounts | undefined)[]): ClientCounts {
  const sum = newTally()
  for (const counts of all) if (counts) addCounts(sum, counts)
  return sum
}

/** `successRate`: 0..1, of the calls that ended; null when there were none. */
export type WindowMetrics = ClientCounts & { readonly successRate: number | null }

export type ClientMetrics = { readonly last5Minutes: WindowMetrics; readonly lastHour: WindowMetrics }

const bucketForMs = 10_000
const minuteMs = 60_000
const buckets = (60 * minuteMs) / bucketForMs

export type MetricsRing = {
  /** The tally of the bucket that this moment belongs to. */
  at(nowMs: number): ClientTally
  metrics(nowMs: number): ClientMetrics
}

export function createMetricsRing(): MetricsRing {
  // `number`: since the epoch, in buckets
  const ring: { number: number; tally: ClientTally }[] = []
  const numberOf = (atMs: number) => Math.floor(atMs / bucketForMs)
  let current: (typeof ring)[number] = { number: Number.NaN, tally: newTally() }

  /** The current bucket counts as a whole, so that a window is never longer than it says. */
  function within(nowMs: number, windowMs: number): WindowMetrics {
    const newest = numberOf(nowMs)
    const oldest = newest - windowMs / bucketForMs + 1
    const sum = newTally()
    // it passes over places that were never taken
    ring.forEach(({ number, tally }) => {
      if (number >= oldest && number <= newest) addCounts(sum, tally)
    })
    return { ...sum, successRate: sum.calls === 0 ? null : sum.succeeded / sum.calls }
  }

  return {
    at(nowMs) {
      const number = numberOf(nowMs)
      if (current.number === number) return current.tally
      const known = ring[number % buckets]
      current = known?.number === number ? known : { number, tally: newTally() }
      ring[number % buckets] = current
      return current.tally
    },
    metrics: (nowMs) => ({ last5Minutes: within(nowMs, 5 * minuteMs), lastHour: within(nowMs, 60 * minuteMs) }),
  }
}
