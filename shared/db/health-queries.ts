// What is asked of the health check's history.

import type { Statement } from './database.ts'

const epochMs = (at: string) => `(extract(epoch from ${at}) * 1000)::float8`
const daysMs = (days: number) => days * 24 * 3_600_000

/** The looks of the last hour, oldest first. */
const readLooks = (nowMs: number): Statement => ({
  name: 'read_health_looks',
  text: `
select ${epochMs('at')} as at_ms, is_up, status, connect_ms, query_ms, lock_wait_ms, calls, failed, connections_percent, parked, collector_lag_s,
  breaker_open_s, database_bytes, xid_age
from health_samples
where at > $1::timestamptz and at <= $2::timestamptz
order by health_samples.at`,
  values: [new Date(nowMs - 3_600_000).toISOString(), new Date(nowMs).toISOString()],
})

/** The hours of the last week, oldest first. */
const readHours = (nowMs: number): Statement => ({
  name: 'read_health_hours',
  text: `
select ${epochMs('hour')} as at_ms, known_minutes, up_minutes, breaker_open_minutes, worst_status, calls, failed,
  to_json(latency) as latency, to_json(connect_latency) as connect_latency,
  lock_wait_ms, connections_percent, parked, collector_lag_s, database_bytes, xid_age
from health_hours
where hour > $1::timestamptz and hour <= $2::timestamptz
order by hour`,
  values: [new Date(nowMs - daysMs(7)).toISOString(), new Date(nowMs).toISOString()],
})

/** One row: the last 30 days in sum. */
const readMonth = (nowMs: number): Statement => ({
  name: 'read_health_month',
  text: `
with month as (
  select known_minutes, up_minutes, latency from health_hours where hour > $1::timestamptz and hour <= $2::timestamptz
),
buckets as (
  select bucket, sum(n) as total from month, unnest(latency) with ordinality as u(n, bucket) group by bucket
)
select coalesce(sum(known_minutes), 0) as known_minutes, coalesce(sum(up_minutes), 0) as up_minutes,
  (select json_agg(total order by bucket) from buckets) as latency
from month`,
  values: [new Date(nowMs - daysMs(30)).toISOString(), new Date(nowMs).toISOString()],
})

/** The last twenty outages, newest first. */
const readIncidents: Statement = {
  name: 'read_incidents',
  text: `
select ${epochMs('started_at')} as started_at_ms, ${epochMs('ended_at')} as ended_at_ms, report
from incidents
order by started_at desc
limit 20`,
  values: [],
}

export const historyStatements = (nowMs: number): readonly Statement[] => [
  readLooks(nowMs),
  readHours(nowMs),
  readMonth(nowMs),
  readIncidents,
]
