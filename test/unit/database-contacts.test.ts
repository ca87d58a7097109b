// Who asks the database, and when, over a simulated day: collectors, replayer and health check as they run on AWS, over a database that falls asleep
// after 5 idle minutes and takes 4 s to wake. The hours that it is awake for are what the estimate and the README's table say they are.

import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { timeouts } from '../../infra/limits.ts'
import { collect } from '../../shared/collect/collect.ts'
import { collectors } from '../../shared/collect/collectors.ts'
import { replayParked } from '../../shared/collect/replay-parked.ts'
import { enabledCollectors, isHealthAlone, parseSettings } from '../../shared/config.ts'
import { DatabaseError, type AttemptLimits, type Database, type Rows, type Statement } from '../../shared/db/database.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import type { GeckoClient } from '../../shared/gecko/client.ts'
import { checkHealth } from '../../shared/health/check-health.ts'
import { storeHealth } from '../../shared/health/history.ts'
import type { HealthReport } from '../../shared/health/report.ts'
import type { SampleRow } from '../../shared/model.ts'
import { awakeHours } from '../../shared/monthly-cost.ts'
import { parkingForMs, stateKeys } from '../../shared/names.ts'
import type { BreakerState, Transition } from '../../shared/resilience/circuit-breaker.ts'
import { createBreaker, createStreamBreakers } from '../../shared/state/breaker.ts'
import type { StateTable } from '../../shared/state/state-table.ts'
import { createRecordedLog } from '../support/collect-tools.ts'
import { refused, unreachable } from '../support/fake-database.ts'
import { dexItem, poolItem, tradeItem } from '../support/gecko-bodies.ts'
import { createMemoryParkedWrites } from '../support/memory-parked-writes.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { createSimulatedClock } from '../support/simulated-clock.ts'

const seed = 20_261_121
const startAtMs = Date.parse('2026-11-21T00:00:00Z')
const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
const hoursAMonth = 730
/** Of the measured hours against the estimate, which counts in whole minutes. */
const tolerance = 0.05

/** Neon's default. */
const asleepAfterMs = 5 * minuteMs
/** Far more than Neon's usual half a second, and more than a look waits at first. */
const wakesInMs = 4_000
/** A schedule keeps its minute, not its second. */
const lateByMs = 15_000
/** An answer of the API, with the waiting for its budget. */
const apiAnswersInMs = 4_000

type Who = 'collector' | 'replay' | 'health' | 'maintain'
type Contact = { readonly who: Who; readonly fromMs: number; readonly toMs: number }
type Clock = ReturnType<typeof createSimulatedClock>

/** Remembers who asked when. While it wakes, whoever does not wait long enough is told that nobody answers; it wakes nevertheless. */
function createSleepyDatabase(clock: Clock, isAway: () => boolean) {
  const contacts: Contact[] = []
  let usedAtMs = -Infinity
  let readyAtMs = -Infinity
  const answers: Readonly<Record<string, Rows>> = { busiest_pools: [{ network: 'solana', address: 'busy' }] }

  async function ask(who: Who, withinMs: number, statements: readonly Statement[]): Promise<readonly Rows[]> {
    const fromMs = clock.nowMs()
    if (fromMs - usedAtMs > asleepAfterMs) readyAtMs = fromMs + wakesInMs
    usedAtMs = fromMs
    const waitMs = Math.max(0, readyAtMs - fromMs)
    const isInTime = waitMs <= withinMs
    if (waitMs > 0 && !isAway()) await clock.sleep(Math.min(waitMs, withinMs))
    usedAtMs = Math.max(usedAtMs, clock.nowMs())
    contacts.push({ who, fromMs, toMs: clock.nowMs() })
    if (isAway()) throw unreachable()
    if (!isInTime) {
      const message = `connect: no connection to the database within ${withinMs} ms`
      throw new DatabaseError(message, { statement: 'connect', applied: 'not-sent', errno: 'CONNECT_TIMEOUT' })
    }
    // the health check's looks are refused a privilege: an answer, and they make do with it
    if (statements.some(({ name }) => name === 'look_only')) throw refused('42501')
    return statements.map(({ name }) => answers[name] ?? [{ inserted: 0, updated: 0 }])
  }

  return {
    contacts,
    as(who: Who, connectForMs = Infinity): Database {
      const within = ({ attemptForMs }: AttemptLimits) => Math.min(connectForMs, attemptForMs)
      return {
        driver: 'neon',
        query: async (statement, limits) => (await ask(who, within(limits), [statement]))[0] ?? [],
        transaction: (statements, limits) => ask(who, within(limits), statements),
        async end() {},
      }
    },
  }
}

