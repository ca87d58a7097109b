// The one way that collected rows leave memory: committed to the database, or parked durably. Every exit of a write ends in one of the two,
// or throws, and then the caller's cursor must not move. This is the only place that catches a failed write.

import type { Clock } from '../clock.ts'
import { daysOf, ensureDays, writeBatch, writtenRows, type Written } from '../db/statements.ts'
import type { Rows, Statement } from '../db/database.ts'
import type { ResilientDatabase } from '../db/resilient-database.ts'
import { CircuitOpenError, DeadlineExceededError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Batch } from '../model.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import { mergeBatches, rowCount } from './batch.ts'
import type { ParkedWrites } from './parked-writes.ts'

export type WriteTools = {
  readonly database: ResilientDatabase
  readonly parked: ParkedWrites
  readonly partitions: Partitions
  readonly clock: Clock
  readonly log: Log
}

/** The daily partitions that this process has seen: asking for them again would cost a statement in every write. */
export type Partitions = { readonly seen: Set<string> }

export type Outcome = ({ readonly kind: 'written' } & Written) | { readonly kind: 'parked'; readonly reason: string }

export type WriteRun = {
  readonly collector: string
  readonly runId: string
  /** The table whose rows are counted. */
  readonly table?: 'dexes' | 'pools' | 'trades'
  readonly deadlineAtMs: number
  readonly signal?: AbortSignal | undefined
}

/** Writes a merged batch in one transaction. Throws what the resilient client throws. */
export async function write(
  batch: Batch,
  tools: Pick<WriteTools, 'database' | 'partitions'>,
  options: {
    deadlineAtMs: number
    late: boolean
    table?: 'dexes' | 'pools' | 'trades'
    mayProbe?: boolean
    signal?: AbortSignal | undefined
  },
): Promise<Written> {
  const attempt = async () => {
    const days = unseenDays(batch, tools.partitions)
    const statements: Statement[] = [...days.statements, ...writeBatch(batch, { late: options.late })]
    const answers: readonly Rows[] = await tools.database.transaction(statements, {
      deadlineAtMs: options.deadlineAtMs,
      mayProbe: options.mayProbe ?? false,
      ...(options.signal ? { signal: options.signal } : {}),
    })
    for (const day of days.keys) tools.partitions.seen.add(day)
    return options.table ? writtenRows(statements, answers, options.table) : { inserted: 0, updated: 0 }
  }
  try {
    return await attempt()
  } catch (error) {
    if (classifyFailure(error).class !== 'missing-partition') throw error
    // dropped since this process saw it: ask for it again
    tools.partitions.seen.clear()
    return attempt()
  }
}

/**
 * Writes the rows, or parks them with the class of the failure as the reason.
 * Throws when neither was possible: nothing was kept, and the source must be asked again.
 */
export async function writeOrPark(rows: Partial<Batch>, tools: WriteTools, run: WriteRun): Promise<Outcome> {
  const batch = mergeBatches([rows])
  try {
    // at a stop there is no time to find out how the database is
    if (run.signal?.aborted) throw new DeadlineExceededError('the process is stopping')
    return { kind: 'written', ...(await write(batch, tools, { ...run, late: false })) }
  } catch (error) {
    const reason = reasonOf(error)
    const parkedAtMs = tools.clock.nowMs()
    const provisional: Batch = { ...batch, gaps: batch.gaps.map((gap) => ({ ...gap, status: 'provisional' })) }
    await tools.parked.park({
      id: crypto.randomUUID(),
      schemaVersion: 1,
      collector: run.collector,
      runId: run.runId,
      parkedAtMs,
      reason,
      batch: provisional,
    })
    // a record of a run says nothing new: its data's parking was told
    if (rowCount(batch) > batch.runs.length)
      tools.log.warn({ event: 'batch.parked', collector: run.collector, rows: rowCount(batch), reason })
    return { kind: 'parked', reason }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof CircuitOpenError) return 'circuit-open'
  if (error instanceof DeadlineExceededError) return error.cause === undefined ? 'deadline' : classifyFailure(error.cause).class
  return classifyFailure(error).class
}

function unseenDays(batch: Batch, partitions: Partitions): { statements: readonly Statement[]; keys: readonly string[] } {
  const days = daysOf(batch)
  const found = (['trades', 'pool_snapshots'] as const).map((table) => ({
    table,
    unseen: days[table].filter((day) => !partitions.seen.has(`${table} ${day}`)),
  }))
  return {
    statements: found.filter((f) => f.unseen.length > 0).map((f) => ensureDays(f.table, f.unseen)),
    keys: found.flatMap((f) => f.unseen.map((day) => `${f.table} ${day}`)),
  }
}
