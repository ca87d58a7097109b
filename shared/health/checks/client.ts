// What the collectors' own operations met: errors, retries, reconnections, latency, how full their batches were, the error budget.
//
// What is summed over an hour would go on saying "too many" for an hour after all is well again. So an hour's sum is a warning only while the
// last minutes add to it; after that it is worth reading and nothing more.

import { wordsOfClass } from '../../resilience/failure-words.ts'
import type { Availability, Operations, Recent } from '../memory/memory.ts'
import { counted, forShare, forTime } from './figures.ts'
import { above, below, info, type Judged, type Judges, type Look, ok, rounded, skipped } from './judge.ts'

/** Calls that were made: what an open circuit refused says nothing about the database. */
export const madeIn = ({ calls, refused }: Operations) => Math.max(0, calls - refused)
/** 0..1; null when nothing was done. */
export const errorShare = (operations: Operations) => {
  const made = madeIn(operations)
  return made === 0 ? null : Math.min(1, operations.failed / made)
}
/** 0..1; null when no minute is known. */
export const upShare = ({ knownMinutes, upMinutes }: Availability) => (knownMinutes === 0 ? null : Math.min(1, upMinutes / knownMinutes))

const failuresByClass = ({ failures }: Operations) =>
  Object.entries(failures)
    .filter(([, count]) => count > 0)
    .toSorted(([, a], [, b]) => b - a)

const failureLines = (operations: Operations) =>
  failuresByClass(operations)
    .slice(0, 3)
    .map(([name, count]) => `${counted(count, 'attempt')} failed: ${name}. ${wordsOfClass(name)?.meaning ?? ''}`.trimEnd())

function failureAction(operations: Operations): string {
  const name = failuresByClass(operations)[0]?.[0]
  return wordsOfClass(name ?? '')?.action ?? 'Look at the log of the collectors.'
}

const errorRate = ({ operations }: Recent, { settings }: Look): Judged => {
  const seen = operations.fiveMinutes
  const share = errorShare(seen)
  if (share === null) return skipped('No operation in the last 5 minutes.', 'Nothing: it is judged when there is one.', { unit: '%' })
  const measured = above(100 * share, { critical: settings.health.thresholds.errorRatePercent })
  // one failed call of three is no rate
  const isFew = seen.failed < 3
  return {
    ...measured,
    ...(isFew ? { severity: 'ok', isClear: true } : {}),
    unit: '%',
    message: `${seen.failed} of ${counted(madeIn(seen), 'operation')} failed in the last 5 minutes (${forShare(share)}).`,
    action: failureAction(seen),
    evidence: failureLines(seen),
  }
}

const successRate = ({ operations }: Recent, { settings }: Look): Judged => {
  const seen = operations.hour
  const made = madeIn(seen)
  const share = errorShare(seen)
  if (share === null || made < 20)
    return skipped(`Only ${counted(made, 'operation')} in the last hour.`, 'Nothing: from 20 on it is judged.', { unit: '%' })
  const limit = settings.health.thresholds.successRatePercent
  const measured = below(100 * (1 - share), { critical: limit }, 100)
  const message = `${forShare(1 - share)} of ${made} operations succeeded in the last hour.`
  if (measured.severity === 'critical' && operations.fiveMinutes.failed === 0) return over(measured, '%', message)
  return { ...measured, unit: '%', message, action: failureAction(seen), evidence: failureLines(seen) }
}

const over = (measured: Pick<Judged, 'value' | 'limits'>, unit: NonNullable<Judged['unit']>, message: string): Judged =>
  info(message, 'Nothing: it is over, the last 5 minutes are clean.', { value: measured.value, limits: measured.limits ?? {}, unit })

const availability = ({ availability: known, minutes }: Recent, { settings }: Look): Judged => {
  const { knownMinutes, upMinutes } = known.hour
  const share = upShare(known.hour)
  if (share === null || knownMinutes < 10)
    return skipped(
      `Only ${counted(knownMinutes, 'minute')} of the last hour ${knownMinutes === 1 ? 'is' : 'are'} known.`,
      'Nothing: from 10 on it is judged.',
      {
        unit: '%',
      },
    )
  const measured = below(100 * share, { critical: settings.health.thresholds.availabilityPercent }, 100)
  const message = `The database answered in ${upMinutes} of ${knownMinutes} known minutes of the last hour (${forShare(share)}).`
  const isOver = minutes.slice(-5).every(({ isUp }) => isUp !== false)
  if (measured.severity === 'critical' && isOver) return over(measured, '%', message)
  return { ...measured, unit: '%', message, action: 'It comes and goes: look at the host, the network, and connection limits.' }
}

const queryLatency = ({ latency }: Recent, { settings }: Look): Judged => {
  if (latency === null || latency.count < 20)
    return skipped(`Only ${counted(latency?.count ?? 0, 'measured call')} in the last hour.`, 'Nothing: from 20 on it is judged.', {
      unit: 'ms',
    })
  return {
    ...above(latency.p95Ms, { warning: settings.health.thresholds.queryMs }),
    unit: 'ms',
    message: `95 of 100 calls took at most ${forTime(latency.p95Ms)} in the last hour, half of them at most ${forTime(latency.p50Ms)}.`,
    action: 'Look for load, locks and missing indexes; run in the same region as the database.',
  }
}

