// How many connections a pool needs. By Little's law as many are in use at once as transactions come in a second times the seconds that each
// holds one; half as many more and one are for what comes unevenly. Judged every ten seconds over what these ten seconds saw.
//
//   size = ceil(arrivals a second x seconds held x 1.5) + 1, at least 2, at most the pool's greatest size
//
// That is of the past: when somebody has to wait for a connection for a quarter of a second, one more is allowed at once.
// The size stays as it is while the database's circuit is not closed, or more than 10 % of the transactions met a lock: then each holds its
// connection for longer, and more of them would only make more wait for the same locks.

export const poolRules = {
  everyMs: 10_000,
  least: 2,
  headroom: 1.5,
  lockRateAbove: 0.1,
  /** Fewer say nothing about a rate. */
  leastOperations: 30,
  /** A caller that has waited for so long is owed one more; and so often at most one is added. */
  waitForMs: 250,
} as const

/** Since `sinceMs`. */
export type PoolLoad = {
  readonly sinceMs: number
  readonly arrived: number
  readonly ended: number
  /** Milliseconds that those held their connections, summed. */
  readonly heldMs: number
  /** Of those, the ones that failed on a lock. */
  readonly contended: number
}

export const noLoad = (sinceMs: number): PoolLoad => ({ sinceMs, arrived: 0, ended: 0, heldMs: 0, contended: 0 })

/** More than 10 % of them met a lock. */
export const isContended = ({ ended, contended }: PoolLoad) =>
  ended >= poolRules.leastOperations && contended / ended > poolRules.lockRateAbove

/** After `forMs` of this load. */
export function sizeForLoad(seen: { size: number; most: number; load: PoolLoad; isCircuitClosed: boolean; forMs: number }): number {
  const { size, most, load, isCircuitClosed, forMs } = seen
  const { least, headroom } = poolRules
  // what came and did not end says that it takes long, not how long
  const isUnknown = load.ended === 0 && load.arrived > 0
  if (!isCircuitClosed || isContended(load) || isUnknown || forMs <= 0) return size
  const inUse = load.arrived === 0 ? 0 : (load.arrived / forMs) * (load.heldMs / load.ended)
  return Math.max(least, Math.min(most, Math.ceil(inUse * headroom) + 1))
}
