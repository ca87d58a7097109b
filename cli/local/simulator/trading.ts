// What happens in a pool, as a function of time: trade number j has its moment, side, size and price, whoever asks and whenever.
// Counts, prices, trades and candles all come from these numbers, so that they agree with each other.

import { fixed, plain, product } from './decimal-text.ts'
import type { Pool } from './market.ts'
import type { QuoteToken } from './networks.ts'
import { base58, hex, letters, noise, unit, words } from './seeded.ts'

/** The newest trades that the API shows, and how far back they may lie. */
export const tradesShown = 300
const tradesShownForMs = 86_400_000
/** The public API shows candles of six months. */
const candlesShownForMs = 180 * 86_400_000

const salt = { moment: 100, sameTransaction: 101, delay: 102, size: 103, logIndex: 104, maker: 105, price: 110 }

/** USD price of a quote token; one bend every ten minutes. */
export function quoteUsd(token: QuoteToken, atMs: number): number {
  return token.usd * (1 + token.swing * noise(token.usd | 0, atMs / 600_000, 1))
}

/** USD price of the base token right after trade `j`. */
export function priceUsd(pool: Pool, j: number): number {
  let log = 0
  for (let octave = 0; octave < 5; octave++) log += 0.004 * 8 ** (octave / 2) * noise(pool.seed, j / 8 ** octave, salt.price + octave)
  if (pool.isNew) log += Math.min(j, 30) / 40
  // A first trade at a broken price: its change of 15 million percent has been seen.
  if (pool.isNew && j >= 2 && unit(pool.seed, 0, 30) < 0.03) log += 11.9
  return pool.startPriceUsd * Math.exp(log)
}

/** The last trade at or before `atMs` (a whole second); -1 when there was none. */
export function lastTrade(pool: Pool, atMs: number): number {
  // One further than the stretch of now: a trade that shares its predecessor's transaction shares its moment too.
  let j = Math.min(Math.floor((atMs + 999 - pool.createdAtMs) / pool.tradeEveryMs) + 1, pool.trades - 1)
  while (j >= 0 && blockAtMs(pool, j) > atMs) j--
  return Math.max(j, -1)
}

/** How many of the trades up to and with `j` are buys. */
export function buysUpTo(pool: Pool, j: number): number {
  const share = 0.4 + 0.25 * unit(pool.seed, 0, 31)
  return Math.floor((j + 1) * share + unit(pool.seed, 0, 32))
}

export function sizeUsd(pool: Pool, j: number): number {
  return 10 ** (unit(pool.seed, j, salt.size) * 4.5 - 0.8)
}

/** Now and then two swaps share a transaction: one block, one hash, two log indexes. */
function transactionOf(pool: Pool, j: number): number {
  return j % 2 === 1 && unit(pool.seed, j, salt.sameTransaction) < 0.08 ? j - 1 : j
}

export function blockAtMs(pool: Pool, j: number): number {
  const at = transactionOf(pool, j)
  return Math.floor((pool.createdAtMs + (at + 0.9 * unit(pool.seed, at, salt.moment)) * pool.tradeEveryMs) / 1000) * 1000
}

/** The indexer sees a trade 3 to 27 s after its block, 6 s in the median: a later block's trade can be listed first. */
function listedAtMs(pool: Pool, j: number): number {
  const at = transactionOf(pool, j)
  return blockAtMs(pool, at) + Math.round(3 + 24 * unit(pool.seed, at, salt.delay) ** 3) * 1000
}

/** Numbers of the trades that the API shows at `atMs`, newest first. */
export function tradesListed(pool: Pool, atMs: number, minVolumeUsd: number): readonly number[] {
  const listed: number[] = []
  for (let j = lastTrade(pool, atMs); j >= 0 && listed.length < tradesShown; j--) {
    if (blockAtMs(pool, j) < atMs - tradesShownForMs) break
    if (listedAtMs(pool, j) <= atMs && sizeUsd(pool, j) > minVolumeUsd) listed.push(j)
  }
  return listed
}

export type TradeAttributes = ReturnType<typeof tradeJson>['attributes']

