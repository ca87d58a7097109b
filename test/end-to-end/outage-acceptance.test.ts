// The incident, as an acceptance test: the database does not answer for 25 minutes, in simulated time. Everything is real (collectors, client,
// breaker, SQLite state, parked files, health check, Postgres behind a proxy) but the API, which is the simulator, and where messages go.
// Each minute does what the schedules do: every collector, the replayer, the health check.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLocalRun, type LocalRun } from '../../cli/local-run.ts'
import { openAdminSession } from '../../cli/local/admin-session.ts'
import { compareServed } from '../../cli/local/compare-served.ts'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { startGeckoSimulator, type GeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { openTools, type LocalTools } from '../../cli/runtime.ts'
import { parseSettings } from '../../shared/config.ts'
import type { Statement } from '../../shared/db/database.ts'
import type { AlertMessage } from '../../shared/health/alert/notifier.ts'
import { openHealthDatabase } from '../../shared/health/open-health-database.ts'
import type { LogEvent } from '../../shared/log.ts'
import { createDatabase } from '../support/database.ts'
import { createSimulatedClock, type SimulatedClock } from '../support/simulated-clock.ts'

const second = 1_000
const minute = 60 * second
const outageForMs = 25 * minute + 17 * second

const collectors = ['dexes', 'top-pools', 'new-pools', 'trades'] as const
const everyMinute = { everyMinutes: 1 }
/** The product's own, but for how often the collectors run, and for the lock's wait: that one is real time. */
const settings = parseSettings({
  networks: ['solana'],
  gecko: { requestsPerMinute: 1_000 },
  collectors: {
    dexes: everyMinute,
    'top-pools': everyMinute,
    'new-pools': { ...everyMinute, maxPages: 2 },
    trades: { ...everyMinute, watchBusiest: 2 },
  },
  database: { lockForMs: 50 },
})

type Ran = {
  readonly name: string
  readonly atMs: number
  readonly waitedMs: number
  readonly parked: number
  readonly written: number
  readonly circuitWasOpen: boolean
}

describe('25 minutes of a database that does not answer', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>
  let proxy: FaultProxy
  let simulator: GeckoSimulator
  let dataDir: string
  let clock: SimulatedClock
  let tools: LocalTools
  let run: LocalRun
  let told: { readonly atMs: number; readonly subject: string }[]
  let events: (LogEvent & { readonly atMs: number })[]
  let runs: Ran[]
  let replaying: Promise<unknown> | undefined
  let checking: Promise<unknown> | undefined
  let isCheckWanted: boolean

  beforeEach(async () => {
    clock = createSimulatedClock(Date.UTC(2025, 8, 15, 10, 0, 0))
    database = await createDatabase()
    const { hostname: host, port } = new URL(database.url)
    proxy = await startFaultProxy({ target: { host, port: Number(port) } })
    simulator = await startGeckoSimulator({ clock, limitPerMinute: 10_000, cacheForMs: 0 })
    dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-acceptance-'))
    ;[told, events, runs, replaying, checking, isCheckWanted] = [[], [], [], undefined, undefined, false]
    const keep = (event: LogEvent) => void events.push({ ...event, atMs: clock.nowMs() })
    tools = await openTools({
      settings,
      source: { name: 'simulator', baseUrl: simulator.baseUrl, close: async () => {} },
      databaseUrl: proxy.url(database.url),
      dataDir,
      log: { info: keep, warn: keep, error: keep },
      clock,
      onTransition: checkHealth,
    })
    run = createLocalRun({
      tools,
      databaseUrl: proxy.url(database.url),
      notifier: { publish: async ({ subject }: AlertMessage) => void told.push({ atMs: clock.nowMs(), subject }) },
      signal: new AbortController().signal,
      onParked: replay,
      onDrained: checkHealth,
      // on this clock the server's would be a year ahead
      openDatabase: ({ connectForMs }) => {
        const opened = openHealthDatabase({ ...settings.database, ...tools, url: proxy.url(database.url), connectForMs })
        const inTime = (s: Statement): Statement => ({
          ...s,
          text: s.text.replace('extract(epoch from now()) * 1000', String(clock.nowMs())),
        })
        return {
          ...opened,
          query: (statement, limits) => opened.query(inTime(statement), limits),
          transaction: (statements, limits) => opened.transaction(statements.map(inTime), limits),
        }
      },
    })
    await run.migrate()
  })
  afterEach(async () => {
    await proxy.mode({ kind: 'pass' })
    await tools.close()
    await simulator.close()
    await proxy.close()
    await database.drop()
    await fs.rm(dataDir, { recursive: true })
  })

  /** One at a time, as by its claim; as an activity of its own. */
  function replay(): void {
    replaying ??= clock.run(() => run.replay()).finally(() => (replaying = undefined))
  }

  /** Likewise. Whoever asks during one gets the next. */
  function checkHealth(): void {
    isCheckWanted = true
    checking ??= clock
      .run(async () => {
        while (isCheckWanted) {
          isCheckWanted = false
          await run.checkHealth()
        }
      })
      .finally(() => (checking = undefined))
  }

  function tick(): void {
    const atMs = clock.nowMs()
    for (const name of collectors)
      void clock.run(async () => {
        const circuitWasOpen = await tools.database.isOpen()
        const result = await run.collect(name, atMs, { force: true })
        if (result?.kind !== 'ran') throw new Error(`${name} did not run: ${JSON.stringify(result)}`)
        const { parked, inserted, updated } = result.counts
        runs.push({ name, atMs, waitedMs: clock.nowMs() - atMs, parked, written: inserted + updated, circuitWasOpen })
      })
    replay()
    checkHealth()
  }

  async function pass(forMs: number): Promise<void> {
    const untilMs = clock.nowMs() + forMs
    for (;;) {
      const nextTickMs = (Math.floor(clock.nowMs() / minute) + 1) * minute
      if (nextTickMs > untilMs) break
      await clock.until(nextTickMs)
      tick()
    }
    await clock.until(untilMs)
  }

  async function compare() {
    const limits = { attemptForMs: 30_000, statementForMs: 25_000, lockForMs: 1_000 }
    return compareServed(simulator.served, (statement) => tools.directDatabase.query(statement, limits))
  }

  const subjects = () => told.map(({ subject }) => subject)

  it('loses no row, makes no run wait, writes again within 60 s, and tells once that it began and once that it is over', async () => {
    await pass(3 * minute)
    expect(await tools.parked.depth()).toBe(0)

    await proxy.mode({ kind: 'refuse' })
    const startedAtMs = clock.nowMs()
    await pass(outageForMs)
    const during = runs.filter(({ atMs }) => atMs > startedAtMs)
    expect(during).toHaveLength(25 * collectors.length)
    expect(during.every(({ written }) => written === 0)).toBe(true)
    const whileOpen = during.filter(({ circuitWasOpen }) => circuitWasOpen)
    expect(whileOpen.length).toBeGreaterThanOrEqual(24 * collectors.length)
    expect(Math.max(...whileOpen.map(({ waitedMs }) => waitedMs))).toBeLessThan(second)
    expect(subjects()).toEqual(['[CRITICAL] tokay-dev: database unreachable'])
    // it began when the first write met it, within its retries
    expect((told[0]?.atMs as number) - (during[0]?.atMs as number)).toBeLessThan(10 * second)

    await proxy.mode({ kind: 'pass' })
    const backAtMs = clock.nowMs()
    await pass(3 * minute)
    const closed = events.filter((event) => event.event === 'circuit.closed')
    expect(closed).toHaveLength(1)
    // the probe's batch is committed with it: the first good write. The aim is 10 s
    expect((closed[0]?.atMs as number) - backAtMs).toBeLessThan(60 * second)
    expect(await tools.parked.depth()).toBe(0)
    expect(subjects()).toEqual([
      '[CRITICAL] tokay-dev: database unreachable',
      expect.stringMatching(/^\[RECOVERED\] tokay-dev: database unreachable, over after 2[56] min$/),
    ])
    const { served, stored, differences } = await compare()
    expect(differences).toEqual([])
    expect(stored).toBe(served)
    expect(stored).toBeGreaterThan(2_000)
  }, 120_000)

  it("the incident's own fault, a table that another session holds locked: its rows wait and lose nothing, the others are written all along", async () => {
    await pass(3 * minute)
    const locker = await openAdminSession(database.url)
    await locker.sql(`begin; lock table ${tools.schema}.trades in access exclusive mode`)
    const startedAtMs = clock.nowMs()
    await pass(outageForMs)
    const during = runs.filter(({ atMs }) => atMs > startedAtMs)
    const ofTrades = during.filter(({ name }) => name === 'trades')
    expect(ofTrades).toHaveLength(25)
    expect(ofTrades.every(({ written, parked }) => written === 0 && parked > 0)).toBe(true)
    // all but the runs that opened the table's own circuit
    expect(ofTrades.slice(3).every(({ waitedMs }) => waitedMs < second)).toBe(true)
    expect(during.filter(({ name, parked }) => name !== 'trades' && parked > 0)).toEqual([])
    expect(await tools.database.isOpen()).toBe(false)
    expect(subjects()).toEqual(['[CRITICAL] tokay-dev: table locked: trades'])

    await locker.end()
    const freeAtMs = clock.nowMs()
    await pass(3 * minute)
    const closed = events.filter((event) => event.event === 'circuit.closed')
    expect(closed).toHaveLength(1)
    expect((closed[0]?.atMs as number) - freeAtMs).toBeLessThan(60 * second)
    expect(await tools.parked.depth()).toBe(0)
    expect(subjects()).toEqual([
      '[CRITICAL] tokay-dev: table locked: trades',
      expect.stringMatching(/^\[RECOVERED\] tokay-dev: table locked: trades, over after 2\d min$/),
    ])
    const { served, stored, differences } = await compare()
    expect(differences).toEqual([])
    expect(stored).toBe(served)
  }, 120_000)
})
