// How far the collectors' intervals are stretched: longer while writers wait for each other's locks, back to the base when they don't.
//
//   lock rate above 10 %        x 1.5, at most the greatest factor of the settings
//   success rate above 95 %     x 0.9, at least 1
//   neither                     as it is
//
// Both rates are of all collectors together, since the last decision. By its own rate a collector that others make way for sees no locks,
// speeds up, and starves them (simulated: Jain's fairness 0.35). The bounds keep it from running away to either side.
// It is decided once in a window, and to stretch on thirty operations or more. Stretched collectors do fewer: asked for thirty before each step
// back, they would need a day and a half from 16x to the base, so the step back asks for as many as the same time brings them.
// While the database's circuit is not closed nothing is decided, and the window begins anew: what fails then is no contention.

import { contendedIn, type ClientCounts } from './client-metrics.ts'

/** Sums over the collectors, since ever. */
export type Pooled = { readonly calls: number; readonly succeeded: number; readonly attempts: number; readonly contended: number }

/** The sums at the last decision, and when that was. */
export type Pace = Pooled & { readonly sinceMs: number }

export const paceRules = {
  /** Five minutes, less what the ticks of a schedule and the lengths of runs differ by. */
  windowForMs: 270_000,
  leastOperations: 30,
  lockRateAbove: 0.1,
  stretchBy: 1.5,
  successRateAbove: 0.95,
  shrinkBy: 0.9,
} as const

export function pooledOf(all: readonly (ClientCounts | undefined)[]): Pooled {
  const sum = { calls: 0, succeeded: 0, attempts: 0, contended: 0 }
  for (const counts of all) {
    if (!counts) continue
    sum.calls += counts.calls
    sum.succeeded += counts.succeeded
    sum.attempts += counts.attempts
    sum.contended += contendedIn(counts)
  }
  return sum
}

/** The factor from now on, and what the next decision looks back to. `maxFactor` 1 switches it off. */
export function adaptInterval(seen: {
  intervalFactor: number
  pace: Pace | undefined
  pooled: Pooled
  nowMs: number
  isCircuitClosed: boolean
  maxFactor: number
}): { readonly intervalFactor: number; readonly pace: Pace } {
  const { pace, pooled, nowMs, isCircuitClosed, maxFactor } = seen
  const { windowForMs, leastOperations, lockRateAbove, stretchBy, successRateAbove, shrinkBy } = paceRules
  const intervalFactor = bounded(seen.intervalFactor, maxFactor)
  const anew = (factor: number) => ({ intervalFactor: bounded(factor, maxFactor), pace: { ...pooled, sinceMs: nowMs } })
  if (!pace || !isCircuitClosed) return anew(intervalFactor)
  const attempts = pooled.attempts - pace.attempts
  const calls = pooled.calls - pace.calls
  // an item was lost, or a clock jumped back
  if (attempts < 0 || calls < 0 || nowMs < pace.sinceMs) return anew(intervalFactor)
  if (nowMs - pace.sinceMs < windowForMs) return { intervalFactor, pace }
  const lockRate = (pooled.contended - pace.contended) / attempts
  if (attempts >= leastOperations && lockRate > lockRateAbove) return anew(intervalFactor * stretchBy)
  if (attempts < Math.ceil(leastOperations / intervalFactor)) return { intervalFactor, pace }
  const isWell = lockRate <= lockRateAbove && (pooled.succeeded - pace.succeeded) / calls > successRateAbove
  if (isWell) return anew(intervalFactor * shrinkBy)
  return attempts >= leastOperations ? anew(intervalFactor) : { intervalFactor, pace }
}

const bounded = (factor: number, maxFactor: number) => Math.max(1, Math.min(maxFactor, factor))
