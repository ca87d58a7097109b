// Which path gives which body, in the API's shapes and within its limits: 20 rows a page, 10 pages, 30 addresses, 1,000 candles.

import type { Market, Pool } from './market.ts'
import type { Dex, Network, Token } from './networks.ts'
import { dexAttributes, poolJson, tokenAttributes, tokenId } from './pool-json.ts'
import { unit } from './seeded.ts'
import { candles, tradeJson, tradesListed } from './trading.ts'

const rowsPerPage = 20
const pagesShown = 10
const addressesTaken = 30

/** What a body showed, for the record of what was served. */
export type Shown = {
  readonly atMs: number
  readonly pools: readonly Pool[]
  readonly tokens: readonly { network: Network; token: Token }[]
  readonly dexes: readonly { network: Network; dex: Dex }[]
  readonly trades: readonly { pool: Pool; numbers: readonly number[] }[]
}
export type Answer = { readonly endpoint: string; readonly status: 200 | 400 | 404; readonly json: unknown; readonly shown: Shown }

type Request = { readonly market: Market; readonly query: URLSearchParams; readonly atMs: number }
type Page = { json: unknown; shown?: Partial<Shown> }
/** Thrown by a route, answered in the API's error shape. */
class Refusal extends Error {
  readonly status: 400 | 404
  constructor(status: 400 | 404, title: string) {
    super(title)
    this.status = status
  }
}

const routes: readonly { endpoint: string; path: RegExp; answer: (request: Request, ...parts: string[]) => Page }[] = [
  { endpoint: 'networks', path: /^\/networks$/, answer: networksPage },
  { endpoint: 'new_pools_all', path: /^\/networks\/new_pools$/, answer: newPoolsOfAll },
  { endpoint: 'dexes', path: /^\/networks\/([^/]+)\/dexes$/, answer: dexesPage },
  { endpoint: 'top_pools', path: /^\/networks\/([^/]+)\/pools$/, answer: (r, n) => topPools(r, networkNamed(r, n!)) },
  { endpoint: 'top_pools_dex', path: /^\/networks\/([^/]+)\/dexes\/([^/]+)\/pools$/, answer: topPoolsOfDex },
  { endpoint: 'new_pools', path: /^\/networks\/([^/]+)\/new_pools$/, answer: newPools },
  { endpoint: 'trending_pools', path: /^\/networks\/([^/]+)\/trending_pools$/, answer: trendingPools },
  { endpoint: 'pools_multi', path: /^\/networks\/([^/]+)\/pools\/multi\/([^/]+)$/, answer: poolsMulti },
  { endpoint: 'pool', path: /^\/networks\/([^/]+)\/pools\/([^/]+)$/, answer: onePool },
  { endpoint: 'trades', path: /^\/networks\/([^/]+)\/pools\/([^/]+)\/trades$/, answer: tradesPage },
  { endpoint: 'ohlcv', path: /^\/networks\/([^/]+)\/pools\/([^/]+)\/ohlcv\/([^/]+)$/, answer: ohlcv },
]

/** `atMs` is a whole second: two answers of one second show a pool alike. */
export function answerTo(market: Market, path: string, query: URLSearchParams, atMs: number): Answer {
  const nothing: Shown = { atMs, pools: [], tokens: [], dexes: [], trades: [] }
  for (const { endpoint, path: pattern, answer } of routes) {
    const match = pattern.exec(path)
    if (!match) continue
    try {
      const { json, shown } = answer({ market, query, atMs }, ...match.slice(1).map(decodeURIComponent))
      return { endpoint, status: 200, json, shown: { ...nothing, ...shown } }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return { endpoint, status: error.status, json: errorJson(error.status, error.message), shown: nothing }
    }
  }
  return { endpoint: 'unknown', status: 404, json: errorJson(404, 'Not Found'), shown: nothing }
}

export function errorJson(status: number, title: string) {
  return { errors: [{ status: String(status), title }] }
}

function networksPage(request: Request): Page {
  const { networks } = request.market
  const data = networks.map(({ id, name, platform }) => ({
    id,
    type: 'network',
    attributes: { name, coingecko_asset_platform_id: platform },
  }))
  return { json: linked(data, request) }
}

