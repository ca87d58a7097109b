// From looks to the courses of alerts. Pure.

import { abandoned, type Course, type Firing, follow, type Level, type Look } from './course.ts'
import { type AlertRules, alertRules, type AlertState, maxCourses, quiet } from './state.ts'
import { plainLine } from './words.ts'
import { type Assessment, type Check, fingerprintOf } from '../check.ts'
import { followIncident } from './incident.ts'
import type { Observation } from '../observation.ts'

/** One look of a run, judged. `observation` is what an incident's report is made from. */
export type JudgedLook = { readonly assessment: Assessment; readonly observation: Observation }

export type Looks = { readonly looks: readonly JudgedLook[]; readonly rules?: AlertRules }

const maxFingerprintChars = 80
const maxTextChars = 160

/** The name under which an alert is kept. */
export const keyOf = (check: Pick<Check, 'id' | 'subject'>) => cut(fingerprintOf(check), maxFingerprintChars)

/**
 * Something hangs in the balance that a look in some seconds may decide: a critical alert is about to begin, or all that was critical is about to be over.
 * Then a run looks again rather than leave it to the next tick.
 */
export function isInTheBalance(stored: AlertState | undefined, now: Looks): boolean {
  const { looks, rules = alertRules } = now
  const { courses } = followLooks(stored ?? quiet, now)
  const all = Object.values(courses)
  const last = looks.at(-1)
  const lastAtMs = last?.observation.atMs ?? 0
  // one that was not looked at this time would not be the next time either
  const begins = all.some((course) => course.state === 'watched' && course.seen.endsWith('2') && lastAtMs - course.seenAtMs < rules.apartMs)
  // as the newest look has it: for the course it may be one with a bad look of seconds ago
  const isClear = (fingerprint: string) => {
    const verdict = verdictOn(fingerprint, last?.assessment.checks ?? [])
    return verdict !== 'unknown' && verdict.level === 0 && verdict.isClear
  }
  const critical = Object.entries(courses).filter(([, course]) => isCriticalUp(course))
  const ends = critical.length > 0 && critical.every(([fingerprint, { refired }]) => refired === 0 && isClear(fingerprint))
  return begins || (ends && parkedOf(looks) === 0)
}

const isCriticalUp = (course: Course): course is Firing => course.state === 'firing' && course.level === 2

/** Undefined: nobody knows, which is not nothing. A health check without collectors parks nothing. */
export const parkedOf = (looks: readonly JudgedLook[]) => {
  const parked = looks.at(-1)?.observation.parked
  return parked === null ? 0 : parked
}

const cut = (text: string, chars: number) => (text.length > chars ? `${text.slice(0, chars - 3)}...` : text)

export function followLooks(before: AlertState, { looks, rules = alertRules }: Looks): AlertState {
  let state = before
  for (const look of looks) state = followLook(state, look, rules)
  return state
}

function followLook(state: AlertState, { assessment, observation }: JudgedLook, rules: AlertRules): AlertState {
  const { atMs } = observation
  const courses: Record<string, Course> = {}
  const checks = new Map(assessment.checks.map((check) => [keyOf(check), check]))
  for (const fingerprint of new Set([...Object.keys(state.courses), ...checks.keys()])) {
    const course = state.courses[fingerprint]
    const verdict = verdictOn(fingerprint, assessment.checks, checks.get(fingerprint))
    const next =
      verdict === 'unknown'
        ? unseen(course, atMs, rules)
        : followed(course, { ...verdict, atMs }, wasToldWithAnother(fingerprint, state, atMs, rules), rules)
    if (next) courses[fingerprint] = next
  }
  const isUp = Object.values(courses).some((course) => isCriticalUp(course) && course.clear === 0)
  return {
    ...state,
    courses: bounded(courses),
    criticalAtMs: isUp ? atMs : state.criticalAtMs,
    incident: followIncident(state.incident, observation),
  }
}

/** What was told with something else does not begin by itself, nor become worse. */
function followed(course: Course | undefined, look: Look, wasTold: boolean, rules: AlertRules): Course | undefined {
  if (!wasTold || look.level === 0) return follow(course, look, rules)
  if (course === undefined || course.state === 'watched') return unseen(course, look.atMs, rules)
  return follow(course, { ...look, level: look.level > course.level ? course.level : look.level }, rules)
}

type Verdict = { readonly level: Level; readonly isClear: boolean; readonly hold: Check['hold']; readonly message: string }

const isUnknown = ({ severity, inhibitedBy }: Check) => severity === 'skipped' || inhibitedBy !== undefined

/** A finding that is not in the list is over when its check was made; a check that could not be made says nothing. */
function verdictOn(
  fingerprint: string,
  checks: readonly Check[],
  check = checks.find((candidate) => keyOf(candidate) === fingerprint),
): Verdict | 'unknown' {
  if (check === undefined) {
    const siblings = checks.filter(({ id }) => fingerprint === id || fingerprint.startsWith(`${id}:`))
    if (siblings.length === 0 || siblings.some(isUnknown)) return 'unknown'
    return { level: 0, isClear: true, hold: siblings[0]?.hold as Check['hold'], message: '' }
  }
  if (isUnknown(check)) return 'unknown'
  const { severity, isClear, hold } = check
  return {
    level: severity === 'critical' ? 2 : severity === 'warning' ? 1 : 0,
    isClear,
    hold,
    message: plainLine(check.message, maxTextChars),
  }
}

/** Its figures still hold what was critical before, and was told. */
function wasToldWithAnother(fingerprint: string, { criticalAtMs }: AlertState, atMs: number, rules: AlertRules): boolean {
  const looksBackMs = rules.looksBackMs[fingerprint.split(':', 1)[0] as string]
  return looksBackMs !== undefined && criticalAtMs !== null && Math.abs(atMs - criticalAtMs) <= looksBackMs
}

function unseen(course: Course | undefined, nowMs: number, rules: AlertRules): Course | undefined {
  if (course === undefined || nowMs - course.seenAtMs <= rules.forgetAfterMs) return course
  return course.state === 'firing' ? abandoned(course, nowMs) : course.state === 'over' ? course : undefined
}

/** What was told stays before what was not, the worse before the less bad, the older before the newer. */
function bounded(courses: Readonly<Record<string, Course>>): Readonly<Record<string, Course>> {
  const entries = Object.entries(courses)
  if (entries.length <= maxCourses) return courses
  const rank = (course: Course) => (course.state === 'watched' ? 0 : course.told ? 4 : 1) + (course.state === 'watched' ? 0 : course.level)
  return Object.fromEntries(entries.toSorted(([, a], [, b]) => rank(b) - rank(a)).slice(0, maxCourses))
}
