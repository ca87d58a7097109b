// A pool as the API's lists show it, with the odd values that were seen in real answers, each at a rate of its own.
// The same pool at the same second looks the same in every list, so that what was served can be compared with what was stored.

import { fixed, plain } from './decimal-text.ts'
import type { Pool } from './market.ts'
import type { Dex, Network, Token } from './networks.ts'
import { noise, unit } from './seeded.ts'
import { buysUpTo, blockAtMs, isoSecond, lastTrade, priceUsd, quoteUsd, sizeUsd } from './trading.ts'

const windows = { m5: 300_000, m15: 900_000, m30: 1_800_000, h1: 3_600_000, h6: 21_600_000, h24: 86_400_000 } as const
type Windows<Value> = Record<keyof typeof windows, Value>

export type Relationship = { readonly data?: { readonly id: string; readonly type: string } | null }
export type PoolJson = {
  readonly id: string
  readonly type: 'pool'
  readonly attributes: Readonly<Record<string, unknown>>
  readonly relationships: Readonly<Record<string, Relationship>>
}

export function poolJson(pool: Pool, atMs: number, options: { withNetwork: boolean }): PoolJson {
  const odd = (salt: number, rate: number) => unit(pool.seed, 1, salt) < rate
  const asOfMs = recomputedAtMs(pool, atMs)
  const last = lastTrade(pool, asOfMs)
  const { network, base, quote } = pool
  const number = (value: number) => (network.addresses === 'hex' ? plain(value, 15) : fixed(value, 69))

  const baseUsd = priceUsd(pool, Math.max(last, 0))
  const quotePriceUsd = quoteUsd(quote, asOfMs)
  const nativeUsd = quoteUsd(network.native, asOfMs)
  const isNaN = odd(1, 0.05)
  const fdv = odd(2, 0.02) ? 7.7e18 * (1 + 0.1 * noise(pool.seed, last / 64, 40)) : baseUsd * 1e9

  const activity = activityOf(pool, asOfMs, last)
  const hideCounts = odd(3, 0.03)
  const attributes: Record<string, unknown> = {
    base_token_price_usd: number(baseUsd),
    base_token_price_native_currency: isNaN ? 'NaN' : plain(baseUsd / nativeUsd, 15),
    quote_token_price_usd: number(quotePriceUsd),
    quote_token_price_native_currency: isNaN ? 'NaN' : quote === network.native ? '1.0' : plain(quotePriceUsd / nativeUsd, 15),
    base_token_price_quote_token: isNaN ? null : plain(baseUsd / quotePriceUsd, 10),
    quote_token_price_base_token: isNaN ? null : plain(quotePriceUsd / baseUsd, 15, 10),
    address: pool.address,
    name: pool.name,
    pool_created_at: !pool.isNew && odd(4, 0.03) ? null : isoSecond(pool.createdAtMs),
    fdv_usd: odd(5, 0.15) ? null : plain(fdv, 15),
    market_cap_usd: odd(6, 0.8) ? null : plain(fdv * 0.93, 15),
    price_change_percentage: activity.change,
    transactions: hideCounts ? mapWindows((w) => ({ ...activity.transactions[w], buyers: null, sellers: null })) : activity.transactions,
    volume_usd: activity.volume,
    reserve_in_usd: reserveText(pool, baseUsd),
  }
  if (odd(7, 0.1)) attributes['last_trade_timestamp'] = lastTradeTimestamp(pool, last)
  if (odd(8, 0.2)) {
    attributes['sentiment_vote_positive_percentage'] = odd(9, 0.5) ? 100 : 66.67
    attributes['sentiment_vote_negative_percentage'] = odd(9, 0.5) ? 0 : 33.33
    attributes['community_sus_report'] = 0
  }
  if (pool.dex.launchpad && odd(10, 0.2)) {
    attributes['launchpad_details'] = {
      graduation_percentage: 12.5,
      completed: false,
      completed_at: null,
      migrated_destination_pool_address: null,
    }
  }

  return {
    id: `${network.id}_${pool.address}`,
    type: 'pool',
    attributes,
    relationships: {
      base_token: odd(11, 0.01) ? { data: null } : { data: { id: tokenId(network, base), type: 'token' } },
      quote_token: odd(12, 0.01) ? {} : { data: { id: tokenId(network, quote), type: 'token' } },
      ...(options.withNetwork ? { network: { data: { id: network.id, type: 'network' } } } : {}),
      dex: odd(13, 0.02) ? {} : { data: { id: pool.dex.id, type: 'dex' } },
    },
  }
}

