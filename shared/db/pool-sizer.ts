// The size of a pool of connections: fixed, or by the load, which it watches from checkout to check-in. It only says the number; the pool opens
// connections when somebody needs one, and lets go of those that are too many when they come back.

import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import { isContended, noLoad, poolRules, sizeForLoad } from '../resilience/pool-size.ts'

export type PoolSizer = {
  size(): number
  /** Before a transaction asks for a connection. */
  arrived(): void
  /** It has given its connection back. */
  ended(heldMs: number, error?: unknown): void
  /** Somebody has waited `poolRules.waitForMs` while all were in use. True when one more is allowed. */
  waited(): boolean
}

export const fixedSize = (size: number): PoolSizer => ({ size: () => size, arrived: () => {}, ended: () => {}, waited: () => false })

/** Between 2 and `most`. Has no timer: it looks again when a transaction comes. */
export function sizeByLoad(options: { most: number; isCircuitClosed: () => boolean; clock: Clock; log: Log }): PoolSizer {
  const { most, isCircuitClosed, clock, log } = options
  let size: number = poolRules.least
  let grewAtMs = -Infinity
  let wasContended = false
  let load: { -readonly [Field in keyof ReturnType<typeof noLoad>]: number } = noLoad(clock.nowMs())

  function resize(to: number): boolean {
    if (to === size) return false
    log.info({ event: 'database.pool-resized', from: size, to, most })
    size = to
    return true
  }

  return {
    size: () => size,
    arrived() {
      const nowMs = clock.nowMs()
      const forMs = nowMs - load.sinceMs
      // also when the clock jumped back
      if (forMs >= poolRules.everyMs || forMs < 0) {
        resize(sizeForLoad({ size, most, load, isCircuitClosed: isCircuitClosed(), forMs }))
        wasContended = isContended(load)
        load = noLoad(nowMs)
      }
      load.arrived++
    },
    ended(heldMs, error) {
      load.ended++
      load.heldMs += heldMs
      if (error !== undefined && classifyFailure(error).counts === 'stream') load.contended++
    },
    waited() {
      const nowMs = clock.nowMs()
      const isTooSoon = Math.abs(nowMs - grewAtMs) < poolRules.waitForMs
      if (isTooSoon || size >= most || !isCircuitClosed() || wasContended || isContended(load)) return false
      grewAtMs = nowMs
      return resize(size + 1)
    },
  }
}
