import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assess, rareChecks } from '../../shared/health/assess.ts'
import { type Check, fingerprintOf, rankOf } from '../../shared/health/check.ts'
import type { Recent } from '../../shared/health/memory/memory.ts'
import type { BlockingSession, ConnectFailure, Observation } from '../../shared/health/observation.ts'
import {
  answering,
  appTables,
  assessed,
  away,
  checkOf,
  collectorState,
  found,
  type Given,
  lookedAtMs,
  minuteMs,
  observed,
  openBreaker,
  operations,
  recently,
  settings,
  structure,
} from '../support/observed.ts'

const out: Partial<Observation> = { database: away, structure: null, sequences: null, statements: null, app: null, receivers: null }
const failing = operations({ calls: 30, failed: 12, attempts: 54, retries: 24, failures: { connection: 36 }, reconnections: 36 })
const deadCollector = { ...observed().collectors, trades: collectorState({ lastSuccessAtMs: lookedAtMs - 60 * minuteMs }) }
/** A session that was forgotten in a transaction, and a chain behind it. */
const lockChain = answering({
  blockedCount: 3,
  blocked: [12, 13, 14].map((pid, i) => ({
    pid,
    waitMs: 41_000 - 1_000 * i,
    lockType: 'relation',
    mode: 'RowExclusiveLock',
    relation: 'trades',
    blockedBy: [pid - 1],
    application: 'tokay',
    query: 'insert into trades select',
  })),
  blockers: [
    { pid: 11, state: 'idle in transaction', application: 'psql', query: 'lock table trades', transactionMs: 420_000, isRoot: true },
    { pid: 12, state: 'active', application: 'tokay', query: 'insert into trades select', transactionMs: 41_000, isRoot: false },
  ],
  activity: { idleInTransaction: 1, idleInTransactionMs: 420_000, oldestTransactionMs: 420_000, oldestQueryMs: 41_000 },
})

