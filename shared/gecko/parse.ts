// One answer of the API in, rows of model.ts out. Pure: the time of observation is an argument.
// An item that can't be stored is rejected with its reason and costs nobody else; an answer without `data` throws, because it must never be read as "no rows".

import { createHash } from 'node:crypto'
import type { DexRow, Parsed, PoolActivity, PoolRow, TokenRow, TradeRow } from '../model.ts'
import { done, includedByType, listIn, newFindings, parseItems, type Problem } from './items.ts'
import { beyondColumns, dexSchema, isFields, poolSchema, storable, tokenSchema, tradeSchema } from './schemas.ts'
import type { Fields, PoolItem, TradeItem } from './schemas.ts'

/** A block can't be newer than the answer that shows it; an hour is for clocks that differ. */
const aheadMs = 3_600_000

/** DEXes of one network, as `/networks/{network}/dexes` lists them. */
export function parseDexes(body: unknown, context: { network: string; observedAtMs: number }): Parsed<DexRow> {
  const findings = newFindings(body, 'DEXes')
  const items = listIn(body, 'DEXes')
  const rows = parseItems(items, dexSchema, 'dex', findings, (item) => ({
    network: context.network,
    dex: item.id,
    name: item.attributes.name,
    observedAtMs: context.observedAtMs,
  }))
  return { items: items.length, rows, ...done(findings) }
}

/**
 * Pools of any endpoint that shows pools, one (`data` is an object) or many, of one network or several.
 * `tokens` and `dexes` are those that the answer includes; a pool may name others.
 */
export function parsePools(
  body: unknown,
  context: { source: string; observedAtMs: number },
): Parsed<PoolRow> & { readonly tokens: readonly TokenRow[]; readonly dexes: readonly DexRow[] } {
  const findings = newFindings(body, 'pools')
  const items = isFields(body) && isFields(body['data']) ? [body['data']] : listIn(body, 'pools')
  const rows = parseItems(items, poolSchema, 'pool', findings, (item, raw) => poolRow(item, raw, context))
  // By type first: a pool and its token can have the same id (launchpads on BSC).
  const included = includedByType(body, findings)
  const tokens = parseItems(included.get('token') ?? [], tokenSchema, 'token', findings, (item) => {
    const network = networkOf(item.id, item.attributes.address)
    if (network === undefined) return `id ${item.id} does not end with the address ${item.attributes.address}`
    const { address, symbol, name, decimals, coingecko_coin_id: coingeckoId } = item.attributes
    return { network, address, symbol, name, decimals, coingeckoId, observedAtMs: context.observedAtMs }
  })
  const dexNames = new Map(
    parseItems(included.get('dex') ?? [], dexSchema, 'dex', findings, (item) => ({ id: item.id, name: item.attributes.name })).map(
      (dex) => [dex.id, dex.name] as const,
    ),
  )
  return { items: items.length, rows, tokens, dexes: dexesOf(rows, dexNames), ...done(findings) }
}

/** Trades of one pool. Blocks outside [observedAtMs - retentionMs, observedAtMs + 1 h] are rejected: they would need partitions that are never kept. */
export function parseTrades(
  body: unknown,
  context: { network: string; pool: string; observedAtMs: number; retentionMs: number },
): Parsed<TradeRow> {
  const findings = newFindings(body, 'trades')
  const items = listIn(body, 'trades')
  const rows = parseItems(items, tradeSchema, 'trade', findings, (item) => tradeRow(item, context))
  return { items: items.length, rows, ...done(findings) }
}

function poolRow(item: PoolItem, raw: Fields, context: { source: string; observedAtMs: number }): PoolRow | Problem {
  const { attributes: pool, relationships } = item
  const network = networkOf(item.id, pool.address)
  if (network === undefined) return `id ${item.id} does not end with the address ${pool.address}`
  const baseToken = addressIn(relationships?.base_token?.data?.id, network)
  const quoteToken = addressIn(relationships?.quote_token?.data?.id, network)
  if (baseToken === undefined || quoteToken === undefined) return `a token of another network than ${network}`
  const extra = extraText(raw)
  if (extra === undefined) return 'nested too deeply to be kept'
  const activity = (window: 'm5' | 'h1' | 'h24'): PoolActivity => ({
    volumeUsd: pool.volume_usd?.[window] ?? null,
    changePct: pool.price_change_percentage?.[window] ?? null,
    buys: pool.transactions?.[window]?.buys ?? null,
    sells: pool.transactions?.[window]?.sells ?? null,
    buyers: pool.transactions?.[window]?.buyers ?? null,
    sellers: pool.transactions?.[window]?.sellers ?? null,
  })
  return {
    network,
    address: pool.address,
    dex: relationships?.dex?.data?.id ?? null,
    name: pool.name,
    baseToken,
    quoteToken,
    poolCreatedAtMs: pool.pool_created_at,
    source: context.source,
    observedAtMs: context.observedAtMs,
    basePriceUsd: pool.base_token_price_usd,
    basePriceNative: pool.base_token_price_native_currency,
    quotePriceUsd: pool.quote_token_price_usd,
    reserveUsd: pool.reserve_in_usd,
    fdvUsd: pool.fdv_usd,
    marketCapUsd: pool.market_cap_usd,
    m5: activity('m5'),
    h1: activity('h1'),
    h24: activity('h24'),
    extra,
  }
}

