// The course of one alert, from look to look. Pure. A look at a check is one bit: bad (as a warning, as critical) or not.
//
//          k of the last n looks are bad                5 clear looks in a row, and long enough
//   watched ────────────────────────────> firing ───────────────────────────────────────────> over ──told──> watched
//      (ok, or pending while a bit is bad)   ^  (resolving while the last looks were clear)      │
//                                            └───────────────── bad again, before it was told ───┘
//
// What could not be looked at (skipped, explained by another check, not its turn) is no look: everything stays as it is.
// Looks that are closer together than `apartMs` are one look, as bad as the worst of them: ten checks at once are one observation.
// An alert that fires again within an hour must stay clear for longer each time before it is over: 7.5 min, 11, 17, ... 60 min.

/** 0: not bad. 1: a warning. 2: critical. */
export type Level = 0 | 1 | 2

export type Look = {
  readonly atMs: number
  readonly level: Level
  /** Below the bound at which it may be called over. Not bad and not clear: an alert neither starts nor ends. */
  readonly isClear: boolean
  readonly hold: { readonly bad: number; readonly of: number }
  readonly message: string
}

type Watch = {
  /** The last looks' levels as digits, newest last. */
  readonly seen: string
  readonly seenAtMs: number
  /** One sentence: what was true when it was last bad. */
  readonly message: string
  /** When its last episode was over; null when there was none within the hour. */
  readonly endedAtMs: number | null
  /** How often it has fired again within an hour. */
  readonly refired: number
}

export type Told = { readonly level: Level; readonly firstAtMs: number; readonly atMs: number; readonly times: number }

type Episode = Watch & {
  /** The worst that it has been. */
  readonly level: 1 | 2
  /** The first of the bad looks that made it fire. */
  readonly sinceMs: number
  /** The last look that was not clear. */
  readonly badAtMs: number
  /** Clear looks in a row, and the first of them. */
  readonly clear: number
  readonly clearSinceMs: number | null
  readonly told: Told | null
  readonly acknowledgedAtMs: number | null
}

export type Watched = Watch & { readonly state: 'watched'; readonly badSinceMs: number | null }
export type Firing = Episode & { readonly state: 'firing' }
/** It has ended, and its end is still to be told. */
export type Over = Episode & { readonly state: 'over'; readonly endedAtMs: number; readonly clearSinceMs: number }
export type Course = Watched | Firing | Over

export type CourseRules = {
  /** Looks that are closer than this are one. Ten health checks that start together end within 2 s of each other. */
  readonly apartMs: number
  /** Clear looks in a row that end an alert. */
  readonly clearLooks: number
  /** From the second time on it must also be clear for this long, and `holdGrowth` times longer each time, `maxHoldMs` at most. */
  readonly holdMs: number
  readonly holdGrowth: number
  readonly maxHoldMs: number
  /** Firing again this soon after its end is firing again. */
  readonly againWithinMs: number
  /** Firing again so often is flapping, and said to be. */
  readonly flappingAfter: number
}

const minuteMs = 60_000

export const courseRules: CourseRules = {
  apartMs: 2_500,
  clearLooks: 5,
  holdMs: 5 * minuteMs,
  holdGrowth: 1.5,
  maxHoldMs: 60 * minuteMs,
  againWithinMs: 60 * minuteMs,
  flappingAfter: 3,
}

/** A look that is older than the last one by more than this was not overtaken: the clock was set back. */
const clockSetBackMs = 60_000

/** What the phases are called where a person reads them. */
export function phaseOf(course: Course): 'ok' | 'pending' | 'firing' | 'resolving' {
  if (course.state === 'over') return 'resolving'
  if (course.state === 'firing') return course.clear > 0 ? 'resolving' : 'firing'
  return /[12]/.test(course.seen) ? 'pending' : 'ok'
}

/** Bad in its newest look. */
export const isBad = ({ seen }: Course) => !seen.endsWith('0')

export const isFlapping = ({ refired }: Course, rules = courseRules) => refired >= rules.flappingAfter

/** How long it must have been clear, beside the looks: nothing the first time, whoever looks. */
const holdOf = (refired: number, rules: CourseRules) =>
  refired === 0 ? 0 : Math.min(rules.maxHoldMs, rules.holdMs * rules.holdGrowth ** refired)

