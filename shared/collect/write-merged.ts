// Writes a merged batch into the database, around the rows that it refuses.
//
//   one transaction -> in
//     | rows refused (SQLSTATE 21, 22, 23), or too much for a limit of the server (54)
//   bisect: halves are written until each refused row is alone -> those into the quarantine, with the reason -> in
//     | more refused rows than single bad rows explain
//   TooManyBadRowsError: the caller keeps the batch
//
// A missing partition is made, and the part written again. Every other failure goes up untouched.

import { insertQuarantine, quarantined, type QuarantinedRow } from '../db/quarantine.ts'
import { daysOf, ensureDays } from '../db/partitions.ts'
import { writeBatch, writtenRows, type Written } from '../db/statements.ts'
import type { DatabaseError, Rows, Statement } from '../db/database.ts'
import type { CallOptions, ResilientDatabase } from '../db/resilient-database.ts'
import { TooManyBadRowsError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Batch } from '../model.ts'
import { classifyFailure, type FailureClass } from '../resilience/classify-failure.ts'
import type { ClientTally } from '../resilience/client-metrics.ts'
import { reserveToParkMs } from '../resilience/retry-policy.ts'
import { rowCount, singleRow, streamOf } from './batch.ts'
import { bisect } from './bisect.ts'

/** Of one batch. With more, the fault is a constraint, a type or a parser, and nobody looks through hundreds of rows one by one. */
const maxQuarantined = 10

/** The daily partitions that this process has seen: asking for them again would cost a statement in every write. */
export type Partitions = { readonly seen: Set<string> }

export type DatabaseTools = { readonly database: ResilientDatabase; readonly partitions: Partitions; readonly log: Log }

export type CountedTable = 'dexes' | 'pools' | 'trades'

export type MergedWrite = {
  readonly deadlineAtMs: number
  readonly signal?: AbortSignal | undefined
  /** A replay: an older observation must not replace what a newer look has confirmed. */
  readonly late: boolean
  /** The table whose rows are counted. */
  readonly table?: CountedTable
  /** May take the lease of an open circuit's probe. */
  readonly mayProbe?: boolean
  /** Goes through an open circuit, too. */
  readonly ignoreCircuit?: boolean | undefined
  /** Counts the calls as well, such as one run's own. */
  readonly tally?: ClientTally | undefined
  /** A replay: nothing has to be parked after a failure, so attempts may take the time that the client keeps for that. */
  readonly isParked?: boolean
  /** Who brought a row, and when it was seen first. */
  readonly originOf: (row: QuarantinedRow['row']) => Pick<QuarantinedRow, 'collector' | 'runId' | 'seenAtMs'>
}

export type MergedWritten = Written & { readonly quarantined: readonly QuarantinedRow[] }

/**
 * Idempotent. Contention counts against the batch's own stream. When it throws, a part of the batch may be in: all of it has to be written again.
 * Throws TooManyBadRowsError, and what the resilient client throws; of the quarantine's own statement as well.
 */
export async function writeMerged(batch: Batch, tools: DatabaseTools, options: MergedWrite): Promise<MergedWritten> {
  const call = callOptions(batch, options)
  const total = { inserted: 0, updated: 0 }
  const attempt = async (part: Batch) => {
    try {
      const written = await writePart(part, tools, call, options)
      total.inserted += written.inserted
      total.updated += written.updated
      return undefined
    } catch (error) {
      const failure = classifyFailure(error)
      if (failure.keeps !== 'quarantine' && failure.class !== 'too-large') throw error
      return { error: error as DatabaseError, class: failure.class }
    }
  }
  const found = await bisect(batch, attempt, { maxRefused: maxQuarantined })
  if (found.kind === 'too-many') throw tooMany(batch, found.reason.error)
  const refused = found.refused.map(({ part, reason }) => quarantined(part, { ...saidOf(reason), ...originOf(part, options) }))
  if (refused.length > 0) {
    await tools.database.transaction([insertQuarantine(refused)], call)
    for (const { row: _untold, ...told } of refused) tools.log.error({ event: 'row.quarantined', ...told })
  }
  return { ...total, quarantined: refused }
}

function callOptions(batch: Batch, options: MergedWrite): CallOptions {
  const { deadlineAtMs, mayProbe = false, ignoreCircuit = false, isParked = false, signal, tally } = options
  const stream = streamOf(batch)
  return {
    deadlineAtMs: isParked ? deadlineAtMs + reserveToParkMs : deadlineAtMs,
    mayProbe,
    ignoreCircuit,
    repeat: 'idempotent',
    ...(tally ? { tally } : {}),
    ...(stream ? { stream } : {}),
    ...(signal ? { signal } : {}),
  }
}

/** All of it in one transaction. */
async function writePart(part: Batch, tools: DatabaseTools, call: CallOptions, { late, table }: MergedWrite): Promise<Written> {
  const attempt = async () => {
    const days = unseenDays(part, tools.partitions)
    const statements: Statement[] = [...days.statements, ...writeBatch(part, { late })]
    const answers: readonly Rows[] = await tools.database.transaction(statements, call)
    for (const day of days.keys) tools.partitions.seen.add(day)
    return table ? writtenRows(statements, answers, table) : { inserted: 0, updated: 0 }
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

const saidOf = ({ error, class: failureClass }: { error: DatabaseError; class: FailureClass }) => ({
  class: failureClass,
  sqlState: error.sqlState ?? null,
  message: error.message,
})

function originOf(part: Batch, options: MergedWrite): ReturnType<MergedWrite['originOf']> {
  const { collector, runId, seenAtMs } = options.originOf(singleRow(part).row)
  return { collector, runId, seenAtMs }
}

function tooMany(batch: Batch, cause: DatabaseError): TooManyBadRowsError {
  return new TooManyBadRowsError(
    `more than ${maxQuarantined} of ${rowCount(batch)} rows were refused, the last with: ${cause.message}; ` +
      'the batch waits: look for a changed constraint or column, or a change of the API',
    { cause },
  )
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
