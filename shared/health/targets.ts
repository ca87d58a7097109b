// The scorecard: what was aimed at when Tokay was begun, and what is measured. It tells nobody; it is for who asks whether it does what it was made for.

import type { Target } from './check.ts'
import { errorShare, upShare } from './checks/client.ts'
import { forShare, forTime } from './checks/figures.ts'
import type { Look } from './checks/judge.ts'
import type { Operations } from './memory/memory.ts'
import { vitalsOf } from './observation.ts'

const aims = { queryMs: 100, lockWaitMs: 50, errorShare: 0.001, recoveryMs: 30_000 }

/** `recoveredInMs`: of the last outage, from the database's return until writes went through again; null when there was none. */
export function targetsOf(look: Look, recoveredInMs: number | null): readonly Target[] {
  const { recent, settings } = look
  const availableShare = settings.health.targetPercent / 100
  return [
    target(
      'availability, 30 days',
      `at least ${forShare(availableShare)}`,
      upShare(recent.availability.month),
      forShare,
      (up) => up >= availableShare,
    ),
    target(
      'query time, median of an hour',
      `under ${forTime(aims.queryMs)}`,
      recent.latency?.p50Ms ?? null,
      forTime,
      (ms) => ms < aims.queryMs,
    ),
    target('lock wait, now', `under ${forTime(aims.lockWaitMs)}`, lockWaitMs(look), forTime, (ms) => ms < aims.lockWaitMs),
    target(
      'error rate, 3 days',
      `under ${forShare(aims.errorShare)}`,
      errorShare(recent.operations.threeDays),
      forShare,
      (share) => share < aims.errorShare,
    ),
    target('recovery, last outage', `under ${forTime(aims.recoveryMs)}`, recoveredInMs, forTime, (ms) => ms < aims.recoveryMs),
  ]
}

function target(
  name: string,
  aim: string,
  value: number | null,
  words: (value: number) => string,
  isMet: (value: number) => boolean,
): Target {
  return { name, target: aim, measured: value === null ? null : words(value), isMet: value === null ? null : isMet(value) }
}

/** The longest that somebody waits now, or that our own writes waited in vain in that stretch, by default the last 5 minutes; null when nobody could look. */
export function lockWaitMs({ observation, recent, settings }: Look, operations: Operations = recent.operations.fiveMinutes): number | null {
  const gaveUpMs = (operations.failures['lock-timeout'] ?? 0) > 0 ? settings.database.lockForMs : null
  const vitals = vitalsOf(observation)
  return vitals === null ? gaveUpMs : Math.max(0, gaveUpMs ?? 0, ...vitals.blocked.map((b) => b.waitMs))
}
