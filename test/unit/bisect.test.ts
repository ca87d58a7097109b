import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { emptyBatch, halves, rowCount, singleRow, streamOf } from '../../shared/collect/batch.ts'
import { bisect } from '../../shared/collect/bisect.ts'
import type { Batch } from '../../shared/model.ts'
import { dex, gap, incident, oneOfEach, pool, run, sample, token, trade } from '../support/rows.ts'

type AnyRow = Batch[keyof Batch][number]

/** A batch of these sizes by table, and all its rows in the batch's order. */
function batchOf(sizes: Partial<Record<keyof Batch, number>>): { batch: Batch; rows: readonly AnyRow[] } {
  const many = <Row>(count: number | undefined, row: () => Row) => Array.from({ length: count ?? 0 }, row)
  const batch: Batch = {
    dexes: many(sizes.dexes, dex),
    tokens: many(sizes.tokens, token),
    pools: many(sizes.pools, pool),
    trades: many(sizes.trades, trade),
    gaps: many(sizes.gaps, gap),
    runs: many(sizes.runs, run),
    samples: many(sizes.samples, sample),
    incidents: many(sizes.incidents, incident),
  }
  return { batch, rows: rowsOf(batch) }
}
const rowsOf = (batch: Batch): readonly AnyRow[] => Object.values(batch).flat()

/** Refuses every part that holds one of these rows, and writes the others. */
function table(bad: ReadonlySet<AnyRow>) {
  const written: AnyRow[] = []
  let attempts = 0
  const attempt = async (part: Batch) => {
    attempts++
    const rows = rowsOf(part)
    const first = rows.find((row) => bad.has(row))
    if (first) return first
    written.push(...rows)
    return undefined
  }
  return { written, attempt, attempts: () => attempts }
}

const sizes = fc.record({
  dexes: fc.nat(20),
  tokens: fc.nat(60),
  pools: fc.nat(60),
  trades: fc.nat(120),
  gaps: fc.nat(3),
  runs: fc.nat(2),
  samples: fc.nat(2),
  incidents: fc.nat(2),
})

describe('bisect', () => {
  it('whatever rows are bad among however many: exactly those are found, each alone, and every good one is written once', async () => {
    let [refusedBatches, mostBad] = [0, 0]
    await fc.assert(
      fc.asyncProperty(sizes, fc.array(fc.nat(1_000), { maxLength: 12 }), async (counts, picks) => {
        const { batch, rows } = batchOf(counts)
        const bad = new Set(rows.length === 0 ? [] : picks.map((pick) => rows[pick % rows.length] as AnyRow))
        const { written, attempt, attempts } = table(bad)
        const found = await bisect(batch, attempt, { maxRefused: 12 })
        if (found.kind !== 'done') throw new Error('gave up')
        expect(found.refused.map(({ part }) => rowCount(part))).toEqual(found.refused.map(() => 1))
        // in the batch's order, with the reason that the row itself was refused for
        expect(found.refused.map(({ part }) => singleRow(part).row)).toEqual(rows.filter((row) => bad.has(row)))
        expect(found.refused.every(({ part, reason }) => singleRow(part).row === reason)).toBe(true)
        expect(new Set(written).size).toBe(written.length)
        expect(new Set(written)).toEqual(new Set(rows.filter((row) => !bad.has(row))))
        expect(attempts()).toBeLessThanOrEqual(1 + 2 * bad.size * Math.ceil(Math.log2(Math.max(1, rows.length))))
        refusedBatches += bad.size > 0 ? 1 : 0
        mostBad = Math.max(mostBad, bad.size)
      }),
      { numRuns: 300, seed: 20_251_121 },
    )
    // else the property has not met what it is for
    expect(refusedBatches).toBeGreaterThan(150)
    expect(mostBad).toBeGreaterThan(8)
  })

  it('one bad row among 1,000 costs 20 attempts more', async () => {
    const { batch, rows } = batchOf({ trades: 1_000 })
    const { attempt, attempts, written } = table(new Set([rows[617] as AnyRow]))
    expect(await bisect(batch, attempt, { maxRefused: 10 })).toMatchObject({ kind: 'done', refused: [{ reason: rows[617] }] })
    expect(attempts()).toBeLessThanOrEqual(21)
    expect(written).toHaveLength(999)
  })

  it('a batch that is only too large is written in parts, and nothing is refused', async () => {
    const { batch, rows } = batchOf({ pools: 30, trades: 71 })
    const written: AnyRow[] = []
    const found = await bisect(batch, async (part) => (rowCount(part) > 13 ? 'too large' : void written.push(...rowsOf(part))), {
      maxRefused: 10,
    })
    expect(found).toEqual({ kind: 'done', refused: [] })
    expect(written).toEqual(rows)
  })

  it('as many bad rows as allowed are found; one more ends the search', async () => {
    const { batch, rows } = batchOf({ tokens: 64 })
    const first = (count: number) => table(new Set(rows.slice(0, count)))
    expect(await bisect(batch, first(3).attempt, { maxRefused: 3 })).toMatchObject({ kind: 'done', refused: [{}, {}, {}] })
    const { attempt, attempts } = first(64)
    expect(await bisect(batch, attempt, { maxRefused: 3 })).toEqual({ kind: 'too-many', reason: rows[3] })
    expect(attempts()).toBeLessThan(20)
  })

  it('what is no refusal goes up as it is', async () => {
    const { batch } = batchOf({ dexes: 4 })
    const cut = new Error('the connection was cut')
    await expect(bisect(batch, () => Promise.reject(cut), { maxRefused: 10 })).rejects.toBe(cut)
  })
})

describe('halves', () => {
  it('of a batch of one row of each kind hold four each, and none twice', () => {
    const whole = oneOfEach()
    const [first, second] = halves(whole)
    expect([rowCount(first), rowCount(second)]).toEqual([4, 4])
    expect([...rowsOf(first), ...rowsOf(second)]).toEqual(rowsOf(whole))
  })
})

describe('the stream of a batch', () => {
  it.each([
    [{ trades: [trade()], pools: [pool()] }, 'trades'],
    [{ pools: [pool()], tokens: [token()], dexes: [dex()] }, 'pools'],
    [{ dexes: [dex()] }, 'dexes'],
    [{ runs: [run()] }, undefined],
    [{ gaps: [gap()] }, undefined],
  ])('%# is the table that its collector is about', (rows, stream) => {
    expect(streamOf({ ...emptyBatch, ...rows })).toBe(stream)
  })
})
