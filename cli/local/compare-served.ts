// The proof behind "nothing is lost": every row that the simulator served, against every row of the tables, value by value.

import type { Row, Rows, Statement } from '../../shared/db/database.ts'
import type { Served } from './gecko-simulator.ts'

export type Comparison = {
  readonly served: number
  readonly stored: number
  /** A line for each row that only one side has, or that differs. */
  readonly differences: readonly string[]
}

const storedRows: Readonly<Record<string, Statement>> = {
  dexes: { name: 'stored_dexes', text: `select network, dex, name from dexes`, values: [] },
  tokens: { name: 'stored_tokens', text: `select network, address, symbol, name, decimals::text from tokens`, values: [] },
  pools: {
    name: 'stored_pools',
    text: `select network, address, name, base_price_usd::text, quote_price_usd::text, reserve_usd::text, fdv_usd::text from pools`,
    values: [],
  },
  trades: {
    name: 'stored_trades',
    text: `
select p.network, p.address, t.block_number::text, t.tx_hash, t.kind, to_char(t.block_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
  t.from_amount::text, t.to_amount::text, t.price_from_usd::text, t.price_to_usd::text, t.volume_usd::text
from trades t join pools p using (pool_sk)`,
    values: [],
  },
}

/** The same columns, from the simulator's record. */
function servedRows(served: Served): Readonly<Record<string, readonly (readonly unknown[])[]>> {
  return {
    dexes: [...served.dexes().values()].map((d) => [d.network, d.dex, d.name]),
    tokens: [...served.tokens().values()].map((t) => [t.network, t.address, t.symbol, t.name, t.decimals]),
    pools: [...served.pools().values()].map(({ network, address, attributes: a }) => [
      network,
      address,
      a['name'],
      a['base_token_price_usd'],
      a['quote_token_price_usd'],
      a['reserve_in_usd'],
      a['fdv_usd'],
    ]),
    trades: [...served.trades().values()].map(({ network, pool, attributes: a }) => [
      network,
      pool,
      a.block_number,
      a.tx_hash,
      a.kind,
      a.block_timestamp,
      a.from_token_amount,
      a.to_token_amount,
      a.price_from_in_usd,
      a.price_to_in_usd,
      a.volume_in_usd,
    ]),
  }
}

/** A row as one line of text. The API's "NaN" is stored as null. */
const lineOf = (table: string, values: readonly unknown[]) =>
  [table, ...values.map((v) => (v === null || v === undefined || v === 'NaN' ? '-' : String(v)))].join(' | ')

export async function compareServed(served: Served, query: (statement: Statement) => Promise<Rows>): Promise<Comparison> {
  const differences: string[] = []
  let [servedCount, storedCount] = [0, 0]
  const wanted = servedRows(served)
  for (const [table, statement] of Object.entries(storedRows)) {
    const there = (await query(statement)).map((row: Row) => lineOf(table, Object.values(row)))
    const sent = (wanted[table] ?? []).map((values) => lineOf(table, values))
    const [thereSet, sentSet] = [new Set(there), new Set(sent)]
    differences.push(...sent.filter((line) => !thereSet.has(line)).map((line) => `served, not stored: ${line}`))
    differences.push(...there.filter((line) => !sentSet.has(line)).map((line) => `stored, not served: ${line}`))
    servedCount += sent.length
    storedCount += there.length
  }
  return { served: servedCount, stored: storedCount, differences }
}