const lockRetryRate = ({ operations }: Recent, { settings }: Look): Judged => {
  const { contended, attempts } = operations.hour
  if (attempts < 30)
    return skipped(`Only ${counted(attempts, 'attempt')} in the last hour.`, 'Nothing: from 30 on it is judged.', { unit: '%' })
  const share = Math.min(1, contended / attempts)
  const limit = settings.health.thresholds.lockRetryPercent
  const measured = above(100 * share, { warning: limit, critical: 2 * limit })
  const message = `${forShare(share)} of ${attempts} attempts met a lock, a deadlock or a serialization failure in the last hour.`
  if (measured.severity !== 'ok' && operations.fiveMinutes.contended === 0 && operations.fiveMinutes.attempts > 0)
    return over(measured, '%', message)
  return {
    ...measured,
    unit: '%',
    message,
    action: 'Something else writes the same rows, or holds locks for long. Collectors space out by themselves meanwhile.',
  }
}

/** A count over the hour. */
const perHour =
  (count: (operations: Operations) => number, words: { one: string; many: string; action: string }, limitOf: (look: Look) => number) =>
  ({ operations }: Recent, look: Look): Judged => {
    const measured = above(count(operations.hour), { warning: limitOf(look) })
    const message = `${counted(count(operations.hour), words.one, words.many)} in the last hour.`
    if (measured.severity !== 'ok' && count(operations.fiveMinutes) === 0) return over(measured, 'count', message)
    return { ...measured, unit: 'count', message, action: words.action }
  }

const reconnections = perHour(
  (operations) => operations.reconnections,
  {
    one: 'connection had to be made again',
    many: 'connections had to be made again',
    action: "Look for network trouble, restarts, a proxy that closes idle connections, or the server's log.",
  },
  ({ settings }) => settings.health.thresholds.reconnectionsPerHour,
)

const rollbacks = perHour(
  (operations) => operations.rollbacks,
  {
    one: 'transaction was rolled back',
    many: 'transactions were rolled back',
    action: 'Look for locks, deadlocks and refused rows in the log of the collectors.',
  },
  ({ settings }) => settings.health.thresholds.rollbacksPerHour,
)

/** Of batches whose source had more to give, the average rows as a share of batch.maxRows, 0..1; null when there were none. */
export function batchFill({ batches }: Recent, { settings }: Pick<Look, 'settings'>): number | null {
  const count = batches.count - batches.sourceLimited
  return count > 0 ? Math.min(1, Math.max(0, batches.rows - batches.sourceLimitedRows) / count / settings.batch.maxRows) : null
}

const batchEfficiency = (recent: Recent, look: Look): Judged => {
  const { count, sourceLimited } = recent.batches
  const share = batchFill(recent, look)
  if (share === null || count - sourceLimited < 20)
    return skipped(
      `Only ${counted(Math.max(0, count - sourceLimited), 'batch', 'batches')} of the last hour had more to come.`,
      'Nothing: a batch with all that the source had is as large as it can be; from 20 others on it is judged.',
      { unit: '%' },
    )
  return {
    ...below(100 * share, { warning: look.settings.health.thresholds.batchFillPercent }),
    unit: '%',
    message: `Batches are filled to ${forShare(share)} of ${look.settings.batch.maxRows} rows on average.`,
    action: 'Raise batch.maxWaitMs, so that fewer and fuller transactions are made.',
  }
}

/** Both windows must burn: the long one says that it matters, the short one that it goes on. From Google's SRE workbook, for 30 days. */
const burnRules = [
  { burn: 14.4, long: 'hour', short: 'fiveMinutes', severity: 'critical', words: 'an hour' },
  { burn: 6, long: 'sixHours', short: 'halfHour', severity: 'warning', words: '6 hours' },
  { burn: 1, long: 'threeDays', short: 'sixHours', severity: 'warning', words: '3 days' },
] as const
/** Fewer are an accident, whatever their rate. */
const leastErrors = 10

const errorBudget = ({ operations, availability: known }: Recent, { settings }: Look): Judged => {
  const allowed = 1 - settings.health.targetPercent / 100
  const burnOf = (window: keyof Recent['operations']) => (errorShare(operations[window]) ?? 0) / allowed
  const left = budgetLeft(known.month, allowed)
  const rest = left === null ? '' : ` ${forShare(left)} of the error budget of 30 days are left.`
  const hot = burnRules.find(
    ({ burn, long, short }) => burnOf(long) > burn && burnOf(short) > burn && operations[long].failed >= leastErrors,
  )
  if (hot) {
    return {
      severity: hot.severity,
      value: rounded(burnOf(hot.long)),
      limits: { [hot.severity]: hot.burn },
      isClear: false,
      message: `Over ${hot.words} operations failed ${rounded(burnOf(hot.long))} times as often as ${settings.health.targetPercent} % allows.${rest}`,
      action: failureAction(operations[hot.long]),
      evidence: failureLines(operations[hot.long]),
    }
  }
  const made = madeIn(operations.threeDays)
  if (made === 0) return skipped('No operation in the last 3 days.', 'Nothing: it is judged when there is one.')
  const isClear = burnRules.every(
    ({ burn, long, short }) => Math.min(burnOf(long), burnOf(short)) <= 0.8 * burn || operations[long].failed < leastErrors,
  )
  return ok(`Operations fail less often than ${settings.health.targetPercent} % allows.${rest}`, {
    value: rounded(burnOf('threeDays')),
    isClear,
  })
}

/** Of 30 days, 0..1; null when no minute is known. A minute that nobody knows uses none of it. */
export function budgetLeft(month: Availability, allowed: number): number | null {
  const share = upShare(month)
  return share === null ? null : Math.min(1, Math.max(0, 1 - (1 - share) / allowed))
}

export const clientChecks: Judges<Recent> = {
  'error-rate': errorRate,
  'success-rate': successRate,
  availability,
  'query-latency': queryLatency,
  'lock-retry-rate': lockRetryRate,
  reconnections,
  rollbacks,
  'batch-efficiency': batchEfficiency,
  'error-budget': errorBudget,
}
