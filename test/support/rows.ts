// Rows with defaults that the tables accept: a test says only what it is about. Everything happens on 2025-08-28, UTC.

import type {
  Batch,
  DexRow,
  GapRow,
  IncidentRow,
  PoolActivity,
  PoolRow,
  RunRow,
  SampleRow,
  TokenRow,
  TradeRow,
} from '../../shared/model.ts'

/** Epoch milliseconds of a time of that day, such as at('10:15') or at('23:59:59.999'). */
export const at = (time: string) => Date.parse(`2025-08-28T${time.length === 5 ? `${time}:00` : time}Z`)

/** The nth of a kind of trade keys: lower-case UUIDs that sort like n. */
export const tradeKey = (n: number) => `00000000-0000-5000-8000-${String(n).padStart(12, '0')}`

const activity: PoolActivity = { volumeUsd: '12.5', changePct: '-0.4', buys: 7, sells: 5, buyers: 6, sellers: 4 }

export const dex = (row: Partial<DexRow> = {}): DexRow => ({
  network: 'solana',
  dex: 'raydium',
  name: 'Raydium',
  observedAtMs: at('10:00'),
  ...row,
})

export const token = (row: Partial<TokenRow> = {}): TokenRow => ({
  network: 'solana',
  address: 'So11111111111111111111111111111111111111112',
  symbol: 'SOL',
  name: 'Wrapped SOL',
  decimals: 9,
  coingeckoId: 'wrapped-solana',
  observedAtMs: at('10:00'),
  ...row,
})

export const pool = (row: Partial<PoolRow> = {}): PoolRow => ({
  network: 'solana',
  address: 'PoolA',
  dex: 'raydium',
  name: 'BONK / SOL',
  baseToken: 'BonkMint',
  quoteToken: 'So11111111111111111111111111111111111111112',
  poolCreatedAtMs: at('09:00'),
  source: 'top-pools',
  observedAtMs: at('10:00'),
  basePriceUsd: '0.0000566',
  basePriceNative: '0.00000028',
  quotePriceUsd: '201.5',
  reserveUsd: '15000',
  fdvUsd: '1000000',
  marketCapUsd: null,
  m5: activity,
  h1: activity,
  h24: activity,
  extra: null,
  ...row,
})

export const trade = (row: Partial<TradeRow> = {}): TradeRow => ({
  network: 'solana',
  pool: 'PoolA',
  key: tradeKey(1),
  blockAtMs: at('10:00'),
  blockNumber: 362_000_000,
  txHash: 'txHash1',
  maker: 'maker1',
  kind: 'buy',
  fromToken: 'So11111111111111111111111111111111111111112',
  toToken: 'BonkMint',
  fromAmount: '1.5',
  toAmount: '2500000',
  priceFromUsd: '201.5',
  priceToUsd: '0.0000566',
  basePriceUsd: '0.0000566',
  volumeUsd: '302.25',
  fetchedAtMs: at('10:01'),
  ...row,
})

export const gap = (row: Partial<GapRow> = {}): GapRow => ({
  stream: 'trades:solana:PoolA',
  fromMs: at('09:00'),
  toMs: at('09:30'),
  reason: 'a full page without overlap',
  status: 'open',
  ...row,
})

export const run = (row: Partial<RunRow> = {}): RunRow => ({
  collector: 'trades',
  runId: '2025-08-28T10:00:00.000Z',
  startedAtMs: at('10:00'),
  endedAtMs: at('10:01'),
  outcome: 'complete',
  fetched: 1,
  inserted: 1,
  updated: 0,
  unchanged: 0,
  rejected: 0,
  parked: 0,
  apiCalls: 1,
  problem: null,
  ...row,
})

export const sample = (row: Partial<SampleRow> = {}): SampleRow => ({
  atMs: at('10:00'),
  isUp: true,
  status: 0,
  connectMs: 3.5,
  queryMs: 9,
  lockWaitMs: 0,
  calls: 40,
  failed: 0,
  connectionsPercent: 12.5,
  parked: 0,
  collectorLagS: 0,
  breakerOpenS: 0,
  databaseBytes: 8_000_000,
  xidAge: 1_200,
  latency: { 20: 30, 24: 11 },
  ...row,
})

export const incident = (row: Partial<IncidentRow> = {}): IncidentRow => ({
  startedAtMs: at('09:10'),
  endedAtMs: at('09:35'),
  report: '{"class":"connection"}',
  ...row,
})

/** A row of every kind. */
export const oneOfEach = (): Batch => ({
  dexes: [dex()],
  tokens: [token()],
  pools: [pool()],
  trades: [trade()],
  gaps: [gap()],
  runs: [run()],
  samples: [sample()],
  incidents: [incident()],
})