describe('each fault is one finding, and what follows from it is explained by it', () => {
  it.each<[string, Given, string, readonly string[]]>([
    ['all is well', {}, 'healthy', []],
    [
      'a closed breaker with a failure behind it',
      { seen: { breaker: { state: 'closed', epoch: 2, failedAtMs: [lookedAtMs] } } },
      'healthy',
      [],
    ],
    ['the database does not answer', { seen: out }, 'critical', ['critical connect']],
    [
      'an outage with all that follows',
      {
        seen: { ...out, breaker: openBreaker(), parked: 700, collectors: deadCollector, lockedSinceMs: { trades: lookedAtMs - 200_000 } },
        recent: {
          availability: { ...recently().availability, hour: { knownMinutes: 60, upMinutes: 35 } },
          operations: { fiveMinutes: failing, hour: failing },
          parkedSinceMs: lookedAtMs - 20 * minuteMs,
        },
      },
      'critical',
      ['critical connect'],
    ],
    [
      'it answers, and the circuit is open',
      { seen: { breaker: openBreaker(), parked: 9 }, recent: { operations: { fiveMinutes: failing, hour: failing } } },
      'critical',
      ['critical circuit'],
    ],
    [
      'a standby that took the writes, which opened the circuit',
      { seen: { database: answering({ server: { isInRecovery: true } }), breaker: openBreaker({ reason: 'read-only' }) } },
      'critical',
      ['critical read-only'],
    ],
    [
      'connections exhausted, and everything is slow',
      {
        seen: { database: answering({ connections: { used: 97 } }, { connectMs: 2_500, queryMs: 400 }) },
        recent: { latency: { p50Ms: 700, p95Ms: 900, p99Ms: 950, count: 100 } },
      },
      'critical',
      ['critical connections'],
    ],
    [
      'a forgotten transaction holds a table, and a chain waits behind it',
      {
        seen: { database: lockChain, lockedSinceMs: { trades: lookedAtMs - 300_000 }, parked: 40 },
        recent: {
          operations: { fiveMinutes: operations({ calls: 20, failed: 6, contended: 12, attempts: 40, failures: { 'lock-timeout': 12 } }) },
          parkedSinceMs: lookedAtMs - 5 * minuteMs,
        },
      },
      'critical',
      ['critical table-locked:trades'],
    ],
    ['the same before any of our own writes met it', { seen: { database: lockChain } }, 'critical', ['critical lock-wait']],
    [
      'a server that has just started is slow',
      { seen: { database: answering({ server: { startedAtMs: lookedAtMs - 30_000 } }, { connectMs: 4_000, queryMs: 900 }) } },
      'healthy',
      [],
    ],
    ['one that was woken by this look is slow', { seen: { database: answering({}, { connectMs: 9_000, woke: true }) } }, 'healthy', []],
    [
      'a transaction that is idle and therefore long, and keeps vacuum back',
      { seen: { database: answering({ activity: { idleInTransactionMs: 90_000, oldestTransactionMs: 400_000, xminAge: 20e6 } }) } },
      'degraded',
      ['warning idle-transaction'],
    ],
    [
      'a migration is missing, so what is parked is refused',
      {
        seen: { parked: 5, refusals: { trades: { class: 'schema', message: 'relation "trades" does not exist', sinceMs: lookedAtMs } } },
        recent: { parkedSinceMs: lookedAtMs - 30 * minuteMs },
      },
      'critical',
      ['critical writes-refused:trades'],
    ],
    ['operations fail', { recent: { operations: { fiveMinutes: failing, hour: failing } } }, 'critical', ['critical error-rate']],
    [
      'a table is locked for a moment',
      { seen: { lockedSinceMs: { trades: lookedAtMs - 119_999 } } },
      'degraded',
      ['warning table-locked:trades'],
    ],
    [
      'a table is locked for long',
      { seen: { lockedSinceMs: { trades: lookedAtMs - 120_000 } } },
      'critical',
      ['critical table-locked:trades'],
    ],
    ['nobody can say how many batches wait', { seen: { parked: undefined } }, 'degraded', ['warning parked-queue']],
    ['the state table does not answer', { seen: { stateAnswers: false, collectors: {} } }, 'degraded', ['warning state-table']],
    ['a collector is dead', { seen: { collectors: deadCollector } }, 'critical', ['critical freshness:trades']],
    [
      'two troubles that have nothing to do with each other',
      { seen: { collectors: deadCollector, app: appTables({ quarantined: 2 }), structure: structure({ invalidIndexes: ['tokay.a'] }) } },
      'critical',
      ['critical freshness:trades', 'warning invalid-index:tokay.a', 'warning quarantine'],
    ],
  ])('%s', (_, given, status, expected) => {
    const assessment = assessed(given)
    expect(assessment.status).toBe(status)
    expect(found(assessment)).toEqual(expected)
  })

  it('what is explained is shown, with what explains it', () => {
    const assessment = assessed({ seen: { ...out, breaker: openBreaker(), parked: 7 } })
    expect(checkOf(assessment, 'circuit')).toMatchObject({ severity: 'critical', inhibitedBy: 'connect' })
    expect(checkOf(assessment, 'lock-wait')).toMatchObject({ severity: 'skipped', inhibitedBy: 'connect', isClear: false })
    expect(checkOf(assessment, 'parked')).toMatchObject({ value: 7, inhibitedBy: 'connect' })
    expect(checkOf(assessment, 'alert-path').inhibitedBy).toBeUndefined()
  })

  it('a warning explains nothing that is worse than itself', () => {
    const seen = { database: answering({ activity: { idleInTransactionMs: 61_000, oldestTransactionMs: 31 * minuteMs } }) }
    expect(found(assessed({ seen }))).toEqual(['critical long-transaction', 'warning idle-transaction'])
  })
})