/** The same pools, DEXes and trades whenever it is asked: what costs the database its sleep is that it is asked, not what changes. */
function createUnchangingGecko(clock: Clock): GeckoClient {
  return {
    async get(path, query = {}, options = {}) {
      options.onCall?.()
      await clock.sleep(apiAnswersInMs)
      const items = path.endsWith('/dexes')
        ? [dexItem('raydium')]
        : path.endsWith('/trades')
          ? [tradeItem('solana', 1, minuteMs)]
          : [poolItem('solana', 'busy'), poolItem('solana', 'new')]
      return { body: { data: Number(query['page'] ?? 1) === 1 ? items : [] }, observedAtMs: clock.nowMs() }
    },
  }
}

/** Hands out what it was given: copies of a day's 20,000 reads would take most of the test's time. */
function createUncopiedState(): StateTable {
  const items = new Map<string, { readonly key: string; readonly version: number; readonly data: unknown }>()
  return {
    list: async () => [...items.values()],
    async compareAndSet(key, expectedVersion, data) {
      if ((items.get(key)?.version ?? 0) !== expectedVersion) return false
      items.set(key, { key, version: expectedVersion + 1, data })
      return true
    },
    async close() {},
  }
}

type Day = {
  readonly contacts: readonly Contact[]
  /** Subjects of what was told. */
  readonly told: readonly string[]
  readonly statuses: ReadonlySet<string>
  /** The first time. */
  readonly openedAtMs: number | undefined
}

/** Every function by its schedule, or `only` some of them. `awayFromMs`: from then on nobody is let in. */
async function simulate(
  written: object,
  options: { forMs?: number; awayFromMs?: number; circuit?: BreakerState; only?: readonly Who[] } = {},
): Promise<Day> {
  const { forMs = dayMs, awayFromMs = Infinity, circuit, only } = options
  const endAtMs = startAtMs + forMs
  const settings = parseSettings({ networks: ['solana'], ...written })
  const [clock, random, log] = [createSimulatedClock(startAtMs), seededRandom(seed), createRecordedLog()]
  const [state, parked] = [createUncopiedState(), createMemoryParkedWrites()]
  if (circuit) await state.compareAndSet(stateKeys.databaseBreaker, 0, circuit)
  const database = createSleepyDatabase(clock, () => clock.nowMs() >= awayFromMs)
  const chance = { clock, random, log }
  const failed: unknown[] = []
  let openedAtMs: number | undefined

  /** What an event invokes runs by itself. */
  const invoke = (work: () => Promise<unknown>) => void clock.run(work).catch((error: unknown) => failed.push(error))
  function announce({ kind }: Transition): void {
    if (kind === 'opened') {
      openedAtMs ??= clock.nowMs()
      invoke(lookAtHealth)
    }
    if (kind === 'opened' || kind === 'closed') invoke(replay)
  }
  const toolsOf = (who: Who) => ({
    ...chance,
    settings,
    state,
    parked,
    partitions: { seen: new Set<string>() },
    gecko: createUnchangingGecko(clock),
    database: createResilientDatabase({
      ...chance,
      database: database.as(who),
      breaker: createBreaker({
        ...chance,
        scope: 'database',
        key: stateKeys.databaseBreaker,
        table: state,
        rules: settings.breaker,
        onTransition: announce,
      }),
      streamBreaker: createStreamBreakers({ ...chance, table: state, rules: settings.breaker }),
      rules: settings.retry,
      limits: settings.database,
      slowMs: settings.breaker.slowMs,
    }),
  })
  const [collecting, replaying, storing] = [toolsOf('collector'), toolsOf('replay'), toolsOf('health')]
  const seconds = timeouts(settings)
  const deadlineAtMs = (timeoutS: number) => clock.nowMs() + timeoutS * 1_000 - parkingForMs

  const told: string[] = []
  const statuses = new Set<string>()
  const kept = {}
  const replay = () => replayParked(replaying, { deadlineAtMs: deadlineAtMs(seconds.replayParked) })
  const lookAtHealth = async () => {
    const { status } = await checkHealth({
      ...chance,
      state,
      settings,
      openDatabase: ({ connectForMs }) => database.as('health', connectForMs),
      receivers: async () => ({ confirmed: 1, pending: 0 }),
      wakeForMs: settings.database.wakeForMs,
      notifier: { publish: async ({ subject }) => void told.push(subject) },
      publishMetrics: async () => {},
      ...(isHealthAlone(settings) ? {} : { parked, store: (rows) => storeHealth(rows, storing) }),
      system: 'tokay-prod',
      kept,
    })
    statuses.add(status)
  }

  const every = (who: Who, minutes: number, offset: number, work: (scheduledAtMs: number) => Promise<unknown>) => {
    if (only && !only.includes(who)) return
    invoke(async () => {
      for (let atMs = startAtMs + (offset % minutes) * minuteMs; atMs < endAtMs; atMs += minutes * minuteMs) {
        await clock.sleep(atMs + random() * lateByMs - clock.nowMs())
        invoke(() => work(atMs))
      }
    })
  }
  for (const [offset, name] of enabledCollectors(settings).entries()) {
    every('collector', settings.collectors[name].everyMinutes, offset, (scheduledAtMs) =>
      collect(collectors[name], collecting, { scheduledAtMs, deadlineAtMs: deadlineAtMs(seconds.collect) }),
    )
  }
  if (!isHealthAlone(settings)) {
    every('replay', 1, 0, replay)
    // a migration's session, whatever it finds, is one contact here; while the database is away it fails and is left to the next hour
    const session = { name: 'migrate', text: 'select 1', values: [] }
    every('maintain', 60, 30, () => Promise.allSettled([database.as('maintain').query(session, settings.database)]))
  }
  every('health', settings.health.everyMinutes, 0, lookAtHealth)
  await clock.until(endAtMs)
  expect(failed).toEqual([])
  return { contacts: database.contacts, told, statuses, openedAtMs }
}

