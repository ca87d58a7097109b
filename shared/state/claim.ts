// One run of a collector at a time, once for each tick that is due: the protocol over an item `collector:<name>`.
//
//   claim   a tick of the schedule, or a person, asks to run. It takes a lease under the run's id, which is made from the schedule's own time:
//           the same tick delivered twice, or sent again because its answer was lost, is the same run and gets the same answer.
//   finish  the lease's holder says how it went and lets go. Nobody else changes anything.
//
// A run that dies leaves its lease behind. Once that has ended, any tick may run at once, because nothing says that the work was done.
// How often a tick is due follows the contention that all collectors meet together: see adaptive-interval.
//
// Due is decided on the grid of scheduled times, with half a tick of tolerance and in whole ticks. Without the tolerance +-10 s of jitter
// loses a third of the ticks; without whole ticks a factor of 1.5 flaps between one tick and two.

import type { BatchCounts, RunOutcome } from '../model.ts'
import { adaptInterval, pooledOf, type Pace } from '../resilience/adaptive-interval.ts'
import { sumOfCounts, type ClientCounts } from '../resilience/client-metrics.ts'
import type { Decision } from './state-table.ts'

export type CollectorState = {
  /** The scheduled time from which a tick is due. */
  readonly nextDueAtMs: number
  /** 1: every tick. Stretched while writers contend. */
  readonly intervalFactor: number
  /** What the next decision about that looks back to. */
  readonly pace?: Pace
  /** Consecutive runs in which fetching or parsing failed. */
  readonly fetchFailures: number
  readonly cooldownUntilMs: number | null
  readonly lease?: { readonly runId: string; readonly untilMs: number }
  /** Where the collector's streams stand; its own JSON. Moves only behind rows that are committed or parked. */
  readonly cursor: unknown
  readonly lastSuccessAtMs: number | null
  readonly lastOutcome: RunOutcome | null
  readonly lastRunId: string | null
  /** What its runs asked of the database, in all instances and since ever: whoever reads it twice knows what came between. */
  readonly client?: ClientCounts
  /** What its runs wrote or parked, and how long it had waited: as `client`, in all instances and since ever. */
  readonly batches?: BatchCounts
}

/** What a run's end needs to know of the others to set the pace. */
export type Pacing = {
  readonly others: readonly CollectorState[]
  /** The database's. */
  readonly isCircuitClosed: boolean
  /** Intervals are stretched by this at most. 1: never. */
  readonly maxFactor: number
  readonly baseIntervalMs: number
}

export type ClaimResult =
  | { readonly verdict: 'run'; readonly cursor: unknown }
  /** `untilMs`: when asking again makes sense. */
  | { readonly verdict: 'not-due' | 'leased' | 'cooldown'; readonly untilMs: number }

export type CooldownRules = {
  /** Consecutive fetch or parse failures that put a collector into cooldown. */
  readonly fetchFailures: number
  readonly cooldownForMs: number
}

export const cooldownRules: CooldownRules = { fetchFailures: 5, cooldownForMs: 60_000 }

const neverRun: CollectorState = {
  nextDueAtMs: 0,
  intervalFactor: 1,
  fetchFailures: 0,
  cooldownUntilMs: null,
  cursor: null,
  lastSuccessAtMs: null,
  lastOutcome: null,
  lastRunId: null,
}

/**
 * May this run start? A run that holds the lease already is told to run again, with the same cursor.
 * `force` (by hand) passes over due and cooldown and leaves the schedule as it is, but never runs beside another run.
 */
export function claim(
  stored: CollectorState | undefined,
  run: {
    runId: string
    scheduledAtMs: number
    nowMs: number
    baseIntervalMs: number
    leaseForMs: number
    force?: boolean
    /** Of the settings as they are now: a smaller one holds at once. */
    maxFactor?: number
  },
): Decision<CollectorState, ClaimResult> {
  const { runId, scheduledAtMs, nowMs, baseIntervalMs, leaseForMs, force = false, maxFactor = Infinity } = run
  const state = stored ?? neverRun
  const { lease, cooldownUntilMs, cursor } = state
  if (lease && isLive(lease.untilMs, nowMs, leaseForMs)) {
    const result = lease.runId === runId ? ({ verdict: 'run', cursor } as const) : ({ verdict: 'leased', untilMs: lease.untilMs } as const)
    return { data: undefined, result }
  }
  const claimed = { ...state, lease: { runId, untilMs: nowMs + leaseForMs } }
  if (force) return { data: claimed, result: { verdict: 'run', cursor } }
  if (cooldownUntilMs !== null && cooldownUntilMs > nowMs)
    return { data: undefined, result: { verdict: 'cooldown', untilMs: cooldownUntilMs } }
  const intervalMs = wholeTicks(Math.min(state.intervalFactor, maxFactor)) * baseIntervalMs
  const wasLost = lease !== undefined
  if (!wasLost && !isDue(state.nextDueAtMs, { scheduledAtMs, nowMs, baseIntervalMs, intervalMs })) {
    return { data: undefined, result: { verdict: 'not-due', untilMs: state.nextDueAtMs } }
  }
  return { data: { ...claimed, nextDueAtMs: scheduledAtMs + intervalMs }, result: { verdict: 'run', cursor } }
}

