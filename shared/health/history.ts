// The history in Postgres: looks of the last two days, hours of 400 days, outages. Looks travel like all other rows, written or parked, so that an
// outage has its history as well, once it is over. A minute without a look is unknown: it has no row, and counts neither as up nor as down.

import { park, writeOrPark, type WriteTools } from '../collect/write-or-park.ts'
import type { Row, Rows, Statement } from '../db/database.ts'
import { historyStatements } from '../db/health-queries.ts'
import type { IncidentRow, SampleRow } from '../model.ts'
import { fromCounts, mergeHistograms, type Histogram } from '../resilience/histogram.ts'
import { budgetLeft } from './checks/client.ts'
import { toLatency, type Availability, type Latency } from './memory/memory.ts'

/** A write and its parking; the look itself has its own time. */
const storeForMs = 10_000

/**
 * Writes them, or parks them. Throws when neither was possible.
 * A look that let the database sleep is not stored: that would wake it. While the last one was not answered, all are parked without asking again.
 */
export async function storeHealth(
  { samples = [], incidents = [] }: { samples?: readonly SampleRow[]; incidents?: readonly IncidentRow[] },
  tools: WriteTools,
): Promise<void> {
  const asked = samples.filter(({ isUp, queryMs }) => queryMs !== null || isUp === false)
  const rows = { samples: asked, incidents }
  if (asked.length + incidents.length === 0) return
  const nowMs = tools.clock.nowMs()
  const run = { collector: 'health-check', runId: new Date(nowMs).toISOString() }
  if (asked.at(-1)?.isUp === false) await park(rows, 'database-away', tools, run)
  else await writeOrPark(rows, tools, { ...run, deadlineAtMs: nowMs + storeForMs })
}

export type PastLook = Omit<SampleRow, 'latency'>

export type PastHour = Availability & {
  readonly atMs: number
  readonly breakerOpenMinutes: number
  /** As in a sample. */
  readonly worstStatus: number | null
  readonly calls: number
  readonly failed: number
  readonly latency: Latency
  readonly connectLatency: Latency
  readonly lockWaitMs: number | null
  readonly connectionsPercent: number | null
  readonly parked: number | null
  readonly collectorLagS: number | null
  readonly databaseBytes: number | null
  readonly xidAge: number | null
}

export type PastIncident = { readonly startedAtMs: number; readonly endedAtMs: number; readonly report: unknown }

export type History = {
  readonly availability: Readonly<Record<'hour' | 'day' | 'week' | 'month', Availability>>
  /** Of the error budget of 30 days, 0..1; null when no minute of it is known. */
  readonly budgetLeft: number | null
  readonly latency: Readonly<Record<'day' | 'week' | 'month', Latency>>
  /** Of the last hour, oldest first. */
  readonly looks: readonly PastLook[]
  /** Of the last week, oldest first; hours that nobody looked at are not there. */
  readonly hours: readonly PastHour[]
  /** The last twenty, newest first. */
  readonly incidents: readonly PastIncident[]
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs

/** `ask` sends the statements together, such as the `transaction` of a database with its options. Throws what it throws. */
export async function readHistory(
  ask: (statements: readonly Statement[]) => Promise<readonly Rows[]>,
  { nowMs, targetPercent }: { nowMs: number; targetPercent: number },
): Promise<History> {
  const [looks = [], hours = [], [month] = [], incidents = []] = await ask(historyStatements(nowMs))
  const pastLooks = looks.map(toLook)
  const since = (days: number) => hours.filter((row) => nowMs - number(row, 'at_ms') < days * 24 * hourMs)
  const availability = {
    hour: ofLooks(pastLooks),
    day: ofHours(since(1)),
    week: ofHours(since(7)),
    month: ofHours(month ? [month] : []),
  }
  return {
    availability,
    budgetLeft: budgetLeft(availability.month, 1 - targetPercent / 100),
    latency: {
      day: latencyOf(since(1)),
      week: latencyOf(since(7)),
      month: latencyOf(month ? [month] : []),
    },
    looks: pastLooks,
    hours: hours.map(toHour),
    incidents: incidents.map((row) => ({
      startedAtMs: number(row, 'started_at_ms'),
      endedAtMs: number(row, 'ended_at_ms'),
      report: row['report'],
    })),
  }
}

/** A minute with several looks was up when all that know say so. */
function ofLooks(looks: readonly PastLook[]): Availability {
  const known = looks.filter(({ isUp }) => isUp !== null)
  const minutes = [...Map.groupBy(known, ({ atMs }) => Math.floor(atMs / minuteMs)).values()]
  return { knownMinutes: minutes.length, upMinutes: minutes.filter((minute) => minute.every(({ isUp }) => isUp)).length }
}

const ofHours = (rows: Rows): Availability => ({
  knownMinutes: rows.reduce((sum, row) => sum + number(row, 'known_minutes'), 0),
  upMinutes: rows.reduce((sum, row) => sum + number(row, 'up_minutes'), 0),
})

const latencyOf = (rows: Rows) => toLatency(mergeHistograms(...rows.map((row) => histogram(row, 'latency'))))

const toLook = (row: Row): PastLook => ({
  atMs: number(row, 'at_ms'),
  isUp: row['is_up'] as boolean | null,
  status: maybe(row, 'status'),
  connectMs: maybe(row, 'connect_ms'),
  queryMs: maybe(row, 'query_ms'),
  lockWaitMs: maybe(row, 'lock_wait_ms'),
  calls: number(row, 'calls'),
  failed: number(row, 'failed'),
  connectionsPercent: maybe(row, 'connections_percent'),
  parked: maybe(row, 'parked'),
  collectorLagS: maybe(row, 'collector_lag_s'),
  breakerOpenS: maybe(row, 'breaker_open_s'),
  databaseBytes: maybe(row, 'database_bytes'),
  xidAge: maybe(row, 'xid_age'),
})

const toHour = (row: Row): PastHour => ({
  atMs: number(row, 'at_ms'),
  knownMinutes: number(row, 'known_minutes'),
  upMinutes: number(row, 'up_minutes'),
  breakerOpenMinutes: number(row, 'breaker_open_minutes'),
  worstStatus: maybe(row, 'worst_status'),
  calls: number(row, 'calls'),
  failed: number(row, 'failed'),
  latency: toLatency(histogram(row, 'latency')),
  connectLatency: toLatency(histogram(row, 'connect_latency')),
  lockWaitMs: maybe(row, 'lock_wait_ms'),
  connectionsPercent: maybe(row, 'connections_percent'),
  parked: maybe(row, 'parked'),
  collectorLagS: maybe(row, 'collector_lag_s'),
  databaseBytes: maybe(row, 'database_bytes'),
  xidAge: maybe(row, 'xid_age'),
})

/** bigint comes as text. */
const number = (row: Row, column: string) => Number(row[column])
const maybe = (row: Row, column: string) => (row[column] === null ? null : number(row, column))
const histogram = (row: Row, column: string): Histogram => fromCounts((row[column] ?? []) as readonly number[])
