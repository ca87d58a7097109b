import { describe, expect, it } from 'vitest'
import { decideAlerts, markSent, quiet, type AlertState } from '../../shared/health/alert.ts'
import { assess, type Assessment } from '../../shared/health/assess.ts'
import { checkHealth, type HealthTools } from '../../shared/health/check-health.ts'
import type { Metric } from '../../shared/health/metrics.ts'
import type { AlertMessage } from '../../shared/health/notifier.ts'
import { probe, type Observation } from '../../shared/health/probe.ts'
import type { CollectorState } from '../../shared/state/claim.ts'
import { createMemoryState, createRecordedLog, type MemoryState, type RecordedLog } from '../support/collect-tools.ts'
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts'
import { createFakeDatabase, unreachable } from '../support/fake-database.ts'
import { createMemoryParkedWrites, parkedWrite, type MemoryParkedWrites } from '../support/memory-parked-writes.ts'
import { dex } from '../support/rows.ts'

/** The minute at which the incident of 2025 began. */
const startAtMs = Date.parse('2025-09-15T06:45:00Z')
const minuteMs = 60_000

const seen = (fields: Partial<Observation> = {}): Observation => ({
  atMs: startAtMs,
  database: { answers: true, latencyMs: 4 },
  breaker: undefined,
  lockedSinceMs: {},
  parked: 0,
  stateAnswers: true,
  collectors: {},
  ...fields,
})
const openBreaker: Observation['breaker'] = {
  state: 'open',
  epoch: 1,
  openedAtMs: startAtMs,
  retryAtMs: startAtMs,
  streak: 1,
  token: null,
  reason: null,
}
const collectorState = (fields: Partial<CollectorState>): CollectorState => ({
  nextDueAtMs: 0,
  intervalFactor: 1,
  fetchFailures: 0,
  cooldownUntilMs: null,
  cursor: null,
  lastSuccessAtMs: null,
  lastOutcome: null,
  lastRunId: null,
  ...fields,
})
const away: Observation['database'] = { answers: false, failure: 'connection', message: 'connect ECONNREFUSED 127.0.0.1:5432' }
const paused = collectorState({ fetchFailures: 5, cooldownUntilMs: startAtMs + 1 })

describe('what an observation means', () => {
  it.each<[string, Partial<Observation>, Assessment['status'], readonly string[]]>([
    ['all is well', {}, 'healthy', []],
    ['a closed breaker with a failure behind it', { breaker: { state: 'closed', epoch: 2, failedAtMs: [startAtMs] } }, 'healthy', []],
    ['the database does not answer', { database: away }, 'critical', ['critical database-unreachable']],
    ['it does not answer and the circuit is open', { database: away, breaker: openBreaker }, 'critical', ['critical database-unreachable']],
    ['it answers, and the circuit is open', { breaker: openBreaker }, 'critical', ['critical circuit-open']],
    ['a table is locked for a moment', { lockedSinceMs: { trades: startAtMs - 119_999 } }, 'degraded', ['warning table-locked:trades']],
    ['a table is locked for long', { lockedSinceMs: { trades: startAtMs - 120_000 } }, 'critical', ['critical table-locked:trades']],
    ['a batch waits', { parked: 1 }, 'degraded', ['warning writes-parked']],
    ['nobody can say how many wait', { parked: undefined }, 'degraded', ['warning parked-unknown']],
    ['the state table does not answer', { stateAnswers: false }, 'degraded', ['warning state-unreachable']],
    ['a collector pauses', { collectors: { trades: paused } }, 'degraded', ['warning collector-cooldown:trades']],
    [
      "a collector's pause is over",
      { collectors: { trades: collectorState({ fetchFailures: 5, cooldownUntilMs: startAtMs }) } },
      'healthy',
      [],
    ],
    ['a collector failed, and goes on', { collectors: { trades: collectorState({ fetchFailures: 4 }) } }, 'healthy', []],
    [
      'everything at once',
      { database: away, breaker: openBreaker, parked: 7, stateAnswers: false, collectors: { dexes: paused, trades: paused } },
      'critical',
      [
        'critical database-unreachable',
        'warning writes-parked',
        'warning state-unreachable',
        'warning collector-cooldown:dexes',
        'warning collector-cooldown:trades',
      ],
    ],
  ])('%s', (_, fields, status, findings) => {
    const assessment = assess(seen(fields))
    expect(assessment.status).toBe(status)
    expect(assessment.findings.map((f) => `${f.severity} ${f.check}`)).toEqual(findings)
    for (const { message, action } of assessment.findings)
      expect([message, action]).toEqual([expect.stringMatching(/\.$/), expect.stringMatching(/\.$/)])
  })

  it('a finding says what was seen', () => {
    const messages = (fields: Partial<Observation>) => assess(seen(fields)).findings.map((f) => f.message)
    expect(messages({ database: away })).toEqual(['The database does not answer: connect ECONNREFUSED 127.0.0.1:5432 (connection).'])
    expect(messages({ parked: 7 })).toEqual(['7 batches wait to be written.'])
    expect(messages({ parked: 1 })).toEqual(['1 batch waits to be written.'])
    expect(messages({ collectors: { trades: paused } })).toEqual([
      'Collector trades failed 5 times in a row to fetch or read its data; it pauses.',
    ])
  })
})

