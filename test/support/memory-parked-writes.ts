// Parked writes in memory, that keep the port's promises: oldest first, nothing received twice until it is released, nothing gone but by remove or setAside.
// Kept as JSON, as every real place keeps them.

import type { ParkedWrite, ParkedWrites } from '../../shared/collect/parked-writes.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import type { Batch } from '../../shared/model.ts'
import { at } from './rows.ts'

type Operation = keyof ParkedWrites

export type MemoryParkedWrites = ParkedWrites & {
  /** What waits, received or not, oldest first. */
  readonly waiting: readonly ParkedWrite[]
  readonly setAsides: readonly { readonly id: string; readonly reason: string }[]
  /** Every call, in order. */
  readonly calls: readonly Operation[]
  /** While an operation is in here, it throws this. */
  readonly failing: Map<Operation, Error>
}

export function createMemoryParkedWrites(...initial: readonly ParkedWrite[]): MemoryParkedWrites {
  const queue: { receipt: string; json: string; isInHand: boolean }[] = []
  const setAsides: { id: string; reason: string }[] = []
  const calls: Operation[] = []
  const failing = new Map<Operation, Error>()
  let delivered = 0
  const put = (write: ParkedWrite) => void queue.push({ receipt: `receipt-${++delivered}`, json: JSON.stringify(write), isInHand: false })
  const read = (json: string) => JSON.parse(json) as ParkedWrite
  const drop = (receipt: string) => {
    const index = queue.findIndex((entry) => entry.receipt === receipt)
    if (index >= 0) queue.splice(index, 1)
  }
  const called = (operation: Operation) => {
    calls.push(operation)
    const error = failing.get(operation)
    if (error) throw error
  }
  initial.forEach(put)
  return {
    get waiting() {
      return queue.map(({ json }) => read(json))
    },
    setAsides,
    calls,
    failing,
    async park(write) {
      called('park')
      put(write)
    },
    async depth() {
      called('depth')
      return queue.length
    },
    async receive(max) {
      called('receive')
      const found = queue.filter((entry) => !entry.isInHand).slice(0, max)
      for (const entry of found) entry.isInHand = true
      return found.map(({ receipt, json }) => ({ write: read(json), receipt }))
    },
    async remove(receipts) {
      called('remove')
      receipts.forEach(drop)
    },
    async release(receipts) {
      called('release')
      for (const entry of queue) if (receipts.includes(entry.receipt)) entry.isInHand = false
    },
    async setAside({ receipt, write }, reason) {
      called('setAside')
      setAsides.push({ id: write.id, reason })
      drop(receipt)
    },
  }
}

/** A batch that waits since 10:00. */
export const parkedWrite = (id: string, rows: Partial<Batch>, fields: Partial<ParkedWrite> = {}): ParkedWrite => ({
  id,
  schemaVersion: 1,
  collector: 'dexes',
  runId: '2025-08-28T10:00:00.000Z',
  parkedAtMs: at('10:00'),
  reason: 'connection',
  batch: { ...emptyBatch, ...rows },
  ...fields,
})
