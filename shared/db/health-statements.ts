// The statements that write what the health check saw. Looks are rows that never change; an hour is summed up again from its looks whenever one
// of them is written, in the same transaction: so it is right after a replay, and after the same look was written twice.

import type { IncidentRow, SampleRow } from '../model.ts'
import { bucketMs, lastBucket, toCounts } from '../resilience/histogram.ts'
import { inChunks, iso, unnest, type Columns } from './columns.ts'
import type { Statement } from './database.ts'

const sampleColumns: Columns<SampleRow> = {
  at: ['timestamptz', (r) => iso(r.atMs)],
  is_up: ['boolean', (r) => r.isUp],
  status: ['smallint', (r) => r.status],
  connect_ms: ['real', (r) => r.connectMs],
  query_ms: ['real', (r) => r.queryMs],
  lock_wait_ms: ['real', (r) => r.lockWaitMs],
  calls: ['int', (r) => r.calls],
  failed: ['int', (r) => r.failed],
  connections_percent: ['real', (r) => r.connectionsPercent],
  parked: ['int', (r) => r.parked],
  collector_lag_s: ['int', (r) => r.collectorLagS],
  breaker_open_s: ['int', (r) => r.breakerOpenS],
  database_bytes: ['bigint', (r) => r.databaseBytes],
  xid_age: ['bigint', (r) => r.xidAge],
  // an array of arrays would be taken apart by unnest
  latency: ['text', (r) => `{${toCounts(r.latency).join()}}`],
}

const sampleNames = Object.keys(sampleColumns)

/** Idempotent by at. */
const insertSamples = `
insert into health_samples (${sampleNames.join(', ')})
select ${sampleNames.map((name) => (name === 'latency' ? 'n.latency::int[]' : `n.${name}`)).join(', ')}
from ${unnest(sampleColumns)}
order by n.at
on conflict do nothing`

/** Two at once would each sum up without the other's looks. A statement of its own, before the one that sums up: only that one then sees them. */
const lockHours: Statement = {
  name: 'lock_health_hours',
  text: `select pg_advisory_xact_lock('health_hours'::regclass::oid::bigint)`,
  values: [],
}

const keptForHours = 48
const hoursKeptForDays = 400
/** At once, so that a long backlog is deleted piece by piece. A look a minute is added, so it never grows. */
const maxDeleted = 1_000

const inUtc = (unit: string, at: string) => `date_bin('1 ${unit}', ${at}, timestamptz '2000-01-01 00:00+00')`

/**
 * Sums up the hours of these looks, and deletes what is too old. A minute with several looks was up when all that know say so.
 * Idempotent. Of an hour whose looks are partly gone again the fuller sum stays.
 */
const rollUpHours = (hours: readonly (string | null)[]): Statement => ({
  name: 'roll_up_health_hours',
  text: `
with looks as (
  select n.hour, s.*
  from unnest($1::timestamptz[]) as n(hour)
  join health_samples s on s.at >= n.hour and s.at < n.hour + interval '1 hour'
),
minutes as (
  select hour, bool_and(is_up) as is_up, max(breaker_open_s) as breaker_open_s
  from looks
  group by hour, ${inUtc('minute', 'at')}
),
availability as (
  select hour, count(is_up) as known, count(*) filter (where is_up) as up, count(*) filter (where breaker_open_s > 0) as breaker_open
  from minutes
  group by hour
),
counted as (
  select hour, bucket - 1 as bucket, n as latency, 0 as connect_latency from looks, unnest(latency) with ordinality as u(n, bucket)
  union all
  select hour, least(${lastBucket}, ceil(4 * log(2.0, (greatest(connect_ms, ${bucketMs(0)}) / ${bucketMs(0)})::numeric)))::bigint, 0, 1
  from looks
  where connect_ms is not null
),
buckets as (
  select hour, bucket, sum(latency) as latency, sum(connect_latency) as connect_latency from counted group by hour, bucket
),
histograms as (
  select hour, array_agg(latency order by bucket)::int[] as latency, array_agg(connect_latency order by bucket)::int[] as connect_latency
  from buckets
  group by hour
),
sums as (
  select hour, max(status) as worst_status, sum(calls) as calls, sum(failed) as failed, max(lock_wait_ms) as lock_wait_ms,
    max(connections_percent) as connections_percent, max(parked) as parked, max(collector_lag_s) as collector_lag_s, max(xid_age) as xid_age,
    (array_agg(database_bytes order by at desc) filter (where database_bytes is not null))[1] as database_bytes
  from looks
  group by hour
),
old_looks as (
  delete from health_samples where at in (
    select at from health_samples
    where at < now() - interval '${keptForHours} hours' and stored_at < now() - interval '${keptForHours} hours'
    order by at limit ${maxDeleted} for update skip locked)
),
old_hours as (
  delete from health_hours where hour in (
    select hour from health_hours where hour < now() - interval '${hoursKeptForDays} days' order by hour limit ${maxDeleted} for update skip locked)
)
insert into health_hours as h (hour, known_minutes, up_minutes, breaker_open_minutes, worst_status, calls, failed, latency, connect_latency,
  lock_wait_ms, connections_percent, parked, collector_lag_s, xid_age, database_bytes)
select hour, known, up, breaker_open, worst_status, calls, failed, latency, connect_latency,
  lock_wait_ms, connections_percent, parked, collector_lag_s, xid_age, database_bytes
from sums join availability using (hour) join histograms using (hour)
where hour >= now() - interval '${hoursKeptForDays} days'
order by hour
on conflict (hour) do update set
  known_minutes = excluded.known_minutes,
  up_minutes = excluded.up_minutes,
  breaker_open_minutes = excluded.breaker_open_minutes,
  worst_status = excluded.worst_status,
  calls = excluded.calls,
  failed = excluded.failed,
  latency = excluded.latency,
  connect_latency = excluded.connect_latency,
  lock_wait_ms = excluded.lock_wait_ms,
  connections_percent = excluded.connections_percent,
  parked = excluded.parked,
  collector_lag_s = excluded.collector_lag_s,
  xid_age = excluded.xid_age,
  database_bytes = excluded.database_bytes
  where excluded.known_minutes >= h.known_minutes`,
  values: [hours],
})

const hourMs = 3_600_000

/** Idempotent by the looks' times. */
export function writeSamples(samples: readonly SampleRow[]): readonly Statement[] {
  if (samples.length === 0) return []
  const hours = [...new Set(samples.map((r) => iso(Math.floor(r.atMs / hourMs) * hourMs)))]
  return [...inChunks('insert_health_samples', insertSamples, sampleColumns, samples), lockHours, rollUpHours(hours)]
}

const incidentColumns: Columns<IncidentRow> = {
  started_at: ['timestamptz', (r) => iso(r.startedAtMs)],
  ended_at: ['timestamptz', (r) => iso(r.endedAtMs)],
  report: ['jsonb', (r) => r.report],
}

/** Idempotent by started_at; the report with the later end stays. */
const upsertIncidents = `
insert into incidents as i (started_at, ended_at, report)
select n.started_at, n.ended_at, n.report
from ${unnest(incidentColumns)}
order by n.started_at
on conflict (started_at) do update set ended_at = excluded.ended_at, report = excluded.report
  where excluded.ended_at > i.ended_at`

export const writeIncidents = (incidents: readonly IncidentRow[]): readonly Statement[] =>
  inChunks('upsert_incidents', upsertIncidents, incidentColumns, incidents)
