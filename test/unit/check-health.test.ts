import { describe, expect, it } from 'vitest'
import { parseSettings } from '../../shared/config.ts'
import type { AlertState } from '../../shared/health/alert/state.ts'
import { checkHealth, type HealthTools, reportHealth } from '../../shared/health/check-health.ts'
import type { Metric } from '../../shared/health/metrics.ts'
import type { AlertMessage } from '../../shared/health/alert/notifier.ts'
import type { IncidentRow, SampleRow } from '../../shared/model.ts'
import type { BreakerState } from '../../shared/resilience/circuit-breaker.ts'
import { createMemoryState, createRecordedLog, type MemoryState, type RecordedLog } from '../support/collect-tools.ts'
import { createFakeClock, type FakeClock } from '../support/fake-clock.ts'
import { createFakeDatabase, refused, unreachable } from '../support/fake-database.ts'
import { createMemoryParkedWrites, parkedWrite, type MemoryParkedWrites } from '../support/memory-parked-writes.ts'
import { dex } from '../support/rows.ts'

/** The minute at which the incident of 2025 began. */
const startAtMs = Date.parse('2025-09-15T06:45:00Z')
const minuteMs = 60_000
const down = '[CRITICAL] tokay-prod: database unreachable'

type Setup = Omit<HealthTools, 'state' | 'log' | 'clock' | 'openDatabase'> & {
  openDatabase: HealthTools['openDatabase']
  readonly state: MemoryState
  parked: MemoryParkedWrites
  readonly log: RecordedLog
  readonly clock: FakeClock
  readonly told: AlertMessage[]
  readonly metrics: Metric[]
  readonly samples: SampleRow[]
  readonly incidents: IncidentRow[]
}

/** It answers, and its vitals may not be read. */
const answers = () => createFakeDatabase([], refused('42501'))
const away = () => createFakeDatabase(unreachable())

function createSetup(fields: Partial<HealthTools> = {}): Setup {
  const told: AlertMessage[] = []
  const metrics: Metric[] = []
  const samples: SampleRow[] = []
  const incidents: IncidentRow[] = []
  return {
    state: createMemoryState(),
    parked: createMemoryParkedWrites(),
    log: createRecordedLog(),
    clock: createFakeClock(startAtMs),
    told,
    metrics,
    samples,
    incidents,
    openDatabase: answers,
    wakeForMs: 12_000,
    settings: parseSettings({ networks: ['solana'] }),
    notifier: { publish: async (message) => void told.push(message) },
    publishMetrics: async (values) => void metrics.push(...values),
    store: async (rows) => {
      samples.push(...rows.samples)
      incidents.push(...rows.incidents)
    },
    random: () => 0,
    system: 'tokay-prod',
    kept: {},
    ...fields,
  } as Setup
}
const outage = (fields: Partial<HealthTools> = {}) => createSetup({ openDatabase: away, ...fields })
const subjects = (setup: Setup) => setup.told.map((message) => message.subject)
const alertsOf = async (setup: Setup) => (await setup.state.data('alerts')) as AlertState | undefined
const openCircuit: BreakerState = {
  state: 'open',
  epoch: 1,
  openedAtMs: startAtMs - 1_000,
  retryAtMs: startAtMs + 5_000,
  streak: 1,
  token: null,
  reason: 'connection',
}

