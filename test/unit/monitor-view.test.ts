import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { addTo, follow, type Growth, growthBetween, nothingYet, type Sample, sampleOf } from '../../cli/monitor-sample.ts'
import { alertLine, blockingTree, drawMonitor, type MonitorView, plainLine, sparkline, summaryLines } from '../../cli/monitor-view.ts'
import type { BlockedSession, BlockingSession } from '../../shared/health/observation.ts'
import { answering, away, lookedAtMs, observed, openBreaker, vitals } from '../support/observed.ts'

const waiter = (pid: number, blockedBy: readonly number[], fields: Partial<BlockedSession> = {}): BlockedSession => ({
  pid,
  waitMs: 1_400,
  lockType: 'relation',
  mode: 'RowExclusiveLock',
  relation: 'trades',
  blockedBy,
  application: 'etl',
  query: null,
  ...fields,
})
const root = (pid: number, fields: Partial<BlockingSession> = {}): BlockingSession => ({
  pid,
  state: 'idle in transaction',
  application: 'psql',
  query: 'lock table trades',
  transactionMs: 12_000,
  isRoot: true,
  ...fields,
})

const sample = (fields: Partial<Sample> = {}): Sample => ({
  atMs: lookedAtMs,
  isUp: true,
  problem: null,
  connectMs: 3.1,
  queryMs: 8.25,
  lockWaitMs: 0,
  waiting: 0,
  sessionsUsed: 7,
  sessionsUsable: 97,
  transactionsPerS: 12.5,
  cacheHitShare: 0.9988,
  oldestTransactionMs: 12,
  circuit: 'CLOSED',
  parked: 0,
  ...fields,
})
const down = (fields: Partial<Sample> = {}) =>
  sample({
    isUp: false,
    problem: 'connect ECONNREFUSED 127.0.0.1:5432 (refused)',
    connectMs: null,
    queryMs: null,
    lockWaitMs: null,
    waiting: null,
    sessionsUsed: null,
    sessionsUsable: null,
    transactionsPerS: null,
    cacheHitShare: null,
    oldestTransactionMs: null,
    circuit: 'OPEN',
    parked: 12,
    ...fields,
  })
const thresholds = { lockWaitMs: 500, queryMs: 200 }

describe('a sample', () => {
  it('has rates only against a look before, and of the same server', () => {
    const before = vitals()
    const now = vitals({
      server: { ...before.server, nowMs: lookedAtMs + 2_000 },
      counters: { ...before.counters, commits: 1_020, rollbacks: 5, blocksHit: 90_990, blocksRead: 1_010, deadlocks: 1, tempBytes: 64 },
    })
    const growth: Growth = { commits: 20, rollbacks: 3, deadlocks: 1, tempBytes: 64, blocksHit: 990, blocksRead: 10, forMs: 2_000 }
    expect(growthBetween(before, now)).toEqual(growth)
    expect(growthBetween(null, now)).toBe(null)
    expect(growthBetween(before, { ...now, server: { ...now.server, startedAtMs: lookedAtMs } })).toBe(null)
    expect(growthBetween(before, { ...now, counters: { ...now.counters, statsResetAtMs: lookedAtMs } })).toBe(null)
    expect(growthBetween(now, before)).toBe(null)
    expect(sampleOf({ observation: observed() }, growth)).toMatchObject({ transactionsPerS: 11.5, cacheHitShare: 0.99 })
    expect(sampleOf({ observation: observed() }, null)).toMatchObject({ transactionsPerS: null, cacheHitShare: null })
  })

  it('of a database that is away knows nothing but why, and what the state table says', () => {
    const seen = observed({ database: away, breaker: openBreaker(), parked: 12 })
    expect(sampleOf({ observation: seen }, null)).toEqual(down())
    expect(sampleOf({ observation: observed({ database: away, stateAnswers: false, parked: undefined }) }, null)).toEqual(
      down({ circuit: null, parked: null }),
    )
  })

  it('of vitals that may not be read is up, and says what was not seen', () => {
    const seen = observed({ database: answering({}, { vitals: { unseen: 'the role lacks a privilege: x' } }) })
    expect(sampleOf({ observation: seen }, null)).toMatchObject({
      isUp: true,
      problem: 'the role lacks a privilege: x',
      queryMs: 8,
      lockWaitMs: null,
      sessionsUsed: null,
    })
  })

  it('has the longest wait of all, and 0 when nobody waits', () => {
    const blocked = [waiter(11, [10], { waitMs: 700 }), waiter(12, [10], { waitMs: 900 })]
    const seen = observed({ database: answering({ blocked, blockedCount: 2 }) })
    expect(sampleOf({ observation: seen }, null)).toMatchObject({ lockWaitMs: 900, waiting: 2 })
    expect(sampleOf({ observation: observed() }, null)).toMatchObject({ lockWaitMs: 0, waiting: 0 })
  })
})