describe('when somebody is told', () => {
  const healthy = assess(seen())
  const critical = assess(seen({ database: away, breaker: openBreaker }))
  const stillParked = assess(seen({ parked: 3 }))

  /** An engine whose messages are all sent; it answers the subjects of what it told at that minute. */
  function engine() {
    let state: AlertState | undefined
    return (minute: number, assessment: Assessment): readonly string[] => {
      const decided = decideAlerts(state, { assessment, nowMs: startAtMs + minute * minuteMs, system: 'tokay-prod' })
      state = decided.data ?? state
      state = markSent(state, decided.result).data
      return decided.result.map((message) => message.subject)
    }
  }

  it('once when the first critical finding appears, once when all is well again, and never in between', () => {
    const tell = engine()
    expect(tell(0, healthy)).toEqual([])
    expect(tell(1, critical)).toEqual(['[CRITICAL] tokay-prod: database unreachable'])
    for (let minute = 2; minute < 26; minute++) expect(tell(minute, critical), `minute ${minute}`).toEqual([])
    // back, but not everything is written: the phone stays quiet
    expect(tell(26, stillParked)).toEqual([])
    expect(tell(27, critical)).toEqual([])
    expect(tell(28, stillParked)).toEqual([])
    expect(tell(29, healthy)).toEqual(['[RECOVERED] tokay-prod: healthy again after 28 min'])
    expect(tell(30, healthy)).toEqual([])
    expect(tell(31, critical)).toEqual(['[CRITICAL] tokay-prod: database unreachable'])
  })

  it('a warning alone tells nobody, neither when it comes nor when it goes', () => {
    const tell = engine()
    expect([tell(0, stillParked), tell(1, stillParked), tell(2, healthy)]).toEqual([[], [], []])
  })

  it('the first message says what, since when, and what to do; the second how long it was', () => {
    const { data, result } = decideAlerts(undefined, { assessment: critical, nowMs: startAtMs, system: 'tokay-prod' })
    expect(result).toEqual([
      {
        severity: 'critical',
        subject: '[CRITICAL] tokay-prod: database unreachable',
        email: [
          'tokay-prod: database unreachable, since 2025-09-15T06:45:00.000Z.',
          '',
          '- The database does not answer: connect ECONNREFUSED 127.0.0.1:5432 (connection).',
          '  Do: Check the status of the Postgres host or provider. Nothing is lost: batches are parked and written when it is back.',
        ].join('\n'),
        sms: 'CRIT tokay-prod: database unreachable. Writes are parked, nothing is lost. Check Postgres.',
      },
    ])
    const over = decideAlerts(markSent(data, result).data, { assessment: healthy, nowMs: startAtMs + 45_000, system: 'tokay-prod' })
    expect(over.result.map((message) => message.sms)).toEqual(['OK tokay-prod: healthy again after 45 s. No write waits any more.'])
  })

  it('what is being sent is left to its sender, and taken up by the next one when that one is lost', () => {
    const now = (afterMs: number) => ({ assessment: critical, nowMs: startAtMs + afterMs, system: 'tokay-prod' })
    const first = decideAlerts(undefined, now(0))
    expect(first.result).toHaveLength(1)
    expect(decideAlerts(first.data, now(29_999))).toEqual({ data: undefined, result: [] })
    const next = decideAlerts(first.data, now(30_000))
    expect(next.result).toEqual(first.result)
    expect(decideAlerts(next.data, now(30_001)).result).toEqual([])
    expect(markSent(next.data, next.result).data).toEqual({ alertingSinceMs: startAtMs, outbox: [] })
  })

  it('a sender of the time before the clock jumped back holds nothing', () => {
    const now = (atMs: number) => ({ assessment: critical, nowMs: atMs, system: 'tokay-prod' })
    const first = decideAlerts(undefined, now(startAtMs))
    expect(decideAlerts(first.data, now(startAtMs - 60 * minuteMs)).result).toEqual(first.result)
  })

  it('a recovery that is decided while the alarm is still being sent does not send the alarm again', () => {
    const first = decideAlerts(undefined, { assessment: critical, nowMs: startAtMs, system: 'tokay-prod' })
    const second = decideAlerts(first.data, { assessment: healthy, nowMs: startAtMs + 10_000, system: 'tokay-prod' })
    expect(second.result.map((message) => message.subject)).toEqual(['[RECOVERED] tokay-prod: healthy again after 10 s'])
    expect(markSent(second.data, second.result).data?.outbox.map(({ message }) => message)).toEqual(first.result)
  })

  it('nothing to tell changes nothing', () => {
    expect(decideAlerts(undefined, { assessment: healthy, nowMs: startAtMs, system: 'tokay-prod' })).toEqual({
      data: undefined,
      result: [],
    })
    expect(quiet).toEqual({ alertingSinceMs: null, outbox: [] })
  })
})