const countOf = (contacts: readonly Contact[]): Partial<Record<Who, number>> =>
  Object.fromEntries([...Map.groupBy(contacts, ({ who }) => who)].map(([who, of]) => [who, of.length]))

/** From the first of a few contacts until 5 minutes after their last. */
function awakeMs(contacts: readonly Contact[]): number {
  let [sum, untilMs] = [0, startAtMs]
  for (const { fromMs, toMs } of contacts.toSorted((a, b) => a.fromMs - b.fromMs)) {
    const asleepAtMs = Math.min(toMs + asleepAfterMs, startAtMs + dayMs)
    sum += Math.max(0, asleepAtMs - Math.max(fromMs, untilMs))
    untilMs = Math.max(untilMs, asleepAtMs)
  }
  return sum
}

// latencies are measured by it: a busy machine must not look like a slow database
beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

const piggyback = { health: { probe: 'piggyback' } }
const off = { enabled: false }
const none = { collectors: { dexes: off, 'top-pools': off, 'new-pools': off, trades: off } }
/** DEXes change rarely: they stay at once an hour. */
const each = (everyMinutes: number) => ({
  collectors: { 'top-pools': { everyMinutes }, 'new-pools': { everyMinutes }, trades: { everyMinutes } },
})

const everybody = ['collector', 'health', 'maintain'] as const

describe('a day of a database that scales to zero', () => {
  it.each<{ with: string; written: object; hours: number; asks: readonly Who[] }>([
    { with: 'the defaults', written: {}, hours: 730, asks: everybody },
    { with: 'piggyback, collectors every 5 min', written: { ...piggyback, ...each(5) }, hours: 730, asks: everybody },
    // an hour has minutes 0 to 8, then 16 to 23 and so on: from the first collector until 5 minutes after the look that follows the last one
    { with: 'piggyback, collectors every 15 min', written: { ...piggyback, ...each(15) }, hours: (730 * 34) / 60, asks: everybody },
    { with: 'piggyback, collectors every 30 min', written: { ...piggyback, ...each(30) }, hours: (730 * 18) / 60, asks: everybody },
    { with: 'piggyback, collectors every 60 min', written: { ...piggyback, ...each(60) }, hours: (730 * 14) / 60, asks: everybody },
    { with: 'health alone, every minute', written: none, hours: 730, asks: ['health'] },
    { with: 'health alone, every 10 min', written: { ...none, health: { everyMinutes: 10 } }, hours: 365, asks: ['health'] },
    { with: 'health alone, piggyback', written: { ...none, ...piggyback }, hours: 0, asks: [] },
  ])('with $with is awake for as long as the estimate says, and no wake is an alert', async ({ written, hours, asks }) => {
    const { contacts, told, statuses } = await simulate(written)
    const measured = (awakeMs(contacts) / dayMs) * hoursAMonth
    expect(Object.keys(countOf(contacts)).toSorted()).toEqual(asks)
    expect(awakeHours(parseSettings(written))).toBeCloseTo(hours, 6)
    expect(Math.abs(measured - hours)).toBeLessThanOrEqual(hours * tolerance)
    expect(told).toEqual([])
    // a minute in which nobody looked is unknown
    expect([...statuses].filter((status) => status !== 'UNKNOWN')).toEqual(asks.length > 0 ? ['HEALTHY'] : [])
  })

  it.each([
    ['awake all the time: every look wakes it', {}, '183 compute hours'],
    ['`health.probe: piggyback`, collectors every 15 min', { ...piggyback, ...each(15) }, 'Awake for 414 of 730 hours, 103 compute hours'],
    ['`health.probe: piggyback`, collectors every 20 min', { ...piggyback, ...each(20) }, 'Awake for 365 of 730 hours, 91 compute hours'],
    ['`health.probe: piggyback`, collectors every 30 min', { ...piggyback, ...each(30) }, 'Awake for 219 of 730 hours, 55 compute hours'],
  ])('stands in the README by the estimate: %s', (row, written, says) => {
    const hours = awakeHours(parseSettings(written))
    const shown = [...says.matchAll(/\d+(?= of| compute)/g)].map(Number)
    expect(shown).toEqual([hours, hours / 4].map(Math.round).slice(-shown.length))
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
    expect(readme.split('\n').find((line) => line.startsWith(`| Neon, ${row}`))).toContain(says)
  })
})

