import { describe, expect, it } from 'vitest'
import { toHealthJson, toTable } from '../../shared/health/report-formats.ts'
import { reportOf, type HealthReport } from '../../shared/health/report.ts'
import {
  answering,
  appTables,
  assessed,
  away,
  type Given,
  lookedAtMs,
  minuteMs,
  observed,
  openBreaker,
  operations,
  recently,
  settings,
} from '../support/observed.ts'

const reported = (given: Given = {}, more: Partial<Parameters<typeof reportOf>[1]> = {}): HealthReport =>
  reportOf(assessed(given), { observation: observed(given.seen), recent: recently(given.recent), settings, ...more })

const outage: Given = {
  seen: {
    database: away,
    structure: null,
    sequences: null,
    statements: null,
    app: null,
    receivers: null,
    breaker: openBreaker({ token: 'a' }),
    parked: 7,
  },
  recent: {
    availability: { ...recently().availability, hour: { knownMinutes: 60, upMinutes: 50 } },
    operations: {
      fiveMinutes: operations({ calls: 8, failed: 2, refused: 2 }),
      hour: operations({
        calls: 1_525,
        failed: 3,
        refused: 2,
        attempts: 1_600,
        retries: 77,
        contended: 16,
        rollbacks: 12,
        reconnections: 1,
      }),
    },
    latency: null,
    parkedSinceMs: lookedAtMs - 90_000,
  },
}

describe('the report', () => {
  it('has the status, the one line and measured figures, and null for what nobody measured', () => {
    expect(reported()).toMatchObject({
      status: 'HEALTHY',
      message: 'Database is operating normally',
      checkedAt: '2025-09-15T06:45:00.000Z',
      score: 100,
      metrics: {
        circuit_breaker_state: 'CLOSED',
        query_performance_ms: 20,
        query_p95_ms: 60,
        connect_ms: 3,
        lock_wait_ms: 0,
        availability: 1,
        availability_30d: 1,
        error_rate: 0,
        batch_fill: null,
        connections_used: 7,
        connections_usable: 97,
        parked_batches: 0,
        parked_for_s: null,
      },
      recommendations: [{ severity: 'info', message: 'All systems operating normally', action: 'No action required' }],
    })
    expect(reported(outage)).toMatchObject({
      status: 'CRITICAL',
      metrics: {
        circuit_breaker_state: 'HALF_OPEN',
        query_performance_ms: null,
        connect_ms: null,
        lock_wait_ms: null,
        availability: 0.8333,
        error_rate: 0.3333,
        success_rate: 0.998,
        lock_retry_rate: 0.01,
        connections_used: null,
        parked_batches: 7,
        parked_for_s: 90,
        database_bytes: null,
      },
      serverInfo: null,
    })
  })

  it('says how the client did in the last hour, in plain words', () => {
    expect(reported(outage, { poolSize: 1 }).resilience).toEqual({
      status: 'critical',
      status_text: 'Critical',
      success_rate: '99.8%',
      metrics: { total_queries: 1_523, failed_queries: 3, retries: 77, reconnections: 1, transaction_rollbacks: 12, pool_resets: 0 },
      pool_size: 1,
    })
    expect(reported({ recent: { operations: { hour: operations() } } }).resilience.success_rate).toBeNull()
    // never rounded up to all of them
    expect(reported({ recent: { operations: { hour: operations({ calls: 100_000, failed: 1 }) } } }).resilience.success_rate).toBe('99.9%')
  })

  it('without the state table nobody knows the circuit', () => {
    expect(reported({ seen: { stateAnswers: false } }).metrics.circuit_breaker_state).toBeNull()
  })

  it('recommends what to do about each finding, and nothing for what another one explains', () => {
    const { recommendations } = reported(outage)
    expect(recommendations.map(({ severity }) => severity)).toEqual(['critical'])
    expect(recommendations[0]?.message).toMatch(/connection refused/)
    expect(recommendations[0]?.action).toMatch(/whether Postgres runs/)
  })

  it('says since when, where the alerts remember it', () => {
    const { checks } = reported(outage, { sinceMs: { connect: lookedAtMs - 25 * minuteMs } })
    expect(checks[0]).toMatchObject({ id: 'connect', since: '2025-09-15T06:20:00.000Z' })
    expect(checks.filter((check) => check.since !== undefined)).toHaveLength(1)
  })

  it('keeps the score of what was aimed at: met, missed, not measured', () => {
    const given: Given = {
      recent: {
        availability: { ...recently().availability, month: { knownMinutes: 43_200, upMinutes: 43_000 } },
        latency: { p50Ms: 120, p95Ms: 300, p99Ms: 400, count: 500 },
        operations: { threeDays: operations({ calls: 10_000, failed: 5 }) },
      },
      context: { recoveredInMs: 9_400 },
    }
    expect(reported(given).targets).toEqual([
      { name: 'availability, 30 days', target: 'at least 99.5 %', measured: '99.53 %', isMet: true },
      { name: 'query time, median of an hour', target: 'under 100 ms', measured: '120 ms', isMet: false },
      { name: 'lock wait, now', target: 'under 50 ms', measured: '0 ms', isMet: true },
      { name: 'error rate, 3 days', target: 'under 0.1 %', measured: '0.05 %', isMet: true },
      { name: 'recovery, last outage', target: 'under 30 s', measured: '9.4 s', isMet: true },
    ])
    expect(reported().targets.at(-1)).toMatchObject({ measured: null, isMet: null })
  })

  it('names the server and what is different about who runs it', () => {
    const { serverInfo } = reported({ seen: { database: answering({ server: { flavor: 'neon' } }) } })
    expect(serverInfo).toMatchObject({ version: '18.4', database: 'postgres', role: 'tokay', flavor: 'neon', uptime_s: 259_200 })
    expect(serverInfo?.notes[0]).toMatch(/cache hit/)
    const behind = reported({ seen: { database: answering({}, { pooled: true }) } })
    expect(behind.serverInfo?.notes).toEqual([expect.stringMatching(/^A pooler or a proxy stands before the server/)])
  })
})