describe('a threshold', () => {
  const at = (s: number, fields: Partial<Sample>) => sample({ atMs: lookedAtMs + s * 1_000, ...fields })

  it('begins above it, is not repeated, ends at it, and keeps its worst', () => {
    const began = follow({}, at(0, { lockWaitMs: 501 }), thresholds)
    expect(began.news).toEqual([{ what: 'lock wait', state: 'began', atMs: lookedAtMs, sinceMs: lookedAtMs, worstMs: 501 }])
    const stands = follow(began.raised, at(2, { lockWaitMs: 2_501 }), thresholds)
    expect(stands.news).toEqual([])
    const better = follow(stands.raised, at(3, { lockWaitMs: 700 }), thresholds)
    const ended = follow(better.raised, at(4, { lockWaitMs: 500 }), thresholds)
    expect(ended).toEqual({
      raised: {},
      news: [{ what: 'lock wait', state: 'ended', atMs: lookedAtMs + 4_000, sinceMs: lookedAtMs, worstMs: 2_501 }],
    })
    expect(follow({}, at(0, { lockWaitMs: 500, queryMs: 200 }), thresholds)).toEqual({ raised: {}, news: [] })
  })

  it('of what can not be seen stays as it is: a database that goes away does not end a lock wait', () => {
    const began = follow({}, at(0, { lockWaitMs: 900, queryMs: 201 }), thresholds)
    const gone = follow(began.raised, down({ atMs: lookedAtMs + 2_000 }), thresholds)
    expect(gone.news.map(({ what, state }) => [what, state])).toEqual([['away', 'began']])
    expect(Object.keys(gone.raised)).toEqual(['away', 'lock wait', 'query time'])
    const back = follow(gone.raised, at(4, {}), thresholds)
    expect(back.raised).toEqual({})
    expect(back.news.map(({ what, state }) => [what, state])).toEqual([
      ['away', 'ended'],
      ['lock wait', 'ended'],
      ['query time', 'ended'],
    ])
  })

  it('says when it begins and at whose root, and when it is over', () => {
    const seen = { sample: sample(), vitals: vitals({ blockers: [root(801)] }) }
    const news = { what: 'lock wait', atMs: lookedAtMs + 4_000, sinceMs: lookedAtMs, worstMs: 2_501 } as const
    expect(alertLine({ ...news, state: 'began' }, thresholds, seen)).toBe(
      '06:45:04 ALERT lock wait 2.5 s is above 500 ms; pid 801 (psql) holds it, idle in transaction, in a transaction for 12 s: lock table trades',
    )
    expect(alertLine({ ...news, state: 'ended' }, thresholds, seen)).toBe('06:45:04 over: lock wait after 4 s, at most 2.5 s')
    const gone = { what: 'away', atMs: lookedAtMs + 4_000, sinceMs: lookedAtMs, worstMs: 4_000 } as const
    expect(alertLine({ ...gone, state: 'began' }, thresholds, { sample: down(), vitals: null })).toBe(
      '06:45:04 ALERT the database does not answer: connect ECONNREFUSED 127.0.0.1:5432 (refused)',
    )
    expect(alertLine({ ...gone, state: 'ended' }, thresholds, seen)).toBe('06:45:04 over: the database answers again after 4 s')
  })
})

