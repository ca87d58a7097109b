// What `tokay db-monitor` makes of its looks: a sample of each, which thresholds are crossed since when, and the sums of all of them. Pure.

import type { CircuitWord } from '../shared/health/checks/circuit.ts'
import { circuitWord } from '../shared/health/checks/circuit.ts'
import type { Look } from '../shared/health/checks/judge.ts'
import { isUnseen, type Observation, type Vitals } from '../shared/health/observation.ts'

/** Null: not known. Rates are since the look before; without one there are none. */
export type Sample = {
  readonly atMs: number
  readonly isUp: boolean
  /** Why it does not answer, or what could not be seen. */
  readonly problem: string | null
  readonly connectMs: number | null
  /** The whole round trip of the look. */
  readonly queryMs: number | null
  /** Of the session that waits longest now; 0 when none does. */
  readonly lockWaitMs: number | null
  readonly waiting: number | null
  readonly sessionsUsed: number | null
  readonly sessionsUsable: number | null
  /** Two or three of them are the look's own. */
  readonly transactionsPerS: number | null
  /** 0..1, of the blocks that were asked for. */
  readonly cacheHitShare: number | null
  readonly oldestTransactionMs: number | null
  readonly circuit: CircuitWord | null
  readonly parked: number | null
}

/** What the server's counters moved by between two looks; null when they can't be compared. */
export type Growth = Readonly<Record<'commits' | 'rollbacks' | 'deadlocks' | 'tempBytes', number>> & {
  readonly blocksHit: number
  readonly blocksRead: number
  readonly forMs: number
}

export const vitalsOf = ({ database }: Observation): Vitals | null =>
  database.kind === 'answers' && !isUnseen(database.vitals) ? database.vitals : null

export function growthBetween(before: Vitals | null, now: Vitals | null): Growth | null {
  if (before === null || now === null) return null
  const isSame = before.server.startedAtMs === now.server.startedAtMs && before.counters.statsResetAtMs === now.counters.statsResetAtMs
  const forMs = now.server.nowMs - before.server.nowMs
  if (!isSame || forMs <= 0) return null
  const grown = (name: 'commits' | 'rollbacks' | 'deadlocks' | 'tempBytes' | 'blocksHit' | 'blocksRead') =>
    Math.max(0, now.counters[name] - before.counters[name])
  return {
    commits: grown('commits'),
    rollbacks: grown('rollbacks'),
    deadlocks: grown('deadlocks'),
    tempBytes: grown('tempBytes'),
    blocksHit: grown('blocksHit'),
    blocksRead: grown('blocksRead'),
    forMs,
  }
}

export function sampleOf({ observation }: Pick<Look, 'observation'>, growth: Growth | null): Sample {
  const { atMs, database, stateAnswers, breaker, parked } = observation
  const vitals = vitalsOf(observation)
  const answer = database.kind === 'answers' ? database : null
  const blocks = growth ? growth.blocksHit + growth.blocksRead : 0
  return {
    atMs,
    isUp: answer !== null,
    problem: problemOf(observation),
    connectMs: answer?.connectMs ?? null,
    queryMs: answer?.queryMs ?? null,
    lockWaitMs: vitals && Math.max(0, ...vitals.blocked.map(({ waitMs }) => waitMs)),
    waiting: vitals && vitals.blockedCount,
    sessionsUsed: vitals && vitals.connections.used,
    sessionsUsable: vitals && vitals.connections.max - vitals.connections.reserved,
    transactionsPerS: growth && Math.round((10_000 * (growth.commits + growth.rollbacks)) / growth.forMs) / 10,
    cacheHitShare: growth && blocks > 0 ? growth.blocksHit / blocks : null,
    oldestTransactionMs: vitals && vitals.activity.oldestTransactionMs,
    circuit: stateAnswers ? circuitWord(breaker, atMs) : null,
    parked: parked ?? null,
  }
}

function problemOf({ database }: Observation): string | null {
  switch (database.kind) {
    case 'unreachable':
      return `${database.message} (${database.failure})`
    case 'not-asked':
      return database.why
    case 'answers':
      return isUnseen(database.vitals) ? database.vitals.unseen : null
    default:
      return database satisfies never
  }
}

export type Thresholds = { readonly lockWaitMs: number; readonly queryMs: number }