describe('a database that does not answer', () => {
  it.each<[ConnectFailure, RegExp]>([
    ['refused', /connection refused/],
    ['dns', /DNS/],
    ['hung', /no answer in time/],
    ['saturated', /out of connections/],
    ['role-limit', /role is out of connections/],
    ['auth', /login/],
    ['no-database', /does not exist/],
    ['tls', /TLS/],
    ['starting', /starting/],
  ])('%s is said in its own words, with the error itself', (failure, words) => {
    const { message, action } = checkOf(
      assessed({ seen: { ...out, database: { kind: 'unreachable', failure, message: 'the very error', afterMs: 1 } } }),
      'connect',
    )
    expect(message).toMatch(words)
    expect(message).toContain('the very error')
    expect(action).toMatch(/Nothing is lost: batches are parked/)
  })

  it('is told after three of five looks; at once when the circuit has opened as well', () => {
    expect(checkOf(assessed({ seen: out }), 'connect').hold).toEqual({ bad: 3, of: 5 })
    expect(checkOf(assessed({ seen: { ...out, breaker: openBreaker() } }), 'connect').hold).toEqual({ bad: 1, of: 1 })
  })

  it('a health check alone promises no parked batches', () => {
    const assessment = assessed({ seen: { ...out, parked: null } })
    expect(checkOf(assessment, 'connect').action).not.toMatch(/parked/)
    expect(assessment.checks.map(({ id }) => id)).not.toEqual(expect.arrayContaining(['parked', 'freshness', 'api-budget']))
  })
})