describe('the tree of locks', () => {
  it('has who holds them at its root, and each session once', () => {
    const blocked = [
      waiter(11, [10], { waitMs: 9_000 }),
      waiter(12, [11], { waitMs: 400, mode: 'ShareLock', relation: null, query: 'update trades' }),
      waiter(13, [10, 11], { waitMs: 80 }),
    ]
    expect(blockingTree({ blocked, blockers: [root(10), root(11, { isRoot: false })] })).toEqual([
      'pid 10 (psql) holds it, idle in transaction, in a transaction for 12 s: lock table trades',
      '├─ pid 11 (etl) waits 9 s for RowExclusiveLock on trades',
      '│  └─ pid 12 (etl) waits 400 ms for ShareLock: update trades',
      '└─ pid 13 (etl) waits 80 ms for RowExclusiveLock on trades',
    ])
  })

  it('ends, also when sessions wait for each other in a circle', () => {
    const blocked = [waiter(11, [12], { waitMs: 900 }), waiter(12, [11], { waitMs: 800 })]
    expect(blockingTree({ blocked, blockers: [] })).toEqual([
      'pid 11 (etl) waits 900 ms for RowExclusiveLock on trades, behind 12',
      '└─ pid 12 (etl) waits 800 ms for RowExclusiveLock on trades',
    ])
  })

  it('names a prepared transaction, which has no session', () => {
    const prepared = root(0, { state: null, application: null, query: null, transactionMs: null })
    expect(blockingTree({ blocked: [waiter(11, [0], { application: null })], blockers: [prepared] })).toEqual([
      'a prepared transaction holds it, state hidden',
      '└─ pid 11 waits 1.4 s for RowExclusiveLock on trades',
    ])
  })
})

describe('a line of bars', () => {
  it.each([
    [[0, 0, 0], '▁▁▁'],
    [[1, 4, 8], '▂▅█'],
    [[8, null, 0], '█ ▁'],
    [[], ''],
    [[null], ' '],
  ])('%j is "%s"', (values, line) => expect(sparkline(values)).toBe(line))
})

describe('the panes', () => {
  const report: NonNullable<MonitorView['report']> = {
    status: 'DEGRADED',
    message: '3 sessions wait for locks.',
    serverInfo: {
      version: '18.4',
      database: 'postgres',
      role: 'tokay',
      flavor: 'pg',
      started_at: '2025-09-12T06:45:00.000Z',
      uptime_s: 259_200,
      notes: [],
    },
    metrics: { availability: 0.998, availability_30d: 0.9991 } as NonNullable<MonitorView['report']>['metrics'],
  }
  const blocked = [waiter(11, [10], { waitMs: 9_000, query: 'insert into trades' }), waiter(12, [11], { waitMs: 400 })]
  const view = (fields: Partial<MonitorView> = {}): MonitorView => ({
    title: 'live: Postgres at 127.0.0.1:5432 (DATABASE_URL)',
    samples: [sample({ queryMs: 4, lockWaitMs: 4_500, transactionsPerS: null }), sample({ lockWaitMs: 9_000, waiting: 2 })],
    vitals: vitals({ blocked, blockedCount: 3, blockers: [root(10)] }),
    report,
    raised: { 'lock wait': { sinceMs: lookedAtMs, worstMs: 9_000 } },
    thresholds,
    alerts: { away: 0, 'lock wait': 1, 'query time': 2 },
    everyMs: 2_000,
    isPaused: false,
    ...fields,
  })
  const drawn = (fields: Partial<MonitorView> = {}, size = { width: 120, rows: 50 }) =>
    stripVTControlCharacters(drawMonitor(view(fields), size)).split('\n')

  it('show the server, the figures with their lines, who waits, who blocks whom, and the keys', () => {
    expect(drawn()).toEqual([
      'live: Postgres at 127.0.0.1:5432 (DATABASE_URL)   06:45:00 UTC',
      'PostgreSQL 18.4 (pg), up since 2025-09-12 06:45 UTC, oldest transaction 12 ms',
      'sessions 7 of 97, 12.5 transactions/s, cache hit 99.88 %',
      'circuit closed, parked 0, availability 99.8 % of 1 h, 99.91 % of 30 days, alerts 3 (now: lock wait)',
      'DEGRADED  3 sessions wait for locks.',
      '',
      `query        8.3 ms  ▄█${' '.repeat(58)}  most 8.3 ms  alert above 200 ms`,
      `connect      3.1 ms  ██${' '.repeat(58)}  most 3.1 ms`,
      `lock wait       9 s  ▅█${' '.repeat(58)}  most 9 s  alert above 500 ms`,
      `sessions          7  ██${' '.repeat(58)}  most 7`,
      `tx/s           12.5   █${' '.repeat(58)}  most 12.5`,
      `parked            0  ▁▁${' '.repeat(58)}  most 0`,
      '',
      '3 sessions waiting',
      '       9 s  pid 11 (etl) waits for RowExclusiveLock on trades: insert into trades',
      '    400 ms  pid 12 (etl) waits for RowExclusiveLock on trades',
      '  and 1 more',
      '',
      'who blocks whom',
      '  pid 10 (psql) holds it, idle in transaction, in a transaction for 12 s: lock table trades',
      '  └─ pid 11 (etl) waits 9 s for RowExclusiveLock on trades: insert into trades',
      '     └─ pid 12 (etl) waits 400 ms for RowExclusiveLock on trades',
      '',
      'space pauses, q quits   a look every 2 s: what is shorter may lie between two and is not seen',
    ])
  })

  it('fit any terminal: what does not fit is left out from the middle, the keys stay', () => {
    for (const width of [40, 80, 120])
      for (const rows of [18, 24, 30]) {
        const lines = drawn({}, { width, rows })
        expect(Math.max(...lines.map((line) => line.length)), `at ${width}`).toBeLessThanOrEqual(width)
        expect(lines.length, `of ${rows}`).toBeLessThan(rows)
        expect(lines.at(-1)).toContain('space pauses')
      }
    expect(drawn({}, { width: 80, rows: 5 })).toHaveLength(4)
  })

  it('say that it is paused, that the database is down, and before the first look that there is none', () => {
    const paused = drawn({ isPaused: true })
    expect([paused[0], paused.at(-1)]).toEqual([expect.stringMatching(/ {3}paused$/), expect.stringMatching(/^space goes on, q quits/)])
    const gone = drawn({ samples: [down()], vitals: null, report: { ...report, serverInfo: null } })
    expect(gone[1]).toBe('DOWN: connect ECONNREFUSED 127.0.0.1:5432 (refused)')
    expect(gone[3]).toContain('circuit open, parked 12')
    expect(gone.join('\n')).not.toContain('waits for a lock')
    const first = drawn({ samples: [], vitals: null, report: undefined, raised: {} })
    expect(first[1]).toBe('the first look is under way')
  })

  it('are not steered by what a session calls itself or asks', () => {
    const nasty = waiter(11, [10], { application: '\u001b[2Jx', query: 'select\n\u009b31m1', relation: 'a\u0007b' })
    const lines = drawn({ vitals: vitals({ blocked: [nasty], blockedCount: 1, blockers: [root(10, { query: '\u001b]0;x\u0007' })] }) })
    expect(lines.join('\n')).not.toMatch(/[^\P{Cc}\n]/u)
  })
})