export const crossings = ['away', 'lock wait', 'query time'] as const
export type Crossing = (typeof crossings)[number]

/** Crossed now: since when, and the worst value. Of `away` the value is how long. */
export type Raised = Readonly<Partial<Record<Crossing, { readonly sinceMs: number; readonly worstMs: number }>>>

export type AlertNews = {
  readonly what: Crossing
  readonly state: 'began' | 'ended'
  readonly atMs: number
  readonly sinceMs: number
  readonly worstMs: number
}

/** At the threshold itself it is still well. What is not known leaves an alert as it is. */
export function follow(raised: Raised, sample: Sample, thresholds: Thresholds): { raised: Raised; news: readonly AlertNews[] } {
  const { atMs } = sample
  const news: AlertNews[] = []
  const next: Partial<Record<Crossing, { sinceMs: number; worstMs: number }>> = {}
  for (const what of crossings) {
    const before = raised[what]
    const value = valueOf(what, sample, before?.sinceMs)
    if (value === null ? before !== undefined : value > limitOf(what, thresholds)) {
      const now = { sinceMs: before?.sinceMs ?? atMs, worstMs: Math.max(before?.worstMs ?? 0, value ?? 0) }
      next[what] = now
      if (before === undefined) news.push({ what, state: 'began', atMs, ...now })
    } else if (before !== undefined) news.push({ what, state: 'ended', atMs, ...before })
  }
  return { raised: next, news }
}

function valueOf(what: Crossing, { isUp, atMs, lockWaitMs, queryMs }: Sample, sinceMs: number | undefined): number | null {
  switch (what) {
    case 'away':
      return isUp ? -1 : atMs - (sinceMs ?? atMs)
    case 'lock wait':
      return lockWaitMs
    case 'query time':
      return queryMs
    default:
      return what satisfies never
  }
}

/** Away is crossed from its first moment on. */
export function limitOf(what: Crossing, { lockWaitMs, queryMs }: Thresholds): number {
  if (what === 'away') return -1
  return what === 'lock wait' ? lockWaitMs : queryMs
}

export const measured = ['queryMs', 'connectMs', 'lockWaitMs', 'sessionsUsed', 'transactionsPerS', 'parked'] as const
export type Measured = (typeof measured)[number]

export type Spread = { readonly count: number; readonly min: number; readonly max: number; readonly sum: number }

/** Of all samples, however many: their number does not make it grow. */
export type Totals = {
  readonly samples: number
  readonly up: number
  readonly spreads: Readonly<Partial<Record<Measured, Spread>>>
  readonly alerts: Readonly<Record<Crossing, number>>
  readonly grown: Readonly<Record<'commits' | 'rollbacks' | 'deadlocks' | 'tempBytes', number>>
}

export const nothingYet: Totals = {
  samples: 0,
  up: 0,
  spreads: {},
  alerts: { away: 0, 'lock wait': 0, 'query time': 0 },
  grown: { commits: 0, rollbacks: 0, deadlocks: 0, tempBytes: 0 },
}

export function addTo(totals: Totals, sample: Sample, growth: Growth | null, news: readonly AlertNews[]): Totals {
  const spreads = { ...totals.spreads }
  for (const name of measured) {
    const value = sample[name]
    if (value === null) continue
    const { count, min, max, sum } = spreads[name] ?? { count: 0, min: value, max: value, sum: 0 }
    spreads[name] = { count: count + 1, min: Math.min(min, value), max: Math.max(max, value), sum: sum + value }
  }
  const began = (what: Crossing) => news.filter((one) => one.what === what && one.state === 'began').length
  const { alerts, grown } = totals
  return {
    samples: totals.samples + 1,
    up: totals.up + Number(sample.isUp),
    spreads,
    alerts: {
      away: alerts.away + began('away'),
      'lock wait': alerts['lock wait'] + began('lock wait'),
      'query time': alerts['query time'] + began('query time'),
    },
    grown: growth
      ? {
          commits: grown.commits + growth.commits,
          rollbacks: grown.rollbacks + growth.rollbacks,
          deadlocks: grown.deadlocks + growth.deadlocks,
          tempBytes: grown.tempBytes + growth.tempBytes,
        }
      : grown,
  }
}
