// Simulated time over real work: sockets, files and the database take the time they take, and the clock stands still meanwhile. Only when
// every activity sleeps on the clock does it jump to whoever wakes first. So half an hour of waits passes in the seconds of its work.

import type { Clock } from '../../shared/clock.ts'

export type SimulatedClock = Clock & {
  /** An activity of its own: the clock waits for its work. It may have one sleep at a time. Answers how long it took on this clock. */
  run(work: () => Promise<unknown>): Promise<number>
  /** Resolves when it is that time and everything due by then is done or asleep again. */
  until(atMs: number): Promise<void>
}

type Sleeper = { readonly atMs: number; readonly wake: () => void }

export function createSimulatedClock(startAtMs: number): SimulatedClock {
  let nowMs = startAtMs
  let active = 0
  const sleepers = new Set<Sleeper>()
  let quiet = Promise.withResolvers<void>()

  function became(change: 1 | -1): void {
    active += change
    if (active === 0) quiet.resolve()
    else if (active === 1 && change === 1) quiet = Promise.withResolvers()
  }

  return {
    nowMs: () => nowMs,
    sleep(forMs, signal) {
      if (signal?.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        const sleeper: Sleeper = {
          atMs: nowMs + forMs,
          wake() {
            if (!sleepers.delete(sleeper)) return
            signal?.removeEventListener('abort', sleeper.wake)
            became(1)
            resolve()
          },
        }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', sleeper.wake, { once: true })
        became(-1)
      })
    },
    async run(work) {
      const startedAtMs = nowMs
      became(1)
      try {
        await work()
        return nowMs - startedAtMs
      } finally {
        became(-1)
      }
    },
    async until(atMs) {
      for (;;) {
        if (active > 0) await quiet.promise
        if (active < 0) throw new Error('something sleeps on the simulated clock outside of an activity')
        const first = [...sleepers].reduce<Sleeper | undefined>((a, b) => (a && a.atMs <= b.atMs ? a : b), undefined)
        if (!first || first.atMs > atMs) break
        nowMs = Math.max(nowMs, first.atMs)
        first.wake()
      }
      nowMs = Math.max(nowMs, atMs)
    },
  }
}
