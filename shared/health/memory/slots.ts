// A slot of the memory: how many of its looks are known and up, and what the clients' calls came to, as numbers. Pure.
// The item that holds them is written every minute, and paid by its size: so no names, and no trailing zeros.

import { contendedIn, failedIn, type ClientCounts } from '../../resilience/client-metrics.ts'
import type { Availability, Operations } from './memory.ts'

export type Numbers = readonly number[]

/**
 * The numbers of a slot, in this order; behind them, in twos, a class of failures and how many there were. `more`: attempts beyond one for each call
 * that was made. So in a slot of a healthy database only the first three are there.
 */
const slotFields = ['known', 'up', 'calls', 'refused', 'failed', 'more', 'retries', 'rollbacks', 'reconnections', 'poolResets'] as const

/** Number by number; behind the named ones the failures, class by class. Without trailing zeros, and classes without failures. */
export function plus(a: Numbers, b: Numbers): Numbers {
  const [named, failures] = [slotFields.length, new Map<number, number>()]
  for (const slot of [a, b]) {
    for (let n = named; n < slot.length; n += 2) {
      const [name = 0, count = 0] = slot.slice(n, n + 2)
      failures.set(name, (failures.get(name) ?? 0) + count)
    }
  }
  const numbers = Array.from({ length: named }, (_, n) => (a[n] ?? 0) + (b[n] ?? 0))
  const pairs = [...failures].filter(([, count]) => count > 0)
  if (pairs.length > 0) return [...numbers, ...pairs.flat()]
  return numbers.slice(0, numbers.findLastIndex((n) => n !== 0) + 1)
}

export const sum = (all: readonly Numbers[]) => all.reduce(plus, [])

export function toNumbers(operations: Operations, classes: readonly string[]): Numbers {
  const { calls, refused, failed, attempts, retries, rollbacks, reconnections, poolResets } = operations
  const named = [0, 0, calls, refused, failed, attempts - (calls - refused), retries, rollbacks, reconnections, poolResets]
  const pairs = Object.entries(operations.failures).flatMap(([name, count]) => [classes.indexOf(name), count])
  return plus([...named, ...pairs], [])
}

export function toOperations(slots: readonly Numbers[], classes: readonly string[]): Operations {
  const numbers = sum(slots)
  const of = (field: (typeof slotFields)[number]) => numbers[slotFields.indexOf(field)] ?? 0
  const failures: Record<string, number> = {}
  for (let n = slotFields.length; n < numbers.length; n += 2) failures[classes[numbers[n] ?? 0] ?? 'unknown'] = numbers[n + 1] ?? 0
  return withDerived({
    calls: of('calls'),
    succeeded: of('calls') - of('refused') - of('failed'),
    refused: of('refused'),
    attempts: of('calls') - of('refused') + of('more'),
    retries: of('retries'),
    rollbacks: of('rollbacks'),
    reconnections: of('reconnections'),
    poolResets: of('poolResets'),
    failures,
  })
}

export const withDerived = ({
  calls,
  succeeded,
  refused,
  attempts,
  retries,
  rollbacks,
  reconnections,
  poolResets,
  failures,
}: Omit<ClientCounts, 'latency'>): Operations => {
  const counts = { calls, succeeded, refused, attempts, retries, rollbacks, reconnections, poolResets, failures }
  return { ...counts, contended: contendedIn(counts), failed: failedIn(counts) }
}

export const toAvailability = (slots: readonly Numbers[]): Availability => {
  const [knownMinutes = 0, upMinutes = 0] = sum(slots)
  return { knownMinutes, upMinutes }
}
