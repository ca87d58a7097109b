import { describe, expect, it } from 'vitest'
import type { Severity } from '../../shared/health/check.ts'
import { indexFor } from '../../shared/health/checks/structure.ts'
import { bytesOf } from '../../shared/health/checks/storage.ts'
import { parseSettings } from '../../shared/config.ts'
import {
  answering,
  appTables,
  assessed,
  checkOf,
  collectorState,
  type Given,
  lookedAtMs,
  minuteMs,
  observed,
  openBreaker,
  operations,
  recently,
  structure,
} from '../support/observed.ts'

const dayMs = 86_400_000
const gb = 1024 ** 3

/** [severity, whether an alert may end there] */
type Expected = readonly [Severity, boolean]
const clear: Expected = ['ok', true]
/** Below the bound, but not by enough to call it over. */
const near: Expected = ['ok', false]
const warning: Expected = ['warning', false]
const critical: Expected = ['critical', false]

const verdict = (given: Given, fingerprint: string): Expected => {
  const { severity, isClear } = checkOf(assessed(given), fingerprint)
  return [severity, isClear]
}

const ofVitals = (parts: Parameters<typeof answering>[0]): Given => ({ seen: { database: answering(parts) } })
const inHour = (fields: Parameters<typeof operations>[0], fiveMinutes = fields): Given => ({
  recent: { operations: { hour: operations(fields), fiveMinutes: operations(fiveMinutes) } },
})