/**
 * The lease's holder has ended, in time or not. Answers false, and changes nothing, for a run whose lease has gone to another:
 * its rows are in, but the other run's cursor decides. A `cursor` left out stays as it is, and so does the interval without `pacing`.
 */
export function finish(
  stored: CollectorState | undefined,
  run: {
    runId: string
    outcome: RunOutcome
    cursor?: unknown
    client?: ClientCounts
    batches?: BatchCounts
    pacing?: Pacing
    nowMs: number
    rules?: CooldownRules
  },
): Decision<CollectorState, { readonly finished: boolean }> {
  const { runId, outcome, cursor, client, batches, pacing, nowMs, rules = cooldownRules } = run
  if (stored?.lease?.runId !== runId) return { data: undefined, result: { finished: false } }
  const { lease: _released, ...kept } = stored
  const state: CollectorState = {
    ...kept,
    lastOutcome: outcome,
    lastRunId: runId,
    ...(cursor === undefined ? {} : { cursor }),
    ...(client === undefined ? {} : { client: sumOfCounts(stored.client, client) }),
    ...(batches === undefined ? {} : { batches: sumOfBatches(stored.batches, batches) }),
  }
  const next = pacing ? { ...state, ...paced(state, pacing, nowMs) } : state
  return { data: { ...next, ...consequences(next, outcome, nowMs, rules) }, result: { finished: true } }
}

/**
 * One factor for all: whoever decided last has it in its item, and the others take it over when they end. With a factor of its own each
 * collector would drift away from the others, and the fast ones would keep what they have (simulated: Jain's fairness 0.62).
 * The next run comes by the new factor already: else it would be judged by locks that the old one caused, and stretch again.
 */
function paced(state: CollectorState, pacing: Pacing, nowMs: number): Pick<CollectorState, 'intervalFactor' | 'pace' | 'nextDueAtMs'> {
  const { others, isCircuitClosed, maxFactor, baseIntervalMs } = pacing
  const last = others.reduce((newest, other) => ((other.pace?.sinceMs ?? 0) > (newest.pace?.sinceMs ?? 0) ? other : newest), state)
  const pooled = pooledOf([state, ...others].map(({ client }) => client))
  const next = adaptInterval({ intervalFactor: last.intervalFactor, pace: last.pace, pooled, nowMs, isCircuitClosed, maxFactor })
  const moreTicks = wholeTicks(next.intervalFactor) - wholeTicks(state.intervalFactor)
  return { ...next, nextDueAtMs: state.nextDueAtMs + moreTicks * baseIntervalMs }
}

const sumOfBatches = (a: BatchCounts | undefined, b: BatchCounts): BatchCounts =>
  a === undefined
    ? b
    : {
        count: a.count + b.count,
        rows: a.rows + b.rows,
        waitedMs: a.waitedMs + b.waitedMs,
        sourceLimited: a.sourceLimited + b.sourceLimited,
        sourceLimitedRows: a.sourceLimitedRows + b.sourceLimitedRows,
      }

function consequences(state: CollectorState, outcome: RunOutcome, nowMs: number, rules: CooldownRules): Partial<CollectorState> {
  switch (outcome) {
    case 'complete':
      return { fetchFailures: 0, cooldownUntilMs: null, lastSuccessAtMs: nowMs }
    case 'partial':
      // some came, some did not: neither a success nor one failure more
      return {}
    case 'failed': {
      const fetchFailures = state.fetchFailures + 1
      return { fetchFailures, cooldownUntilMs: fetchFailures >= rules.fetchFailures ? nowMs + rules.cooldownForMs : null }
    }
    case 'deferred':
      return { nextDueAtMs: Math.min(state.nextDueAtMs, nowMs) }
    default:
      return outcome satisfies never
  }
}

const wholeTicks = (intervalFactor: number) => Math.max(1, Math.round(intervalFactor))

/** A lease that ends later than any caller could have asked was taken before the clock jumped back; it has no holder to wait for. */
const isLive = (untilMs: number, nowMs: number, leaseForMs: number) => untilMs > nowMs && untilMs - nowMs <= 2 * leaseForMs

/**
 * A due time that is further from now than one interval was set under a longer interval or before the clock jumped back: it is due.
 * From now, not from the scheduled time: an old tick that is delivered late must not look like that.
 */
function isDue(nextDueAtMs: number, tick: { scheduledAtMs: number; nowMs: number; baseIntervalMs: number; intervalMs: number }): boolean {
  const toleranceMs = tick.baseIntervalMs / 2
  return nextDueAtMs - tick.scheduledAtMs <= toleranceMs || nextDueAtMs - tick.nowMs > tick.intervalMs + toleranceMs
}
