// The data that flows: parse makes these rows, batch dedupes and sorts them, statements writes them, parking keeps them as JSON.
// Money, prices and amounts are decimal text of any length, from the API to `numeric`: never a JavaScript number.
// Instants are epoch milliseconds. A network and an address together name a pool or a token; Solana addresses are case-sensitive.

import type { Histogram } from './resilience/histogram.ts'

/** Decimal text such as "0.0000566673284218277368707532612867396024960039002528290815078515286", exponent allowed. Never "NaN". */
export type Decimal = string

export type DexRow = { readonly network: string; readonly dex: string; readonly name: string; readonly observedAtMs: number }

export type TokenRow = {
  readonly network: string
  readonly address: string
  readonly symbol: string | null
  readonly name: string | null
  readonly decimals: number | null
  readonly coingeckoId: string | null
  readonly observedAtMs: number
}

/** Buys and sells are counts of transactions, buyers and sellers of addresses. */
export type PoolActivity = {
  readonly volumeUsd: Decimal | null
  readonly changePct: Decimal | null
  readonly buys: number | null
  readonly sells: number | null
  readonly buyers: number | null
  readonly sellers: number | null
}

/** One pool as one answer of the API showed it: it updates the pool's row and adds a snapshot. */
export type PoolRow = {
  readonly network: string
  readonly address: string
  readonly dex: string | null
  readonly name: string | null
  readonly baseToken: string | null
  readonly quoteToken: string | null
  readonly poolCreatedAtMs: number | null
  /** The collector that saw it. */
  readonly source: string
  readonly observedAtMs: number
  readonly basePriceUsd: Decimal | null
  readonly basePriceNative: Decimal | null
  readonly quotePriceUsd: Decimal | null
  /** May be negative. */
  readonly reserveUsd: Decimal | null
  readonly fdvUsd: Decimal | null
  readonly marketCapUsd: Decimal | null
  readonly m5: PoolActivity
  readonly h1: PoolActivity
  readonly h24: PoolActivity
  /** What the API sent beyond the above, as JSON text; null when nothing. */
  readonly extra: string | null
}

export type TradeRow = {
  readonly network: string
  /** Address of the pool that was asked for: the API's trade does not say. */
  readonly pool: string
  /** UUID of network, block, transaction and log index. The id's last part, an indexing time, is left out: a re-index changes it. */
  readonly key: string
  readonly blockAtMs: number
  readonly blockNumber: number
  readonly txHash: string
  readonly maker: string | null
  readonly kind: 'buy' | 'sell'
  readonly fromToken: string
  readonly toToken: string
  readonly fromAmount: Decimal
  readonly toAmount: Decimal
  readonly priceFromUsd: Decimal | null
  readonly priceToUsd: Decimal | null
  /** The pool's base token's price: what was bought, or what was sold. */
  readonly basePriceUsd: Decimal | null
  readonly volumeUsd: Decimal | null
  readonly fetchedAtMs: number
}

/** A stretch of time that the API no longer had when we asked. `stream` is a table and what it is about, such as `trades:solana:<pool>`. */
export type GapRow = {
  readonly stream: string
  readonly fromMs: number
  readonly toMs: number
  readonly reason: string
  /** Provisional while batches are parked: their replay may show that nothing is missing. */
  readonly status: 'open' | 'provisional'
}

/** What one run of a collector did, in rows of the collector's own kind: fetched = inserted + updated + unchanged + rejected + parked. */
export type RunCounts = {
  readonly fetched: number
  readonly inserted: number
  readonly updated: number
  /** Known already, or seen twice in one run. */
  readonly unchanged: number
  /** By parse, or by Postgres: those are in the quarantine. A row that is quarantined by a later replay counts as parked. */
  readonly rejected: number
  readonly parked: number
  readonly apiCalls: number
}

/** Batches that were handed to the database, whatever it said. */
export type BatchCounts = {
  readonly count: number
  readonly rows: number
  /** From the first page of a batch until it was handed over, summed. */
  readonly waitedMs: number
  /** Of `count` and `rows`: where the source had no more to give, so that their size says nothing about batching. */
  readonly sourceLimited: number
  readonly sourceLimitedRows: number
}

export type RunOutcome =
  /** Everything that the API had was written or parked. */
  | 'complete'
  /** A part could not be fetched; the rest was written or parked. */
  | 'partial'
  /** Nothing could be fetched, or read. */
  | 'failed'
  /** Through no fault of the source it must be asked again: no API budget or time left, its breaker open, asked to stop, no place for what it gave. */
  | 'deferred'

export type RunRow = RunCounts & {
  readonly collector: string
  readonly runId: string
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly outcome: RunOutcome
  /** First problem, in words; null when there was none. */
  readonly problem: string | null
}

/** What one look of the health check saw. Of the clients' calls: those since the look before. */
export type SampleRow = {
  readonly atMs: number
  /** Null: nobody asked the database, and nobody's calls tell. */
  readonly isUp: boolean | null
  /** 0 healthy, 1 degraded, 2 critical; null unknown. */
  readonly status: number | null
  /** A new connection. */
  readonly connectMs: number | null
  /** The look's own round trip. */
  readonly queryMs: number | null
  /** The longest wait for a lock. */
  readonly lockWaitMs: number | null
  readonly calls: number
  readonly failed: number
  /** Of those that are to be had. */
  readonly connectionsPercent: number | null
  readonly parked: number | null
  /** How far the slowest collector is behind its interval. */
  readonly collectorLagS: number | null
  /** How long the circuit is open by now; 0 when it is closed. */
  readonly breakerOpenS: number | null
  readonly databaseBytes: number | null
  readonly xidAge: number | null
  /** Of the clients' calls and the look's own round trip. */
  readonly latency: Histogram
}

/** An outage from its first sign to its end, as it was told. `report` is JSON text. */
export type IncidentRow = { readonly startedAtMs: number; readonly endedAtMs: number; readonly report: string }

/** Rows of any tables that are written in one transaction. Also the content of a parked write. */
export type Batch = {
  readonly dexes: readonly DexRow[]
  readonly tokens: readonly TokenRow[]
  readonly pools: readonly PoolRow[]
  readonly trades: readonly TradeRow[]
  readonly gaps: readonly GapRow[]
  readonly runs: readonly RunRow[]
  readonly samples: readonly SampleRow[]
  readonly incidents: readonly IncidentRow[]
}

/** An item that the API sent and that can't be stored; it never loses the page it came on. */
export type Reject = { readonly kind: 'dex' | 'token' | 'pool' | 'trade'; readonly item: string; readonly reason: string }

/** What parse makes of one answer. */
export type Parsed<Row> = {
  /** Items of the asked kind that the API sent, whatever came of them. */
  readonly items: number
  readonly rows: readonly Row[]
  /** Of any kind: an answer about pools includes tokens and DEXes. */
  readonly rejects: readonly Reject[]
  /** Keys that the schema does not know, such as `pool.attributes.launchpad_details`: they are kept in `extra`, and counted. */
  readonly drift: readonly string[]
}
