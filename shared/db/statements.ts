// The statements that write a batch, as values. One shape at every size: insert .. select .. from unnest(columns) order by key on conflict,
// constant text, one array a column, at most 1,000 rows a statement. Each is idempotent, and says by which key.
//
// One lock order everywhere: partitions, dexes, tokens, pools, snapshots, trades, gaps, runs, health; inside a table by key. Writers that keep it can't
// deadlock.

import type { Batch, DexRow, GapRow, PoolRow, RunRow, TokenRow, TradeRow } from '../model.ts'
import { inChunks, iso, unnest, type Columns } from './columns.ts'
import type { Row, Rows, Statement } from './database.ts'
import { writeIncidents, writeSamples } from './health-statements.ts'

const dexColumns: Columns<DexRow> = {
  network: ['text', (r) => r.network],
  dex: ['text', (r) => r.dex],
  name: ['text', (r) => r.name],
  observed_at: ['timestamptz', (r) => iso(r.observedAtMs)],
}

/** Idempotent by (network, dex); an older observation never replaces a newer one. */
const upsertDexes = `
with w as (
  insert into dexes as d (network, dex, name, observed_at)
  select n.network, n.dex, n.name, n.observed_at
  from ${unnest(dexColumns)}
  left join dexes o using (network, dex)
  where o.dex is null or (n.observed_at > o.observed_at and n.name is distinct from o.name)
  order by n.network collate "C", n.dex collate "C"
  on conflict (network, dex) do update set name = excluded.name, observed_at = excluded.observed_at
    where excluded.observed_at > d.observed_at and excluded.name is distinct from d.name
  returning (xmax = 0) as inserted
)
select count(*) filter (where inserted)::int as inserted, count(*) filter (where not inserted)::int as updated from w`

const tokenColumns: Columns<TokenRow> = {
  network: ['text', (r) => r.network],
  address: ['text', (r) => r.address],
  symbol: ['text', (r) => r.symbol],
  name: ['text', (r) => r.name],
  decimals: ['int', (r) => r.decimals],
  coingecko_id: ['text', (r) => r.coingeckoId],
  observed_at: ['timestamptz', (r) => iso(r.observedAtMs)],
}

/** Idempotent by (network, address); what an answer leaves out is kept. */
const upsertTokens = `
with w as (
  insert into tokens as t (network, address, symbol, name, decimals, coingecko_id, observed_at)
  select n.network, n.address, n.symbol, n.name, n.decimals, n.coingecko_id, n.observed_at
  from ${unnest(tokenColumns)}
  left join tokens o using (network, address)
  where o.address is null or (n.observed_at > o.observed_at and
    (coalesce(n.symbol, o.symbol), coalesce(n.name, o.name), coalesce(n.decimals, o.decimals), coalesce(n.coingecko_id, o.coingecko_id))
    is distinct from (o.symbol, o.name, o.decimals, o.coingecko_id))
  order by n.network collate "C", n.address collate "C"
  on conflict (network, address) do update set
    symbol = coalesce(excluded.symbol, t.symbol),
    name = coalesce(excluded.name, t.name),
    decimals = coalesce(excluded.decimals, t.decimals),
    coingecko_id = coalesce(excluded.coingecko_id, t.coingecko_id),
    observed_at = excluded.observed_at
    where excluded.observed_at > t.observed_at
  returning (xmax = 0) as inserted
)
select count(*) filter (where inserted)::int as inserted, count(*) filter (where not inserted)::int as updated from w`

/** A pool that a batch names: as an answer showed it, or known only by its trades. */
type NamedPool = {
  readonly network: string
  readonly address: string
  readonly source: string
  readonly seenAtMs: number
  readonly shown: PoolRow | undefined
}

const tradedPoolColumns: Columns<NamedPool> = {
  network: ['text', (r) => r.network],
  address: ['text', (r) => r.address],
  source: ['text', (r) => r.source],
  seen_at: ['timestamptz', (r) => iso(r.seenAtMs)],
}

const poolColumns: Columns<NamedPool> = {
  ...tradedPoolColumns,
  // older than any real observation
  observed_at: ['timestamptz', (r) => (r.shown ? iso(r.shown.observedAtMs) : '-infinity')],
  dex: ['text', (r) => r.shown?.dex ?? null],
  name: ['text', (r) => r.shown?.name ?? null],
  base_token: ['text', (r) => r.shown?.baseToken ?? null],
  quote_token: ['text', (r) => r.shown?.quoteToken ?? null],
  pool_created_at: ['timestamptz', (r) => iso(r.shown?.poolCreatedAtMs ?? null)],
  base_price_usd: ['numeric', (r) => r.shown?.basePriceUsd ?? null],
  quote_price_usd: ['numeric', (r) => r.shown?.quotePriceUsd ?? null],
  reserve_usd: ['numeric', (r) => r.shown?.reserveUsd ?? null],
  fdv_usd: ['numeric', (r) => r.shown?.fdvUsd ?? null],
  market_cap_usd: ['numeric', (r) => r.shown?.marketCapUsd ?? null],
  volume_h24_usd: ['numeric', (r) => r.shown?.h24.volumeUsd ?? null],
  extra: ['jsonb', (r) => r.shown?.extra ?? null],
}