describe('the thresholds, each with its last good and its first bad value', () => {
  it.each<[string, string, (value: number) => Given, readonly (readonly [number, Expected])[]]>([
    [
      'lock wait over 1000 ms',
      'lock-wait',
      (waitMs) =>
        ofVitals({
          blockedCount: 1,
          blocked: [
            { pid: 2, waitMs, lockType: 'tuple', mode: 'ShareLock', relation: null, blockedBy: [1], application: null, query: null },
          ],
        }),
      [
        [800, clear],
        [801, near],
        [1_000, near],
        [1_001, warning],
        [30_000, warning],
        [30_001, critical],
      ],
    ],
    [
      'query over 500 ms',
      'query-latency',
      (p95Ms) => ({ recent: { latency: { p50Ms: 9, p95Ms, p99Ms: p95Ms, count: 20 } } }),
      [
        [400, clear],
        [500, near],
        [501, warning],
      ],
    ],
    [
      'simple query over 100 ms',
      'simple-query',
      (queryMs) => ({ seen: { database: answering({}, { queryMs }) } }),
      [
        [80, clear],
        [100, near],
        [101, warning],
      ],
    ],
    [
      'connecting over 500 ms, 2 s',
      'connect-latency',
      (connectMs) => ({ seen: { database: answering({}, { connectMs }) } }),
      [
        [400, clear],
        [500, near],
        [501, warning],
        [2_001, critical],
      ],
    ],
    [
      'error rate over 10 % of at least 3 errors',
      'error-rate',
      (failed) => ({ recent: { operations: { fiveMinutes: operations({ calls: 100, failed }) } } }),
      [
        [8, clear],
        [10, near],
        [11, critical],
      ],
    ],
    [
      'success rate under 95 %',
      'success-rate',
      (failed) => inHour({ calls: 1_000, failed }),
      [
        [40, clear],
        [50, near],
        [51, critical],
      ],
    ],
    [
      'availability under 95 %',
      'availability',
      (downMinutes) => ({
        recent: {
          availability: { ...recently().availability, hour: { knownMinutes: 100, upMinutes: 100 - downMinutes } },
          minutes: [{ atMs: lookedAtMs, isUp: false }],
        },
      }),
      [
        [4, clear],
        [5, near],
        [6, critical],
      ],
    ],
    [
      'lock retries over 5 %, 10 %',
      'lock-retry-rate',
      (contended) => inHour({ calls: 1_000, attempts: 1_000, contended }),
      [
        [40, clear],
        [50, near],
        [51, warning],
        [101, critical],
      ],
    ],
    [
      'more than 10 reconnections an hour',
      'reconnections',
      (reconnections) => inHour({ calls: 100, reconnections }),
      [
        [8, clear],
        [10, near],
        [11, warning],
      ],
    ],
    [
      'more than 20 rollbacks an hour',
      'rollbacks',
      (rollbacks) => inHour({ calls: 100, rollbacks }),
      [
        [16, clear],
        [20, near],
        [21, warning],
      ],
    ],
    [
      'batches under 50 % of 1,000 rows, where the source had more to give',
      'batch-efficiency',
      (rows) => ({ recent: { batches: { count: 40, rows: 20 * rows + 100, waitedMs: 0, sourceLimited: 20, sourceLimitedRows: 100 } } }),
      [
        [625, clear],
        [500, near],
        [499, warning],
      ],
    ],
    [
      'connections over 80 %, 90 %',
      'connections',
      (used) => ofVitals({ connections: { max: 1_003, reserved: 3, used } }),
      [
        [640, clear],
        [800, near],
        [801, warning],
        [901, critical],
      ],
    ],
    [
      'fewer than 3 free connections, whatever the percentage',
      'connections',
      (used) => ofVitals({ connections: { max: 13, reserved: 3, used } }),
      [
        [6, clear],
        [7, near],
        [8, critical],
      ],
    ],
    [
      "the role's own limit",
      'connections',
      (roleUsed) => ofVitals({ connections: { roleUsed, roleLimit: 20 } }),
      [
        [12, clear],
        [17, warning],
        [19, critical],
      ],
    ],
    [
      'idle in a transaction for 60 s, 5 min',
      'idle-transaction',
      (idleInTransactionMs) => ofVitals({ activity: { idleInTransactionMs } }),
      [
        [48_000, clear],
        [60_000, near],
        [60_001, warning],
        [300_001, critical],
      ],
    ],
    [
      'deadlocks in an hour',
      'deadlocks',
      (deadlocks) => ({ recent: { counters: { ...recently().counters, deadlocks } as never } }),
      [
        [0, clear],
        [1, warning],
        [10, critical],
      ],
    ],
    [
      'transaction numbers',
      'wraparound',
      (xidAge) => ofVitals({ wraparound: { xidAge } }),
      [
        [190e6, clear],
        [241e6, warning],
        [1_001e6, critical],
      ],
    ],
    [
      'sequences over 75 %, 90 %',
      'sequences:tokay.runs_id_seq',
      (percent) => ({ seen: { sequences: [{ sequence: 'tokay.runs_id_seq', used: percent / 100, lastValue: 5 }] } }),
      [
        [60, clear],
        [75, near],
        [76, warning],
        [91, critical],
      ],
    ],
    [
      'a collector that is 2, 5 intervals late',
      'freshness:trades',
      (minutes) => ({ seen: { collectors: { trades: collectorState({ lastSuccessAtMs: lookedAtMs - minutes * minuteMs }) } } }),
      [
        [8, clear],
        [10, near],
        [11, warning],
        [26, critical],
      ],
    ],
    [
      'the same while its interval is stretched fourfold',
      'freshness:trades',
      (minutes) => ({
        seen: { collectors: { trades: collectorState({ intervalFactor: 4, lastSuccessAtMs: lookedAtMs - minutes * minuteMs }) } },
      }),
      [
        [40, near],
        [41, warning],
        [101, critical],
      ],
    ],
    [
      'the clocks',
      'clock-skew',
      (clockSkewMs) => ({ seen: { database: answering({}, { clockSkewMs: -clockSkewMs }) } }),
      [
        [1_600, clear],
        [2_001, warning],
        [5_001, critical],
      ],
    ],
    [
      'a database of 10 GB',
      'database-size',
      (percent) => ofVitals({ databaseBytes: (percent / 100) * 10 * gb, settings: { 'neon.max_cluster_size': '10GB' } }),
      [
        [64, clear],
        [80, near],
        [81, warning],
        [93, critical],
      ],
    ],
  ])('%s (%s)', (_, fingerprint, given, values) => {
    expect(values.map(([value]) => [value, verdict(given(value), fingerprint)])).toEqual(values)
  })
})

