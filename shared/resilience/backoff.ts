// Full jitter: a wait is uniform between nothing and a ceiling that doubles with each attempt.
// Anything less random makes clients that failed together come back together.

/** `baseMs` is the first ceiling, `capMs` the highest. */
export type BackoffRules = { readonly baseMs: number; readonly capMs: number }

/** 2^40 times any base is above any cap. Beyond 2^1023 the product is Infinity, and 0 x Infinity is NaN: a timer that fires at once. */
const maxDoublings = 40

/** How long to wait after attempt number `attempt` (from 1) has failed: uniform in [0, min(capMs, baseMs x 2^(attempt - 1))). */
export function backoffMs(attempt: number, { baseMs, capMs }: BackoffRules, random: () => number): number {
  const doublings = Math.min(Math.max(attempt - 1, 0), maxDoublings)
  return random() * Math.min(capMs, baseMs * 2 ** doublings)
}
