// Reading whole tables, a page at a time: each page is one query that goes on behind the last row of the page before, by the primary key, so it
// costs the same at the end of a table as at its start, and nothing is held on the server between two pages. Each page sees the table as it is
// then: a row that is written behind the place that was reached is not in this export.
// Every value comes as text made by the server: a numeric keeps each of its digits, a time its microseconds.

import type { Row, SqlScalar, Statement } from './database.ts'

/** `integer` and `json` stand in JSON as they are; the others as strings. */
export type ColumnKind = 'text' | 'numeric' | 'time' | 'integer' | 'json'

export type ExportTable = {
  readonly from: string
  /** In the order of the file. A column that is another table's has its expression. */
  readonly columns: readonly (readonly [name: string, kind: ColumnKind, expression?: string])[]
  /** Unique and indexed, in the index's own order. */
  readonly key: readonly (readonly [expression: string, type: string])[]
  /** What `from` and `to` are compared with: for a stretch of time its end and its start. */
  readonly time: { readonly end: string; readonly start: string }
  /** Absent where rows belong to no network. */
  readonly network?: string
}

const at = (column: string) => ({ end: column, start: column })
const text = (...names: string[]) => names.map((name) => [name, 'text'] as const)
const numeric = (...names: string[]) => names.map((name) => [name, 'numeric'] as const)
const integer = (...names: string[]) => names.map((name) => [name, 'integer'] as const)
const time = (...names: string[]) => names.map((name) => [name, 'time'] as const)

/** By name and not by surrogate key, which means nothing outside of this database. A row whose pool is unknown is kept. */
const ofPool = [
  ['network', 'text', 'p.network'],
  ['pool', 'text', 'p.address'],
] as const
const withPool = (table: string) => `${table} as t left join pools as p using (pool_sk)`

const networkAndAddress = [
  ['t.network', 'text'],
  ['t.address', 'text'],
] as const

/** Test `export.test.ts` compares the columns with the tables' own. */
export const exportTables = {
  dexes: {
    from: 'dexes as t',
    columns: [...text('network', 'dex', 'name'), ...time('observed_at')],
    key: [
      ['t.network', 'text'],
      ['t.dex', 'text'],
    ],
    time: at('t.observed_at'),
    network: 't.network',
  },
  tokens: {
    from: 'tokens as t',
    columns: [...text('network', 'address', 'symbol', 'name'), ...integer('decimals'), ...text('coingecko_id'), ...time('observed_at')],
    key: networkAndAddress,
    time: at('t.observed_at'),
    network: 't.network',
  },
  pools: {
    from: 'pools as t',
    columns: [
      ...text('network', 'address', 'dex', 'name', 'base_token', 'quote_token'),
      ...time('pool_created_at', 'first_seen_at'),
      ...text('first_seen_via'),
      ...time('observed_at'),
      ...numeric('base_price_usd', 'quote_price_usd', 'reserve_usd', 'fdv_usd', 'market_cap_usd', 'volume_h24_usd'),
      ['extra', 'json'],
    ],
    key: networkAndAddress,
    time: at('t.observed_at'),
    network: 't.network',
  },
  pool_snapshots: {
    from: withPool('pool_snapshots'),
    columns: [
      ...ofPool,
      ...time('observed_at'),
      ...text('source'),
      ...numeric('base_price_usd', 'base_price_native', 'quote_price_usd', 'reserve_usd', 'fdv_usd', 'market_cap_usd'),
      ...numeric('volume_m5_usd', 'volume_h1_usd', 'volume_h24_usd', 'change_m5_pct', 'change_h1_pct', 'change_h24_pct'),
      ...integer('buys_m5', 'sells_m5', 'buys_h1', 'sells_h1', 'buys_h24', 'sells_h24', 'buyers_h24', 'sellers_h24'),
    ],
    key: [
      ['t.observed_at', 'timestamptz'],
      ['t.pool_sk', 'int'],
      ['t.source', 'text'],
    ],
    time: at('t.observed_at'),
    network: 'p.network',
  },
  trades: {
    from: withPool('trades'),
    columns: [
      ...ofPool,
      ...time('block_at'),
      ...text('trade_key'),
      ...integer('block_number'),
      ...text('tx_hash', 'maker', 'kind', 'from_token', 'to_token'),
      ...numeric('from_amount', 'to_amount', 'price_from_usd', 'price_to_usd', 'base_price_usd', 'volume_usd'),
      ...time('ingested_at'),
    ],
    key: [
      ['t.block_at', 'timestamptz'],
      ['t.trade_key', 'uuid'],
    ],
    time: at('t.block_at'),
    network: 'p.network',
  },
  coverage_gaps: {
    from: 'coverage_gaps as t',
    columns: [...text('stream'), ...time('from_at', 'to_at'), ...text('reason', 'status'), ...time('recorded_at')],
    key: [
      ['t.stream', 'text'],
      ['t.from_at', 'timestamptz'],
    ],
    time: { end: 't.to_at', start: 't.from_at' },
  },
  runs: {
    from: 'runs as t',
    columns: [
      ...text('run_id', 'collector'),
      ...time('started_at', 'ended_at'),
      ...text('outcome'),
      ...integer('fetched', 'inserted', 'updated', 'unchanged', 'rejected', 'parked', 'api_calls'),
      ...text('problem'),
    ],
    key: [
      ['t.collector', 'text'],
      ['t.run_id', 'text'],
    ],
    time: at('t.started_at'),
  },
} satisfies Record<string, ExportTable>