describe('the circuit', () => {
  const at = (openForMs: number, fields = {}) =>
    checkOf(assessed({ seen: { breaker: openBreaker({ openedAtMs: lookedAtMs - openForMs, ...fields }) } }), 'circuit')

  it('is critical from the first moment, and from a minute on says that it does not recover by itself', () => {
    expect(at(1_000)).toMatchObject({ severity: 'critical', value: 'OPEN', hold: { bad: 1, of: 1 } })
    expect(at(60_000).message).toBe('Writes fail: the circuit breaker is open for 60 s (connection).')
    expect(at(60_001, { streak: 7 }).message).toBe(
      'Writes fail: the circuit breaker is open for 60 s (connection), and it does not recover by itself: 6 probes failed.',
    )
    expect(at(1_000).action).toMatch(/^See that the server runs .* Nothing is lost/)
  })

  it('is half-open while somebody probes, and what an operator says while that lasts', () => {
    expect(at(1_000, { token: 'a' }).value).toBe('HALF_OPEN')
    expect(at(1_000, { token: 'a', retryAtMs: lookedAtMs }).value).toBe('OPEN')
    const override = { forced: 'closed' as const, untilMs: lookedAtMs + 1 }
    expect(at(1_000, { override })).toMatchObject({ severity: 'warning', value: 'CLOSED' })
    expect(at(1_000, { override: { ...override, untilMs: lookedAtMs } })).toMatchObject({ severity: 'critical', value: 'OPEN' })
  })
})

describe('what is parked', () => {
  const parked = (count: number, minutes: number, history: readonly number[] = []) =>
    checkOf(
      assessed({
        seen: { parked: count },
        recent: {
          parkedSinceMs: lookedAtMs - minutes * minuteMs,
          parkedHistory: history.map((n, i) => ({ atMs: lookedAtMs - (history.length - 1 - i) * minuteMs, parked: n })),
        },
      }),
      'parked',
    )

  it('is worth reading at first, a warning after 5 minutes or from 1,000 batches on, critical after 15', () => {
    expect([parked(1, 0), parked(3, 5), parked(3, 5.1), parked(1_001, 1), parked(3, 15.1)].map(({ severity }) => severity)).toEqual([
      'info',
      'info',
      'warning',
      'warning',
      'critical',
    ])
    expect(parked(1, 0)).toMatchObject({ message: '1 batch waits to be written.', isClear: false })
    expect(parked(7, 9).message).toBe('7 batches wait to be written, the first for 9 min.')
  })

  it('that goes in again after an outage is no alarm, and says how long it takes', () => {
    expect(parked(600, 30, [700, 1_000, 800, 600])).toMatchObject({
      severity: 'info',
      message: '600 batches wait to be written, the first for 30 min; at this pace that takes 3 min.',
    })
    // it would take more than an hour
    expect(parked(990, 30, [1_000, 999]).severity).toBe('warning')
    expect(parked(700, 30, [500, 600, 700]).severity).toBe('critical')
  })
})

describe('what an hour sums up is told only while it goes on', () => {
  it.each<[string, Given]>([
    ['success-rate', inHour({ calls: 100, failed: 20 }, { calls: 10 })],
    ['reconnections', inHour({ calls: 100, reconnections: 30 }, { calls: 10 })],
    ['rollbacks', inHour({ calls: 100, rollbacks: 30 }, { calls: 10 })],
    ['lock-retry-rate', inHour({ calls: 100, attempts: 100, contended: 30 }, { calls: 10, attempts: 10 })],
    ['availability', { recent: { availability: { ...recently().availability, hour: { knownMinutes: 60, upMinutes: 35 } } } }],
  ])('%s', (id, given) => {
    expect(checkOf(assessed(given), id)).toMatchObject({ severity: 'info', isClear: true })
    expect(assessed(given).status).toBe('healthy')
  })
})

describe('what there is too little of to judge is skipped', () => {
  it.each<[string, Given]>([
    ['error-rate', { recent: { operations: { fiveMinutes: operations({ calls: 9, refused: 9 }) } } }],
    ['success-rate', inHour({ calls: 19, failed: 19 })],
    ['availability', { recent: { availability: { ...recently().availability, hour: { knownMinutes: 9, upMinutes: 0 } } } }],
    ['query-latency', { recent: { latency: { p50Ms: 900, p95Ms: 900, p99Ms: 900, count: 19 } } }],
    ['lock-retry-rate', inHour({ calls: 29, attempts: 29, contended: 29 })],
    ['batch-efficiency', { recent: { batches: { count: 100, rows: 100, waitedMs: 0, sourceLimited: 81, sourceLimitedRows: 81 } } }],
    ['rollback-ratio', { recent: { counters: { ...recently().counters, commits: 0, rollbacks: 99 } as never } }],
    ['deadlocks', { recent: { counters: null } }],
    ['unused-index', { seen: { structure: structure({ statsAgeMs: 6 * dayMs, unusedIndexes: [{ index: 'a', table: 't', bytes: gb }] }) } }],
    ['days-to-full', ofVitals({ settings: { 'neon.max_cluster_size': '1GB' } })],
    [
      'freshness:trades',
      { seen: { collectors: {} }, recent: { availability: { ...recently().availability, day: { knownMinutes: 9, upMinutes: 9 } } } },
    ],
  ])('%s', (fingerprint, given) => {
    expect(checkOf(assessed(given), fingerprint)).toMatchObject({ severity: 'skipped', isClear: false })
  })

  it('two errors are no rate, however few calls there were', () => {
    expect(verdict({ recent: { operations: { fiveMinutes: operations({ calls: 2, failed: 2 }) } } }, 'error-rate')).toEqual(clear)
    expect(verdict({ recent: { operations: { fiveMinutes: operations({ calls: 3, failed: 3 }) } } }, 'error-rate')).toEqual(critical)
  })
})

