// A status view with everything on it: an outage of four minutes that is over, a lock that holds a table now.

import type { Look, StatusView } from '../../cli/local/status-page/status-view.ts'
import type { Check } from '../../shared/health/check.ts'
import type { HealthReport } from '../../shared/health/report.ts'

export const nowMs = Date.parse('2026-11-21T12:00:30Z')
const minuteMs = 60_000

const check = (id: string, fields: Partial<Check> = {}): Check => ({
  id,
  severity: 'ok',
  value: null,
  message: `${id} is well.`,
  hold: { bad: 1, of: 1 },
  isClear: true,
  ...fields,
})

export const checks: readonly Check[] = [
  check('lock-wait', {
    severity: 'critical',
    value: 48_000,
    unit: 'ms',
    limits: { warning: 1_000, critical: 30_000 },
    isClear: false,
    message: 'Writes to trades wait for a lock since 48 s; session 4711 (psql) holds it, idle in transaction.',
    action: 'End that session, or let it commit. Nothing is lost: batches are parked.',
    evidence: [
      '4711 psql  idle in transaction since 2 min: lock table trades',
      '  4720 tokay  waits 48 s for RowExclusiveLock',
      'select pg_terminate_backend(4711);',
    ],
  }),
  check('parked', {
    severity: 'warning',
    value: 12,
    unit: 'count',
    message: '12 batches wait to be written.',
    action: 'None while the lock is held.',
  }),
  check('error-rate', {
    severity: 'critical',
    inhibitedBy: 'lock-wait',
    value: 14.2,
    unit: '%',
    limits: { critical: 10 },
    message: '14.2 % of operations failed.',
  }),
  check('connect', { value: 3.1, unit: 'ms', message: 'A connection is made in 3.1 ms.' }),
  check('simple-query', { value: 6.4, unit: 'ms', limits: { warning: 100 }, message: 'The vitals took 6.4 ms.' }),
  check('statements', {
    severity: 'skipped',
    message: 'pg_stat_statements is not installed.',
    action: 'create extension pg_stat_statements',
  }),
]

export const report = (fields: Partial<HealthReport> = {}): HealthReport => ({
  status: 'CRITICAL',
  message: 'Writes to trades wait for a lock; everything else is written.',
  checkedAt: '2026-11-21T12:00:02.000Z',
  score: 62,
  metrics: {
    circuit_breaker_state: 'CLOSED',
    query_performance_ms: 7.9,
    query_p95_ms: 41.25,
    connect_ms: 3.1,
    lock_wait_ms: 48_000,
    availability: 0.9333,
    availability_30d: 0.9991,
    error_rate: 0.142,
    success_rate: 0.97,
    lock_retry_rate: 0.02,
    batch_fill: 0.8,
    connections_used: 9,
    connections_usable: 97,
    parked_batches: 12,
    parked_for_s: 48,
    database_bytes: 1_234_567_890,
  },
  resilience: {
    status: 'critical',
    status_text: 'Critical',
    success_rate: '97.0%',
    metrics: { total_queries: 1000, failed_queries: 30, retries: 12, reconnections: 3, transaction_rollbacks: 4, pool_resets: 0 },
    pool_size: 4,
  },
  recommendations: [],
  checks,
  targets: [
    { name: 'availability', target: '>= 99.5 %', measured: '99.91 %', isMet: true },
    { name: 'lock wait', target: '< 1000 ms', measured: '48000 ms', isMet: false },
  ],
  serverInfo: null,
  ...fields,
})

const looks: readonly Look[] = Array.from({ length: 720 }, (_, i) => {
  const atMs = nowMs - (720 - i) * 5_000
  const isAway = i >= 300 && i < 348
  return {
    atMs,
    isOpen: i < 60 ? null : isAway,
    parked: isAway ? Math.round((i - 300) / 2) : i >= 348 && i < 352 ? 12 : i > 710 ? 12 : 0,
    queryMs: isAway ? null : 6 + ((i * 37) % 11),
    lockWaitMs: isAway ? null : i > 710 ? (i - 710) * 5_000 : 0,
    connectionsUsed: isAway ? null : 8 + (i % 3),
  }
})

const collector = { fetched: 0, inserted: 12_345, updated: 678, unchanged: 90_123, rejected: 0, parked: 0, apiCalls: 0, doing: 'waiting' }

export const statusView = (fields: Partial<StatusView> = {}): StatusView => ({
  system: 'tokay-dev',
  place: 'simulator, Postgres at 127.0.0.1:5433 (embedded)',
  nowMs,
  startedAtMs: nowMs - 55 * minuteMs,
  report: report(),
  collectors: {
    dexes: { ...collector, everyMinutes: 60, lastSuccessAtMs: nowMs - 22 * minuteMs },
    'top-pools': { ...collector, everyMinutes: 5, lastSuccessAtMs: nowMs - 28_000 },
    'new-pools': { ...collector, everyMinutes: 5, lastSuccessAtMs: nowMs - 28_000, doing: 'fetching, 120 rows in 6 calls' },
    trades: { ...collector, everyMinutes: 5, lastSuccessAtMs: null, parked: 3_600, doing: 'partial: trades of solana' },
  },
  looks,
  minutes: Array.from({ length: 60 }, (_, i) => ({
    atMs: nowMs - (60 - i) * minuteMs,
    isUp: i < 5 ? null : i < 25 || i >= 29,
  })),
  circuitChanges: [
    { atMs: nowMs - 35 * minuteMs, kind: 'opened', reason: 'connection' },
    { atMs: nowMs - 31 * minuteMs, kind: 'closed', reason: null },
  ],
  alerts: [{ atMs: nowMs - 20_000, subject: '[CRITICAL] tokay-dev: lock wait (48 s) #a1f3' }],
  ...fields,
})