type Setup = Omit<HealthTools, 'state' | 'parked' | 'log' | 'clock'> & {
  readonly state: MemoryState
  readonly parked: MemoryParkedWrites
  readonly log: RecordedLog
  readonly clock: FakeClock
  readonly told: AlertMessage[]
  readonly metrics: (readonly Metric[])[]
}

/** A health check over a database that does, or does not, answer. */
function createSetup(fields: Partial<HealthTools> = {}): Setup {
  const told: AlertMessage[] = []
  const metrics: (readonly Metric[])[] = []
  return {
    state: createMemoryState(),
    parked: createMemoryParkedWrites(),
    log: createRecordedLog(),
    clock: createFakeClock(startAtMs),
    told,
    metrics,
    database: createFakeDatabase([{ ok: 1 }]),
    notifier: { publish: async (message) => void told.push(message) },
    publishMetrics: async (values) => void metrics.push(values),
    random: () => 0,
    system: 'tokay-prod',
    ...fields,
  } as Setup
}
const outage = (fields: Partial<HealthTools> = {}) => createSetup({ database: createFakeDatabase(unreachable()), ...fields })
const subjects = (setup: Setup) => setup.told.map((message) => message.subject)
const outboxOf = async (setup: Setup) => ((await setup.state.data('alerts')) as AlertState | undefined)?.outbox

const alarm = '[CRITICAL] tokay-prod: database unreachable'

describe('a probe', () => {
  it('sees what answers, and how long the database took', async () => {
    const setup = createSetup({ parked: createMemoryParkedWrites(parkedWrite('a', { dexes: [dex()] })) })
    await setup.state.compareAndSet('breaker:database', 0, openBreaker)
    await setup.state.compareAndSet('breaker:stream:trades', 0, openBreaker)
    await setup.state.compareAndSet('breaker:stream:pools', 0, { state: 'closed', epoch: 2, failedAtMs: [] })
    await setup.state.compareAndSet('collector:trades', 0, paused)
    const database = createFakeDatabase(() => {
      setup.clock.advance(12)
      return []
    })
    expect(await probe({ ...setup, database })).toEqual(
      seen({
        atMs: startAtMs + 12,
        database: { answers: true, latencyMs: 12 },
        breaker: openBreaker,
        lockedSinceMs: { trades: startAtMs },
        parked: 1,
        collectors: { trades: paused },
      }),
    )
  })

  it('never throws: what does not answer is what it reports', async () => {
    const setup = outage()
    setup.parked.failing.set('depth', new Error('the queue does not answer'))
    setup.state.away = new Error('the state table does not answer')
    expect(await probe(setup)).toEqual(
      seen({
        database: { answers: false, failure: 'connection', message: 'connect: connect ECONNREFUSED 127.0.0.1:5432' },
        parked: undefined,
        stateAnswers: false,
      }),
    )
  })
})