describe('the error budget', () => {
  const burning = (fields: Partial<Record<keyof ReturnType<typeof recently>['operations'], readonly [number, number]>>) =>
    checkOf(
      assessed({
        recent: {
          operations: Object.fromEntries(
            Object.entries(fields).map(([window, [failed, calls]]) => [window, operations({ calls, failed })]),
          ),
        },
      }),
      'error-budget',
    ).severity

  it('burns fast, slowly, or not at all: both windows of a rule must burn, and 10 errors are the least', () => {
    // 99.5 %: 14.4 times is 7.2 %, 6 times is 3 %, once is 0.5 %
    expect(burning({ hour: [73, 1_000], fiveMinutes: [8, 100] })).toBe('critical')
    expect(burning({ hour: [72, 1_000], fiveMinutes: [8, 100] })).toBe('ok')
    expect(burning({ hour: [73, 1_000], fiveMinutes: [7, 100] })).toBe('ok')
    expect(burning({ sixHours: [31, 1_000], halfHour: [4, 100] })).toBe('warning')
    expect(burning({ sixHours: [31, 1_000], halfHour: [0, 100] })).toBe('ok')
    expect(burning({ threeDays: [60, 10_000], sixHours: [6, 1_000] })).toBe('warning')
    expect(burning({ threeDays: [9, 1_000], sixHours: [6, 1_000] })).toBe('ok')
  })

  it('says what is left of it over 30 days', () => {
    const month = { knownMinutes: 43_200, upMinutes: 43_200 - 108 }
    const { message } = checkOf(assessed({ recent: { availability: { ...recently().availability, month } } }), 'error-budget')
    expect(message).toBe('Operations fail less often than 99.5 % allows. 50 % of the error budget of 30 days are left.')
  })
})

describe('a lock', () => {
  const chain = {
    blockedCount: 1,
    blocked: [
      {
        pid: 12,
        waitMs: 4_200,
        lockType: 'relation',
        mode: 'RowExclusiveLock',
        relation: 'trades',
        blockedBy: [11],
        application: 'tokay',
        query: 'insert',
      },
    ],
    blockers: [
      { pid: 11, state: 'idle in transaction', application: 'psql', query: 'lock table trades', transactionMs: 90_000, isRoot: true },
    ],
  }

  it('names who holds it and the command that ends that, and draws the chain', () => {
    const { message, action, evidence } = checkOf(assessed(ofVitals(chain)), 'lock-wait')
    expect(message).toBe('1 session waits for locks, the longest for 4.2 s.')
    expect(action).toBe('See what is at the root, and end it when it is stuck: select pg_terminate_backend(11);')
    expect(evidence).toEqual([
      'pid 11 (psql) holds it: idle in transaction, in a transaction for 90 s: lock table trades',
      '  pid 12 (tokay) waits 4.2 s for RowExclusiveLock on trades, behind 11: insert',
    ])
  })

  it('of a prepared transaction is ended by its own command: there is no session', () => {
    const blockers = [{ pid: 0, state: 'prepared transaction', application: null, query: null, transactionMs: 90_000, isRoot: true }]
    const { action, evidence } = checkOf(assessed(ofVitals({ ...chain, blockers })), 'lock-wait')
    expect(action).toMatch(/rollback prepared/)
    expect(action).not.toMatch(/pg_terminate_backend/)
    expect(evidence?.[0]).toBe('a prepared transaction holds it: prepared transaction, in a transaction for 90 s')
  })

  it('that fell between two looks is known by the writes that gave up', () => {
    const given = { recent: { operations: { fiveMinutes: operations({ calls: 20, failures: { 'lock-timeout': 1 } }) } } }
    expect(checkOf(assessed(given), 'lock-wait')).toMatchObject({
      severity: 'warning',
      value: 1_500,
      message: 'No session waits for a lock; 1 write gave up after 1.5 s in the last 5 minutes.',
    })
  })
})

