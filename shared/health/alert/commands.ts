// What a person may say to the alerts: be silent for a time, I know of this one. Pure, over the item `alerts`; for `tokay alerts`.

import type { Decision } from '../../state/state-table.ts'
import { isFlapping, phaseOf } from './course.ts'
import { titleOf } from './messages.ts'
import { type AlertState, isSilent, quiet, type Silence } from './state.ts'
import { plainLine } from './words.ts'

export type ListedAlert = {
  readonly fingerprint: string
  readonly title: string
  /** Of what is ok but was told within the hour as well: it fires again sooner than it is forgotten. */
  readonly phase: ReturnType<typeof phaseOf>
  readonly severity: 'warning' | 'critical' | null
  readonly sinceMs: number | null
  readonly toldAtMs: number | null
  readonly acknowledgedAtMs: number | null
  readonly isFlapping: boolean
  readonly message: string
}

/** The worst first. */
export function listAlerts({ courses }: AlertState = quiet): readonly ListedAlert[] {
  const listed = Object.entries(courses).map(([fingerprint, course]): ListedAlert => {
    const about = {
      fingerprint,
      title: titleOf(fingerprint),
      phase: phaseOf(course),
      isFlapping: isFlapping(course),
      message: course.message,
    }
    if (course.state === 'watched') return { ...about, severity: null, sinceMs: course.badSinceMs, toldAtMs: null, acknowledgedAtMs: null }
    const { level, sinceMs, told, acknowledgedAtMs } = course
    return { ...about, severity: level === 2 ? 'critical' : 'warning', sinceMs, toldAtMs: told?.atMs ?? null, acknowledgedAtMs }
  })
  const rank = ({ severity }: ListedAlert) => (severity === 'critical' ? 2 : severity === 'warning' ? 1 : 0)
  return listed.toSorted((a, b) => rank(b) - rank(a))
}

/** Longer than a weekend's work; who needs more says it again. */
export const maxSilenceForMs = 7 * 24 * 3_600_000

/** In force, or null. */
export const silenceOf = ({ silence }: AlertState = quiet, nowMs: number): Silence | null =>
  silence && isSilent(silence, nowMs) ? silence : null

/** Mutes sending until then. A silence in force is prolonged, or cut short by `forMs` 0: what happened in it is told by the next health check. */
export function silenceAlerts(
  stored: AlertState | undefined,
  order: { nowMs: number; forMs: number; reason: string },
): Decision<AlertState, Silence> {
  const { nowMs, forMs } = order
  const state = stored ?? quiet
  const sinceMs = silenceOf(state, nowMs)?.sinceMs ?? nowMs
  const next: Silence = {
    sinceMs,
    untilMs: nowMs + Math.min(Math.max(0, forMs), maxSilenceForMs),
    reason: plainLine(order.reason, 120),
  }
  return { data: { ...state, silence: next }, result: next }
}

/** No reminder and no repetition of it until it is over, or becomes critical. Its end is told. */
export function acknowledge(
  stored: AlertState | undefined,
  order: { fingerprint: string; nowMs: number },
): Decision<AlertState, 'acknowledged' | 'known already' | 'not firing'> {
  const state = stored ?? quiet
  const course = state.courses[order.fingerprint]
  if (course?.state !== 'firing') return { data: undefined, result: 'not firing' }
  if (course.acknowledgedAtMs !== null) return { data: undefined, result: 'known already' }
  const courses = { ...state.courses, [order.fingerprint]: { ...course, acknowledgedAtMs: order.nowMs } }
  return { data: { ...state, courses }, result: 'acknowledged' }
}
