// The loop around every protocol over the state table: read, decide, compare-and-set, again on a conflict.

import { describe, expect, it } from 'vitest'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { updateItem, type StateItem, type StateTable } from '../../shared/state/state-table.ts'
import { createFakeClock } from '../support/fake-clock.ts'

const key = 'counter'
type Counter = { readonly count: number }
const countUp = (data: Counter | undefined) => ({ data: { count: (data?.count ?? 0) + 1 }, result: data?.count ?? 0 })

/** A table with another item in it, that counts, and that lets a rival win the first so many changes. */
async function setup(rivals = 0) {
  const memory = createMemoryStateTable()
  await memory.compareAndSet('another', 0, { count: 100 })
  const asked = { reads: 0, changes: 0 }
  const table: StateTable = {
    async list() {
      asked.reads++
      return memory.list()
    },
    async compareAndSet(changed, expectedVersion, data) {
      asked.changes++
      if (asked.changes <= rivals) {
        const stored = (await memory.list()).find((item) => item.key === changed)
        await memory.compareAndSet(changed, stored?.version ?? 0, countUp(stored?.data as Counter | undefined).data)
      }
      return memory.compareAndSet(changed, expectedVersion, data)
    },
    close: () => memory.close(),
  }
  const clock = createFakeClock()
  const update = (known?: StateItem) => updateItem(table, key, countUp, { clock, random: () => 0.5, known })
  const stored = async () => (await memory.list()).find((item) => item.key === key)
  return { memory, asked, table, clock, update, stored }
}

describe('updateItem', () => {
  it('decides over the item of that key, which need not exist, and stores it as the next version', async () => {
    const { update, stored } = await setup()
    expect(await update()).toBe(0)
    expect(await stored()).toEqual({ key, version: 1, data: { count: 1 } })
    expect(await update()).toBe(1)
    expect(await stored()).toEqual({ key, version: 2, data: { count: 2 } })
  })

  it('reads nothing when it is told what the item is', async () => {
    const { update, stored, asked } = await setup()
    await update()
    const known = await stored()
    asked.reads = 0
    expect(await update(known)).toBe(1)
    expect(asked.reads).toBe(0)
    expect(await stored()).toEqual({ key, version: 2, data: { count: 2 } })
  })

  it('what it was told and is no longer so costs a conflict, then it reads', async () => {
    const { update, stored, asked } = await setup()
    await update()
    expect(await update({ key, version: 0, data: undefined })).toBe(1)
    expect(asked).toEqual({ reads: 2, changes: 3 })
    expect(await stored()).toEqual({ key, version: 2, data: { count: 2 } })
  })

  it('changes nothing, and asks for no change, when the decision is to leave it', async () => {
    const { table, clock, asked, stored } = await setup()
    expect(await updateItem(table, key, () => ({ data: undefined, result: 'left' }), { clock, random: () => 0.5 })).toBe('left')
    expect(asked).toEqual({ reads: 1, changes: 0 })
    expect(await stored()).toBeUndefined()
  })

  it('after each conflict it pauses longer, up to 200 ms, at random below that', async () => {
    const { update, clock } = await setup(8)
    expect(await update()).toBe(8)
    expect(clock.sleptMs).toEqual([2.5, 5, 10, 20, 40, 80, 100, 100])
  })

  it('the 25th try is the last: it says which item, and how often', async () => {
    const lucky = await setup(24)
    expect(await lucky.update()).toBe(24)
    const unlucky = await setup(25)
    await expect(unlucky.update()).rejects.toThrow('state item counter: gave up after 25 conflicting changes')
    expect(unlucky.asked.changes).toBe(25)
  })
})