describe('what mends a finding is said as SQL, ready to paste', () => {
  it.each<[string, Given, readonly string[]]>([
    [
      'invalid-index:tokay.i',
      { seen: { structure: structure({ invalidIndexes: ['tokay.i'] }) } },
      ['reindex index concurrently tokay.i;', 'drop index concurrently tokay.i;'],
    ],
    [
      'duplicate-index:tokay.a',
      { seen: { structure: structure({ duplicateIndexes: [{ table: 'tokay.t', indexes: ['tokay.a', 'tokay.b'], bytes: 9 }] }) } },
      ['drop index concurrently tokay.b;'],
    ],
    [
      'unused-index:tokay.u',
      { seen: { structure: structure({ unusedIndexes: [{ index: 'tokay.u', table: 'tokay.t', bytes: 2 * 1024 ** 2 }] }) } },
      ['drop index concurrently tokay.u;'],
    ],
    [
      'foreign-key-without-index:tokay.t.fk',
      {
        seen: {
          structure: structure({ foreignKeysWithoutIndex: [{ constraint: 'fk', table: 'tokay.t', columns: ['pool', 'Odd Name'] }] }),
        },
      },
      ['create index concurrently on tokay.t (pool, "Odd Name");'],
    ],
    [
      'vacuum-overdue:tokay.t',
      {
        seen: {
          structure: structure({ vacuumOverdue: [{ table: 'tokay.t', deadRows: 40_000, threshold: 9_000, vacuumAgeMs: 2 * dayMs }] }),
        },
      },
      ['vacuum (analyze) tokay.t;'],
    ],
    ['setting:fsync', ofVitals({ settings: { fsync: 'off' } }), ['alter system set fsync = on;']],
  ])('%s', (fingerprint, given, evidence) => {
    expect(checkOf(assessed(given), fingerprint).evidence).toEqual(evidence)
  })

  it('a slow statement comes with its plan to look at, and an index where one table is read as a whole for it', () => {
    const query = 'select * from tokay.trades where pool = $1 and block_at > $2'
    const seen = {
      statements: [{ id: '77', query, calls: 20, meanMs: 501, totalMs: 10_020, share: 0.4 }],
      structure: structure({ sequentialScans: [{ table: 'tokay.trades', scans: 500, rowsRead: 1e9, rows: 2e6 }] }),
    }
    expect(checkOf(assessed({ seen }), 'slow-statements:77')).toMatchObject({
      severity: 'warning',
      message: 'Statement 77 takes 501 ms on average in 20 calls, 40 % of all time.',
      evidence: [query, `explain (analyze, buffers) ${query};`, 'create index concurrently on tokay.trades (pool, block_at);'],
    })
  })

  it.each<[string, string | null]>([
    ['select a from t where b = $1', 'create index concurrently on tokay.t (b);'],
    ['select a from tokay.t x where x.b between $1 and $2 and x.c = $3 and x.d = $4', 'create index concurrently on tokay.t (c, d);'],
    ['update t set a = $1 where b = any($2)', 'create index concurrently on tokay.t (b);'],
    ['select a from t join s on s.id = t.id where t.b = $1', null],
    ['select a from t where b = $1 or c = $2', null],
    ['select a from elsewhere where b = $1', null],
    ['select a from t', null],
    ['vacuum t', null],
  ])('%s', (query, index) => {
    expect(indexFor(query, ['tokay.t'])).toBe(index)
  })
})

