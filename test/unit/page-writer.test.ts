import { describe, expect, it } from 'vitest'
import type { Page } from '../../shared/collect/collector.ts'
import { createPageWriter } from '../../shared/collect/page-writer.ts'
import type { Outcome } from '../../shared/collect/write-or-park.ts'
import type { Batch } from '../../shared/model.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { dex, gap, token } from '../support/rows.ts'

const allInserted = (batch: Batch): Outcome => ({ kind: 'written', inserted: batch.dexes.length, updated: 0, quarantined: 0 })

/** A writer of DEXes, and what it has kept so far: the names of each batch. */
function createWriter(options: { maxRows?: number; maxWaitMs?: number; keep?: (batch: Batch) => Outcome; cursor?: Page['cursor'] } = {}) {
  const { maxRows = 4, maxWaitMs = 5_000, keep = allInserted, cursor = {} } = options
  const clock = createFakeClock()
  const kept: string[][] = []
  const writer = createPageWriter({
    cursor,
    rules: { maxRows, maxWaitMs },
    clock,
    keep: async (batch) => {
      kept.push(batch.dexes.map((d) => d.dex))
      return keep(batch)
    },
  })
  return { clock, kept, writer }
}

const page = (names: readonly string[], fields: Partial<Page> = {}): Page => ({
  rows: { dexes: names.map((name) => dex({ dex: name })) },
  fetched: names.length,
  rejected: 0,
  rejects: [],
  drift: [],
  cursor: {},
  ...fields,
})

describe('when pages are written', () => {
  it('as soon as enough rows wait, all of them in one batch', async () => {
    const { writer, kept } = createWriter({ maxRows: 4 })
    await writer.add(page(['a', 'b']))
    await writer.add(page(['c']))
    expect(kept).toEqual([])
    await writer.add(page(['d', 'e']))
    expect(kept).toEqual([['a', 'b', 'c', 'd', 'e']])
  })

  it('rows of every table count', async () => {
    const { writer, kept } = createWriter({ maxRows: 4 })
    await writer.add(
      page(['a'], { rows: { dexes: [dex({ dex: 'a' })], tokens: [token(), token({ address: 'B' }), token({ address: 'C' })] } }),
    )
    expect(kept).toEqual([['a']])
  })

  it('when the oldest has waited long enough, however few there are', async () => {
    const { writer, kept, clock } = createWriter({ maxWaitMs: 5_000 })
    await writer.add(page(['a']))
    clock.advance(4_999)
    await writer.add(page(['b']))
    expect(kept).toEqual([])
    clock.advance(1)
    await writer.add(page(['c']))
    expect(kept).toEqual([['a', 'b', 'c']])
  })

  it('the wait begins anew with the first page after a batch', async () => {
    const { writer, kept, clock } = createWriter({ maxRows: 2, maxWaitMs: 5_000 })
    await writer.add(page(['a', 'b']))
    clock.advance(4_000)
    await writer.add(page(['c']))
    clock.advance(4_000)
    await writer.add(page([]))
    expect(kept).toEqual([['a', 'b']])
  })

  it('at the end, once', async () => {
    const { writer, kept } = createWriter()
    await writer.add(page(['a']))
    await writer.flush()
    await writer.flush()
    expect(kept).toEqual([['a']])
  })

  it('pages without rows write nothing', async () => {
    const { writer, kept } = createWriter()
    await writer.add(page([], { cursor: { solana: 1 } }))
    await writer.flush()
    expect(kept).toEqual([])
    expect(writer.cursor).toEqual({ solana: 1 })
  })

  it('what was found out along the way is written without any item', async () => {
    const kept: Batch[] = []
    const { writer } = createWriter({ keep: (batch) => (kept.push(batch), allInserted(batch)) })
    await writer.add(page([], { rows: { gaps: [gap()] } }))
    await writer.flush()
    expect(kept.map((batch) => batch.gaps)).toEqual([[gap()]])
  })

  it('memory never holds more than one batch and one page, and each row leaves it once', async () => {
    const { writer, kept } = createWriter({ maxRows: 30 })
    const names = Array.from({ length: 40 }, (_, i) => Array.from({ length: 20 }, (__, j) => `dex-${String(i * 20 + j).padStart(3, '0')}`))
    for (const some of names) await writer.add(page(some))
    await writer.flush()
    expect(Math.max(...kept.map((batch) => batch.length))).toBe(40)
    expect(kept.flat()).toEqual(names.flat())
  })
})