function dexesPage(request: Request, networkId = ''): Page {
  const network = networkNamed(request, networkId)
  const data = network.dexes.map((dex) => ({ id: dex.id, type: 'dex', attributes: dexAttributes(dex) }))
  return { json: linked(data, request), shown: { dexes: pageOf(request) === 1 ? network.dexes.map((dex) => ({ network, dex })) : [] } }
}

/** Networks and DEXes come 100 a page, with links; there are fewer here. */
function linked(data: readonly unknown[], request: Request) {
  return { data: pageOf(request) === 1 ? data : [], links: { first: null, prev: null, next: null, last: null } }
}

function topPools(request: Request, network: Network, dexId?: string): Page {
  const pools = request.market.established(network).filter((pool) => dexId === undefined || pool.dex.id === dexId)
  const sort = request.query.get('sort') ?? 'h24_tx_count_desc'
  if (sort === 'h24_tx_count_desc') return poolList(request, pools)
  if (sort !== 'h24_volume_usd_desc') throw new Refusal(400, `Unknown sort ${sort}`)
  const volume = new Map(pools.map((p) => [p, Number(volumeOf(p, request.atMs))]))
  return poolList(
    request,
    pools.toSorted((a, b) => volume.get(b)! - volume.get(a)!),
  )
}

function volumeOf(pool: Pool, atMs: number): string {
  return (poolJson(pool, atMs, { withNetwork: false }).attributes['volume_usd'] as { h24: string }).h24
}

function topPoolsOfDex(request: Request, networkId = '', dexId = ''): Page {
  const network = networkNamed(request, networkId)
  if (!network.dexes.some((dex) => dex.id === dexId)) throw new Refusal(404, 'Not Found')
  return topPools(request, network, dexId)
}

function newPools(request: Request, networkId = ''): Page {
  return poolList(request, request.market.newest(networkNamed(request, networkId), request.atMs, rowsPerPage * pagesShown))
}

function newPoolsOfAll(request: Request): Page {
  const pools = request.market.networks.flatMap((network) => request.market.newest(network, request.atMs, rowsPerPage * pagesShown))
  return poolList(
    request,
    pools.toSorted((a, b) => b.createdAtMs - a.createdAtMs),
    { withNetwork: true },
  )
}

/** Another order of the old pools for each duration, and another one each ten minutes. */
function trendingPools(request: Request, networkId = ''): Page {
  const network = networkNamed(request, networkId)
  const salt = ['5m', '1h', '6h', '24h'].indexOf(request.query.get('duration') ?? '24h')
  if (salt < 0) throw new Refusal(400, 'Invalid duration')
  const slot = Math.floor(request.atMs / 600_000)
  const heat = (pool: Pool) => unit(pool.seed, slot, 200 + salt) / (pool.number + 1)
  return poolList(
    request,
    request.market.established(network).toSorted((a, b) => heat(b) - heat(a)),
  )
}

function poolsMulti(request: Request, networkId = '', addresses = ''): Page {
  const network = networkNamed(request, networkId)
  const asked = [...new Set(addresses.split(','))]
  if (asked.length > addressesTaken) throw new Refusal(400, `Exceeded maximum number of addresses: ${addressesTaken}`)
  const pools = asked.map((address) => request.market.find(network, address, request.atMs)).filter((pool) => pool !== undefined)
  return poolBody(request, pools, { withNetwork: false })
}

function onePool(request: Request, networkId = '', address = ''): Page {
  const body = poolBody(request, [poolNamed(request, networkId, address)], { withNetwork: false })
  return { ...body, json: { ...body.json, data: body.json.data[0] } }
}

function tradesPage(request: Request, networkId = '', address = ''): Page {
  const pool = poolNamed(request, networkId, address)
  const least = Number(request.query.get('trade_volume_in_usd_greater_than') ?? -1)
  if (!Number.isFinite(least)) throw new Refusal(400, 'Invalid trade_volume_in_usd_greater_than')
  const numbers = tradesListed(pool, request.atMs, least)
  return { json: { data: numbers.map((j) => tradeJson(pool, j)) }, shown: { trades: [{ pool, numbers }] } }
}

