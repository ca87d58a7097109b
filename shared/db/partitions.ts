// Daily partitions of the tables that have them: made by the transaction that needs them (`ensure_days`, in the first migration).

import type { Batch } from '../model.ts'
import type { Statement } from './database.ts'

/** Makes the daily partitions of `table` for these UTC days, such as 2025-08-28. Idempotent. */
export const ensureDays = (table: 'trades' | 'pool_snapshots', days: readonly string[]): Statement => ({
  name: `ensure_days:${table}`,
  text: `select ensure_days($1::text::regclass, $2::date[]) as made`,
  values: [table, [...days]],
})

/** Days of a batch's partitioned rows, by table. */
export function daysOf(batch: Batch): { trades: readonly string[]; pool_snapshots: readonly string[] } {
  const days = (ms: readonly number[]) => [...new Set(ms.map((at) => new Date(at).toISOString().slice(0, 10)))].toSorted()
  return { trades: days(batch.trades.map((t) => t.blockAtMs)), pool_snapshots: days(batch.pools.map((p) => p.observedAtMs)) }
}
