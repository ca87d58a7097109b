// Tables, indexes, sequences, statements: what changes slowly and is looked at every quarter of an hour. Each finding says the SQL that mends it; nothing
// here is ever run by the health check itself.

import type { SequenceUse, SlowStatement, Structure } from '../observation.ts'
import { counted, forBytes, forShare, forTime } from './figures.ts'
import { above, eachOf, info, type Judged, type Judges, type Look, skipped } from './judge.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** A column's name as SQL takes it. Tables and indexes come ready to paste. */
const column = (name: string) => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`)

const invalidIndex = ({ invalidIndexes }: Structure): Judged | readonly Judged[] =>
  eachOf(
    invalidIndexes,
    (index) => ({
      severity: 'warning',
      subject: index,
      value: 'invalid',
      message: `Index ${index} is invalid: it costs writes and no query uses it.`,
      action: 'Its concurrent build failed. Build it again, or drop it.',
      evidence: [`reindex index concurrently ${index};`, `drop index concurrently ${index};`],
    }),
    'No index is invalid.',
  )

const duplicateIndex = ({ duplicateIndexes }: Structure): Judged | readonly Judged[] =>
  eachOf(
    duplicateIndexes,
    ({ table, indexes, bytes }) => ({
      ...info(
        `${table} has ${counted(indexes.length, 'index', 'indexes')} on the same columns: ${indexes.join(', ')}.`,
        'Keep the first; the others cost writes and space.',
        {
          value: bytes,
          unit: 'bytes',
          evidence: indexes.slice(1).map((index) => `drop index concurrently ${index};`),
        },
      ),
      subject: indexes.toSorted()[0] ?? table,
    }),
    'No two indexes are the same.',
  )

const unusedForMs = 7 * dayMs
const unusedBytes = 1024 ** 2

const unusedIndex = ({ unusedIndexes, statsAgeMs }: Structure): Judged | readonly Judged[] => {
  if (statsAgeMs === null || statsAgeMs < unusedForMs)
    return skipped(
      `The statistics are ${statsAgeMs === null ? 'of unknown age' : `only ${forTime(statsAgeMs)} old`}.`,
      'Nothing: an index that was not used in 7 days is told.',
    )
  return eachOf(
    unusedIndexes.filter(({ bytes }) => bytes >= unusedBytes),
    ({ index, table, bytes }) =>
      info(
        `Index ${index} of ${table} (${forBytes(bytes)}) was not used in ${forTime(statsAgeMs)}.`,
        'Drop it, unless a standby or a monthly job needs it.',
        {
          subject: index,
          value: bytes,
          unit: 'bytes',
          evidence: [`drop index concurrently ${index};`],
        },
      ),
    'Every larger index is used.',
  )
}

const foreignKeyWithoutIndex = ({ foreignKeysWithoutIndex }: Structure): Judged | readonly Judged[] =>
  eachOf(
    foreignKeysWithoutIndex,
    ({ constraint, table, columns }) =>
      info(`Foreign key ${constraint} of ${table} has no index.`, 'Deleting from the table it points to reads this one as a whole.', {
        subject: `${table}.${constraint}`,
        evidence: [`create index concurrently on ${table} (${columns.map(column).join(', ')});`],
      }),
    'Every foreign key has an index.',
  )

const noPrimaryKey = ({ withoutPrimaryKey }: Structure): Judged | readonly Judged[] =>
  eachOf(
    withoutPrimaryKey,
    (table) =>
      info(`${table} has no primary key.`, 'Duplicates can come in, and logical replication can not update it.', {
        subject: table,
        evidence: [`alter table ${table} add primary key (<columns that are unique together>);`],
      }),
    'Every table has a primary key.',
  )

/** Below this a whole scan is cheap. */
const manyRows = 10_000
/** Scans that read this often the whole table are no accident. */
const manyScans = 100

const sequentialScans = ({ sequentialScans: seen }: Structure): Judged | readonly Judged[] =>
  eachOf(
    seen.filter(({ rows, scans }) => rows >= manyRows && scans >= manyScans),
    ({ table, scans, rowsRead, rows }) =>
      info(
        `${table} (${counted(Math.round(rows), 'row')}) was read as a whole ${counted(scans, 'time')}.`,
        'Find the statement (slow statements below, or pg_stat_statements), and give it an index.',
        {
          subject: table,
          value: rowsRead,
          unit: 'count',
          evidence: [
            `select query, calls, mean_exec_time from pg_stat_statements where query ilike '%${table.split('.').at(-1)?.replaceAll("'", "''")}%' order by total_exec_time desc limit 5;`,
          ],
        },
      ),
    'No large table is read as a whole again and again.',
  )

