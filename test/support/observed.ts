// Looks of the health check, made by hand: all is well but for what a test says.

import { parseSettings, type Settings } from '../../shared/config.ts'
import { assess, type AssessContext } from '../../shared/health/assess.ts'
import type { Assessment, Check } from '../../shared/health/check.ts'
import type { Availability, Operations, Recent } from '../../shared/health/memory/memory.ts'
import type { AppTables, DatabaseSeen, Observation, Structure, Vitals } from '../../shared/health/observation.ts'
import { newTally } from '../../shared/resilience/client-metrics.ts'
import type { OpenState } from '../../shared/resilience/circuit-breaker.ts'
import type { CollectorState } from '../../shared/state/claim.ts'

/** The minute at which the incident of 2025 began. */
export const lookedAtMs = Date.parse('2025-09-15T06:45:00Z')
export const minuteMs = 60_000

type Parts<Whole> = {
  readonly [Field in keyof Whole]?: Whole[Field] extends readonly unknown[] ? Whole[Field] : Partial<Whole[Field]> | Whole[Field]
}

const wellVitals: Vitals = {
  server: {
    version: 180_004,
    database: 'postgres',
    role: 'tokay',
    flavor: 'pg',
    nowMs: lookedAtMs,
    startedAtMs: lookedAtMs - 3 * 86_400_000,
    isInRecovery: false,
    isReadOnly: false,
    tls: { isOn: true, version: 'TLSv1.3' },
    seesOthers: true,
  },
  connections: {
    max: 100,
    reserved: 3,
    used: 7,
    databaseUsed: 5,
    databaseLimit: -1,
    roleUsed: 4,
    roleLimit: -1,
    states: { idle: 6, active: 1 },
    applications: { tokay: 4, psql: 3 },
  },
  activity: {
    lockWaiters: 0,
    oldestTransactionMs: 12,
    oldestQueryMs: 12,
    idleInTransaction: 0,
    idleInTransactionMs: null,
    aborted: 0,
    abortedMs: null,
    xminAge: 3,
  },
  blocked: [],
  blockedCount: 0,
  blockers: [],
  counters: {
    statsResetAtMs: null,
    commits: 1_000,
    rollbacks: 2,
    deadlocks: 0,
    conflicts: 0,
    tempBytes: 0,
    blocksHit: 90_000,
    blocksRead: 1_000,
    sessionsAbandoned: 0,
    sessionsFatal: 0,
    sessionsKilled: 0,
  },
  wraparound: { xidAge: 50_000_000, mxidAge: 1_000, freezeMaxAge: 200_000_000 },
  prepared: { count: 0, oldestMs: null },
  replicas: [],
  slots: [],
  replicaLagMs: null,
  settings: {
    fsync: 'on',
    full_page_writes: 'on',
    synchronous_commit: 'on',
    autovacuum: 'on',
    idle_in_transaction_session_timeout: '5min',
    default_transaction_isolation: 'read committed',
  },
  databaseBytes: 1024 ** 3,
  statementsIn: null,
  serverMs: 2,
}

/** Each part's fields over the well ones. */
export function vitals(parts: Parts<Vitals> = {}): Vitals {
  const merged = Object.entries(parts).map(([field, part]) => {
    const well = wellVitals[field as keyof Vitals]
    return [field, isPlain(part) && isPlain(well) ? { ...well, ...part } : part]
  })
  return { ...wellVitals, ...Object.fromEntries(merged) } as Vitals
}
const isPlain = (part: unknown): part is object => typeof part === 'object' && part !== null && !Array.isArray(part)

export const answering = (parts: Parts<Vitals> = {}, more: Partial<Extract<DatabaseSeen, { kind: 'answers' }>> = {}): DatabaseSeen => ({
  kind: 'answers',
  connectMs: 3,
  queryMs: 8,
  vitals: vitals(parts),
  clockSkewMs: 0,
  ...more,
})

export const away: DatabaseSeen = {
  kind: 'unreachable',
  failure: 'refused',
  message: 'connect ECONNREFUSED 127.0.0.1:5432',
  afterMs: 1,
}

export const openBreaker = (fields: Partial<OpenState> = {}): OpenState => ({
  state: 'open',
  epoch: 1,
  openedAtMs: lookedAtMs - 10_000,
  retryAtMs: lookedAtMs + 3_000,
  streak: 2,
  token: null,
  reason: 'connection',
  ...fields,
})

