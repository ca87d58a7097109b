// Rows as columns: what the statements that write a batch have in common. One array a column, at most 1,000 rows a statement.

import type { SqlScalar, Statement } from './database.ts'

const maxStatementRows = 1_000

/** A column of the batch: its Postgres type and where its value comes from. */
export type Columns<R> = Readonly<Record<string, readonly [type: string, value: (row: R) => SqlScalar]>>

export const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())

/** `unnest($1::text[], ...) as n(network, ...)`: the batch as a table named n. */
export function unnest<R>(columns: Columns<R>): string {
  const types = Object.values(columns).map(([type], i) => `$${i + 1}::${type}[]`)
  return `unnest(${types.join(', ')}) as n(${Object.keys(columns).join(', ')})`
}

/** `beside`: values of each statement behind its columns. */
export function inChunks<R>(name: string, text: string, columns: Columns<R>, rows: readonly R[], ...beside: SqlScalar[]): Statement[] {
  const statements: Statement[] = []
  for (let from = 0; from < rows.length; from += maxStatementRows) {
    const chunk = rows.slice(from, from + maxStatementRows)
    statements.push({ name, text, values: [...Object.values(columns).map(([, value]) => chunk.map(value)), ...beside] })
  }
  return statements
}
