// What the alerts remember, and by which rules: the item `alerts` of the state table. Bounded, whatever happens.

import { type Course, type CourseRules, courseRules } from './course.ts'
import type { Incident } from './incident.ts'
import type { AlertMessage } from './notifier.ts'

/** Decided, not yet known to be sent. */
export type Pending = { readonly id: number; readonly message: AlertMessage; readonly leaseUntilMs: number }

/** Mutes what is sent, not what is found. What happened meanwhile is told at its end. */
export type Silence = { readonly sinceMs: number; readonly untilMs: number; readonly reason: string }

export type AlertState = {
  /** By fingerprint; those in order are not in here. */
  readonly courses: Readonly<Record<string, Course>>
  readonly outbox: readonly Pending[]
  /** Messages so far: the number of the last one. */
  readonly messages: number
  readonly silence: Silence | null
  /** When something critical was up last. */
  readonly criticalAtMs: number | null
  readonly incident: Incident | null
  /** The last ones, newest first. */
  readonly incidents: readonly Incident[]
}

export const quiet: AlertState = {
  courses: {},
  outbox: [],
  messages: 0,
  silence: null,
  criticalAtMs: null,
  incident: null,
  incidents: [],
}

export type AlertRules = CourseRules & {
  /** Longer than sending takes with its retries, shorter than the health check's tick: the next one finishes. */
  readonly sendForMs: number
  readonly remindAfterMs: number
  readonly repeatCriticalMs: number
  readonly repeatWarningMs: number
  /** How long something critical keeps warnings back. An hour into an outage they are worth reading. */
  readonly shadowForMs: number
  /** How long the end of something critical waits for what is parked, and for what else is critical. */
  readonly settleForMs: number
  /** An alert that nobody could look at for so long is over. */
  readonly forgetAfterMs: number
  /** A warning waits for company so long: when it becomes critical, or is over, it needs no mail of its own. */
  readonly gatherForMs: number
  /** By check: how long it goes on being bad when all is well again. What an outage left in its figures was told with the outage. */
  readonly looksBackMs: Readonly<Record<string, number>>
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs

export const alertRules: AlertRules = {
  ...courseRules,
  sendForMs: 30_000,
  remindAfterMs: 30 * minuteMs,
  repeatCriticalMs: 4 * hourMs,
  repeatWarningMs: 24 * hourMs,
  gatherForMs: 2 * minuteMs,
  shadowForMs: hourMs,
  settleForMs: 10 * minuteMs,
  forgetAfterMs: 48 * hourMs,
  looksBackMs: {
    // a database that is back has its circuit open until the next probe
    circuit: minuteMs,
    'error-rate': 5 * minuteMs,
    'success-rate': 5 * minuteMs,
    availability: 5 * minuteMs,
    'lock-retry-rate': 5 * minuteMs,
    'lock-wait': 5 * minuteMs,
    reconnections: 5 * minuteMs,
    rollbacks: 5 * minuteMs,
    'query-latency': hourMs,
    'batch-efficiency': hourMs,
    deadlocks: hourMs,
    conflicts: hourMs,
    'temp-bytes': hourMs,
    'rollback-ratio': hourMs,
    sessions: hourMs,
    'error-budget': 6 * hourMs,
    freshness: 10 * minuteMs,
  },
}

/** Bounds of the item, whatever happens: a few KB. The worst are kept; the others are in the report. */
export const maxCourses = 16
export const maxOutbox = 3
export const maxIncidents = 5

/** By fingerprint: since when it is bad. For the report. */
export function sinceByFingerprint({ courses }: AlertState = quiet): Readonly<Record<string, number>> {
  const since = Object.entries(courses).map(
    ([key, course]) => [key, course.state === 'watched' ? course.badSinceMs : course.sinceMs] as const,
  )
  return Object.fromEntries(since.filter((entry): entry is readonly [string, number] => entry[1] !== null))
}

/** A clock that was set back ends a silence: better told than forgotten. */
export const isSilent = ({ sinceMs, untilMs }: Silence, nowMs: number) => nowMs >= sinceMs - minuteMs && nowMs < untilMs