/** What a pool row shows, coalesced where an answer may leave it out: the same on both sides of the comparison. */
const poolShows = (n: string, o: string) => `
    (coalesce(${n}.dex, ${o}.dex), coalesce(${n}.name, ${o}.name), coalesce(${n}.base_token, ${o}.base_token),
     coalesce(${n}.quote_token, ${o}.quote_token), coalesce(${n}.pool_created_at, ${o}.pool_created_at),
     ${n}.base_price_usd, ${n}.quote_price_usd, ${n}.reserve_usd, ${n}.fdv_usd, ${n}.market_cap_usd, ${n}.volume_h24_usd, ${n}.extra)
    is distinct from
    (${o}.dex, ${o}.name, ${o}.base_token, ${o}.quote_token, ${o}.pool_created_at,
     ${o}.base_price_usd, ${o}.quote_price_usd, ${o}.reserve_usd, ${o}.fdv_usd, ${o}.market_cap_usd, ${o}.volume_h24_usd, ${o}.extra)`

/**
 * Idempotent by (network, address), guarded by observed_at. A pool that did not change is not even locked: it costs no WAL.
 * Because of that its row may be older than the last look at it, so a late replay must also ask for no newer snapshot:
 * stored 1 at 10:00; 10:20 says 1 and is skipped; a parked 10:15 that says 2 would win over it.
 */
const upsertPools = (late: boolean) => `
with w as (
  insert into pools as p (network, address, dex, name, base_token, quote_token, pool_created_at, first_seen_at, first_seen_via, observed_at,
    base_price_usd, quote_price_usd, reserve_usd, fdv_usd, market_cap_usd, volume_h24_usd, extra)
  select n.network, n.address, n.dex, n.name, n.base_token, n.quote_token, n.pool_created_at, n.seen_at, n.source, n.observed_at,
    n.base_price_usd, n.quote_price_usd, n.reserve_usd, n.fdv_usd, n.market_cap_usd, n.volume_h24_usd, n.extra
  from ${unnest(poolColumns)}
  left join pools o using (network, address)
  where o.pool_sk is null or (n.observed_at > o.observed_at and ${poolShows('n', 'o')}${
    late ? '\n    and not exists (select from pool_snapshots s where s.pool_sk = o.pool_sk and s.observed_at > n.observed_at)' : ''
  })
  order by n.network collate "C", n.address collate "C"
  on conflict (network, address) do update set
    dex = coalesce(excluded.dex, p.dex),
    name = coalesce(excluded.name, p.name),
    base_token = coalesce(excluded.base_token, p.base_token),
    quote_token = coalesce(excluded.quote_token, p.quote_token),
    pool_created_at = coalesce(excluded.pool_created_at, p.pool_created_at),
    observed_at = excluded.observed_at,
    base_price_usd = excluded.base_price_usd,
    quote_price_usd = excluded.quote_price_usd,
    reserve_usd = excluded.reserve_usd,
    fdv_usd = excluded.fdv_usd,
    market_cap_usd = excluded.market_cap_usd,
    volume_h24_usd = excluded.volume_h24_usd,
    extra = excluded.extra
    where excluded.observed_at > p.observed_at
  returning (xmax = 0) as inserted
)
select count(*) filter (where inserted)::int as inserted, count(*) filter (where not inserted)::int as updated from w`

const upsertLivePools = upsertPools(false)
const upsertLatePools = upsertPools(true)

/**
 * For a batch that has no answer about pools: what upsert_pools would do with those that its trades name, at a third of the cost.
 * Idempotent by (network, address).
 */
const ensureTradedPools = `
insert into pools (network, address, first_seen_at, first_seen_via, observed_at)
select n.network, n.address, n.seen_at, n.source, '-infinity'
from ${unnest(tradedPoolColumns)}
left join pools o using (network, address)
where o.pool_sk is null
order by n.network collate "C", n.address collate "C"
on conflict do nothing`

/** Looked up one by one: in a join, a large batch would read every pool there is. Null, and thereby refused, where there is none. */
const poolSk = '(select p.pool_sk from pools p where p.network = n.network and p.address = n.address)'