describe('who runs the server is taken into account', () => {
  it("a cache hit rate means nothing on Neon, and Neon's own limit is where it is full", () => {
    const counters = { ...recently().counters, blocksHit: 10_000, blocksRead: 90_000 } as never
    const on = (flavor: 'neon' | 'pg') =>
      checkOf(assessed({ seen: { database: answering({ server: { flavor } }) }, recent: { counters } }), 'cache-hit')
    expect([on('neon').severity, on('pg').severity]).toEqual(['skipped', 'info'])
    expect(['10GB', '512MB', '-1', '0', '100', 'x', null, undefined].map(bytesOf)).toEqual([
      10 * gb,
      gb / 2,
      null,
      null,
      100 * 1024 ** 2,
      null,
      null,
      null,
    ])
  })

  it('where the storage is not made of files, fsync is off on purpose', () => {
    const settings = { fsync: 'off', full_page_writes: 'off', autovacuum: 'off' }
    const told = (flavor: 'neon' | 'aurora' | 'rds') =>
      assessed(ofVitals({ server: { flavor }, settings }))
        .checks.filter(({ id }) => id === 'setting')
        .map(({ subject }) => subject)
    expect([told('neon'), told('aurora'), told('rds')]).toEqual([
      ['autovacuum'],
      ['autovacuum'],
      ['fsync', 'full_page_writes', 'autovacuum'],
    ])
  })

  it('a version without fixes is a warning from that day on, and told half a year before', () => {
    const version = (text: string) =>
      checkOf(assessed({ seen: { atMs: Date.parse(text), database: answering({ server: { version: 140_022 } }) } }), 'server-version')
    expect(version('2026-11-13T00:00:00Z')).toMatchObject({
      severity: 'warning',
      message: 'PostgreSQL 14.22 gets no fixes any more since 2026-11-12.',
    })
    expect(version('2026-11-12T00:00:00Z').severity).toBe('info')
    expect(version('2026-05-01T00:00:00Z').severity).toBe('ok')
  })
})

describe('our own tables, receivers and budget', () => {
  it('a schema that is behind names what is missing', () => {
    const seen = { app: appTables({ migrationsPending: ['0003_health'] }) }
    expect(checkOf(assessed({ seen }), 'migrations')).toMatchObject({
      severity: 'warning',
      message: 'The schema is behind this code: 0003_health is not applied.',
      hold: { bad: 3, of: 5 },
    })
  })

  it.each([
    [{ confirmed: 0, pending: 0 }, 'warning', /there is no receiver/],
    [{ confirmed: 0, pending: 1 }, 'warning', /1 receiver has not confirmed/],
    [{ confirmed: 1, pending: 1 }, 'info', /has not confirmed yet/],
    [{ confirmed: 2, pending: 0 }, 'ok', /2 receivers get alerts/],
  ] as const)('receivers %j', (receivers, severity, message) => {
    expect(checkOf(assessed({ seen: { receivers } }), 'alert-path')).toMatchObject({
      severity,
      message: expect.stringMatching(message) as string,
    })
  })

  it.each([
    ['on course in mid-month', { monthCalls: 5_000 }, 'ok'],
    ['a fifth of what is needed', { monthCalls: 9_100 }, 'warning'],
    ['nearly nothing', { monthCalls: 9_990 }, 'critical'],
    ['the rate halved three times', { perMinute: 1 }, 'warning'],
    ['limited just now', { blockedUntilMs: lookedAtMs + 1 }, 'info'],
  ] as const)('API budget: %s', (_, fields, severity) => {
    const budget = {
      perMinute: 10,
      limitPerMinute: 10,
      tokens: 1,
      refilledAtMs: lookedAtMs,
      blockedUntilMs: 0,
      cleanSinceMs: 0,
      month: '2025-09',
      monthCalls: 0,
      ...fields,
    }
    const settings = parseSettings({ gecko: { requestsPerMonth: 10_000 } })
    expect(checkOf(assessed({ seen: { budget }, context: { settings } }), 'api-budget').severity).toBe(severity)
  })

  it('a collector that has never run alarms once it has been watched for long enough', () => {
    const never = (knownMinutes: number) =>
      verdict(
        {
          seen: { collectors: {} },
          recent: { availability: { ...recently().availability, day: { knownMinutes, upMinutes: knownMinutes } } },
        },
        'freshness:trades',
      )
    expect([never(10)[0], never(11)[0], never(26)[0]]).toEqual(['skipped', 'warning', 'critical'])
  })

  it('a collector that is switched off is not missed, and a pause is told for as long as it lasts', () => {
    const settings = parseSettings({ collectors: { trades: { enabled: false } } })
    expect(assessed({ context: { settings } }).checks.map(({ subject }) => subject)).not.toContain('trades')
    const paused = (cooldownUntilMs: number) =>
      checkOf(
        assessed({ seen: { collectors: { ...observed().collectors, trades: collectorState({ fetchFailures: 5, cooldownUntilMs }) } } }),
        cooldownUntilMs > lookedAtMs ? 'collector-cooldown:trades' : 'collector-cooldown',
      )
    expect(paused(lookedAtMs + 1).message).toBe('Collector trades failed 5 times in a row to fetch or read its data; it pauses.')
    expect(paused(lookedAtMs).severity).toBe('ok')
  })
})
