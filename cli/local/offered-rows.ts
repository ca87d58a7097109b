// The proof of the drill, the fault matrix and the soak: rows that nobody else makes, each with an id of its own, and a judge who compares the
// set that was offered with what the tables hold. A batch is one transaction over three tables: all of its rows are there, or none.

import type { Row, Statement } from '../../shared/db/database.ts'
import type { Batch, PoolActivity } from '../../shared/model.ts'

const tradesPerBatch = 3
/** One pool, its snapshot, its trades. */
export const rowsPerBatch = 2 + tradesPerBatch
const network = 'drill'

/** Names a batch: `writer` is lower-case hexadecimal of at most 8 digits. */
export type BatchId = { readonly writer: string; readonly number: number }

const poolOf = ({ writer, number }: BatchId) => `${writer}-${number}`
const tradeKeyOf = ({ writer, number }: BatchId, trade: number) =>
  `${writer.padStart(8, '0')}-0000-5000-8000-${(number * tradesPerBatch + trade).toString(16).padStart(12, '0')}`

/** The rows of a batch; nothing in them depends on anything but the arguments. */
export function batchOf(id: BatchId, atMs: number): Pick<Batch, 'pools' | 'trades'> {
  const nothing: PoolActivity = { volumeUsd: null, changePct: null, buys: null, sells: null, buyers: null, sellers: null }
  const address = poolOf(id)
  return {
    pools: [
      {
        network,
        address,
        dex: 'drill',
        name: `pool ${address}`,
        baseToken: null,
        quoteToken: null,
        poolCreatedAtMs: null,
        source: 'drill',
        observedAtMs: atMs,
        basePriceUsd: '0.0000566673284218277',
        basePriceNative: null,
        quotePriceUsd: null,
        reserveUsd: '15000',
        fdvUsd: null,
        marketCapUsd: null,
        m5: nothing,
        h1: nothing,
        h24: { ...nothing, volumeUsd: '12.5' },
        extra: null,
      },
    ],
    trades: Array.from({ length: tradesPerBatch }, (_, n) => ({
      network,
      pool: address,
      key: tradeKeyOf(id, n),
      blockAtMs: atMs,
      blockNumber: id.number,
      txHash: `${address}-${n}`,
      maker: null,
      kind: n % 2 === 0 ? ('buy' as const) : ('sell' as const),
      fromToken: 'from',
      toToken: 'to',
      fromAmount: '1.5',
      toAmount: '2500000',
      priceFromUsd: null,
      priceToUsd: null,
      basePriceUsd: null,
      volumeUsd: '302.25',
      fetchedAtMs: atMs,
    })),
  }
}

/** Every row that was offered and is stored, as a line with its batch; of one batch only, or of all. One statement: one state of the database. */
export const storedLines = (schema: string, id?: BatchId): Statement => ({
  name: 'stored_lines',
  text: `
with p as (select * from ${schema}.pools where network = $1 and ($2::text is null or address = $2))
select address as batch, 'pool ' || address as line from p
union all
select p.address, 'snapshot ' || p.address from ${schema}.pool_snapshots s join p using (pool_sk)
union all
select p.address, 'trade ' || t.trade_key from ${schema}.trades t join p using (pool_sk)`,
  values: [network, id ? poolOf(id) : null],
})

function linesOf(id: BatchId): readonly string[] {
  const address = poolOf(id)
  const trades = Array.from({ length: tradesPerBatch }, (_, n) => `trade ${tradeKeyOf(id, n)}`)
  return [`pool ${address}`, `snapshot ${address}`, ...trades]
}

export type Judgement = {
  readonly rowsOffered: number
  /** Offered, and not there. */
  readonly rowsLost: number
  /** There a second time, or though nobody offered them. */
  readonly rowsDoubled: number
  /** Of batches that are there in part. */
  readonly rowsHalfWritten: number
}

/** @param stored what `storedLines` answered */
export function judge(offered: Iterable<BatchId>, stored: readonly Row[]): Judgement {
  const there = new Map<string, string[]>()
  for (const row of stored) {
    const batch = String(row['batch'])
    const lines = there.get(batch) ?? []
    lines.push(String(row['line']))
    there.set(batch, lines)
  }
  let [rowsOffered, found, rowsHalfWritten] = [0, 0, 0]
  for (const id of offered) {
    const lines = new Set(there.get(poolOf(id)))
    const here = linesOf(id).filter((line) => lines.has(line)).length
    rowsOffered += rowsPerBatch
    found += here
    if (here > 0 && here < rowsPerBatch) rowsHalfWritten += here
  }
  return { rowsOffered, rowsLost: rowsOffered - found, rowsDoubled: stored.length - found, rowsHalfWritten }
}