describe('what is counted', () => {
  it('written rows are inserted, updated, or unchanged', async () => {
    const { writer } = createWriter({ keep: () => ({ kind: 'written', inserted: 1, updated: 2, quarantined: 0 }) })
    await writer.add(page(['a', 'b', 'c'], { fetched: 5, rejected: 1 }))
    await writer.flush()
    expect(writer.counts).toEqual({ fetched: 5, inserted: 1, updated: 2, unchanged: 1, rejected: 1, parked: 0 })
  })

  it('rows that Postgres refused are rejected, like those that parse refused', async () => {
    const { writer } = createWriter({ keep: () => ({ kind: 'written', inserted: 1, updated: 0, quarantined: 2 }) })
    await writer.add(page(['a', 'b', 'c', 'd'], { fetched: 5, rejected: 1 }))
    await writer.flush()
    expect(writer.counts).toEqual({ fetched: 5, inserted: 1, updated: 0, unchanged: 1, rejected: 3, parked: 0 })
  })

  it('parked rows are parked, whatever they would have been', async () => {
    const { writer } = createWriter({ keep: () => ({ kind: 'parked', reason: 'connection' }) })
    const rows = { dexes: [dex({ dex: 'a' }), dex({ dex: 'b' })], tokens: [token()] }
    await writer.add(page([], { rows, fetched: 3, rejected: 1 }))
    await writer.flush()
    expect(writer.counts).toEqual({ fetched: 3, inserted: 0, updated: 0, unchanged: 0, rejected: 1, parked: 2 })
  })

  it('a page whose items were all rejected counts them, and has nothing to write', async () => {
    const { writer, kept } = createWriter()
    await writer.add(page([], { fetched: 2, rejected: 2 }))
    await writer.flush()
    expect(writer.counts).toEqual({ fetched: 2, inserted: 0, updated: 0, unchanged: 0, rejected: 2, parked: 0 })
    expect(kept).toEqual([])
  })

  it('a dry run counts what came and what was rejected', async () => {
    const writer = createPageWriter({ cursor: {}, rules: { maxRows: 1, maxWaitMs: 1 }, clock: createFakeClock(), keep: undefined })
    await writer.add(page(['a', 'b'], { fetched: 3, rejected: 1 }))
    expect(writer.counts).toEqual({ fetched: 3, inserted: 0, updated: 0, unchanged: 0, rejected: 1, parked: 0 })
  })
})

describe('the cursor', () => {
  it('moves only when the rows of its page have found a place, later pages over earlier ones', async () => {
    const { writer } = createWriter({ cursor: { solana: 1, eth: 1 } })
    await writer.add(page(['a'], { cursor: { solana: 2 } }))
    await writer.add(page(['b'], { cursor: { solana: 3 } }))
    expect(writer.cursor).toEqual({ solana: 1, eth: 1 })
    await writer.flush()
    expect(writer.cursor).toEqual({ solana: 3, eth: 1 })
  })

  it('stays, as the counts do, behind rows that found no place', async () => {
    let isFull = false
    const { writer } = createWriter({
      maxRows: 1,
      keep(batch) {
        if (isFull) throw new Error('no space left')
        return allInserted(batch)
      },
    })
    await writer.add(page(['a'], { cursor: { solana: 1 } }))
    isFull = true
    await expect(writer.add(page(['b'], { cursor: { solana: 2, eth: 2 } }))).rejects.toThrow('no space left')
    expect(writer.cursor).toEqual({ solana: 1 })
    expect(writer.counts).toMatchObject({ fetched: 2, inserted: 1, parked: 0 })
  })
})

describe('how batches filled', () => {
  it('is counted in batches, rows and waiting time, apart for those where the source had no more to give', async () => {
    const { writer, clock } = createWriter({ maxRows: 3, maxWaitMs: 5_000 })
    await writer.add(page(['a', 'b']))
    clock.advance(1_000)
    await writer.add(page(['c', 'd']))
    await writer.add(page(['e']))
    clock.advance(5_000)
    await writer.add(page(['f']))
    await writer.add(page(['g']))
    clock.advance(700)
    await writer.flush()
    expect(writer.batches).toEqual({ count: 3, rows: 7, waitedMs: 6_700, sourceLimited: 1, sourceLimitedRows: 1 })
  })

  it('has nothing to say of a flush without rows, nor of a dry run', async () => {
    const { writer } = createWriter()
    await writer.add(page([], { cursor: { solana: 1 } }))
    await writer.flush()
    expect(writer.batches.count).toBe(0)
    const dry = createPageWriter({ cursor: {}, rules: { maxRows: 1, maxWaitMs: 1 }, clock: createFakeClock(), keep: undefined })
    await dry.add(page(['a']))
    expect(dry.batches.count).toBe(0)
  })
})