export const collectorState = (fields: Partial<CollectorState> = {}): CollectorState => ({
  nextDueAtMs: lookedAtMs + 4 * minuteMs,
  intervalFactor: 1,
  fetchFailures: 0,
  cooldownUntilMs: null,
  cursor: null,
  lastSuccessAtMs: lookedAtMs - minuteMs,
  lastOutcome: 'complete',
  lastRunId: 'run',
  ...fields,
})

export const structure = (fields: Partial<Structure> = {}): Structure => ({
  tables: [],
  vacuumOverdue: [],
  oldestXidTables: [],
  invalidIndexes: [],
  duplicateIndexes: [],
  unusedIndexes: [],
  foreignKeysWithoutIndex: [],
  sequentialScans: [],
  withoutPrimaryKey: [],
  statsAgeMs: 30 * 86_400_000,
  ...fields,
})

export const appTables = (fields: Partial<AppTables> = {}): AppTables => ({
  migrationsPending: [],
  quarantined: 0,
  openGaps: 0,
  dailyBytes: [],
  ...fields,
})

/** A look at everything, all of it well. */
export const observed = (fields: Partial<Observation> = {}): Observation => ({
  atMs: lookedAtMs,
  database: answering(),
  structure: structure(),
  sequences: [],
  statements: [],
  app: appTables(),
  breaker: undefined,
  lockedSinceMs: {},
  parked: 0,
  stateAnswers: true,
  collectors: { dexes: collectorState(), 'top-pools': collectorState(), 'new-pools': collectorState(), trades: collectorState() },
  budget: undefined,
  receivers: { confirmed: 1, pending: 0 },
  ...fields,
})

/** `calls` of which `failed`; the others succeeded. */
export const operations = (fields: Partial<Operations> = {}): Operations => {
  const { calls = 0, failed = 0, refused = 0 } = fields
  return { ...newTally(), attempts: calls - refused, contended: 0, ...fields, calls, failed, refused, succeeded: calls - failed - refused }
}

const always = (minutes: number): Availability => ({ knownMinutes: minutes, upMinutes: minutes })

/** An hour of an installation that has run for a month; `operations` are given by stretch. */
export function recently(fields: Partial<Omit<Recent, 'operations'>> & { operations?: Partial<Recent['operations']> } = {}): Recent {
  return {
    availability: { hour: always(60), day: always(1_440), week: always(10_080), month: always(43_200) },
    latency: { p50Ms: 20, p95Ms: 60, p99Ms: 90, count: 600 },
    batches: { count: 100, rows: 9_000, waitedMs: 5_000, sourceLimited: 100, sourceLimitedRows: 9_000 },
    counters: {
      commits: 2_000,
      rollbacks: 3,
      deadlocks: 0,
      conflicts: 0,
      tempBytes: 0,
      blocksHit: 90_000,
      blocksRead: 1_000,
      sessionsLost: 0,
    },
    minutes: Array.from({ length: 60 }, (_, i) => ({ atMs: lookedAtMs - (59 - i) * minuteMs, isUp: true })),
    parkedSinceMs: null,
    parkedHistory: [],
    wasRestarted: false,
    sinceLastLook: { operations: operations(), latency: {} },
    ...fields,
    operations: {
      fiveMinutes: operations({ calls: 50 }),
      halfHour: operations({ calls: 300 }),
      hour: operations({ calls: 600 }),
      sixHours: operations({ calls: 3_600 }),
      threeDays: operations({ calls: 43_200 }),
      ...fields.operations,
    },
  }
}

export const settings: Settings = parseSettings({})

export type Given = {
  readonly seen?: Partial<Observation>
  readonly recent?: Parameters<typeof recently>[0]
  readonly context?: Partial<AssessContext>
}

export const assessed = ({ seen, recent, context }: Given = {}): Assessment =>
  assess(observed(seen), recently(recent), { settings, ...context })

/** The check of this fingerprint; an error that lists what there is when there is none. */
export function checkOf({ checks }: Assessment, fingerprint: string): Check {
  const [id, subject] = [fingerprint.split(':')[0], fingerprint.includes(':') ? fingerprint.slice(fingerprint.indexOf(':') + 1) : undefined]
  const found = checks.find((check) => check.id === id && check.subject === subject)
  if (!found) throw new Error(`no check ${fingerprint}; there are ${checks.map((check) => `${check.id}:${check.subject ?? ''}`).join(' ')}`)
  return found
}

/** What decides the status, worst first, such as "critical connect". */
export const found = ({ checks }: Assessment) =>
  checks
    .filter(({ severity, inhibitedBy }) => inhibitedBy === undefined && (severity === 'warning' || severity === 'critical'))
    .map(({ severity, id, subject }) => `${severity} ${id}${subject === undefined ? '' : `:${subject}`}`)
