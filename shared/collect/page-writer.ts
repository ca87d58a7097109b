// Pages on their way to the database: kept until they are enough for a batch, or the oldest has waited long enough, or the run ends.
// Counts and cursor move only behind rows that were written or parked. Pages leave memory no other way.

import type { Clock } from '../clock.ts'
import type { Batch, RunCounts } from '../model.ts'
import { mergeBatches, rowCount } from './batch.ts'
import type { Cursor, Page } from './collector.ts'
import type { Outcome } from './write-or-park.ts'

export type PageWriter = {
  add(page: Page): Promise<void>
  /** Throws when the rows found no place: then neither counts nor cursor have moved. */
  flush(): Promise<void>
  readonly counts: Readonly<Omit<RunCounts, 'apiCalls'>>
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
  let cursor = options.cursor
  let waiting = nothing

  async function flush(): Promise<void> {
    const { pages, rows } = waiting
    waiting = nothing
    if (rows > 0 && keep) {
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
    flush,
    get cursor() {
      return cursor
    },
    async add(page) {
      counts.fetched += page.fetched
      counts.rejected += page.rejected
      const sinceMs = waiting.pages.length > 0 ? waiting.sinceMs : clock.nowMs()
      waiting = { pages: [...waiting.pages, page], rows: waiting.rows + rowCount(page.rows), sinceMs }
      if (waiting.rows >= rules.maxRows || clock.nowMs() - sinceMs >= rules.maxWaitMs) await flush()
    },
  }
}
