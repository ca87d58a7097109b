// When to tell somebody. Pure: (what was told, what the looks saw, the time) -> what to tell now. The course of each alert: course.ts.
//
// What is told is the difference between what is true and what was told. So whatever withholds a message loses nothing: a silence, an outbox that is
// full, a warning in the shadow of an outage are made up for by a later run.
//
//   critical   at once, by mail and phone; again after 30 min, then every 4 h, unless acknowledged
//   warning    by mail when it has stood for 2 min; again every 24 h. Not in the shadow of something critical: after it, if it still stands
//   info       never
//   the end    of all that was told. Of critical alerts when none is up and nothing is parked any more, or 10 min after it, saying what is left
//   explained  by a failing check (`inhibitedBy`): never; counted in the message
//
// A run sends one message at most. The outbox is part of the state: a message is decided and stored before it is sent, under a lease. While that
// lasts its sender is alone with it, however many checks run at once; a sender that crashes leaves it to whoever comes after its end.

import type { Decision } from '../../state/state-table.ts'
import { closed, type Firing, isBad, type Over } from './course.ts'
import { followLooks, type JudgedLook, keyOf, parkedOf } from './looks.ts'
import { composeMessage, type News } from './messages.ts'
import { type AlertRules, alertRules, type AlertState, isSilent, maxIncidents, maxOutbox, type Pending, quiet } from './state.ts'
import type { Check } from '../check.ts'
import type { Incident } from './incident.ts'

export type Now = Pick<News, 'system' | 'commandOptions' | 'nowMs'> & { readonly looks: readonly JudgedLook[]; readonly rules?: AlertRules }

export type Decided = {
  /** What the caller has to send now, and nobody else does. */
  readonly toSend: readonly Pending[]
  /** Ended with this run: to be stored. */
  readonly incident: Incident | null
}

/** Follows the looks, and puts what is to be told into the outbox. */
export function decideAlerts(stored: AlertState | undefined, now: Now): Decision<AlertState, Decided> {
  const { nowMs, rules = alertRules } = now
  const before = stored ?? quiet
  const told = tell(followLooks(before, now), now)
  const taken = (pending: Pending): Pending => ({ ...pending, leaseUntilMs: nowMs + rules.sendForMs })
  const toSend = told.outbox.filter((pending) => !isLeased(pending, nowMs, rules)).map(taken)
  const outbox = told.outbox.map((pending) => toSend.find(({ id }) => id === pending.id) ?? pending)
  const state = { ...told, outbox }
  const incident = state.incidents[0] !== before.incidents[0] ? (state.incidents[0] ?? null) : null
  return { data: isSame(before, state) ? undefined : state, result: { toSend, incident } }
}

/** Takes sent messages out. */
export function markSent(stored: AlertState | undefined, sent: readonly Pending[]): Decision<AlertState, void> {
  const state = stored ?? quiet
  const ids = new Set(sent.map(({ id }) => id))
  const outbox = state.outbox.filter(({ id }) => !ids.has(id))
  return { data: outbox.length === state.outbox.length ? undefined : { ...state, outbox }, result: undefined }
}

/** A lease that ends later than any sender could have asked was taken before the clock jumped back. */
const isLeased = ({ leaseUntilMs }: Pending, nowMs: number, { sendForMs }: AlertRules) =>
  leaseUntilMs > nowMs && leaseUntilMs - nowMs <= 2 * sendForMs

const isSame = (a: AlertState, b: AlertState) => JSON.stringify(a) === JSON.stringify(b)