describe('what nobody could look at', () => {
  it('is skipped, says why, and is never ok', () => {
    const { checks, status } = assessed({ seen: { database: answering({}, { vitals: { unseen: 'permission denied' } } as never) } })
    const byVitals = checks.filter(({ id }) => ['lock-wait', 'connections', 'read-only', 'wraparound', 'setting'].includes(id))
    expect(byVitals.map(({ severity, message, isClear }) => [severity, message, isClear])).toEqual(
      Array.from({ length: 5 }, () => ['skipped', 'Could not be looked at: permission denied.', false]),
    )
    expect(status).toBe('healthy')
  })

  it('for a lock is a wait for that lock: told at once when it is held for long, after 3 of 5 looks when nobody is seen to hold it', () => {
    const behind = (lockedBy: readonly BlockingSession[]) => {
      const assessment = assessed({ seen: { database: answering({}, { vitals: { unseen: 'locked', lockedBy }, queryMs: 320 } as never) } })
      return { told: found(assessment), ...checkOf(assessment, 'lock-wait') }
    }
    const holder = { pid: 42, state: 'idle in transaction', application: 'psql', query: null, transactionMs: 30_001, isRoot: true }
    expect(behind([holder])).toMatchObject({
      told: ['critical lock-wait'],
      value: 30_001,
      hold: { bad: 1, of: 1 },
      action: 'See what is at the root, and end it when it is stuck: select pg_terminate_backend(42);',
      evidence: ['pid 42 (psql) holds it: idle in transaction, in a transaction for 30 s'],
    })
    // it waits itself: ending it helps nobody
    for (const holders of [[], [{ ...holder, transactionMs: 900, isRoot: false }]]) {
      const { told, hold, action, isClear } = behind(holders)
      expect([told, hold, isClear]).toEqual([['warning lock-wait'], { bad: 3, of: 5 }, false])
      expect(action).toMatch(/^Find who holds it, .*from pg_locks/)
    }
  })

  it('is unknown as a whole when neither the database nor anything that used it was seen', () => {
    const nothing = operations()
    const given: Given = {
      seen: { ...out, database: { kind: 'not-asked', why: 'left asleep' } },
      recent: {
        operations: { fiveMinutes: nothing, halfHour: nothing, hour: nothing, sixHours: nothing, threeDays: nothing },
        availability: { ...recently().availability, hour: { knownMinutes: 3, upMinutes: 3 } },
      },
    }
    expect(assessed(given)).toMatchObject({ status: 'unknown', score: 0, message: 'Nobody has looked at the database.' })
    // what the collectors did is a look as well
    const used = {
      ...given,
      recent: { ...given.recent, operations: { ...given.recent?.operations, fiveMinutes: operations({ calls: 4 }) } },
    }
    expect(assessed(used).status).toBe('healthy')
  })

  it("sessions of other roles that are hidden are not taken for none, but one's own are told", () => {
    const plain = (activity: object) => assessed({ seen: { database: answering({ server: { seesOthers: false }, activity }) } })
    expect(checkOf(plain({}), 'idle-transaction')).toMatchObject({ severity: 'skipped', action: 'grant pg_monitor to tokay;' })
    expect(checkOf(plain({ idleInTransactionMs: 61_000 }), 'idle-transaction').severity).toBe('warning')
    expect(checkOf(plain({}), 'privileges')).toMatchObject({ severity: 'info', evidence: ['grant pg_monitor to tokay;'] })
  })

  it('what is looked at every while stands in between, and is skipped when it never was', () => {
    const first = assessed({ seen: { structure: structure({ invalidIndexes: ['tokay.a'] }) } })
    const between = { structure: null, sequences: null, statements: null, app: null, receivers: null }
    const next = assessed({ seen: between, context: { earlier: rareChecks(first) } })
    expect(found(next)).toEqual(['warning invalid-index:tokay.a'])
    expect(next.status).toBe('degraded')
    expect(checkOf(next, 'sequences').severity).toBe('ok')
    const never = assessed({ seen: between })
    expect(found(never)).toEqual([])
    expect(checkOf(never, 'invalid-index').severity).toBe('skipped')
    // why it could not be looked at stands as well
    const unseen = assessed({ seen: { sequences: { unseen: '3 of 4 sequences may not be read' } } })
    const afterUnseen = assessed({ seen: between, context: { earlier: rareChecks(unseen) } })
    expect(checkOf(afterUnseen, 'sequences').message).toBe('Could not be looked at: 3 of 4 sequences may not be read.')
    // looked at again, and mended
    expect(checkOf(assessed({ context: { earlier: rareChecks(first) } }), 'invalid-index').severity).toBe('ok')
    // it is kept through an outage, where it decides nothing
    const inOutage = assessed({ seen: out, context: { earlier: rareChecks(first) } })
    expect(checkOf(inOutage, 'invalid-index:tokay.a').inhibitedBy).toBe('connect')
    const byName = (checks: readonly Check[]) => Object.fromEntries(checks.map((check) => [fingerprintOf(check), check]))
    expect(byName(rareChecks(inOutage))).toEqual(byName(rareChecks(first)))
  })
})

describe('the score and the one line', () => {
  it('falls with what is found, and is 0 only for a database that does not answer', () => {
    expect(assessed()).toMatchObject({ score: 100, message: 'Database is operating normally' })
    expect(assessed({ seen: { app: appTables({ quarantined: 1 }) } }).score).toBe(90)
    expect(assessed({ seen: { breaker: openBreaker() } }).score).toBe(60)
    expect(assessed({ seen: out }).score).toBe(0)
    const all = Object.fromEntries(Object.keys(observed().collectors).map((name) => [name, collectorState({ lastSuccessAtMs: 0 })]))
    expect(assessed({ seen: { collectors: all } }).score).toBe(1)
  })

  it('names the worst finding, and how many more there are', () => {
    const given = { seen: { breaker: openBreaker(), app: appTables({ quarantined: 1, migrationsPending: ['0003_health'] }) } }
    expect(assessed(given).message).toBe(
      'Writes fail: the circuit breaker is open for 10 s (connection). And 2 more: migrations, quarantine.',
    )
  })
})