function tradeRow(
  item: TradeItem,
  context: { network: string; pool: string; observedAtMs: number; retentionMs: number },
): TradeRow | Problem {
  const trade = item.attributes
  const blockAtMs = trade.block_timestamp
  if (blockAtMs < context.observedAtMs - context.retentionMs) return `block time ${iso(blockAtMs)} is older than the retention`
  if (blockAtMs > context.observedAtMs + aheadMs) return `block time ${iso(blockAtMs)} is more than an hour ahead of the answer`
  const key = tradeKey(item.id, trade.block_number, trade.tx_hash)
  if (key === undefined) return `id ${item.id} is not network_block_transaction_logindex_seconds`
  return {
    network: context.network,
    pool: context.pool,
    key,
    blockAtMs,
    blockNumber: trade.block_number,
    txHash: trade.tx_hash,
    maker: trade.tx_from_address,
    kind: trade.kind,
    fromToken: trade.from_token_address,
    toToken: trade.to_token_address,
    fromAmount: trade.from_token_amount,
    toAmount: trade.to_token_amount,
    priceFromUsd: trade.price_from_in_usd,
    priceToUsd: trade.price_to_in_usd,
    // A buy ends with the base token, a sell starts with it. Taking price_from for both stores the quote token's price for every buy.
    basePriceUsd: trade.kind === 'buy' ? trade.price_to_in_usd : trade.price_from_in_usd,
    volumeUsd: trade.volume_in_usd,
    fetchedAtMs: context.observedAtMs,
  }
}

/**
 * The id's last part is when GeckoTerminal indexed the trade: the same swap indexed again gets another id, and must not become another row.
 * Undefined when the id does not have the known parts: cutting anything else off would make one trade of several.
 */
function tradeKey(id: string, blockNumber: number, txHash: string): string | undefined {
  const swap = `_${blockNumber}_${txHash}_`
  const at = id.indexOf(swap)
  if (at < 1 || !/^.+_\d+$/.test(id.slice(at + swap.length))) return undefined
  const hash = createHash('sha256')
    .update(id.slice(0, id.lastIndexOf('_')))
    .digest()
  // RFC 9562: version 8 is a uuid whose bits the application defines.
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x80, 6)
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8)
  return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Cut from the end: network ids such as polygon_pos have underscores. */
function networkOf(id: string, address: string): string | undefined {
  return id.length > address.length + 1 && id.endsWith(`_${address}`) ? id.slice(0, -address.length - 1) : undefined
}

/** Null: the answer names no token. Undefined: it names one of another network. */
function addressIn(tokenId: string | undefined, network: string): string | null | undefined {
  if (tokenId === undefined) return null
  return tokenId.length > network.length + 1 && tokenId.startsWith(`${network}_`) ? tokenId.slice(network.length + 1) : undefined
}

/** A DEX belongs to the network of the pools that name it: `included` says only its id and name. */
function dexesOf(pools: readonly PoolRow[], names: ReadonlyMap<string, string>): DexRow[] {
  const found = new Map<string, DexRow>()
  for (const { network, dex, observedAtMs } of pools) {
    const name = dex === null ? undefined : names.get(dex)
    if (dex !== null && name !== undefined) found.set(`${network} ${dex}`, { network, dex, name, observedAtMs })
  }
  return [...found.values()]
}

/** Attributes at the top, then what was unknown around them. Undefined when JSON.stringify runs out of stack. */
function extraText(raw: Fields): string | null | undefined {
  const { attributes, ...around } = beyondColumns(poolSchema, raw, 'pool').extra
  const extra = { ...around, ...(isFields(attributes) ? attributes : {}) }
  if (Object.keys(extra).length === 0) return null
  try {
    return JSON.stringify(extra, (_key, value: unknown) => {
      if (typeof value === 'string') return storable(value)
      return isFields(value) ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [storable(key), inner])) : value
    })
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

const iso = (atMs: number) => new Date(atMs).toISOString()
