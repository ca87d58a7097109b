import { describe, expect, it } from 'vitest'
import { assertEntry, batchIdOf, enterLedger } from '../../shared/db/ledger.ts'

const batchId = '0b1c2d3e-4f50-8123-9abc-def012345678'
const statement = { name: 'add', text: 'update totals set n = n + 1', values: [] }

describe('batchIdOf', () => {
  const batch = { source: 'rates-api', atMs: Date.UTC(2026, 0, 1), content: [{ pair: 'SOL/USD', rate: '190.1' }] }

  it('is the same uuid for the same batch, in every process', () => {
    expect(batchIdOf(batch)).toBe('20f44995-fae1-8c1a-8d75-b54998f3d385')
    expect(batchIdOf({ content: [{ pair: 'SOL/USD', rate: '190.1' }], atMs: Date.UTC(2026, 0, 1), source: 'rates-api' })).toBe(
      batchIdOf(batch),
    )
  })

  it.each([
    ['source', { ...batch, source: 'rates-api2' }],
    ['time: the same content on two days is two batches', { ...batch, atMs: batch.atMs + 1 }],
    ['content', { ...batch, content: [{ pair: 'SOL/USD', rate: '190.10' }] }],
    ['shape', { ...batch, content: JSON.stringify(batch.content) }],
  ])('is another one for another %s', (_what, other) => {
    expect(batchIdOf(other)).not.toBe(batchIdOf(batch))
  })
})

describe('an entry of the ledger', () => {
  it('is chunk 0 when no chunk is named', () => {
    expect(enterLedger({ batchId, rows: 7 }).values).toEqual([batchId, 0, 7])
    expect(enterLedger({ batchId, chunk: 3, rows: 7 }).values).toEqual([batchId, 3, 7])
  })

  it.each([
    ['a batch id that is no uuid', { batchId: 'batch 7', rows: 1 }, 'batchId is no uuid'],
    ['a chunk that is no whole number', { batchId, chunk: 0.5, rows: 1 }, 'chunk is no whole number'],
    ['a negative chunk', { batchId, chunk: -1, rows: 1 }, 'chunk is no whole number'],
    ['a count of rows that is none', { batchId, rows: Number.NaN }, 'rows is no whole number'],
    ['a count that the column can not hold', { batchId, rows: 2 ** 31 }, 'rows is no whole number'],
  ])('with %s is a TypeError, before anything is sent', (_what, entry, message) => {
    expect(() => assertEntry(entry, [statement])).toThrow(TypeError)
    expect(() => assertEntry(entry, [statement])).toThrow(message)
  })

  it('without a statement is refused: the batch would count as applied for ever, and nothing of it would be in', () => {
    expect(() => assertEntry({ batchId, rows: 1 }, [])).toThrow('no statement was given')
  })
})
