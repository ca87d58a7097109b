// The judge must be able to find something: a judge that never does proves nothing.

import { describe, expect, it } from 'vitest'
import { batchOf, judge, rowsPerBatch } from '../../cli/local/offered-rows.ts'

const first = { writer: 'a', number: 0 }
const second = { writer: 'a', number: 1 }

/** What the tables would answer for a batch. */
const rowsOf = (id: typeof first) => {
  const { pools, trades } = batchOf(id, 0)
  const batch = pools[0]?.address
  const lines = [`pool ${batch}`, `snapshot ${batch}`, ...trades.map((trade) => `trade ${trade.key}`)]
  return lines.map((line) => ({ batch, line }))
}
const complete = [...rowsOf(first), ...rowsOf(second)]

describe('the judge of offered rows', () => {
  it('finds nothing when every row is there once', () => {
    expect(judge([first, second], complete)).toEqual({ rowsOffered: 10, rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
  })

  it('a batch that is missing is lost, and no half of anything', () => {
    expect(judge([first, second], rowsOf(first))).toEqual({ rowsOffered: 10, rowsLost: 5, rowsDoubled: 0, rowsHalfWritten: 0 })
  })

  it('a batch without its trades is lost in part and half-written', () => {
    const stored = complete.filter(({ batch, line }) => batch !== 'a-1' || !line.startsWith('trade'))
    expect(judge([first, second], stored)).toEqual({ rowsOffered: 10, rowsLost: 3, rowsDoubled: 0, rowsHalfWritten: 2 })
  })

  it('a row that is there twice is doubled, and so is one that nobody offered', () => {
    expect(judge([first, second], [...complete, ...complete.slice(3, 4)])).toMatchObject({ rowsLost: 0, rowsDoubled: 1 })
    expect(judge([first], complete)).toMatchObject({ rowsOffered: 5, rowsLost: 0, rowsDoubled: 5 })
  })

  it('no two batches share a row', () => {
    const ids = Array.from({ length: 50 }, (_, n) => ({ writer: n < 25 ? 'a' : 'b', number: n % 25 }))
    const lines = ids.flatMap((id) => rowsOf(id).map(({ line }) => line))
    expect(new Set(lines).size).toBe(50 * rowsPerBatch)
  })
})
