// Looks at an installation in which all is wrong that can be: between them each check is as bad as it gets. What explains what is of no matter here.

import { rankOf, type Severity } from '../../shared/health/check.ts'
import {
  answering,
  appTables,
  assessed,
  away,
  collectorState,
  type Given,
  lookedAtMs,
  minuteMs,
  openBreaker,
  operations,
  structure,
} from './observed.ts'

const dayMs = 86_400_000
const failing = operations({
  calls: 1_000,
  failed: 1_000,
  attempts: 3_000,
  contended: 3_000,
  reconnections: 1_000,
  rollbacks: 1_000,
  failures: { 'lock-timeout': 3_000 },
})

const everythingWrong: Given = {
  seen: {
    database: answering(
      {
        server: { isReadOnly: true, tls: { isOn: false, version: null } },
        connections: { used: 97 },
        activity: { oldestTransactionMs: dayMs, oldestQueryMs: dayMs, idleInTransactionMs: dayMs, abortedMs: dayMs, xminAge: 1e9 },
        blockedCount: 1,
        blocked: [
          { pid: 2, waitMs: dayMs, lockType: 'tuple', mode: 'ShareLock', relation: null, blockedBy: [1], application: null, query: null },
        ],
        wraparound: { xidAge: 2e9 },
        prepared: { count: 1, oldestMs: dayMs },
        replicas: [{ application: 'standby', state: 'streaming', lagMs: dayMs }],
        slots: [{ name: 'slot', isActive: false, walStatus: 'lost', retainedBytes: 1e12, xminAge: 1e9 }],
        settings: { fsync: 'off', 'neon.max_cluster_size': '1GB' },
        databaseBytes: 1e12,
      },
      { connectMs: 60_000, queryMs: 60_000, clockSkewMs: 60_000 },
    ),
    structure: structure({
      vacuumOverdue: [{ table: 't', deadRows: 1e9, threshold: 50, vacuumAgeMs: 30 * dayMs }],
      oldestXidTables: [{ table: 't', age: 2e9 }],
      invalidIndexes: ['i'],
      duplicateIndexes: [{ table: 't', indexes: ['i', 'j'], bytes: 1e9 }],
      unusedIndexes: [{ index: 'i', table: 't', bytes: 1e9 }],
      foreignKeysWithoutIndex: [{ constraint: 'c', table: 't', columns: ['a'] }],
      sequentialScans: [{ table: 't', scans: 1e6, rowsRead: 1e12, rows: 1e9 }],
      withoutPrimaryKey: ['t'],
    }),
    sequences: [{ sequence: 's', used: 1, lastValue: 2_147_483_647 }],
    statements: [{ id: '1', query: 'select 1', calls: 1_000, meanMs: 60_000, totalMs: 6e7, share: 1 }],
    app: appTables({
      migrationsPending: ['0003_health'],
      quarantined: 1,
      openGaps: 1,
      dailyBytes: Array.from({ length: 15 }, (_, n) => ({ day: `2025-09-${String(n + 1).padStart(2, '0')}`, bytes: 1e9 * n })),
    }),
    breaker: openBreaker(),
    lockedSinceMs: { trades: lookedAtMs - dayMs },
    parked: 5_000,
    refusals: { trades: { class: 'schema', message: 'no such column', sinceMs: lookedAtMs - dayMs } },
    collectors: { dexes: collectorState({ lastSuccessAtMs: lookedAtMs - 30 * dayMs, cooldownUntilMs: lookedAtMs + minuteMs }) },
    budget: {
      perMinute: 1,
      limitPerMinute: 100,
      tokens: 0,
      refilledAtMs: lookedAtMs,
      blockedUntilMs: 0,
      cleanSinceMs: lookedAtMs,
      month: '2025-09',
      monthCalls: 0,
    },
    receivers: { confirmed: 0, pending: 1 },
  },
  recent: {
    availability: {
      hour: { knownMinutes: 60, upMinutes: 0 },
      day: { knownMinutes: 1_440, upMinutes: 0 },
      week: { knownMinutes: 10_080, upMinutes: 0 },
      month: { knownMinutes: 43_200, upMinutes: 0 },
    },
    minutes: Array.from({ length: 60 }, (_, n) => ({ atMs: lookedAtMs - (59 - n) * minuteMs, isUp: false })),
    operations: { fiveMinutes: failing, halfHour: failing, hour: failing, sixHours: failing, threeDays: failing },
    latency: { p50Ms: 60_000, p95Ms: 60_000, p99Ms: 60_000, count: 100 },
    batches: { count: 100, rows: 100, waitedMs: 0, sourceLimited: 0, sourceLimitedRows: 0 },
    counters: {
      commits: 1_000,
      rollbacks: 1_000,
      deadlocks: 100,
      conflicts: 100,
      tempBytes: 1e12,
      blocksHit: 0,
      blocksRead: 1e9,
      sessionsLost: 100,
    },
    parkedSinceMs: lookedAtMs - dayMs,
    wasRestarted: true,
  },
}

const looks: readonly Given[] = [
  {},
  everythingWrong,
  { seen: { database: away, parked: undefined } },
  { seen: { stateAnswers: false } },
  { seen: { atMs: lookedAtMs + 366 * dayMs, database: answering({ server: { version: 130_000, seesOthers: false } }) } },
]

/** Each check's id, with the worst that it has been in any of the looks; `skipped` does not count. */
export function worstByCheck(): ReadonlyMap<string, Severity> {
  const worst = new Map<string, Severity>()
  for (const { id, severity } of looks.flatMap((given) => assessed(given).checks)) {
    const known = worst.get(id) ?? 'ok'
    worst.set(id, severity !== 'skipped' && rankOf(severity) > rankOf(known) ? severity : known)
  }
  return worst
}