describe('while the circuit is open', () => {
  const forMs = hourMs
  const open: BreakerState = { state: 'open', epoch: 1, openedAtMs: startAtMs, retryAtMs: startAtMs, streak: 1, token: null, reason: null }

  it.each([{}, piggyback])('the replayer probes now and then, the health check looks, and no collector connects: %j', async (written) => {
    const { contacts, openedAtMs, told } = await simulate(written, { forMs, awayFromMs: startAtMs + 10 * minuteMs })
    const since = contacts.filter(({ fromMs }) => fromMs > (openedAtMs as number))
    expect(Object.keys(countOf(since)).toSorted()).toEqual(['health', 'maintain', 'replay'])
    const probedAtMs = since.filter(({ who }) => who === 'replay').map(({ fromMs }) => fromMs)
    // two runs of the replayer overlap, and still no two probes come closer than the shortest time that a circuit stays open
    expect(Math.min(...probedAtMs.slice(1).map((atMs, n) => atMs - (probedAtMs[n] as number)))).toBeGreaterThan(4_400)
    expect(told[0]).toBe('[CRITICAL] tokay-prod: database unreachable')
  })

  it.each<[string, Who]>([
    ['the replayer with an empty queue', 'replay'],
    ['collectors without a replayer', 'collector'],
  ])('%s: nobody asks anything of the database', async (_, who) => {
    expect((await simulate({}, { forMs, circuit: open, only: [who] })).contacts).toEqual([])
  })

  it("by an operator's word, with writes waiting, not even the replayer connects", async () => {
    const circuit: BreakerState = { ...open, override: { forced: 'open', untilMs: startAtMs + dayMs } }
    const { contacts } = await simulate({}, { forMs, circuit, only: ['collector', 'replay'] })
    expect(contacts).toEqual([])
  })
})

describe('a cold start', () => {
  it('of some seconds within a look is no alert, and its minute counts as up', async () => {
    const clock = createSimulatedClock(startAtMs)
    const database = createSleepyDatabase(clock, () => false)
    const told: string[] = []
    const samples: SampleRow[] = []
    let report: HealthReport | undefined
    const tookMs = clock.run(async () => {
      report = await checkHealth({
        clock,
        random: seededRandom(seed),
        log: createRecordedLog(),
        state: createUncopiedState(),
        parked: createMemoryParkedWrites(),
        settings: parseSettings({ networks: ['solana'] }),
        openDatabase: ({ connectForMs }) => database.as('health', connectForMs),
        wakeForMs: 12_000,
        notifier: { publish: async ({ subject }) => void told.push(subject) },
        publishMetrics: async () => {},
        store: async (rows) => void samples.push(...rows.samples),
        system: 'tokay-prod',
        kept: {},
      })
    })
    await clock.until(startAtMs + minuteMs)
    expect(await tookMs).toBe(wakesInMs)
    expect(report?.status).toBe('HEALTHY')
    expect(told).toEqual([])
    // how long the wake took says nothing about latency
    expect(samples).toMatchObject([{ isUp: true, connectMs: null }])
  })
})