/** One look more. Undefined when there is nothing to remember. */
export function follow(course: Course | undefined, look: Look, rules: CourseRules = courseRules): Course | undefined {
  const sinceLastMs = course ? look.atMs - course.seenAtMs : Infinity
  if (sinceLastMs < rules.apartMs && sinceLastMs > -clockSetBackMs) return sameLook(course as Course, look, rules)
  const seen = ((course?.seen ?? '') + look.level).slice(-look.hold.of)
  const message = look.level > 0 || !course ? look.message : course.message
  if (course === undefined || course.state === 'watched') {
    const badSinceMs = look.level > 0 ? (course?.badSinceMs ?? look.atMs) : /[12]/.test(seen) ? (course?.badSinceMs ?? null) : null
    const { endedAtMs, refired } = stillRemembered(course, look.atMs, rules)
    return judged({ state: 'watched', seen, seenAtMs: look.atMs, message, badSinceMs, endedAtMs, refired }, look, rules)
  }
  return judged({ ...course, seen, seenAtMs: look.atMs, message, ...clearness(course, look, true) }, look, rules)
}

/** The worse of the two counts, and its time stays: a row of looks must not push it ahead for ever. */
function sameLook(course: Course, look: Look, rules: CourseRules): Course | undefined {
  const isWorse = look.level > Number(course.seen.at(-1))
  const seen = isWorse ? course.seen.slice(0, -1) + look.level : course.seen
  const message = isWorse ? look.message : course.message
  if (course.state === 'watched') {
    const badSinceMs = course.badSinceMs ?? (look.level > 0 ? look.atMs : null)
    return judged({ ...course, seen, message, badSinceMs }, look, rules)
  }
  return judged({ ...course, seen, message, ...clearness(course, look, false) }, look, rules)
}

function clearness(course: Firing | Over, { isClear, level, atMs }: Look, counts: boolean) {
  if (!isClear || level > 0) return { clear: 0, clearSinceMs: null, badAtMs: Math.max(course.badAtMs, atMs) }
  if (!counts) return {}
  return { clear: course.clear + 1, clearSinceMs: course.clearSinceMs ?? atMs }
}

function stillRemembered(course: Watched | undefined, nowMs: number, rules: CourseRules): Pick<Watch, 'endedAtMs' | 'refired'> {
  const isRecent = course && course.endedAtMs !== null && nowMs - course.endedAtMs <= rules.againWithinMs
  return isRecent ? course : { endedAtMs: null, refired: 0 }
}

type Unjudged = Watched | (Episode & { readonly state: 'firing' | 'over' })

function judged(course: Unjudged, look: Look, rules: CourseRules): Course | undefined {
  const level = levelOf(course.seen, look)
  if (course.state === 'watched') {
    if (level === 0) return course.endedAtMs === null && course.badSinceMs === null ? undefined : course
    const { badSinceMs, ...watch } = course
    return {
      ...watch,
      state: 'firing',
      level,
      refired: course.endedAtMs === null ? 0 : course.refired + 1,
      endedAtMs: null,
      sinceMs: badSinceMs ?? look.atMs,
      badAtMs: look.atMs,
      clear: 0,
      clearSinceMs: null,
      told: null,
      acknowledgedAtMs: null,
    }
  }
  const worst = level > course.level ? level : course.level
  const { clear, clearSinceMs, badAtMs, refired } = course
  // bad again before its end was told: the same episode
  if (clearSinceMs === null) return { ...course, state: 'firing', level: worst as 1 | 2, endedAtMs: null }
  const isLongEnough = clear >= rules.clearLooks && look.atMs - badAtMs >= holdOf(refired, rules)
  if (course.state === 'firing' && !isLongEnough) return { ...course, state: 'firing', level: worst as 1 | 2 }
  return { ...course, state: 'over', endedAtMs: course.endedAtMs ?? look.atMs, clearSinceMs }
}

function levelOf(seen: string, { hold }: Look): Level {
  const atLeast = (level: number) => Array.from(seen).filter((digit) => Number(digit) >= level).length
  return atLeast(2) >= hold.bad ? 2 : atLeast(1) >= hold.bad ? 1 : 0
}

/** Its end is told, or nobody ever heard of it. What was told is remembered for an hour. */
export function closed({ seenAtMs, message, refired, told, endedAtMs }: Over): Watched | undefined {
  return told === null ? undefined : { state: 'watched', seen: '0', seenAtMs, message, refired, endedAtMs, badSinceMs: null }
}

/** Nobody has looked for so long that nobody can say: it is taken to be over. */
export const abandoned = (course: Firing, nowMs: number): Over => ({
  ...course,
  state: 'over',
  endedAtMs: nowMs,
  clearSinceMs: course.seenAtMs,
})