const snapshotColumns: Columns<PoolRow> = {
  network: ['text', (r) => r.network],
  address: ['text', (r) => r.address],
  source: ['text', (r) => r.source],
  observed_at: ['timestamptz', (r) => iso(r.observedAtMs)],
  base_price_usd: ['numeric', (r) => r.basePriceUsd],
  base_price_native: ['numeric', (r) => r.basePriceNative],
  quote_price_usd: ['numeric', (r) => r.quotePriceUsd],
  reserve_usd: ['numeric', (r) => r.reserveUsd],
  fdv_usd: ['numeric', (r) => r.fdvUsd],
  market_cap_usd: ['numeric', (r) => r.marketCapUsd],
  volume_m5_usd: ['numeric', (r) => r.m5.volumeUsd],
  volume_h1_usd: ['numeric', (r) => r.h1.volumeUsd],
  volume_h24_usd: ['numeric', (r) => r.h24.volumeUsd],
  change_m5_pct: ['numeric', (r) => r.m5.changePct],
  change_h1_pct: ['numeric', (r) => r.h1.changePct],
  change_h24_pct: ['numeric', (r) => r.h24.changePct],
  buys_m5: ['int', (r) => r.m5.buys],
  sells_m5: ['int', (r) => r.m5.sells],
  buys_h1: ['int', (r) => r.h1.buys],
  sells_h1: ['int', (r) => r.h1.sells],
  buys_h24: ['int', (r) => r.h24.buys],
  sells_h24: ['int', (r) => r.h24.sells],
  buyers_h24: ['int', (r) => r.h24.buyers],
  sellers_h24: ['int', (r) => r.h24.sellers],
}

const snapshotValues = Object.keys(snapshotColumns).filter((c) => c !== 'network' && c !== 'address')

/**
 * Idempotent by (observed_at, pool_sk, source): the time of the observation, not of the writing.
 * In the batch's order, not in the key's: that one would not go on from one statement of 1,000 rows to the next.
 */
const insertSnapshots = `
insert into pool_snapshots (pool_sk, ${snapshotValues.join(', ')})
select ${poolSk}, ${snapshotValues.map((c) => `n.${c}`).join(', ')}
from ${unnest(snapshotColumns)}
order by n.network collate "C", n.address collate "C", n.observed_at, n.source
on conflict do nothing`

/** A trade, and which of the pools beside the columns it is of, from 1. */
type NumberedTrade = { readonly trade: TradeRow; readonly poolNo: number }

const tradeColumns: Columns<NumberedTrade> = {
  pool_no: ['int', (r) => r.poolNo],
  block_at: ['timestamptz', ({ trade }) => iso(trade.blockAtMs)],
  trade_key: ['uuid', ({ trade }) => trade.key],
  block_number: ['bigint', ({ trade }) => trade.blockNumber],
  tx_hash: ['text', ({ trade }) => trade.txHash],
  maker: ['text', ({ trade }) => trade.maker],
  kind: ['text', ({ trade }) => trade.kind],
  from_token: ['text', ({ trade }) => trade.fromToken],
  to_token: ['text', ({ trade }) => trade.toToken],
  from_amount: ['numeric', ({ trade }) => trade.fromAmount],
  to_amount: ['numeric', ({ trade }) => trade.toAmount],
  price_from_usd: ['numeric', ({ trade }) => trade.priceFromUsd],
  price_to_usd: ['numeric', ({ trade }) => trade.priceToUsd],
  base_price_usd: ['numeric', ({ trade }) => trade.basePriceUsd],
  volume_usd: ['numeric', ({ trade }) => trade.volumeUsd],
}

const tradeValues = Object.keys(tradeColumns).filter((c) => c !== 'pool_no')

/** Behind the columns: the pools of the batch's trades as JSON. Trades are many and their pools few, so each is sent and looked up once. */
const tradedPoolNumbers = `
    (select array_agg(${poolSk} order by n.no)
     from json_to_recordset($${Object.keys(tradeColumns).length + 1}) as n(no int, network text, address text)) as pools(sk)`

/** Idempotent by (block_at, trade_key): a trade never changes. */
const insertTrades = `
with w as (
  insert into trades (pool_sk, ${tradeValues.join(', ')})
  select pools.sk[n.pool_no], ${tradeValues.map((c) => `n.${c}`).join(', ')}
  from ${unnest(tradeColumns)}, ${tradedPoolNumbers}
  order by n.block_at, n.trade_key
  on conflict do nothing
  returning 1
)
select count(*)::int as inserted, 0 as updated from w`

const gapColumns: Columns<GapRow> = {
  stream: ['text', (r) => r.stream],
  from_at: ['timestamptz', (r) => iso(r.fromMs)],
  to_at: ['timestamptz', (r) => iso(r.toMs)],
  reason: ['text', (r) => r.reason],
  status: ['text', (r) => r.status],
}