describe('a health check', () => {
  it('reports, publishes one metric, and tells nobody while all is well', async () => {
    const setup = createSetup()
    expect(await checkHealth(setup)).toEqual({
      status: 'healthy',
      checkedAt: '2025-09-15T06:45:00.000Z',
      databaseMs: 0,
      parked: 0,
      findings: [],
    })
    expect(setup.metrics).toEqual([[{ name: 'DatabaseAvailable', value: 1, unit: 'Count' }]])
    expect(setup.told).toEqual([])
    expect(await setup.state.list()).toEqual([])
  })

  it('tells once that the database is away, and publishes that each time', async () => {
    const setup = outage()
    expect(await checkHealth(setup)).toMatchObject({ status: 'critical', databaseMs: null, parked: 0 })
    setup.clock.advance(minuteMs)
    await checkHealth(setup)
    expect(subjects(setup)).toEqual([alarm])
    expect(setup.metrics.flat().map((metric) => metric.value)).toEqual([0, 0])
    expect(await outboxOf(setup)).toEqual([])
  })

  it('many at once tell once', async () => {
    const setup = outage()
    await Promise.all(Array.from({ length: 10 }, () => checkHealth({ ...setup, random: Math.random })))
    expect(subjects(setup)).toEqual([alarm])
  })

  it('one that begins while another is still sending does not send as well', async () => {
    const setup = outage()
    let send = () => {}
    const begun = new Promise<void>((resolve) => {
      setup.notifier.publish = async (message) => {
        setup.told.push(message)
        resolve()
        await new Promise<void>((done) => (send = done))
      }
    })
    const first = checkHealth(setup)
    await begun
    await checkHealth(setup)
    send()
    await first
    expect(subjects(setup)).toEqual([alarm])
    expect(await outboxOf(setup)).toEqual([])
  })

  it('finishes what one that crashed between deciding and sending has left', async () => {
    const setup = outage()
    const crash = new Promise<never>(() => {})
    void checkHealth({ ...setup, notifier: { publish: () => crash } })
    await expect.poll(async () => (await outboxOf(setup))?.length, { timeout: 1_000, interval: 1 }).toBe(1)
    setup.clock.advance(minuteMs)
    await checkHealth(setup)
    expect(subjects(setup)).toEqual([alarm])
    expect(await outboxOf(setup)).toEqual([])
  })

  it('an alert that could not be sent is sent by the next one', async () => {
    const setup = outage()
    const failing = { ...setup, notifier: { publish: () => Promise.reject(new Error('SNS does not answer')) } }
    await expect(checkHealth(failing)).rejects.toThrow('SNS does not answer')
    expect(setup.metrics).toHaveLength(1)
    setup.clock.advance(minuteMs)
    await checkHealth(setup)
    expect(subjects(setup)).toEqual([alarm])
  })

  it.each([
    ['rejects', () => Promise.reject(new Error('CloudWatch does not answer'))],
    [
      'throws',
      () => {
        throw new Error('CloudWatch does not answer')
      },
    ],
  ])('metrics that can not be published (it %s) stop no alert, and are told in the log with the report', async (_, publishMetrics) => {
    const setup = outage({ publishMetrics })
    await expect(checkHealth(setup)).rejects.toThrow('CloudWatch does not answer')
    expect(subjects(setup)).toEqual([alarm])
    expect(setup.log.named('health.unpublished')).toMatchObject([{ level: 'error', report: { status: 'critical' } }])
  })

  it('without the state table it tells rather than withholds, each time, and says why', async () => {
    const setup = outage()
    setup.state.away = new Error('the state table does not answer')
    for (let minute = 0; minute < 2; minute++) {
      expect(await checkHealth(setup)).toMatchObject({
        status: 'critical',
        findings: [{ check: 'database-unreachable' }, { check: 'state-unreachable' }],
      })
      setup.clock.advance(minuteMs)
    }
    expect(subjects(setup)).toEqual([alarm, alarm])
    expect(setup.log.named('alert-state.unreachable')).toHaveLength(2)
  })

  it('a state table that goes away between sending and noting it is no failure: the message went out', async () => {
    const setup = outage()
    setup.notifier.publish = async (message) => {
      setup.told.push(message)
      setup.state.away = new Error('the state table does not answer')
    }
    expect(await checkHealth(setup)).toMatchObject({ status: 'critical' })
    expect(setup.log.named('alert.unmarked')).toMatchObject([{ level: 'error' }])
  })

  it('tells the end only when nothing is parked any more', async () => {
    const setup = createSetup()
    await checkHealth({ ...setup, database: createFakeDatabase(unreachable()) })
    const waiting = { ...setup, parked: createMemoryParkedWrites(parkedWrite('a', { dexes: [dex()] })) }
    setup.clock.advance(25 * minuteMs)
    expect(await checkHealth(waiting)).toMatchObject({ status: 'degraded', parked: 1 })
    setup.clock.advance(minuteMs)
    expect(await checkHealth(setup)).toMatchObject({ status: 'healthy' })
    expect(subjects(setup)).toEqual([alarm, '[RECOVERED] tokay-prod: healthy again after 26 min'])
  })
})