describe('any observation', () => {
  // odd numbers on purpose: a server's answer is not ours to trust
  const number = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.double({ min: 0, max: 1e15, noNaN: true }), fc.constant(0))
  const nullable = fc.option(number)
  // a name that is one of the words that no figure may read as would be none of our making
  const text = fc.string({ maxLength: 20 }).filter((name) => !/NaN|Infinity|undefined/.test(name))
  const database: fc.Arbitrary<Observation['database']> = fc.oneof(
    fc.constant(away),
    fc.constant({ kind: 'not-asked' as const, why: 'asleep' }),
    fc.constant(answering({}, { vitals: { unseen: 'no privilege' } } as never)),
    fc
      .record({
        connections: fc.record({
          max: number,
          reserved: number,
          used: number,
          databaseUsed: number,
          databaseLimit: fc.integer({ min: -1, max: 9 }),
          roleUsed: number,
          roleLimit: fc.integer({ min: -1, max: 9 }),
        }),
        activity: fc.record({
          oldestTransactionMs: nullable,
          oldestQueryMs: nullable,
          idleInTransactionMs: nullable,
          abortedMs: nullable,
          xminAge: nullable,
        }),
        wraparound: fc.record({ xidAge: number, mxidAge: number, freezeMaxAge: number }),
        prepared: fc.record({ count: number, oldestMs: nullable }),
        databaseBytes: nullable,
        slots: fc.array(
          fc.record({
            name: text,
            isActive: fc.boolean(),
            walStatus: fc.option(fc.constantFrom('lost', 'unreserved', 'reserved')),
            retainedBytes: nullable,
            xminAge: nullable,
          }),
          { maxLength: 3 },
        ),
        replicas: fc.array(fc.record({ application: text, state: text, lagMs: nullable }), { maxLength: 3 }),
        settings: fc.record({
          fsync: fc.constantFrom('on', 'off', null),
          'neon.max_cluster_size': fc.constantFrom('10GB', '-1', 'x', null),
        }),
      })
      .map((parts) => answering(parts as never)),
  )
  const share = number.map((value) => value % 1)
  const seen: fc.Arbitrary<Observation> = fc
    .record({
      database,
      breaker: fc.constantFrom(undefined, openBreaker(), openBreaker({ override: { forced: 'closed', untilMs: lookedAtMs + 1 } })),
      lockedSinceMs: fc.dictionary(text, number, { maxKeys: 3 }),
      parked: fc.constantFrom(0, 3, 5_000, null, undefined),
      stateAnswers: fc.boolean(),
      refusals: fc.dictionary(text, fc.record({ class: fc.constantFrom('schema', 'constructor', 'x'), message: text, sinceMs: number }), {
        maxKeys: 3,
      }),
      collectors: fc.dictionary(
        fc.constantFrom('dexes', 'trades'),
        fc
          .record({ fetchFailures: number, cooldownUntilMs: nullable, lastSuccessAtMs: nullable, intervalFactor: number })
          .map((fields) => collectorState(fields)),
      ),
      structure: fc.option(
        fc
          .record({ invalidIndexes: fc.uniqueArray(text), withoutPrimaryKey: fc.uniqueArray(text), statsAgeMs: nullable })
          .map((fields) => structure(fields)),
      ),
      sequences: fc.option(
        fc.uniqueArray(fc.record({ sequence: text, used: share, lastValue: number }), { selector: (s) => s.sequence, maxLength: 3 }),
      ),
      app: fc.option(
        fc
          .record({ quarantined: number, openGaps: number, dailyBytes: fc.array(number, { maxLength: 20 }) })
          .map(({ dailyBytes, ...fields }) =>
            appTables({
              ...fields,
              dailyBytes: dailyBytes.map((bytes, i) => ({ day: new Date(lookedAtMs + i * 86_400_000).toISOString().slice(0, 10), bytes })),
            }),
          ),
      ),
      receivers: fc.option(fc.record({ confirmed: fc.nat(3), pending: fc.nat(3) })),
    })
    .map((fields) => observed(fields as Partial<Observation>))
  const ops = fc
    .record({
      calls: fc.nat(200),
      failed: fc.nat(200),
      refused: fc.nat(200),
      attempts: fc.nat(400),
      contended: fc.nat(400),
      rollbacks: fc.nat(50),
      reconnections: fc.nat(50),
    })
    .map((fields) => operations(fields))
  const up = fc.record({ knownMinutes: fc.nat(60), upMinutes: fc.nat(60) })
  const recent: fc.Arbitrary<Recent> = fc
    .record({
      operations: fc.record({ fiveMinutes: ops, halfHour: ops, hour: ops, sixHours: ops, threeDays: ops }),
      availability: fc.record({ hour: up, day: up, week: up, month: up }),
      batches: fc.record({
        count: fc.nat(100),
        rows: fc.nat(9_000),
        waitedMs: number,
        sourceLimited: fc.nat(100),
        sourceLimitedRows: fc.nat(9_000),
      }),
      latency: fc.constantFrom(null, { p50Ms: 0, p95Ms: 0, p99Ms: 0, count: 0 }, { p50Ms: 9, p95Ms: 900, p99Ms: 1e9, count: 50 }),
      counters: fc.constantFrom(null, recently().counters, {
        commits: 0,
        rollbacks: 0,
        deadlocks: 0,
        conflicts: 0,
        tempBytes: 0,
        blocksHit: 0,
        blocksRead: 0,
        sessionsLost: 0,
      }),
      parkedSinceMs: nullable,
      parkedHistory: fc.array(fc.record({ atMs: number, parked: fc.nat(9) }), { maxLength: 4 }),
      wasRestarted: fc.boolean(),
    })
    .map((fields) => recently(fields))

  const isExplained = ({ inhibitedBy }: { inhibitedBy?: string }) => inhibitedBy !== undefined

  it('names each finding once, worst first, gives no number that is none, and says what to do about each', () => {
    fc.assert(
      fc.property(seen, recent, (observation, remembered) => {
        const assessment = assess(observation, remembered, { settings })
        const { checks, score, status } = assessment
        const names = checks.map(fingerprintOf)
        expect(new Set(names).size).toBe(names.length)
        const order = checks.map((check) => (isExplained(check) ? 10 : 0) - rankOf(check.severity))
        expect(order).toEqual(order.toSorted((a, b) => a - b))
        // JSON has no NaN and no Infinity: they would come out as null
        expect(JSON.stringify(assessment)).toBe(JSON.stringify(JSON.parse(JSON.stringify(assessment))))
        for (const { value, limits, severity, action, message, inhibitedBy } of checks) {
          for (const figure of [value, limits?.warning, limits?.critical].filter((f) => typeof f === 'number'))
            expect(figure).toSatisfy(Number.isFinite)
          expect(`${message} ${action ?? ''}`).not.toMatch(/NaN|Infinity|undefined/)
          expect(severity === 'ok' || inhibitedBy !== undefined || (action ?? '').length > 0, message).toBe(true)
        }
        expect(score).toBeGreaterThanOrEqual(0)
        expect(score).toBeLessThanOrEqual(100)
        // what is explained decides nothing
        const decides = new Set(checks.filter((check) => !isExplained(check)).map(({ severity }) => severity))
        const worst = decides.has('critical') ? 'critical' : decides.has('warning') ? 'degraded' : undefined
        expect(worst ?? (status === 'unknown' ? 'unknown' : 'healthy')).toBe(status)
        // and what explains it is there, and fails itself
        for (const { inhibitedBy } of checks.filter(isExplained))
          expect(checks.some(({ id, severity }) => id === inhibitedBy && severity !== 'ok')).toBe(true)
      }),
      { numRuns: 150 },
    )
  })

  it('is never clear where it is a warning, critical or skipped', () => {
    fc.assert(
      fc.property(seen, recent, (observation, remembered) => {
        const bad = assess(observation, remembered, { settings }).checks.filter(({ severity }) => severity !== 'ok' && severity !== 'info')
        expect(bad.filter(({ isClear }) => isClear).map(fingerprintOf)).toEqual([])
      }),
      { numRuns: 100 },
    )
  })
})