describe('application/health+json', () => {
  it('passes, warns or fails, by component and measurement, with units in words', () => {
    const json = toHealthJson(reported())
    expect(json).toMatchObject({ status: 'pass', version: '1' })
    expect(json.output).toBeUndefined()
    expect(json.checks['database:simple-query']).toEqual([
      {
        componentId: 'database',
        componentType: 'datastore',
        observedValue: 8,
        observedUnit: 'ms',
        status: 'pass',
        time: '2025-09-15T06:45:00.000Z',
      },
    ])
    expect(json.checks['database:connections']?.[0]?.observedUnit).toBe('percent')
    expect(json.checks['collectors:freshness']?.map(({ componentId }) => componentId)).toEqual([
      'dexes',
      'top-pools',
      'new-pools',
      'trades',
    ])
  })

  it('what is explained by another check fails nothing a second time, and what was skipped neither passes nor fails', () => {
    const json = toHealthJson(reported(outage))
    expect(json.status).toBe('fail')
    expect(json.output).toMatch(/connection refused/)
    expect(json.checks['database:connect']?.[0]).toMatchObject({ status: 'fail', observedValue: 'refused' })
    expect(json.checks['tokay:circuit']?.[0]).toMatchObject({
      status: 'warn',
      output: expect.stringMatching(/explained by connect/) as string,
    })
    expect(json.checks['database:lock-wait']).toBeUndefined()
    expect(json.notes.at(-1)).toMatch(/^skipped: .*lock-wait/)
    expect(toHealthJson(reported({ seen: { app: appTables({ quarantined: 1 }) } })).status).toBe('warn')
  })
})

describe('the table', () => {
  it('has a line for each check, the findings with what to do, and the score of what was aimed at', () => {
    const lines = toTable(
      reported({ seen: { app: appTables({ quarantined: 2 }) } }, { sinceMs: { quarantine: lookedAtMs - 60_000 } }),
    ).split('\n')
    expect(lines.slice(0, 3)).toEqual([
      'DEGRADED 2 rows wait in the quarantine.',
      'score 90, at 2025-09-15T06:45:00.000Z',
      'PostgreSQL 18.4 (pg), database postgres, role tokay, up 3 days',
    ])
    expect(lines).toContainEqual(expect.stringMatching(/^WARN +quarantine +2 +0 +2025-09-15 06:44$/))
    expect(lines).toContainEqual(expect.stringMatching(/^ok +lock-wait +0 ms +1 s \/ 30 s$/))
    expect(lines).toContain('WARN 2 rows wait in the quarantine.')
    expect(lines).toContainEqual(expect.stringMatching(/^ {2}Do: tokay quarantine list/))
    expect(lines).toContainEqual(expect.stringMatching(/^- days-to-full: .*databaseFullBytes/))
    expect(lines.at(-1)).toBe('-    recovery, last outage: not measured (under 30 s)')
  })

  it('tells in one line what was not looked at this time, and keeps what was skipped for another reason', () => {
    const usual = { seen: { structure: null, statements: null, sequences: { unseen: 'the role lacks a privilege' } } }
    const text = toTable(reported(usual))
    expect(text).toMatch(/^and 9 more checks that this look left out \(--deep\)$/m)
    expect(text).not.toMatch(/invalid-index|Not looked at yet/)
    expect(text).toMatch(/^- sequences: Could not be looked at: the role lacks a privilege/m)
    expect(toTable(reported({ seen: { receivers: null } }), { deep: true })).toMatch(/^and 1 more check that can not be made from here$/m)
  })

  it('in an outage leaves out what nobody can look at, and says how much that is', () => {
    const text = toTable(reported(outage))
    expect(text).toMatch(/^CRIT +connect +refused/m)
    expect(text).toMatch(/^\(CRIT\) +circuit +HALF_OPEN +by connect$/m)
    expect(text).toMatch(/^and \d+ more checks that nobody can make without the database$/m)
    expect(text).not.toMatch(/^- +lock-wait/m)
  })

  it('keeps to its width but for what is to be copied, and obeys nobody who writes control characters', () => {
    const query = `select ${'x'.repeat(120)} from t\u001b[2J`
    const seen = {
      statements: [{ id: '7\u001b[31m', query, calls: 30, meanMs: 900, totalMs: 1, share: 0.1 }],
      lockedSinceMs: { ['a'.repeat(90)]: lookedAtMs },
    }
    for (const width of [60, 100]) {
      const text = toTable(reported({ seen }), { width })
      // oxlint-disable-next-line no-control-regex
      expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/)
      const wide = text.split('\n').filter((line) => line.length > width && !line.startsWith('    ') && !/a{80}/.test(line))
      expect(wide).toEqual([])
    }
  })
})
