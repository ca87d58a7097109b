// What the alert engine is tested with: checks and looks by hand, and an engine whose messages are all sent at once.

import { decideAlerts, markSent } from '../../shared/health/alert/alert.ts'
import { isInTheBalance, type JudgedLook } from '../../shared/health/alert/looks.ts'
import type { AlertRules, AlertState } from '../../shared/health/alert/state.ts'
import { atOnce, type Check, threeOfFive } from '../../shared/health/check.ts'
import type { AlertMessage } from '../../shared/health/alert/notifier.ts'
import type { Observation } from '../../shared/health/observation.ts'

export const secondMs = 1_000
export const minuteMs = 60_000
export const hourMs = 60 * minuteMs

/** The minute at which the incident of 2025 began. */
export const startAtMs = Date.parse('2025-09-15T06:45:00Z')

export const check = (id: string, severity: Check['severity'] = 'ok', fields: Partial<Check> = {}): Check => ({
  id,
  severity,
  value: null,
  message: severity === 'ok' ? `${id} is well.` : `${id} is bad.`,
  ...(severity === 'ok' ? {} : { action: `See to ${id}.` }),
  hold: atOnce,
  isClear: severity === 'ok' || severity === 'info',
  ...fields,
})

/** As the database's own answer is judged: three of five. */
export const connect = (isUp: boolean, fields: Partial<Check> = {}) =>
  check('connect', isUp ? 'ok' : 'critical', {
    hold: threeOfFive,
    ...(isUp ? {} : { value: 'refused', message: 'The database refuses connections: connect ECONNREFUSED 127.0.0.1:5432.' }),
    ...fields,
  })

export const observed = (atMs: number, fields: Partial<Observation> = {}): Observation => ({
  atMs,
  database: { kind: 'not-asked', why: 'a test' },
  structure: null,
  sequences: null,
  statements: null,
  app: null,
  breaker: undefined,
  lockedSinceMs: {},
  parked: 0,
  stateAnswers: true,
  collectors: {},
  budget: undefined,
  receivers: null,
  ...fields,
})

export const look = (atMs: number, checks: readonly Check[], seen: Partial<Observation> = {}): JudgedLook => ({
  assessment: { status: 'unknown', message: '', score: 0, checks, targets: [] },
  observation: observed(atMs, seen),
})

export type Engine = {
  state: AlertState | undefined
  /** One run at that time; answers what it told. `seen`: what else each look sees. */
  run(atMs: number, checks: readonly Check[], seen?: Partial<Observation>): readonly AlertMessage[]
  /** Likewise, and what it told are the subjects. */
  tell(atMs: number, checks: readonly Check[], seen?: Partial<Observation>): readonly string[]
}

export function createEngine(options: { rules?: AlertRules } = {}): Engine {
  const engine: Engine = {
    state: undefined,
    run(atMs, checks, seen) {
      const { data, result } = decideAlerts(engine.state, {
        looks: [look(atMs, checks, seen)],
        nowMs: atMs,
        system: 'tokay-prod',
        commandOptions: '--stage prod',
        ...options,
      })
      engine.state = data ?? engine.state
      engine.state = markSent(engine.state, result.toSend).data ?? engine.state
      return result.toSend.map(({ message }) => message)
    },
    tell: (atMs, checks, seen) => engine.run(atMs, checks, seen).map(({ subject }) => subject),
  }
  return engine
}

/** A run as the health check makes it: it looks again every 3 s while something hangs in the balance. `looksAt` is asked for each look. */
export function runWithLooks(
  engine: Engine,
  atMs: number,
  looksAt: (atMs: number) => JudgedLook,
  rules?: AlertRules,
): readonly AlertMessage[] {
  const looks = [looksAt(atMs)]
  while (looks.length < 6 && isInTheBalance(engine.state, { looks, ...(rules ? { rules } : {}) }))
    looks.push(looksAt(atMs + looks.length * 3 * secondMs))
  const nowMs = atMs + (looks.length - 1) * 3 * secondMs
  const { data, result } = decideAlerts(engine.state, {
    looks,
    nowMs,
    system: 'tokay-prod',
    commandOptions: '--stage prod',
    ...(rules ? { rules } : {}),
  })
  engine.state = data ?? engine.state
  engine.state = markSent(engine.state, result.toSend).data ?? engine.state
  return result.toSend.map(({ message }) => message)
}

/** mulberry32: small, seeded, good enough to place incidents and noise. */
export function seeded(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
