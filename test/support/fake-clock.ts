// A clock that moves only when it is told to, or when somebody sleeps on it: a sleep ends at once and the time has passed.

import type { Clock } from '../../shared/clock.ts'

export type FakeClock = Clock & {
  advance(byMs: number): void
  /** Every sleep so far, in order. */
  readonly sleptMs: readonly number[]
}

export function createFakeClock(startAtMs = Date.UTC(2026, 0, 1)): FakeClock {
  let nowMs = startAtMs
  const sleptMs: number[] = []
  return {
    sleptMs,
    nowMs: () => nowMs,
    async sleep(forMs, signal) {
      if (signal?.aborted) return
      sleptMs.push(forMs)
      nowMs += forMs
    },
    advance(byMs) {
      nowMs += byMs
    },
  }
}
