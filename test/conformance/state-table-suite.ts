// What every state table holds, whatever it is made of. Run it with a factory: each call gives an empty table.

import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../shared/clock.ts'
import { updateItem, type StateTable } from '../../shared/state/state-table.ts'

const tools = { clock: systemClock, random: Math.random }
const increment = (data: { count: number } | undefined) => ({ data: { count: (data?.count ?? 0) + 1 }, result: undefined })

export function stateTableSuite(name: string, createEmpty: () => Promise<StateTable>) {
  describe(`state table: ${name}`, () => {
    const opened: StateTable[] = []
    const empty = async () => {
      const table = await createEmpty()
      opened.push(table)
      return table
    }
    afterEach(async () => {
      for (const table of opened.splice(0)) await table.close()
    })

    it('an absent item is at version 0: it is in no list, cannot be changed at another version, and is created at version 1', async () => {
      const table = await empty()
      expect(await table.list()).toEqual([])
      expect(await table.compareAndSet('breaker:database', 1, { state: 'closed' })).toBe(false)
      expect(await table.list()).toEqual([])
      expect(await table.compareAndSet('breaker:database', 0, { state: 'closed' })).toBe(true)
      expect(await table.list()).toEqual([{ key: 'breaker:database', version: 1, data: { state: 'closed' } }])
    })

    it('of two that create the same item one wins, and its data stays', async () => {
      const table = await empty()
      const won = await Promise.all([table.compareAndSet('alerts', 0, { by: 'a' }), table.compareAndSet('alerts', 0, { by: 'b' })])
      expect(won.toSorted()).toEqual([false, true])
      expect(await table.list()).toEqual([{ key: 'alerts', version: 1, data: { by: won[0] ? 'a' : 'b' } }])
    })

    it('a change at a stale or a future version is refused and changes nothing', async () => {
      const table = await empty()
      expect(await table.compareAndSet('alerts', 0, { n: 1 })).toBe(true)
      expect(await table.compareAndSet('alerts', 1, { n: 2 })).toBe(true)
      expect(await table.compareAndSet('alerts', 0, { n: 99 })).toBe(false)
      expect(await table.compareAndSet('alerts', 1, { n: 99 })).toBe(false)
      expect(await table.compareAndSet('alerts', 3, { n: 99 })).toBe(false)
      expect(await table.list()).toEqual([{ key: 'alerts', version: 2, data: { n: 2 } }])
    })

    it('a list sees every item that was stored before, each at its own version', async () => {
      const table = await empty()
      await table.compareAndSet('collector:trades', 0, { a: 1 })
      await table.compareAndSet('breaker:gecko', 0, { b: 1 })
      await table.compareAndSet('breaker:gecko', 1, { b: 2 })
      const items = await table.list()
      expect(items.toSorted((a, b) => (a.key < b.key ? -1 : 1))).toEqual([
        { key: 'breaker:gecko', version: 2, data: { b: 2 } },
        { key: 'collector:trades', version: 1, data: { a: 1 } },
      ])
    })

    it('thirty concurrent increments all count', async () => {
      const table = await empty()
      await Promise.all(Array.from({ length: 30 }, () => updateItem(table, 'budget:gecko', increment, tools)))
      expect(await table.list()).toEqual([{ key: 'budget:gecko', version: 30, data: { count: 30 } }])
    })

    it('JSON comes back as it went in, whatever is in it', async () => {
      const table = await empty()
      const data = {
        text: '🦎 gecko 漢字 "quotes" \'single\' \\ back\nline \u0000 nul',
        numbers: [0, -1, 1.5, 1e-7, 1_763_700_000_000, Number.MAX_SAFE_INTEGER],
        nested: { deep: [{ er: { still: [[], {}, [null]] } }], yes: true, no: false, nothing: null },
        '': 'an empty key',
        long: 'x'.repeat(20_000),
      }
      for (const [i, value] of [data, [], null, 'text', 0, false].entries()) {
        expect(await table.compareAndSet(`item:${i}`, 0, value)).toBe(true)
        expect((await table.list()).find((item) => item.key === `item:${i}`)?.data).toEqual(value)
      }
    })

    it('what a list gave out can be changed without changing the table', async () => {
      const table = await empty()
      const data = { cursor: { page: 1 } }
      await table.compareAndSet('collector:dexes', 0, data)
      data.cursor.page = 2
      for (const item of await table.list()) Object.assign(item.data as typeof data, { cursor: { page: 3 } })
      expect(await table.list()).toEqual([{ key: 'collector:dexes', version: 1, data: { cursor: { page: 1 } } }])
    })
  })
}
