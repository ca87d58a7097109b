// The one way that collected rows leave memory: committed to the database, or parked durably. Every exit of a write ends in one of the two,
// or throws, and then the caller's cursor must not move. This is the only place that catches a failed write.

import type { Clock } from '../clock.ts'
import type { Written } from '../db/statements.ts'
import { CircuitOpenError, DeadlineExceededError, TooManyBadRowsError } from '../errors.ts'
import type { Batch } from '../model.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import { mergeBatches, rowCount, withProvisionalGaps } from './batch.ts'
import { versionOf, type ParkedWrites } from './parked-writes.ts'
import { writeMerged, type CountedTable, type DatabaseTools, type MergedWrite } from './write-merged.ts'

export type WriteTools = DatabaseTools & {
  readonly parked: ParkedWrites
  readonly clock: Clock
}

/** `quarantined`: rows of the counted table that the database refused and that are kept apart. */
export type Outcome =
  ({ readonly kind: 'written'; readonly quarantined: number } & Written) | { readonly kind: 'parked'; readonly reason: string }

export type WriteRun = {
  readonly collector: string
  readonly runId: string
  /** The table whose rows are counted. */
  readonly table?: CountedTable
  readonly deadlineAtMs: number
  readonly signal?: AbortSignal | undefined
  /** False: what can't be written is thrown, and nothing is parked. Default true. */
  readonly parking?: boolean
} & Pick<MergedWrite, 'mayProbe' | 'ignoreCircuit' | 'tally'>

/**
 * Writes the rows, or parks them with the class of the failure as the reason.
 * Throws when neither was possible, or parking is switched off: nothing was kept, and the source must be asked again.
 */
export async function writeOrPark(rows: Partial<Batch>, tools: WriteTools, run: WriteRun): Promise<Outcome> {
  const batch = mergeBatches([rows])
  try {
    // at a stop there is no time to find out how the database is
    if (run.signal?.aborted) throw new DeadlineExceededError('the process is stopping')
    const seenAtMs = tools.clock.nowMs()
    const { quarantined, ...written } = await writeMerged(batch, tools, { ...run, late: false, originOf: () => ({ ...run, seenAtMs }) })
    return { kind: 'written', ...written, quarantined: quarantined.filter((row) => row.table === run.table).length }
  } catch (error) {
    if (run.parking === false) throw error
    const parked = await park(batch, reasonOf(error), tools, run)
    if (error instanceof TooManyBadRowsError) tools.log.error({ event: 'batch.refused', collector: run.collector, error })
    return parked
  }
}

/** For rows of which it is known that the database would not take them now. */
export async function park(
  rows: Partial<Batch>,
  reason: string,
  tools: Pick<WriteTools, 'parked' | 'clock' | 'log'>,
  { collector, runId }: Pick<WriteRun, 'collector' | 'runId'>,
): Promise<Outcome> {
  const batch = withProvisionalGaps(mergeBatches([rows]))
  const parkedAtMs = tools.clock.nowMs()
  await tools.parked.park({ id: crypto.randomUUID(), schemaVersion: versionOf(batch), collector, runId, parkedAtMs, reason, batch })
  // the record of a run, or of a look, says nothing new: the parking of the data, and the look itself, are told
  const records = batch.runs.length + batch.samples.length
  if (rowCount(batch) > records) tools.log.warn({ event: 'batch.parked', collector, rows: rowCount(batch), reason })
  return { kind: 'parked', reason }
}

function reasonOf(error: unknown): string {
  if (error instanceof CircuitOpenError) return 'circuit-open'
  if (error instanceof DeadlineExceededError) return error.cause === undefined ? 'deadline' : classifyFailure(error.cause).class
  return classifyFailure(error instanceof TooManyBadRowsError ? error.cause : error).class
}
