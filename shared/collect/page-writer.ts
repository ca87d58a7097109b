// Pages on their way to the database: kept until they are enough for a batch, or the oldest has waited long enough, or the run ends.
// Counts and cursor move only behind rows that were written or parked. Pages leave memory no other way.

import type { Clock } from '../clock.ts'
import type { Batch, BatchCounts, RunCounts } from '../model.ts'
import { mergeBatches, rowCount } from './batch.ts'
import type { Cursor, Page } from './collector.ts'
import type { Outcome } from './write-or-park.ts'

export type PageWriter = {
  add(page: Page): Promise<void>
  /** For when no page is left. Throws when the rows found no place: then neither counts nor cursor have moved. */
  flush(): Promise<void>
  readonly counts: Readonly<Omit<RunCounts, 'apiCalls'>>
  readonly batches: BatchCounts
  readonly cursor: Cursor
}

type Waiting = { readonly pages: readonly Page[]; readonly rows: number; readonly sinceMs: number }
const nothing: Waiting = { pages: [], rows: 0, sinceMs: 0 }

/** `keep` writes or parks a merged batch; undefined throws the rows away (a dry run). */
export function createPageWriter(options: {
  cursor: Cursor
  rules: { maxRows: number; maxWaitMs: number }
  clock: Clock
  keep: ((batch: Batch) => Promise<Outcome>) | undefined
}): PageWriter {
  const { rules, clock, keep } = options
  const counts = { fetched: 0, inserted: 0, updated: 0, unchanged: 0, rejected: 0, parked: 0 }
  const batches = { count: 0, rows: 0, waitedMs: 0, sourceLimited: 0, sourceLimitedRows: 0 }
  let cursor = options.cursor
  let waiting = nothing

  async function write(isLast: boolean): Promise<void> {
    const { pages, rows, sinceMs } = waiting
    waiting = nothing
    if (rows > 0 && keep) {
      batches.count++
      batches.rows += rows
      batches.waitedMs += Math.max(0, clock.nowMs() - sinceMs)
      if (isLast) {
        batches.sourceLimited++
        batches.sourceLimitedRows += rows
      }
      const outcome = await keep(mergeBatches(pages.map((page) => page.rows)))
      const own = pages.reduce((sum, page) => sum + page.fetched - page.rejected, 0)
      if (outcome.kind === 'parked') counts.parked += own
      else {
        counts.inserted += outcome.inserted
        counts.updated += outcome.updated
        counts.rejected += outcome.quarantined
        counts.unchanged += own - outcome.inserted - outcome.updated - outcome.quarantined
      }
    }
    cursor = Object.assign({}, cursor, ...pages.map((page) => page.cursor))
  }

  return {
    counts,
    batches,
    flush: () => write(true),
    get cursor() {
      return cursor
    },
    async add(page) {
      counts.fetched += page.fetched
      counts.rejected += page.rejected
      const sinceMs = waiting.pages.length > 0 ? waiting.sinceMs : clock.nowMs()
      waiting = { pages: [...waiting.pages, page], rows: waiting.rows + rowCount(page.rows), sinceMs }
      if (waiting.rows >= rules.maxRows || clock.nowMs() - sinceMs >= rules.maxWaitMs) await write(false)
    },
  }
}