export type ExportTableName = keyof typeof exportTables
export const exportTableNames = Object.keys(exportTables) as readonly ExportTableName[]

/** Times as ISO 8601 text. `from` is inside, `to` is not: one day's end is the next one's start. */
export type ExportRange = { readonly network?: string; readonly from?: string; readonly to?: string }

/** The page behind the row with the key `after`; without it the first. Rows hold each column by its name, and the key as `key 0`, `key 1` .. */
export function exportPage(
  name: ExportTableName,
  range: ExportRange,
  page: { readonly limit: number; readonly after?: readonly string[] },
): Statement {
  const { from, columns, key, time: times, network }: ExportTable = exportTables[name]
  const values: SqlScalar[] = []
  const given = (value: SqlScalar, type: string) => `$${values.push(value)}::${type}`
  const conditions: string[] = []
  if (range.network !== undefined && network !== undefined) conditions.push(`${network} = ${given(range.network, 'text')}`)
  if (range.from !== undefined) conditions.push(`${times.end} >= ${given(range.from, 'timestamptz')}`)
  if (range.to !== undefined) conditions.push(`${times.start} < ${given(range.to, 'timestamptz')}`)
  if (page.after) {
    const places = page.after.map((value, i) => given(value, (key[i] as readonly [string, string])[1]))
    conditions.push(`(${key.map(([expression]) => expression).join(', ')}) > (${places.join(', ')})`)
    // said again for the first column alone: partitions are left out by this one only
    conditions.push(`${key[0]?.[0]} >= ${places[0]}`)
  }
  const selected = [
    ...columns.map(([column, kind, expression = `t.${column}`]) => `${asText(expression, kind)} as ${column}`),
    ...key.map(([expression, type], i) => `${asText(expression, type === 'timestamptz' ? 'time' : 'text')} as "key ${i}"`),
  ]
  return {
    name: `export_${name}`,
    text: `
select ${selected.join(', ')}
from ${from}
${conditions.length > 0 ? `where ${conditions.join(' and ')}` : ''}
order by ${key.map(([expression]) => expression).join(', ')}
limit ${given(page.limit, 'int')}`,
    values,
  }
}

/** What the next page goes on behind. */
export const keyOf = (name: ExportTableName, row: Row): readonly string[] => exportTables[name].key.map((_, i) => row[`key ${i}`] as string)

const asText = (expression: string, kind: ColumnKind) =>
  kind === 'time' ? `to_char(${expression} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')` : `(${expression})::text`

/** The newest gaps of each status; times as ISO text. */
export const listGaps = (limit: number): Statement => ({
  name: 'list_gaps',
  text: `
select stream, status, reason, ${asText('from_at', 'time')} as from_at, ${asText('to_at', 'time')} as to_at
from coverage_gaps
order by array_position('{open,provisional,closed}'::text[], status), coverage_gaps.from_at desc, stream
limit $1`,
  values: [limit],
})

/** Rows of status, count and seconds. */
export const countGaps: Statement = {
  name: 'count_gaps',
  text: `select status, count(*)::int as gaps, sum(extract(epoch from to_at - from_at))::float8 as seconds from coverage_gaps group by status`,
  values: [],
}
