// What the simulator has served, so that source and tables can be compared row by row.
// Kept as numbers (which pool at which second, which trade): the market is a function of these, and makes the values again when they are asked for.

import type { Pool } from './market.ts'
import type { Dex, Network, Token } from './networks.ts'
import { poolJson, tokenId } from './pool-json.ts'
import type { Shown } from './routes.ts'
import { tradeJson, type TradeAttributes } from './trading.ts'

export type ServedPool = {
  readonly network: string
  readonly address: string
  /** As of the body that was served last, which may come from the cache and be older than the one before. */
  readonly attributes: Readonly<Record<string, unknown>>
  /** Ids as in the body (`network_address`, DEX id); undefined where the body left them out. */
  readonly baseToken: string | undefined
  readonly quoteToken: string | undefined
  readonly dex: string | undefined
  /** The bodies that showed it, by when they were made (whole seconds, their `Date`), oldest first, each second once. */
  readonly observedAtMs: readonly number[]
}
export type ServedTrade = { readonly network: string; readonly pool: string; readonly attributes: TradeAttributes }
export type ServedToken = Token & { readonly network: string }
export type ServedDex = { readonly network: string; readonly dex: string; readonly name: string }

/** How often each endpoint gave each status, such as `{ trades: { '200': 4, '429': 1, hang: 1 } }`. */
export type RequestCounts = Readonly<Record<string, Readonly<Record<string, number>>>>

/** Each call makes its map anew from what was served until then. Only bodies that were sent to their last byte count. */
export type Served = {
  /** By `network_address`. */
  pools(): ReadonlyMap<string, ServedPool>
  /** By the trade's id. */
  trades(): ReadonlyMap<string, ServedTrade>
  /** Tokens that an `included` part described, by `network_address`. */
  tokens(): ReadonlyMap<string, ServedToken>
  /** By `network_dex`, from lists of DEXes and from `included`. */
  dexes(): ReadonlyMap<string, ServedDex>
  requests(): RequestCounts
}

/** `remember: false` keeps the request counts only. */
export function createRecord(remember: boolean) {
  const pools = new Map<string, { pool: Pool; at: Set<number>; lastAtMs: number }>()
  const trades = new Map<string, { pool: Pool; numbers: Set<number> }>()
  const tokens = new Map<string, { network: Network; token: Token }>()
  const dexes = new Map<string, { network: Network; dex: Dex }>()
  const requests: Record<string, Record<string, number>> = {}

  const served: Served = {
    pools: () =>
      new Map(
        [...pools].map(([key, { pool, at, lastAtMs }]) => [
          key,
          servedPool(
            pool,
            [...at].toSorted((a, b) => a - b),
            lastAtMs,
          ),
        ]),
      ),
    trades: () => new Map([...trades.values()].flatMap(({ pool, numbers }) => [...numbers].map((j) => servedTrade(pool, j)))),
    tokens: () => new Map([...tokens].map(([key, { network, token }]) => [key, { network: network.id, ...token }])),
    dexes: () => new Map([...dexes].map(([key, { network, dex }]) => [key, { network: network.id, dex: dex.id, name: dex.name }])),
    requests: () => structuredClone(requests),
  }

  return {
    served,
    count(endpoint: string, outcome: string) {
      const byOutcome = (requests[endpoint] ??= {})
      byOutcome[outcome] = (byOutcome[outcome] ?? 0) + 1
    },
    shown(shown: Shown) {
      if (!remember) return
      for (const pool of shown.pools) {
        const known = entry(pools, keyOf(pool), () => ({ pool, at: new Set<number>(), lastAtMs: shown.atMs }))
        known.at.add(shown.atMs)
        known.lastAtMs = shown.atMs
      }
      for (const { pool, numbers } of shown.trades) {
        const known = entry(trades, keyOf(pool), () => ({ pool, numbers: new Set<number>() })).numbers
        for (const j of numbers) known.add(j)
      }
      for (const { network, token } of shown.tokens) tokens.set(tokenId(network, token), { network, token })
      for (const { network, dex } of shown.dexes) dexes.set(`${network.id}_${dex.id}`, { network, dex })
    },
  }
}

function keyOf(pool: Pool): string {
  return `${pool.network.id}_${pool.address}`
}

function servedPool(pool: Pool, observedAtMs: readonly number[], lastAtMs: number): ServedPool {
  const { attributes, relationships } = poolJson(pool, lastAtMs, { withNetwork: false })
  const idOf = (name: string) => relationships[name]?.data?.id
  return {
    network: pool.network.id,
    address: pool.address,
    attributes,
    baseToken: idOf('base_token'),
    quoteToken: idOf('quote_token'),
    dex: idOf('dex'),
    observedAtMs,
  }
}

function servedTrade(pool: Pool, j: number): [string, ServedTrade] {
  const { id, attributes } = tradeJson(pool, j)
  return [id, { network: pool.network.id, pool: pool.address, attributes }]
}

function entry<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const value = map.get(key) ?? make()
  map.set(key, value)
  return value
}