const aggregates: Readonly<Record<string, { ms: number; steps: readonly number[] }>> = {
  day: { ms: 86_400_000, steps: [1] },
  hour: { ms: 3_600_000, steps: [1, 4, 12] },
  minute: { ms: 60_000, steps: [1, 5, 15] },
}

function ohlcv(request: Request, networkId = '', address = '', timeframe = ''): Page {
  const { query, atMs } = request
  const pool = poolNamed(request, networkId, address)
  const unitOfTime = aggregates[timeframe]
  const step = Number(query.get('aggregate') ?? 1)
  const limit = Number(query.get('limit') ?? 100)
  const before = query.get('before_timestamp')
  const beforeMs = before === null ? Infinity : Number(before) * 1000
  if (!unitOfTime?.steps.includes(step)) throw new Refusal(400, 'Invalid timeframe or aggregate')
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) throw new Refusal(400, 'Invalid limit: must be 1 to 1000')
  if (Number.isNaN(beforeMs)) throw new Refusal(400, 'Invalid before_timestamp: must be epoch seconds')
  // The simulator has prices of the base token in USD only. Anything else is refused: ignoring it would give wrong prices.
  if ((query.get('currency') ?? 'usd') !== 'usd' || (query.get('token') ?? 'base') !== 'base')
    throw new Refusal(400, 'Invalid currency or token')

  const list = candles(pool, atMs, unitOfTime.ms * step, beforeMs, limit)
  return {
    json: {
      data: { id: `${networkId}-${address}-${timeframe}-${step}`, type: 'ohlcv_request_response', attributes: { ohlcv_list: list } },
      meta: { base: candleToken(pool.base), quote: candleToken(pool.quote) },
    },
  }
}

function candleToken({ address, name, symbol, coingeckoId }: Token) {
  return { address, name, symbol, coingecko_coin_id: coingeckoId }
}

function poolList(request: Request, pools: readonly Pool[], options = { withNetwork: false }): Page {
  const page = pageOf(request)
  return poolBody(request, pools.slice((page - 1) * rowsPerPage, page * rowsPerPage), options)
}

function poolBody(request: Request, pools: readonly Pool[], options: { withNetwork: boolean }) {
  const data = pools.map((pool) => poolJson(pool, request.atMs, options))
  const include = (request.query.get('include') ?? '').split(',')
  // Type and id together are the key: on some launchpads a token has its pool's id.
  const included = new Map<string, unknown>()
  const tokens = new Map<string, { network: Network; token: Token }>()
  const dexes = new Map<string, { network: Network; dex: Dex }>()
  data.forEach(({ relationships }, i) => {
    const { network, base, quote, dex } = pools[i]!
    for (const [name, token] of [
      ['base_token', base],
      ['quote_token', quote],
    ] as const) {
      if (!include.includes(name) || !relationships[name]?.data) continue
      const id = tokenId(network, token)
      included.set(`token ${id}`, { id, type: 'token', attributes: tokenAttributes(token) })
      tokens.set(id, { network, token })
    }
    if (include.includes('dex') && relationships['dex']?.data) {
      included.set(`dex ${dex.id}`, { id: dex.id, type: 'dex', attributes: dexAttributes(dex) })
      dexes.set(`${network.id} ${dex.id}`, { network, dex })
    }
  })
  const json = { data, ...(included.size > 0 ? { included: [...included.values()] } : {}) }
  return { json, shown: { pools, tokens: [...tokens.values()], dexes: [...dexes.values()] } }
}

function pageOf({ query }: Request): number {
  const page = Number(query.get('page') ?? 1)
  if (!Number.isInteger(page) || page < 1 || page > pagesShown) throw new Refusal(400, `Invalid page: must be 1 to ${pagesShown}`)
  return page
}

function networkNamed({ market }: Request, id: string): Network {
  const network = market.networks.find((known) => known.id === id)
  if (!network) throw new Refusal(404, 'Not Found')
  return network
}

/** A pool is found from its listing on; its trades and candles with it. */
function poolNamed(request: Request, networkId: string, address: string): Pool {
  const pool = request.market.find(networkNamed(request, networkId), address, request.atMs)
  if (!pool) throw new Refusal(404, 'Not Found')
  return pool
}
