// What a health check answers, in the shapes that people and machines ask for: one report, `application/health+json` of it, a table of it. Pure.

import type { Settings } from '../config.ts'
import { type Assessment, type Check, fingerprintOf, rankOf, type Severity, type Status, type Target } from './check.ts'
import { batchFill, errorShare, madeIn, upShare } from './checks/client.ts'
import { circuitWord, type CircuitWord } from './checks/circuit.ts'
import { rounded } from './checks/judge.ts'
import type { Recent } from './memory/memory.ts'
import { type Flavor, type Observation, vitalsOf } from './observation.ts'
import { platformNotes, pooledNote } from './platform.ts'
import { lockWaitMs } from './targets.ts'

export type ReportStatus = 'HEALTHY' | 'DEGRADED' | 'CRITICAL' | 'UNKNOWN'

export type ReportedCheck = Check & {
  /** Since when it is not ok, as far as it is known. */
  readonly since?: string
}

/** Measured, or null: nothing here is made up. Rates are 0..1, over the stretch that the name says, else now. */
export type ReportMetrics = {
  readonly circuit_breaker_state: CircuitWord | null
  /** Median of the clients' successful calls in the last hour; without any, the round trip of this look. */
  readonly query_performance_ms: number | null
  readonly query_p95_ms: number | null
  readonly connect_ms: number | null
  /** The longest wait: of a session now, or of our own writes in the last 5 minutes. */
  readonly lock_wait_ms: number | null
  readonly availability: number | null
  readonly availability_30d: number | null
  readonly error_rate: number | null
  readonly success_rate: number | null
  readonly lock_retry_rate: number | null
  readonly batch_fill: number | null
  readonly connections_used: number | null
  readonly connections_usable: number | null
  readonly parked_batches: number | null
  readonly parked_for_s: number | null
  readonly database_bytes: number | null
}

/** What the clients of all instances did in the last hour. */
export type Resilience = {
  readonly status: Status
  readonly status_text: 'Healthy' | 'Degraded' | 'Critical' | 'Unknown'
  /** Such as "99.8%"; null when there was nothing to count. */
  readonly success_rate: string | null
  readonly metrics: {
    readonly total_queries: number
    readonly failed_queries: number
    readonly retries: number
    readonly reconnections: number
    readonly transaction_rollbacks: number
    readonly pool_resets: number
  }
  readonly pool_size: number
}

export type Recommendation = { readonly severity: Severity; readonly message: string; readonly action: string }

export type ServerInfo = {
  /** Such as "18.4". */
  readonly version: string
  readonly database: string
  readonly role: string
  readonly flavor: Flavor
  readonly started_at: string
  readonly uptime_s: number
  readonly notes: readonly string[]
}

export type HealthReport = {
  readonly status: ReportStatus
  readonly message: string
  readonly checkedAt: string
  /** 0..100. */
  readonly score: number
  readonly metrics: ReportMetrics
  readonly resilience: Resilience
  readonly recommendations: readonly Recommendation[]
  /** Worst first. */
  readonly checks: readonly ReportedCheck[]
  readonly targets: readonly Target[]
  /** Null while the database does not answer. */
  readonly serverInfo: ServerInfo | null
}

export type ReportContext = {
  readonly observation: Observation
  readonly recent: Recent
  readonly settings: Settings
  /** Of this process: 1 on Lambda. Default: database.poolMax. */
  readonly poolSize?: number
  /** By fingerprint: since when, as the alerts remember it. */
  readonly sinceMs?: Readonly<Record<string, number>>
}

const statusWords = { healthy: 'Healthy', degraded: 'Degraded', critical: 'Critical', unknown: 'Unknown' } as const
const reportStatus = { healthy: 'HEALTHY', degraded: 'DEGRADED', critical: 'CRITICAL', unknown: 'UNKNOWN' } as const

