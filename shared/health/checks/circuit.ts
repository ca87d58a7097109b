// What stands between the collectors and the tables: the circuit breaker, the parked queue, what the database refuses of it.

import type { BreakerState, OpenState } from '../../resilience/circuit-breaker.ts'
import { wordsOfClass } from '../../resilience/failure-words.ts'
import type { Refusal } from '../../state/refusals.ts'
import { threeOfFive } from '../check.ts'
import type { Observation } from '../observation.ts'
import { drainTime } from '../predict.ts'
import { nothingIsLost } from './connection.ts'
import { counted, forTime, sinceInWords } from './figures.ts'
import { eachOf, info, type Judged, type Judges, type Look, ok, skipped } from './judge.ts'

export type CircuitWord = 'CLOSED' | 'OPEN' | 'HALF_OPEN'

/** Half-open is a lease: somebody probes now. */
export function circuitWord(breaker: BreakerState | undefined, nowMs: number): CircuitWord {
  const forced = overrideOf(breaker, nowMs)?.forced
  if (forced) return forced === 'open' ? 'OPEN' : 'CLOSED'
  if (breaker?.state !== 'open') return 'CLOSED'
  return breaker.token !== null && breaker.retryAtMs > nowMs ? 'HALF_OPEN' : 'OPEN'
}

const overrideOf = (breaker: BreakerState | undefined, nowMs: number) =>
  breaker?.override && breaker.override.untilMs > nowMs ? breaker.override : undefined

const circuit = (observation: Observation, look: Look): Judged => {
  const { breaker, atMs } = observation
  const value = circuitWord(breaker, atMs)
  const override = overrideOf(breaker, atMs)
  if (override) {
    return {
      severity: 'warning',
      value,
      message: `An operator keeps the circuit ${override.forced} until ${sinceInWords(override.untilMs)}.`,
      action: 'Take it back before then with tokay breaker close, or open, and a short --for; else it ends by itself.',
    }
  }
  return breaker?.state === 'open' ? open(breaker, value, look) : ok('The circuit is closed: writes go through.', { value })
}

function open(breaker: OpenState, value: CircuitWord, { observation, settings }: Look): Judged {
  const openForMs = Math.max(0, observation.atMs - breaker.openedAtMs)
  const hangs = openForMs > settings.health.thresholds.breakerOpenForMs
  const words = wordsOfClass(breaker.reason ?? '')
  const tries = counted(Math.max(0, breaker.streak - 1), 'probe')
  return {
    severity: 'critical',
    value,
    message: `Writes fail: the circuit breaker is open for ${forTime(openForMs)}${breaker.reason === null ? '' : ` (${breaker.reason})`}${hangs ? `, and it does not recover by itself: ${tries} failed` : ''}.`,
    action: `${words?.action ?? 'Look for locks, a full disk or a read-only primary.'}${nothingIsLost(observation)}`,
    evidence: [
      `open since ${sinceInWords(breaker.openedAtMs)}`,
      ...(words ? [words.meaning] : []),
      value === 'HALF_OPEN' ? 'a probe is under way' : `next probe from ${sinceInWords(breaker.retryAtMs)} on`,
    ],
  }
}

const minuteMs = 60_000
const parkedLimits = { count: 1_000, warnForMs: 5 * minuteMs, criticalForMs: 15 * minuteMs, drainForMs: 60 * minuteMs }

/** Null: there is none. */
const parkedQueue = ({ parked: count }: Observation): Judged | readonly Judged[] => {
  if (count === null) return []
  if (count !== undefined) return ok('The queue of parked writes answers.', { hold: threeOfFive })
  return {
    severity: 'warning',
    value: null,
    hold: threeOfFive,
    message: 'The queue of parked writes could not be asked.',
    action: 'Check that the queue or its folder is there and may be read.',
  }
}

const parked = ({ parked: count, atMs }: Observation, { recent }: Look): Judged | readonly Judged[] => {
  if (count === null) return []
  if (count === undefined) return skipped('Nobody can say how many batches wait.', 'Check that the queue or its folder is there.')
  if (count === 0) return ok('No batch waits to be written.', { value: 0, unit: 'count' })
  const forMs = recent.parkedSinceMs === null ? 0 : Math.max(0, atMs - recent.parkedSinceMs)
  const drainMs = drainTime(recent.parkedHistory)
  const waiting = `${counted(count, 'batch waits', 'batches wait')} to be written${forMs > minuteMs ? `, the first for ${forTime(forMs)}` : ''}`
  const common = { value: count, unit: 'count', limits: { warning: parkedLimits.count }, hold: threeOfFive } as const
  // what an outage left behind is old when it begins to go in
  if (drainMs !== null && drainMs <= parkedLimits.drainForMs)
    return info(`${waiting}; at this pace that takes ${forTime(drainMs)}.`, 'Nothing: they are being written.', {
      ...common,
      isClear: false,
    })
  const severity =
    forMs > parkedLimits.criticalForMs && drainMs === null
      ? 'critical'
      : forMs > parkedLimits.warnForMs || count > parkedLimits.count
        ? 'warning'
        : 'info'
  return {
    ...common,
    severity,
    isClear: false,
    message: drainMs === null ? `${waiting}.` : `${waiting}; at this pace that takes ${forTime(drainMs)}.`,
    action: 'None while the database is away; else see in the log why replay-parked does not get on.',
  }
}

// of an empty queue nothing is refused any more, whatever a replay has left behind
const writesRefused = ({ parked: count, refusals }: Observation): Judged | readonly Judged[] =>
  eachOf(
    Object.entries(count === 0 ? {} : (refusals ?? {})),
    ([stream, refusal]) => refusedInWords(stream, refusal),
    'The database refuses no parked write.',
  )

const refusedInWords = (stream: string, { class: failureClass, message, sinceMs }: Refusal): Judged => ({
  severity: 'critical',
  subject: stream,
  value: failureClass,
  message: `Parked ${stream === 'other' ? 'batches' : `batches of ${stream}`} are refused since ${sinceInWords(sinceMs)} (${failureClass}): ${message}.`,
  action: `${wordsOfClass(failureClass)?.action ?? 'Look at the log of replay-parked.'} Nothing is lost: they stay parked until it is mended.`,
})

/** What the state table tells. */
export const circuitChecks: Judges<Observation> = { circuit, 'writes-refused': writesRefused }
/** Known also without the state table. */
export const queueChecks: Judges<Observation> = { 'parked-queue': parkedQueue, parked }