/** A trade as the API shows it. */
export function tradeJson(pool: Pool, j: number) {
  const { network, base, quote } = pool
  const isHex = network.addresses === 'hex'
  const at = transactionOf(pool, j)
  const atMs = blockAtMs(pool, j)
  const key = `${network.id}:${pool.seed}:${pool.number}`
  const txHash = isHex ? `0x${letters(words(`tx:${key}:${at}`), hex, 64)}` : letters(words(`tx:${key}:${at}`), base58, 88)
  const maker = words(`maker:${key}:${Math.floor(unit(pool.seed, j, salt.maker) * 400)}`)
  const block = Math.floor((atMs - network.firstBlockAtMs) / network.blockMs)
  const logIndex = 1 + Math.floor(unit(pool.seed, at, salt.logIndex) * 300) + (j - at)

  const isBuy = buysUpTo(pool, j) > buysUpTo(pool, j - 1)
  const [from, to] = isBuy ? [quote, base] : [base, quote]
  const [fromUsd, toUsd] = isBuy ? [quoteUsd(quote, atMs), priceUsd(pool, j)] : [priceUsd(pool, j), quoteUsd(quote, atMs)]
  const size = sizeUsd(pool, j)
  const price = (usd: number) => (isHex ? plain(usd, 15) : fixed(usd, 67))
  const fromAmount = amount(size / fromUsd, from.decimals)
  const native = quoteUsd(network.native, atMs)
  return {
    id: `${network.id}_${block}_${txHash}_${logIndex}_${listedAtMs(pool, j) / 1000}`,
    type: 'trade',
    attributes: {
      block_number: block,
      tx_hash: txHash,
      tx_from_address: isHex ? `0x${letters(maker, hex, 40)}` : letters(maker, base58, 44),
      from_token_amount: fromAmount,
      to_token_amount: amount(size / toUsd, to.decimals),
      price_from_in_currency_token: plain(fromUsd / native, 15),
      price_to_in_currency_token: plain(toUsd / native, 15),
      price_from_in_usd: price(fromUsd),
      price_to_in_usd: price(toUsd),
      block_timestamp: isoSecond(atMs),
      kind: isBuy ? 'buy' : 'sell',
      volume_in_usd: product(fromAmount, price(fromUsd)),
      from_token_address: from.address,
      to_token_address: to.address,
    },
  }
}

/** Time (seconds), open, high, low, close, volume. */
export type Candle = readonly [number, number, number, number, number, number]

/**
 * Candles that have trades and start before `beforeMs`, newest first; the newest one holds what has happened until `atMs`. The open is the
 * close before it, also across stretches without trades.
 */
export function candles(pool: Pool, atMs: number, spanMs: number, beforeMs: number, limit: number): readonly Candle[] {
  const list: Candle[] = []
  const oldestMs = atMs - candlesShownForMs
  let endMs = Math.min(atMs, Math.ceil(beforeMs / spanMs) * spanMs - 1000)
  while (list.length < limit) {
    const last = lastTrade(pool, endMs)
    if (last < 0 || blockAtMs(pool, last) < oldestMs) break
    const startMs = Math.floor(blockAtMs(pool, last) / spanMs) * spanMs
    const before = lastTrade(pool, startMs - 1000)
    const candle = candleOf(pool, startMs, before, last)
    list.push(candle)
    // One body with a row twice has been seen; so has a writer that it broke ("cannot affect row a second time").
    if (list.length < limit && unit(pool.seed, startMs / 1000, 33) < 0.01) list.push(candle)
    endMs = startMs - 1000
  }
  return list
}

function candleOf(pool: Pool, startMs: number, before: number, last: number): Candle {
  const open = priceUsd(pool, Math.max(before, 0))
  const close = priceUsd(pool, last)
  const count = last - before
  const looks = Math.min(count, 24)
  // In old data the open can lie outside of high and low: they are then of the candle's own trades only.
  const strict = unit(pool.seed, 0, 34) < 0.1
  let [high, low, volume] = strict ? [close, close, 0] : [Math.max(open, close), Math.min(open, close), 0]
  for (let i = 1; i <= looks; i++) {
    const j = before + Math.round((i * count) / looks)
    high = Math.max(high, priceUsd(pool, j))
    low = Math.min(low, priceUsd(pool, j))
    volume += sizeUsd(pool, j)
  }
  return [startMs / 1000, open, high, low, close, (volume * count) / looks]
}

function amount(value: number, decimals: number): string {
  return decimals === 18 ? plain(value, 15, 17) : fixed(value, decimals)
}

export function isoSecond(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}