/** Idempotent by (stream, from_at). */
const insertGaps = `
insert into coverage_gaps (stream, from_at, to_at, reason, status)
select n.stream, n.from_at, n.to_at, n.reason, n.status
from ${unnest(gapColumns)}
order by n.stream collate "C", n.from_at
on conflict do nothing`

const runColumns: Columns<RunRow> = {
  run_id: ['text', (r) => r.runId],
  collector: ['text', (r) => r.collector],
  started_at: ['timestamptz', (r) => iso(r.startedAtMs)],
  ended_at: ['timestamptz', (r) => iso(r.endedAtMs)],
  outcome: ['text', (r) => r.outcome],
  fetched: ['int', (r) => r.fetched],
  inserted: ['int', (r) => r.inserted],
  updated: ['int', (r) => r.updated],
  unchanged: ['int', (r) => r.unchanged],
  rejected: ['int', (r) => r.rejected],
  parked: ['int', (r) => r.parked],
  api_calls: ['int', (r) => r.apiCalls],
  problem: ['text', (r) => r.problem],
}

/** Idempotent by (collector, run_id). */
const insertRuns = `
insert into runs (${Object.keys(runColumns).join(', ')})
select ${Object.keys(runColumns).join(', ')}
from ${unnest(runColumns)}
order by n.collector collate "C", n.run_id collate "C"
on conflict do nothing`

/** Sorts as mergeBatches does. */
const poolKey = (network: string, address: string) => `${network}\0${address}`

/**
 * Every pool of a batch once: its newest observation, or that its trades name it. One run of statements takes them all: two would lock the rows
 * of one table twice from the start, and two writers can meet in a ring there (seen: 40P01). Observations of a pool ascend by time, so the last one stays.
 */
function namedPools({ pools, trades }: Batch): readonly NamedPool[] {
  const named = new Map<string, NamedPool>()
  for (const shown of pools) {
    const { network, address, source, observedAtMs: seenAtMs } = shown
    named.set(poolKey(network, address), { network, address, source, seenAtMs, shown })
  }
  for (const { network, pool: address, fetchedAtMs: seenAtMs } of trades) {
    const key = poolKey(network, address)
    if (!named.has(key)) named.set(key, { network, address, source: 'trades', seenAtMs, shown: undefined })
  }
  return [...named].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, pool]) => pool)
}

function tradeStatements(trades: readonly TradeRow[]): Statement[] {
  const pools = new Map<string, { no: number; network: string; address: string }>()
  const numbered = trades.map((trade) => {
    const { network, pool: address } = trade
    const key = poolKey(network, address)
    const pool = pools.get(key) ?? { no: pools.size + 1, network, address }
    pools.set(key, pool)
    return { trade, poolNo: pool.no }
  })
  return inChunks('insert_trades', insertTrades, tradeColumns, numbered, JSON.stringify([...pools.values()]))
}

/**
 * The statements that write a merged batch (deduped and sorted: see batch.ts), in lock order.
 * `late` is for replays: a parked observation must not replace what a newer look has confirmed.
 */
export function writeBatch(batch: Batch, options: { late: boolean }): readonly Statement[] {
  const pools = namedPools(batch)
  return [
    ...inChunks('upsert_dexes', upsertDexes, dexColumns, batch.dexes),
    ...inChunks('upsert_tokens', upsertTokens, tokenColumns, batch.tokens),
    ...(batch.pools.length === 0
      ? inChunks('ensure_traded_pools', ensureTradedPools, tradedPoolColumns, pools)
      : inChunks('upsert_pools', options.late ? upsertLatePools : upsertLivePools, poolColumns, pools)),
    ...inChunks('insert_snapshots', insertSnapshots, snapshotColumns, batch.pools),
    ...tradeStatements(batch.trades),
    ...inChunks('insert_gaps', insertGaps, gapColumns, batch.gaps),
    ...inChunks('insert_runs', insertRuns, runColumns, batch.runs),
    ...writeSamples(batch.samples),
    ...writeIncidents(batch.incidents),
  ]
}

export type Written = { readonly inserted: number; readonly updated: number }

/** What the database answered for `table`'s own statements of `writeBatch`. */
export function writtenRows(statements: readonly Statement[], answers: readonly Rows[], table: 'dexes' | 'pools' | 'trades'): Written {
  const name = { dexes: 'upsert_dexes', pools: 'upsert_pools', trades: 'insert_trades' }[table]
  const rows = answers.filter((_, i) => statements[i]?.name === name).map((answer) => answer[0] as Row)
  const total = (column: string) => rows.reduce((sum, row) => sum + Number(row[column]), 0)
  return { inserted: total('inserted'), updated: total('updated') }
}