describe('a health check', () => {
  it('looks once, publishes, keeps a sample, and tells nobody while all is well', async () => {
    const setup = createSetup()
    expect(await checkHealth(setup)).toMatchObject({ status: 'HEALTHY', checkedAt: '2025-09-15T06:45:00.000Z' })
    expect(setup.clock.sleptMs).toEqual([])
    expect(setup.metrics.filter(({ name }) => name === 'Heartbeat')).toEqual([{ name: 'Heartbeat', unit: 'Count', value: 1 }])
    expect(setup.samples).toHaveLength(1)
    expect(setup.told).toEqual([])
    expect((await setup.state.list()).map(({ key }) => key)).toEqual(['health'])
  })

  it('finds an outage within one run: three looks, 3 s apart', async () => {
    const setup = outage()
    expect(await checkHealth(setup)).toMatchObject({ status: 'CRITICAL' })
    expect(setup.clock.sleptMs).toEqual([3_000, 3_000])
    expect(subjects(setup)).toEqual([down])
    expect(setup.samples.map(({ isUp }) => isUp)).toEqual([false, false, false])
  })

  it('an open circuit is a second witness: one look is enough', async () => {
    const setup = outage()
    await setup.state.compareAndSet('breaker:database', 0, openCircuit)
    await checkHealth(setup)
    expect(setup.clock.sleptMs).toEqual([])
    expect(subjects(setup)).toEqual([down])
  })

  it('one failed look is told to nobody when the next one is well', async () => {
    const databases = [away, answers]
    const setup = createSetup({ openDatabase: () => (databases.shift() ?? answers)() })
    await checkHealth(setup)
    expect(setup.clock.sleptMs).toEqual([3_000])
    expect(setup.told).toEqual([])
  })

  it('tells once, looks once a minute while it goes on, and tells its end within the run that finds everything written', async () => {
    const setup = outage()
    await checkHealth(setup)
    for (let minute = 1; minute < 25; minute++) {
      setup.clock.advance(minuteMs)
      await checkHealth(setup)
    }
    expect(setup.clock.sleptMs).toHaveLength(2)
    setup.openDatabase = answers
    setup.parked = createMemoryParkedWrites(parkedWrite('a', { dexes: [dex()] }))
    setup.clock.advance(minuteMs)
    await checkHealth(setup)
    expect(subjects(setup)).toEqual([down])
    setup.parked = createMemoryParkedWrites()
    setup.clock.advance(minuteMs)
    await checkHealth(setup)
    expect(subjects(setup)).toEqual([down, '[RECOVERED] tokay-prod: database unreachable, over after 25 min'])
  })

  it('the recovery has the incident report with it, which is stored as well', async () => {
    const setup = outage()
    await setup.state.compareAndSet('breaker:database', 0, openCircuit)
    await checkHealth(setup)
    setup.clock.advance(25 * minuteMs)
    await setup.state.compareAndSet('breaker:database', 1, { state: 'closed', epoch: 170, failedAtMs: [] })
    setup.openDatabase = answers
    await checkHealth(setup)
    expect(setup.told[1]?.email).toContain('Circuit: opened once, 168 probes failed, closed after 25 min.')
    expect(setup.told[1]?.email).toContain('Rows lost: 0.')
    expect(setup.incidents).toHaveLength(1)
    expect(setup.incidents[0]?.startedAtMs).toBe(startAtMs - 1_000)
    expect(JSON.parse(setup.incidents[0]?.report ?? '')).toMatchObject({ class: 'refused', detected_after_ms: 1_000, rows_lost: 0 })
  })

  it('many at once tell once', async () => {
    const setup = outage()
    await Promise.all(Array.from({ length: 10 }, () => checkHealth({ ...setup, kept: {}, random: Math.random })))
    expect(subjects(setup)).toEqual([down])
    setup.openDatabase = answers
    setup.clock.advance(25 * minuteMs)
    await Promise.all(Array.from({ length: 10 }, () => checkHealth({ ...setup, kept: {}, random: Math.random })))
    expect(subjects(setup)).toEqual([down, expect.stringMatching(/^\[RECOVERED\]/)])
  })

  it('one that begins while another is still sending does not send as well', async () => {
    const setup = outage()
    let send = () => {}
    const begun = Promise.withResolvers<void>()
    const publish = async (message: AlertMessage) => {
      setup.told.push(message)
      begun.resolve()
      await new Promise<void>((done) => (send = done))
    }
    const first = checkHealth({ ...setup, notifier: { publish } })
    await begun.promise
    await checkHealth(setup)
    send()
    await first
    expect(subjects(setup)).toEqual([down])
    expect((await alertsOf(setup))?.outbox).toEqual([])
  })

  it('finishes what one that crashed between deciding and sending has left', async () => {
    const setup = outage()
    const crashed = Promise.withResolvers<void>()
    const publish = () => {
      crashed.resolve()
      return new Promise<never>(() => {})
    }
    void checkHealth({ ...setup, notifier: { publish } })
    await crashed.promise
    setup.clock.advance(minuteMs)
    await checkHealth(setup)
    expect(subjects(setup)).toEqual([down])
    expect((await alertsOf(setup))?.outbox).toEqual([])
  })

  it('an alert that could not be sent is sent by the next one', async () => {
    const setup = outage()
    await expect(checkHealth({ ...setup, notifier: { publish: () => Promise.reject(new Error('SNS does not answer')) } })).rejects.toThrow(
      'SNS does not answer',
    )
    expect(setup.metrics.length).toBeGreaterThan(0)
    setup.clock.advance(minuteMs)
    await checkHealth(setup)
    expect(subjects(setup)).toEqual([down])
  })

  it.each([
    ['rejects', () => Promise.reject(new Error('CloudWatch does not answer'))],
    [
      'throws',
      () => {
        throw new Error('CloudWatch does not answer')
      },
    ],
  ])(
    'metrics that can not be published (it %s) stop neither alert nor sample, and are told in the log with the report',
    async (_, publishMetrics) => {
      const setup = outage({ publishMetrics })
      await expect(checkHealth(setup)).rejects.toThrow('CloudWatch does not answer')
      expect(subjects(setup)).toEqual([down])
      expect(setup.samples).toHaveLength(3)
      expect(setup.log.named('health.unpublished')).toMatchObject([{ level: 'error', report: { status: 'CRITICAL' } }])
    },
  )

  it('without the state table a process tells once, another one as well, and both say why', async () => {
    const setup = outage()
    setup.state.away = new Error('the state table does not answer')
    for (let minute = 0; minute < 3; minute++) {
      expect(await checkHealth(setup)).toMatchObject({ status: 'CRITICAL' })
      setup.clock.advance(minuteMs)
    }
    expect(subjects(setup)).toEqual([down])
    await checkHealth({ ...setup, kept: {} })
    expect(subjects(setup)).toEqual([down, down])
    expect(setup.log.named('alert-state.unreachable')).toHaveLength(4)
    setup.clock.advance(30 * minuteMs)
    await checkHealth(setup)
    expect(subjects(setup).at(-1)).toBe('[STILL CRITICAL] tokay-prod: database unreachable, for 33 min')
  })

  it('a state table that goes away between sending and noting it is no failure: the message went out', async () => {
    const setup = outage()
    const publish = async (message: AlertMessage) => {
      setup.told.push(message)
      setup.state.away = new Error('the state table does not answer')
    }
    expect(await checkHealth({ ...setup, notifier: { publish } })).toMatchObject({ status: 'CRITICAL' })
    expect(setup.log.named('alert.unmarked')).toMatchObject([{ level: 'error' }])
  })

  it('a stop ends the looking, and what is known is told', async () => {
    const stop = new AbortController()
    const setup = outage({ signal: stop.signal })
    stop.abort()
    await checkHealth(setup)
    expect(setup.samples).toHaveLength(1)
    expect(setup.told).toEqual([])
  })
})

describe('a report that somebody asks for', () => {
  it('remembers nothing, publishes nothing and tells nobody', async () => {
    const setup = outage()
    expect(await reportHealth(setup, { structure: true })).toMatchObject({ status: 'CRITICAL' })
    expect(await setup.state.list()).toEqual([])
    expect([setup.told, setup.metrics, setup.samples]).toEqual([[], [], []])
  })
})
