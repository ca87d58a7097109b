// What one transaction writes: rows of several answers, deduped by key and sorted in one global order.
// Unsorted writers on overlapping keys deadlock (measured: 153 of 240 statements), sorted ones never did;
// a key twice in one statement is refused by Postgres (21000), so duplicates go here.

import type { Batch } from '../model.ts'

export const emptyBatch: Batch = { dexes: [], tokens: [], pools: [], trades: [], gaps: [], runs: [], samples: [], incidents: [] }

/** All rows that a batch holds, whatever their table. */
export const rowCount = (batch: Partial<Batch>) => Object.values(batch).reduce((sum, rows) => sum + rows.length, 0)

type Tables = keyof Batch

/** What makes two rows of a table the same row. */
const keys: { readonly [Table in Tables]: (row: Batch[Table][number]) => readonly string[] } = {
  dexes: (r) => [r.network, r.dex],
  tokens: (r) => [r.network, r.address],
  // an observation is a row of its own: one pool seen twice makes two snapshots, the pool's row takes the newer
  pools: (r) => [r.network, r.address, sortable(r.observedAtMs), r.source],
  trades: (r) => [sortable(r.blockAtMs), r.key],
  gaps: (r) => [r.stream, sortable(r.fromMs)],
  runs: (r) => [r.collector, r.runId],
  samples: (r) => [sortable(r.atMs)],
  incidents: (r) => [sortable(r.startedAtMs)],
}

/** Of two rows with one key the one with the higher age stays. */
const ages: { readonly [Table in Tables]: (row: Batch[Table][number]) => number } = {
  dexes: (r) => r.observedAtMs,
  tokens: (r) => r.observedAtMs,
  pools: (r) => r.observedAtMs,
  trades: (r) => -r.fetchedAtMs,
  gaps: (r) => r.toMs,
  runs: (r) => r.endedAtMs,
  // a look is over when it is told
  samples: () => 0,
  incidents: (r) => r.endedAtMs,
}

/** Its gaps may still be filled: by what is parked, this batch included. */
export const withProvisionalGaps = (batch: Batch): Batch => ({
  ...batch,
  gaps: batch.gaps.map((gap) => ({ ...gap, status: 'provisional' })),
})

/** One batch of several, ready to be written: the newest row of a key wins, keys ascend. Idempotent. The rows are the same objects. */
export function mergeBatches(batches: readonly Partial<Batch>[]): Batch {
  const merged = <Table extends Tables>(table: Table) =>
    newestByKey<Batch[Table][number]>(
      batches.flatMap((b) => (b[table] ?? []) as Batch[Table][number][]),
      keys[table],
      ages[table],
    )
  return {
    dexes: merged('dexes'),
    tokens: merged('tokens'),
    pools: merged('pools'),
    trades: merged('trades'),
    gaps: merged('gaps'),
    runs: merged('runs'),
    samples: merged('samples'),
    incidents: merged('incidents'),
  }
}

/** The one row of a batch of one: its table, and its key in that table. */
export function singleRow(batch: Batch): { table: Tables; key: readonly string[]; row: Batch[Tables][number] } {
  for (const table of Object.keys(keys) as Tables[]) {
    const row = batch[table][0]
    if (row) return { table, row, key: (keys[table] as (row: unknown) => readonly string[])(row) }
  }
  throw new TypeError('an empty batch has no row')
}

/** Two batches of as many rows, the first one's before the second's in the batch's order. Each can be written alone: rows are idempotent, and trades make sure of their pools. */
export function halves(batch: Batch): [Batch, Batch] {
  let left = Math.ceil(rowCount(batch) / 2)
  const [first, second]: [Record<string, unknown>, Record<string, unknown>] = [{}, {}]
  for (const [table, rows] of Object.entries(batch)) {
    first[table] = rows.slice(0, left)
    second[table] = rows.slice(left)
    left = Math.max(0, left - rows.length)
  }
  return [first as Batch, second as Batch]
}

/**
 * The table that a collector's batch is about, and with that its stream: contention on it parks this stream alone.
 * Undefined for what belongs to all collectors, such as the record of a run.
 */
export function streamOf(batch: Partial<Batch>): 'trades' | 'pools' | 'dexes' | undefined {
  return (['trades', 'pools', 'dexes'] as const).find((table) => (batch[table]?.length ?? 0) > 0)
}

/** Epoch milliseconds as text that sorts like the number. */
const sortable = (ms: number) => String(ms).padStart(15, '0')

/** NUL can't stand in a key: parse takes it out of every text, and Postgres can't store it. */
function newestByKey<Row>(rows: readonly Row[], keyOf: (row: Row) => readonly string[], ageOf: (row: Row) => number): readonly Row[] {
  const newest = new Map<string, Row>()
  for (const row of rows) {
    const key = keyOf(row).join('\0')
    const known = newest.get(key)
    if (known === undefined || ageOf(row) > ageOf(known)) newest.set(key, row)
  }
  return [...newest].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, row]) => row)
}
