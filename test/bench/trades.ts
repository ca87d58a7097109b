// Trades as a busy Solana pool has them: 88 characters of transaction, 44 of an address, long decimals, ten trades a block, newest first.

import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import type { TradeRow } from '../../shared/model.ts'

export const day = '2025-08-28'

/** The pools whose trades are written; the table of pools has many more. */
export const tradedPools = Array.from({ length: 5 }, (_, n) => `pool-${n}`)

const text = (length: number) =>
  randomBytes(Math.ceil(length * 0.75))
    .toString('base64url')
    .slice(0, length)
const decimal = (integerDigits: number, decimals: number) => `${randomInt(10 ** integerDigits)}.${digits(decimals)}`
const digits = (count: number) =>
  Array.from({ length: Math.ceil(count / 12) }, () => String(randomInt(1e12)).padStart(12, '0'))
    .join('')
    .slice(0, count)

const tokens = [text(44), text(44)] as const

/** Rows that nobody has written yet: each call goes on where the last one stopped, and stays within one day. */
export function createTrades(): (count: number) => readonly TradeRow[] {
  let made = 0
  const one = (): TradeRow => {
    const block = Math.floor(made++ / 10) % 200_000
    return {
      network: 'solana',
      pool: tradedPools[made % tradedPools.length] ?? '',
      key: randomUUID(),
      blockAtMs: Date.parse(`${day}T00:00:00Z`) + block * 400,
      blockNumber: 362_000_000 + block,
      txHash: text(88),
      maker: text(44),
      kind: made % 2 ? 'buy' : 'sell',
      fromToken: tokens[made % 2] ?? '',
      toToken: tokens[1 - (made % 2)] ?? '',
      fromAmount: decimal(3, 9),
      toAmount: decimal(7, 6),
      priceFromUsd: decimal(3, 14),
      priceToUsd: `0.0000${digits(22)}`,
      basePriceUsd: `0.0000${digits(22)}`,
      volumeUsd: decimal(4, 18),
      fetchedAtMs: Date.parse(`${day}T23:59:00Z`),
    }
  }
  return (count) => Array.from({ length: count }, one).toReversed()
}
