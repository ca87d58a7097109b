import { describe, expect, it } from 'vitest'
import { emptyBatch, mergeBatches, rowCount } from '../../shared/collect/batch.ts'
import { at, dex, gap, oneOfEach, pool, run, token, trade, tradeKey } from '../support/rows.ts'

describe('a merged batch', () => {
  it('has each key once, and of a key the newest row', () => {
    const merged = mergeBatches([
      { dexes: [dex({ name: 'new', observedAtMs: at('10:05') })], tokens: [token({ symbol: 'old' })] },
      {
        dexes: [dex({ name: 'old' })],
        tokens: [token({ symbol: 'new', observedAtMs: at('10:05') }), token({ symbol: 'older', observedAtMs: at('09:00') })],
      },
    ])
    expect(merged.dexes.map((r) => r.name)).toEqual(['new'])
    expect(merged.tokens.map((r) => r.symbol)).toEqual(['new'])
  })

  it('keeps every observation of a pool that differs in time or source', () => {
    const merged = mergeBatches([
      { pools: [pool({ observedAtMs: at('10:05') }), pool(), pool()] },
      { pools: [pool({ source: 'new-pools' })] },
    ])
    expect(merged.pools.map((r) => [r.observedAtMs, r.source])).toEqual([
      [at('10:00'), 'new-pools'],
      [at('10:00'), 'top-pools'],
      [at('10:05'), 'top-pools'],
    ])
  })

  it('has a trade that was fetched twice once, as it was fetched first', () => {
    const merged = mergeBatches([
      { trades: [trade({ fetchedAtMs: at('10:06') })] },
      { trades: [trade({ fetchedAtMs: at('10:01') }), trade({ fetchedAtMs: at('10:11') })] },
    ])
    expect(merged.trades.map((r) => r.fetchedAtMs)).toEqual([at('10:01')])
  })

  it('keeps the longest gap and the latest end of a run', () => {
    const merged = mergeBatches([
      { gaps: [gap({ toMs: at('09:40') }), gap()], runs: [run({ outcome: 'failed' })] },
      { runs: [run({ endedAtMs: at('10:02') })] },
    ])
    expect(merged.gaps.map((r) => r.toMs)).toEqual([at('09:40')])
    expect(merged.runs.map((r) => r.outcome)).toEqual(['complete'])
  })

  it('ascends by key in every table, whatever the order of what came in', () => {
    const merged = mergeBatches([
      {
        dexes: [dex({ network: 'solana', dex: 'b' }), dex({ network: 'eth', dex: 'z' }), dex({ network: 'solana', dex: 'B' })],
        tokens: [
          token({ network: 'solana', address: 'a' }),
          token({ network: 'eth', address: '0x2' }),
          token({ network: 'eth', address: '0x1' }),
        ],
        pools: [pool({ address: 'b' }), pool({ address: 'a', observedAtMs: at('10:05') }), pool({ address: 'a' })],
        trades: [
          trade({ key: tradeKey(1), blockAtMs: at('10:02') }),
          trade({ key: tradeKey(3), blockAtMs: at('10:01') }),
          trade({ key: tradeKey(2), blockAtMs: at('10:01') }),
        ],
        gaps: [gap({ stream: 'b' }), gap({ stream: 'a', fromMs: at('09:20') }), gap({ stream: 'a' })],
        runs: [run({ collector: 'trades' }), run({ collector: 'dexes', runId: '2' }), run({ collector: 'dexes', runId: '1' })],
      },
    ])
    expect(merged.dexes.map((r) => [r.network, r.dex])).toEqual([
      ['eth', 'z'],
      ['solana', 'B'],
      ['solana', 'b'],
    ])
    expect(merged.tokens.map((r) => [r.network, r.address])).toEqual([
      ['eth', '0x1'],
      ['eth', '0x2'],
      ['solana', 'a'],
    ])
    expect(merged.pools.map((r) => [r.address, r.observedAtMs])).toEqual([
      ['a', at('10:00')],
      ['a', at('10:05')],
      ['b', at('10:00')],
    ])
    expect(merged.trades.map((r) => r.key)).toEqual([tradeKey(2), tradeKey(3), tradeKey(1)])
    expect(merged.gaps.map((r) => [r.stream, r.fromMs])).toEqual([
      ['a', at('09:00')],
      ['a', at('09:20')],
      ['b', at('09:00')],
    ])
    expect(merged.runs.map((r) => [r.collector, r.runId])).toEqual([
      ['dexes', '1'],
      ['dexes', '2'],
      ['trades', '2025-08-28T10:00:00.000Z'],
    ])
  })

  it('tells keys apart that would read the same without a separator', () => {
    const merged = mergeBatches([{ dexes: [dex({ network: 'ab', dex: 'c' }), dex({ network: 'a', dex: 'bc' })] }])
    expect(merged.dexes.map((r) => [r.network, r.dex])).toEqual([
      ['a', 'bc'],
      ['ab', 'c'],
    ])
  })

  it('merged again is the same', () => {
    const merged = mergeBatches([oneOfEach(), { trades: [trade({ key: tradeKey(2) })] }])
    expect(mergeBatches([merged])).toEqual(merged)
  })

  it('counts the rows of all its tables', () => {
    expect(rowCount(emptyBatch)).toBe(0)
    expect(rowCount(mergeBatches([oneOfEach(), { pools: [pool({ address: 'PoolB' })] }]))).toBe(9)
  })
})
