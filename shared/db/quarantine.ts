// The quarantine: rows that Postgres refused, each with its reason, until somebody has them written again or dropped.

import { createHash } from 'node:crypto'
import { singleRow } from '../collect/batch.ts'
import type { Batch } from '../model.ts'
import type { Row, Statement } from './database.ts'

export type QuarantinedRow = {
  /** A UUID made from table and key: the same row is the same entry. */
  readonly id: string
  readonly table: keyof Batch
  readonly row: Batch[keyof Batch][number]
  /** Class of the failure, such as `data`. */
  readonly class: string
  readonly sqlState: string | null
  /** What was refused, without the row's values. */
  readonly message: string
  readonly collector: string
  readonly runId: string
  readonly seenAtMs: number
}

/** `part` is a batch of one row. */
export function quarantined(part: Batch, seen: Omit<QuarantinedRow, 'id' | 'table' | 'row'>): QuarantinedRow {
  const { table, key, row } = singleRow(part)
  const hash = createHash('sha256')
    .update(JSON.stringify([table, key]))
    .digest('hex')
  const id = hash.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, '$1-$2-$3-$4-$5')
  return { id, table, row, ...seen }
}

/** Idempotent by id; of a row that was refused more than once the newest is kept, and held again though it was retried. */
export function insertQuarantine(rows: readonly QuarantinedRow[]): Statement {
  const column = <Value>(value: (row: QuarantinedRow) => Value) => rows.map(value)
  return {
    name: 'insert_quarantine',
    text: `
insert into quarantine as q (id, table_name, "row", class, sqlstate, message, collector, run_id, first_seen_at, last_seen_at)
select n.id, n.table_name, n."row", n.class, n.sqlstate, n.message, n.collector, n.run_id, n.seen_at, n.seen_at
from unnest($1::uuid[], $2::text[], $3::jsonb[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
  as n(id, table_name, "row", class, sqlstate, message, collector, run_id, seen_at)
order by n.id
on conflict (id) do update set "row" = excluded."row", class = excluded.class, sqlstate = excluded.sqlstate, message = excluded.message,
  collector = excluded.collector, run_id = excluded.run_id, last_seen_at = excluded.last_seen_at, status = 'held'
  where excluded.last_seen_at > q.last_seen_at`,
    values: [
      column((r) => r.id),
      column((r) => r.table),
      column((r) => JSON.stringify(r.row)),
      column((r) => r.class),
      column((r) => r.sqlState),
      column((r) => r.message),
      column((r) => r.collector),
      column((r) => r.runId),
      column((r) => new Date(r.seenAtMs).toISOString()),
    ],
  }
}

/** What stands in the quarantine, as the commands show it. `row` is left out where nobody needs it: it can be large. */
export type QuarantineEntry = Omit<QuarantinedRow, 'seenAtMs'> & {
  readonly firstSeenAt: string
  readonly lastSeenAt: string
  readonly status: 'held' | 'retried'
}

/** Oldest first; of these ids, or all. */
export const selectQuarantine = (which: { ids?: readonly string[]; status?: 'held'; limit: number }): Statement => ({
  name: 'select_quarantine',
  text: `
select id::text, table_name, "row"::text, class, sqlstate, message, collector, run_id, first_seen_at, last_seen_at, status
from quarantine
where ($1::uuid[] is null or id = any ($1::uuid[])) and ($2::text is null or status = $2)
order by first_seen_at, id
limit $3::int`,
  values: [which.ids ? [...which.ids] : null, which.status ?? null, which.limit],
})

export const entryOf = (row: Row): QuarantineEntry => ({
  id: String(row['id']),
  table: row['table_name'] as keyof Batch,
  row: JSON.parse(String(row['row'])) as QuarantinedRow['row'],
  class: String(row['class']),
  sqlState: row['sqlstate'] as string | null,
  message: String(row['message']),
  collector: String(row['collector']),
  runId: String(row['run_id']),
  firstSeenAt: new Date(row['first_seen_at'] as string | Date).toISOString(),
  lastSeenAt: new Date(row['last_seen_at'] as string | Date).toISOString(),
  status: row['status'] as QuarantineEntry['status'],
})

/** After the rows are in their tables. Idempotent. */
export const markRetried = (ids: readonly string[]): Statement => ({
  name: 'mark_retried',
  text: `update quarantine set status = 'retried' where id = any ($1::uuid[]) and status = 'held'`,
  values: [[...ids]],
})

/** Takes them out for good, retried ones too. Idempotent. Answers how many. */
export const dropQuarantined = (ids: readonly string[] | undefined): Statement => ({
  name: 'drop_quarantined',
  text: `
with dropped as (delete from quarantine where $1::uuid[] is null or id = any ($1::uuid[]) returning 1)
select count(*)::int as dropped from dropped`,
  values: [ids ? [...ids] : null],
})