export function reportOf(assessment: Assessment, context: ReportContext): HealthReport {
  const { observation, sinceMs = {} } = context
  const { status, message, score, checks, targets } = assessment
  return {
    status: reportStatus[status],
    message,
    checkedAt: isoOf(observation.atMs),
    score,
    metrics: metricsOf(context),
    resilience: resilienceOf(status, context),
    recommendations: recommendationsOf(checks),
    checks: checks.map((check) => {
      const since = sinceMs[fingerprintOf(check)]
      return since === undefined ? check : { ...check, since: isoOf(since) }
    }),
    targets,
    serverInfo: serverInfoOf(observation),
  }
}

const isoOf = (atMs: number) => new Date(atMs).toISOString()
const orNull = (value: number | null | undefined) => (value === null || value === undefined ? null : rounded(value))
/** Of 0..1: four digits, and never 1 for what is not all of it. */
const shareOrNull = (share: number | null) => (share === null ? null : Math.floor(share * 10_000 + 1e-6) / 10_000)

function metricsOf({ observation, recent, settings }: ReportContext): ReportMetrics {
  const { database, atMs, parked } = observation
  const vitals = vitalsOf(observation)
  const answer = database.kind === 'answers' ? database : null
  const { fiveMinutes, hour } = recent.operations
  const failed = errorShare(hour)
  const connections = vitals?.connections
  return {
    circuit_breaker_state: observation.stateAnswers ? circuitWord(observation.breaker, atMs) : null,
    query_performance_ms: orNull(recent.latency?.p50Ms ?? answer?.queryMs),
    query_p95_ms: orNull(recent.latency?.p95Ms),
    connect_ms: orNull(answer?.connectMs),
    lock_wait_ms: orNull(lockWaitMs({ observation, recent, settings })),
    availability: shareOrNull(upShare(recent.availability.hour)),
    availability_30d: shareOrNull(upShare(recent.availability.month)),
    error_rate: shareOrNull(errorShare(fiveMinutes)),
    success_rate: shareOrNull(failed === null ? null : 1 - failed),
    lock_retry_rate: shareOrNull(hour.attempts === 0 ? null : Math.min(1, hour.contended / hour.attempts)),
    batch_fill: shareOrNull(batchFill(recent, { settings })),
    connections_used: connections?.used ?? null,
    connections_usable: connections ? connections.max - connections.reserved : null,
    parked_batches: parked ?? null,
    parked_for_s: parked && recent.parkedSinceMs !== null ? Math.max(0, Math.round((atMs - recent.parkedSinceMs) / 1_000)) : null,
    database_bytes: vitals?.databaseBytes ?? null,
  }
}

function resilienceOf(status: Status, { recent, settings, poolSize = settings.database.poolMax }: ReportContext): Resilience {
  const { hour } = recent.operations
  const failed = errorShare(hour)
  return {
    status,
    status_text: statusWords[status],
    success_rate: failed === null ? null : `${(Math.floor((1 - failed) * 1_000 + 1e-6) / 10).toFixed(1)}%`,
    metrics: {
      total_queries: madeIn(hour),
      failed_queries: hour.failed,
      retries: hour.retries,
      reconnections: hour.reconnections,
      transaction_rollbacks: hour.rollbacks,
      pool_resets: hour.poolResets,
    },
    pool_size: poolSize,
  }
}

/** What to do, worst first; what another one explains needs nothing of its own. */
function recommendationsOf(checks: readonly Check[]): readonly Recommendation[] {
  const found = checks.filter(({ severity, inhibitedBy }) => inhibitedBy === undefined && rankOf(severity) >= rankOf('info'))
  if (found.length === 0) return [{ severity: 'info', message: 'All systems operating normally', action: 'No action required' }]
  return found.map(({ severity, message, action = '' }) => ({ severity, message, action }))
}

function serverInfoOf(observation: Observation): ServerInfo | null {
  const vitals = vitalsOf(observation)
  if (vitals === null) return null
  const { version, database, role, flavor, startedAtMs, nowMs } = vitals.server
  return {
    version: `${Math.floor(version / 10_000)}.${version % 10_000}`,
    database,
    role,
    flavor,
    started_at: isoOf(startedAtMs),
    uptime_s: Math.max(0, Math.round((nowMs - startedAtMs) / 1_000)),
    notes: [...(observation.database.kind === 'answers' && observation.database.pooled ? [pooledNote] : []), ...platformNotes[flavor]],
  }
}