const vacuumOverdue = ({ vacuumOverdue: seen, statsAgeMs }: Structure): Judged | readonly Judged[] =>
  eachOf(
    seen,
    ({ table, deadRows, threshold, vacuumAgeMs }) => {
      // never vacuumed, as far as the statistics go back
      const ageMs = vacuumAgeMs ?? statsAgeMs
      return {
        severity: ageMs !== null && ageMs > dayMs ? 'warning' : 'info',
        subject: table,
        value: deadRows,
        unit: 'count',
        limits: { warning: Math.round(threshold) },
        isClear: false,
        message: `${table} has ${counted(deadRows, 'dead row')}${ageMs === null ? '' : ` and was not vacuumed for ${forTime(ageMs)}`}.`,
        action: 'See whether autovacuum is on for it, gets through, and is not kept back by an old transaction.',
        evidence: [`vacuum (analyze) ${table};`],
      }
    },
    'Vacuum keeps up.',
  )

const oldestTable = ({ oldestXidTables }: Structure): Judged | readonly Judged[] =>
  eachOf(
    oldestXidTables,
    ({ table, age }) =>
      info(
        `The oldest row of ${table} is ${counted(age, 'transaction')} old.`,
        'Autovacuum freezes it; when it does not get through, do it by hand.',
        {
          subject: table,
          value: age,
          unit: 'count',
          evidence: [`vacuum (freeze, verbose) ${table};`],
        },
      ),
    'No table is due to be frozen.',
  )

export const structureChecks: Judges<Structure> = {
  'invalid-index': invalidIndex,
  'duplicate-index': duplicateIndex,
  'unused-index': unusedIndex,
  'foreign-key-without-index': foreignKeyWithoutIndex,
  'no-primary-key': noPrimaryKey,
  'sequential-scans': sequentialScans,
  'vacuum-overdue': vacuumOverdue,
  'oldest-table': oldestTable,
}

const sequences = (seen: readonly SequenceUse[]): Judged | readonly Judged[] =>
  eachOf(
    seen,
    ({ sequence, used, lastValue }) => ({
      ...above(100 * used, { warning: 75, critical: 90 }),
      subject: sequence,
      unit: '%',
      message: `Sequence ${sequence} has used ${forShare(used)} of its numbers (${lastValue}).`,
      action: 'Inserts fail when it ends. Make column and sequence bigint; on a large table in steps, with a new column.',
      evidence: [
        `alter sequence ${sequence} as bigint;`,
        'alter table <table> alter column <column> type bigint;  -- rewrites the table under an exclusive lock',
      ],
    }),
    'No sequence has used more than half of its numbers.',
  )

export const sequenceChecks: Judges<readonly SequenceUse[]> = { sequences }

const slowStatements = (seen: readonly SlowStatement[], { observation, settings }: Look): Judged | readonly Judged[] => {
  const { structure } = observation
  const scanned =
    structure !== null && 'sequentialScans' in structure ? structure.sequentialScans.filter(({ rows }) => rows >= manyRows) : []
  const limitMs = settings.health.thresholds.queryMs
  const isSlow = ({ meanMs, calls }: SlowStatement) => meanMs > limitMs && calls >= 20
  return eachOf(
    seen.filter((statement) => isSlow(statement) || (statement.share > 0.25 && statement.calls >= 20)),
    (statement) => {
      const { id, query, calls, meanMs, share } = statement
      const advice =
        query === null
          ? null
          : indexFor(
              query,
              scanned.map(({ table }) => table),
            )
      return {
        severity: isSlow(statement) ? 'warning' : 'info',
        subject: id,
        value: Math.round(meanMs * 10) / 10,
        unit: 'ms',
        limits: { warning: limitMs },
        message: `Statement ${id} takes ${forTime(meanMs)} on average in ${counted(calls, 'call')}, ${forShare(share)} of all time.`,
        action: advice === null ? 'Look at its plan.' : 'Look at its plan; an index may help.',
        evidence: [
          ...(query === null ? ['its text is hidden: grant pg_monitor'] : [query, `explain (analyze, buffers) ${query};`]),
          ...(advice === null ? [] : [advice]),
        ],
      }
    },
    'No statement is slow.',
  )
}

/**
 * For a statement on one table that is often read as a whole, and compares columns of it with values: an index on at most two of them, equality first.
 * Anything else needs a person who looks at the plan.
 */
export function indexFor(query: string, scannedTables: readonly string[]): string | null {
  const from = /\b(?:from|update)\s+("?[\w.]+"?)(?:\s+(?:as\s+)?\w+)?\s+(?:set\b.*?\s)?where\b(.*)/is.exec(query)
  const [, table, condition] = from ?? []
  if (table === undefined || condition === undefined || /\b(?:join|union|or|select)\b/i.test(query.replace(/^\s*select\b/i, '')))
    return null
  const scanned = scannedTables.find((known) => known === table || known.split('.').at(-1) === table.split('.').at(-1))
  if (scanned === undefined) return null
  const columns = (operator: string) =>
    [...condition.matchAll(new RegExp(`(?:\\b\\w+\\.)?\\b(\\w+)\\s*${operator}\\s*(?:\\$\\d+|\\?|any\\b)`, 'gi'))].map(
      (match) => match[1] as string,
    )
  const chosen = [...new Set([...columns('='), ...columns('(?:<=?|>=?|between)')])].slice(0, 2)
  return chosen.length === 0 ? null : `create index concurrently on ${scanned} (${chosen.map(column).join(', ')});`
}

export const statementChecks: Judges<readonly SlowStatement[]> = { 'slow-statements': slowStatements }