describe('where no terminal is', () => {
  it('a sample is one line', () => {
    expect(plainLine(sample())).toBe(
      '06:45:00 up, query 8.3 ms, lock wait 0 ms, waiting 0, sessions 7 of 97, tx/s 12.5, hit 99.88 %, circuit closed, parked 0',
    )
    expect(plainLine(down({ problem: 'a\nb' }))).toBe('06:45:00 DOWN a b, circuit open, parked 12')
    expect(plainLine(sample({ problem: 'no privilege', lockWaitMs: null, circuit: null, parked: null }))).toBe(
      '06:45:00 up, query 8.3 ms, lock wait -, waiting 0, sessions 7 of 97, tx/s 12.5, hit 99.88 %, circuit -, parked -, not seen: no privilege',
    )
  })

  it('the summary has least, average and most of what was known, the alerts, and what the server counted', () => {
    const growth: Growth = { commits: 20, rollbacks: 1, deadlocks: 0, tempBytes: 2_048, blocksHit: 1, blocksRead: 1, forMs: 2_000 }
    const began = follow({}, sample({ lockWaitMs: 900 }), thresholds).news
    const first = addTo(nothingYet, sample({ queryMs: 2, lockWaitMs: 900 }), null, began)
    const second = addTo(first, sample({ queryMs: 10 }), growth, [])
    const all = addTo(second, down(), null, [])
    expect(summaryLines(all, { forMs: 6_000, everyMs: 2_000 })).toEqual([
      '3 samples in 6 s, the database answered 2 of them',
      '                 min       avg       max',
      'query           2 ms      6 ms     10 ms',
      'connect       3.1 ms    3.1 ms    3.1 ms',
      'lock wait       0 ms    450 ms    900 ms',
      'sessions           7         7         7',
      'tx/s            12.5      12.5      12.5',
      'parked             0         4        12',
      'alerts: lock wait 1',
      'meanwhile the server counted 20 commits, 1 rollback, 0 deadlocks, 2 kB of temporary files',
      'what is shorter than 2 s may lie between two looks: it is in the counts of the server, not in the figures above',
    ])
    expect(summaryLines(nothingYet, { forMs: 0, everyMs: 2_000 })[0]).toBe('0 samples in 0 ms, the database answered none of them')
  })
})