/** Composes at most one message, into the outbox. */
function tell(state: AlertState, now: Now): AlertState {
  const { nowMs, rules = alertRules } = now
  if (state.silence && isSilent(state.silence, nowMs)) return state
  // nothing is lost by waiting: what is to be told is the difference, and it stays
  if (state.outbox.length >= maxOutbox) return state
  const news = newsOf(state, now, rules)
  const courses = { ...state.courses }
  for (const { fingerprint, course } of news.repeated) courses[fingerprint] = { ...course, told: toldAgain(course, nowMs) }
  // whoever acknowledged a warning has not heard that it is critical now
  for (const { fingerprint, course } of news.begun)
    courses[fingerprint] = { ...course, told: toldAgain(course, nowMs), acknowledgedAtMs: null }
  // never told and now over: nobody has to hear of it, unless it was silence that kept it
  const finished = Object.entries(courses).filter((entry): entry is [string, Over] => entry[1].state === 'over')
  for (const [fingerprint, course] of finished) {
    if (course.told !== null && !news.ended.some((ended) => ended.fingerprint === fingerprint)) continue
    const left = closed(course)
    if (left) courses[fingerprint] = left
    else delete courses[fingerprint]
  }
  const isToldNow = news.begun.some(({ course }) => course.level === 2)
  const isUp = Object.values(courses).some((course) => course.state !== 'watched' && course.level === 2)
  const incident = state.incident && isToldNow ? { ...state.incident, toldAtMs: state.incident.toldAtMs ?? nowMs } : state.incident
  const isOver = incident !== null && incident.backAtMs !== null && (!isUp || news.ended.some(({ course }) => course.level === 2))
  const ended = isOver && incident.toldAtMs !== null ? { ...incident, endedAtMs: nowMs } : null
  const next: AlertState = {
    ...state,
    courses,
    silence: null,
    incident: isOver ? null : incident,
    incidents: ended ? [ended, ...state.incidents].slice(0, maxIncidents) : state.incidents,
  }
  const hasNews = news.begun.length + news.ended.length + news.repeated.length + (news.silence?.passed.length ?? 0) > 0
  if (!hasNews) return next
  const id = state.messages + 1
  const message = composeMessage({ ...news, incident: ended })
  return { ...next, messages: id, outbox: [...state.outbox, { id, message, leaseUntilMs: 0 }] }
}

const toldAgain = ({ told, level }: Firing, nowMs: number) => ({
  level,
  firstAtMs: told?.firstAtMs ?? nowMs,
  atMs: nowMs,
  times: (told?.times ?? 0) + 1,
})

function newsOf(state: AlertState, { looks, nowMs, system, commandOptions }: Now, rules: AlertRules): Omit<News, 'incident'> {
  const last = looks.at(-1)
  const checks = new Map((last?.assessment.checks ?? []).map((check) => [keyOf(check), check]))
  const all = Object.entries(state.courses)
  const firing = all.flatMap(([fingerprint, course]) =>
    course.state === 'firing' ? [{ fingerprint, course, check: checks.get(fingerprint) }] : [],
  )
  const isAnyCritical = firing.some(({ course }) => course.level === 2)
  const parked = parkedOf(looks)
  const over = all.flatMap(([fingerprint, course]) => (course.state === 'over' ? [{ fingerprint, course }] : []))
  const isSettled = (course: Over) => (!isAnyCritical && parked === 0) || nowMs - course.clearSinceMs >= rules.settleForMs
  // also by one whose end is told now: a warning must not stand in its headline
  const isShaded =
    firing.some(({ course }) => course.level === 2 && nowMs - course.sinceMs < rules.shadowForMs) ||
    over.some(({ course }) => course.level === 2 && course.told !== null)
  const ended = over.filter(({ course }) => course.told !== null && (course.level === 2 ? isSettled(course) : !isShaded))
  const mayTell = ({ course }: { course: Firing }) => course.level === 2 || (!isShaded && nowMs - course.sinceMs >= rules.gatherForMs)
  return {
    system,
    commandOptions,
    nowMs,
    parked,
    begun: firing.filter((alert) => (alert.course.told?.level ?? 0) < alert.course.level && isBad(alert.course) && mayTell(alert)),
    repeated: firing.filter((alert) => isRepeatDue(alert.course, nowMs, rules) && mayTell(alert)),
    ended,
    silence: state.silence && { ...state.silence, passed: over.filter(({ course }) => course.told === null) },
    suppressed: (last?.assessment.checks ?? []).filter(
      ({ severity, inhibitedBy }) => inhibitedBy !== undefined && severity !== 'ok' && severity !== 'skipped',
    ).length,
    late: lateCollectors(last?.assessment.checks ?? []),
  }
}

/** Already told at this level, still bad, and nobody has said that he knows. */
function isRepeatDue({ told, level, acknowledgedAtMs, seen }: Firing, nowMs: number, rules: AlertRules): boolean {
  if (told === null || told.level < level || acknowledgedAtMs !== null || seen.endsWith('0')) return false
  if (level === 1) return nowMs - told.atMs >= rules.repeatWarningMs
  return nowMs - told.atMs >= (told.times === 1 ? rules.remindAfterMs : rules.repeatCriticalMs)
}

const lateCollectors = (checks: readonly Check[]) =>
  checks.flatMap(({ id, subject, severity }) =>
    id === 'freshness' && subject && (severity === 'warning' || severity === 'critical') ? [subject] : [],
  )