export function tokenId(network: Network, token: Token): string {
  return `${network.id}_${token.address}`
}

export function tokenAttributes(token: Token) {
  const { address, name, symbol, decimals, coingeckoId } = token
  return { address, name, symbol, decimals, image_url: 'missing.png', coingecko_coin_id: coingeckoId }
}

export function dexAttributes(dex: Dex) {
  return { name: dex.name }
}

/** The API does not look at every pool for every answer: a third of the old ones, not the busiest, keep their figures for 15 minutes. */
function recomputedAtMs(pool: Pool, atMs: number): number {
  if (pool.isNew || pool.number < 3 || unit(pool.seed, 1, 20) > 0.35) return atMs
  const offsetMs = Math.floor(unit(pool.seed, 1, 21) * 900) * 1000
  return Math.floor((atMs - offsetMs) / 900_000) * 900_000 + offsetMs
}

function activityOf(pool: Pool, asOfMs: number, last: number) {
  // Sizes are summed over the last 50 trades and scaled: a day of a busy pool has tens of thousands.
  const sums = [0]
  for (let i = 0; i < 50 && last - i >= 0; i++) sums.push(sums[i]! + sizeUsd(pool, last - i))
  const of = mapWindows((w) => {
    const before = lastTrade(pool, asOfMs - windows[w])
    const count = last - before
    const counted = Math.min(count, sums.length - 1)
    const buys = buysUpTo(pool, last) - buysUpTo(pool, before)
    return {
      volume: counted === 0 ? 0 : (sums[counted]! * count) / counted,
      change: last < 0 ? 0 : (priceUsd(pool, last) / priceUsd(pool, Math.max(before, 0)) - 1) * 100,
      transactions: { buys, sells: count - buys, buyers: Math.ceil(buys * 0.6), sellers: Math.ceil((count - buys) * 0.7) },
    }
  })
  return {
    volume: mapWindows((w) => plain(of[w].volume, 15)),
    change: mapWindows((w) => (Math.abs(of[w].change) < 0.0005 ? '0' : fixed(of[w].change, 3))),
    transactions: mapWindows((w) => of[w].transactions),
  }
}

function reserveText(pool: Pool, baseUsd: number): string | null {
  const pick = unit(pool.seed, 1, 22)
  if (pick < 0.02) return null
  if (pick < 0.04) return fixed(-10 - 100 * unit(pool.seed, 1, 23), 4)
  if (pick < 0.08) return '0.0'
  if (pick < 0.1) return '0.0000015'
  const reserve = (pool.isNew ? 4_700 : 10 ** (4 + 3 * unit(pool.seed, 1, 23))) * Math.sqrt(baseUsd / pool.startPriceUsd)
  return pick < 0.15 ? fixed(reserve, 50) : fixed(reserve, 4)
}

/** An integer or a string of one: both were seen. */
function lastTradeTimestamp(pool: Pool, last: number): number | string | null {
  if (last < 0) return null
  const seconds = blockAtMs(pool, last) / 1000
  return unit(pool.seed, 1, 24) < 0.5 ? seconds : String(seconds)
}

function mapWindows<Value>(of: (window: keyof typeof windows) => Value): Windows<Value> {
  return { m5: of('m5'), m15: of('m15'), m30: of('m30'), h1: of('h1'), h6: of('h6'), h24: of('h24') }
}
