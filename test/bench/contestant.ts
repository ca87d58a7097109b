// What every contestant is: it opens one connection and writes batches of trades, all or nothing, skipping those that are there.
// All write the same rows into the same table (the project's own migration: daily partitions, primary key, one index), each in a schema of its own.
// A trade names its pool by network and address, the table wants the pool's number. The peers ask for the numbers of a batch in one query of their
// own, unless they are told. Ours does that in its statement, and beyond it makes sure of the pools, dedupes, sorts, counts and sets timeouts.

import type { TradeRow } from '../../shared/model.ts'

export type Writer = {
  write(rows: readonly TradeRow[]): Promise<void>
  end(): Promise<void>
}

export type Contestant = {
  readonly name: string
  readonly is: string
  /** Writes rows one by one: measured on a few of them only. */
  readonly sampled?: true
  /** A row that is there fails, or is stored again: nothing to measure on duplicates. */
  readonly freshOnly?: true
  open(place: Place): Promise<Writer>
}

export type Pools = ReadonlyMap<string, number>

export type Place = {
  readonly url: string
  readonly schema: string
  /** pool_sk by address: for those who are told. */
  readonly pools: Pools
}

/** Above it the peers' 65,535 parameters are used up, and ours starts another statement. */
export const chunkRows = 1_000

export function chunksOf<Row>(rows: readonly Row[]): readonly (readonly Row[])[] {
  const chunks: (readonly Row[])[] = []
  for (let from = 0; from < rows.length; from += chunkRows) chunks.push(rows.slice(from, from + chunkRows))
  return chunks
}

/** The URL with the schema as search_path. */
export function urlIn({ url, schema }: Place): string {
  const own = new URL(url)
  own.searchParams.set('options', `-c search_path=${schema}`)
  return own.href
}

/** The columns that a trade's writer fills, in the table's order. */
export const columns = [
  'block_at',
  'trade_key',
  'pool_sk',
  'block_number',
  'tx_hash',
  'maker',
  'kind',
  'from_token',
  'to_token',
  'from_amount',
  'to_amount',
  'price_from_usd',
  'price_to_usd',
  'base_price_usd',
  'volume_usd',
] as const

export type TableRow = Record<(typeof columns)[number], string | number | null>

export const addressesOf = (trades: readonly TradeRow[]) => [...new Set(trades.map((trade) => trade.pool))]

export const poolsOf = (rows: readonly { address: string; pool_sk: number }[]): Pools =>
  new Map(rows.map((row) => [row.address, row.pool_sk]))

export function tableRow(t: TradeRow, pools: Pools): TableRow {
  return {
    block_at: new Date(t.blockAtMs).toISOString(),
    trade_key: t.key,
    pool_sk: pools.get(t.pool) ?? 0,
    block_number: t.blockNumber,
    tx_hash: t.txHash,
    maker: t.maker,
    kind: t.kind,
    from_token: t.fromToken,
    to_token: t.toToken,
    from_amount: t.fromAmount,
    to_amount: t.toAmount,
    price_from_usd: t.priceFromUsd,
    price_to_usd: t.priceToUsd,
    base_price_usd: t.basePriceUsd,
    volume_usd: t.volumeUsd,
  }
}
