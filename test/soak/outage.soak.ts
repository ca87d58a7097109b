// The outage in real time, with the product's own settings: the local run over a database that is away for 60 s, three ways. A round of the
// collectors every 6 s, the replayer as the local run starts it, the health check each 30 s and when the circuit says so.

import * as fs from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLocalRun, type LocalRun } from '../../cli/local-run.ts'
import { compareServed } from '../../cli/local/compare-served.ts'
import { startFaultProxy } from '../../cli/local/fault-proxy.ts'
import { faults } from '../../cli/local/faults.ts'
import { startGeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { openTools } from '../../cli/runtime.ts'
import { systemClock } from '../../shared/clock.ts'
import { parseSettings } from '../../shared/config.ts'
import type { LogEvent } from '../../shared/log.ts'
import { openFragileDatabase, type FragileDatabase } from '../support/write-path.ts'

const outageForMs = 60_000
const roundEveryMs = 6_000
/** One watched pool: what a run takes while the circuit is open is then its waiting, not the reading of thousands of trades. */
const settings = parseSettings({ networks: ['solana'], gecko: { requestsPerMinute: 1_000 }, collectors: { trades: { watchBusiest: 1 } } })
const collectors = ['top-pools', 'new-pools', 'trades'] as const

describe('a database that is away for 60 s', () => {
  let postgres: FragileDatabase
  beforeAll(async () => {
    postgres = await openFragileDatabase()
  })
  afterAll(() => postgres.remove())

  it.each([
    { name: 'refuse', waits: 'circuit', told: true },
    { name: 'blackhole', waits: 'circuit', told: true },
    // a locked table is no outage until it lasts for minutes
    { name: 'lock', waits: 'table', told: false },
  ])('$name: no row is lost, no run waits a second, and the first good write follows within 60 s', async ({ name, waits, told }) => {
    const made = await postgres.database(`outage_${name}`)
    const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: postgres.server.port } })
    const simulator = await startGeckoSimulator({ clock: systemClock, limitPerMinute: 10_000, cacheForMs: 3_000 })
    const dataDir = path.join(postgres.folder, name)
    await fs.mkdir(dataDir)
    const subjects: string[] = []
    const events: (LogEvent & { readonly atMs: number })[] = []
    const keep = (event: LogEvent) => void events.push({ ...event, atMs: Date.now() })
    const stop = new AbortController()
    const tools = await openTools({
      settings,
      source: { name: 'simulator', baseUrl: simulator.baseUrl, close: async () => {} },
      databaseUrl: proxy.url(made.workloadUrl),
      dataDir,
      log: { info: keep, warn: keep, error: keep },
      onTransition: () => run.checkHealth(),
    })
    const run: LocalRun = createLocalRun({
      tools,
      databaseUrl: proxy.url(made.workloadUrl),
      notifier: { publish: async ({ subject }) => void subjects.push(subject) },
      signal: stop.signal,
      onParked: () => void run.replay(),
      onDrained: () => void run.checkHealth(),
    })
    const whenOpenMs: number[] = []
    const isOpen = () => {
      const kind = events.findLast(({ event }) => event.startsWith('circuit.'))?.event
      return kind !== undefined && kind !== 'circuit.closed'
    }
    const round = async () => {
      for (const collector of collectors) {
        const wasOpen = isOpen() && (waits === 'circuit' || collector === 'trades')
        const startedAtMs = performance.now()
        const result = await run.collect(collector, Date.now(), { force: true })
        expect(result?.kind).toBe('ran')
        if (wasOpen) whenOpenMs.push(performance.now() - startedAtMs)
      }
    }
    expect(await run.migrate()).toBe(true)
    await run.collect('dexes', Date.now(), { force: true })
    await round()
    await run.checkHealth()

    const place = {
      proxy,
      server: postgres.server,
      adminUrl: made.adminUrl,
      role: 'workload',
      database: `outage_${name}`,
      schema: tools.schema,
    }
    const acceptedBefore = proxy.accepted
    const end = await (faults.find((fault) => fault.name === name) as (typeof faults)[number]).begin(place)
    const startedAtMs = Date.now()
    for (let at = 0; Date.now() < startedAtMs + outageForMs; at++) {
      await round()
      if (at % 5 === 0) await run.checkHealth()
      await systemClock.sleep(roundEveryMs)
    }
    const refused = events.filter((e) => e.event === 'database.attempt-failed' && e['errno'] === 'ECONNREFUSED').length
    const connectionsOpened = proxy.accepted - acceptedBefore + refused
    await end()
    const backAtMs = Date.now()
    const untilMs = backAtMs + 60_000
    const isOver = async () => (await tools.parked.depth()) === 0 && !isOpen()
    while (!(await isOver()) && Date.now() < untilMs) await systemClock.sleep(50)
    expect(await isOver()).toBe(true)
    const drainedAfterMs = Date.now() - backAtMs
    const closedAtMs = events.findLast(({ event }) => event === 'circuit.closed')?.atMs as number
    await round()
    await run.checkHealth()

    console.log({
      name,
      closedAfterMs: closedAtMs - backAtMs,
      drainedAfterMs,
      longestRunWhileOpenMs: Math.round(Math.max(...whenOpenMs)),
      runsWhileOpen: whenOpenMs.length,
      connectionsOpened,
      subjects,
    })
    expect(whenOpenMs.length).toBeGreaterThan(5)
    expect(Math.max(...whenOpenMs)).toBeLessThan(1_000)
    expect(closedAtMs - backAtMs).toBeLessThan(60_000)
    const alerts = [
      '[CRITICAL] tokay-dev: database unreachable',
      expect.stringMatching(/^\[RECOVERED\] tokay-dev: database unreachable, over after \d+ s$/),
    ]
    expect(subjects).toEqual(told ? alerts : [])
    const limits = { attemptForMs: 30_000, statementForMs: 25_000, lockForMs: 1_000 }
    const { served, stored, differences } = await compareServed(simulator.served, (statement) =>
      tools.directDatabase.query(statement, limits),
    )
    expect(differences).toEqual([])
    expect(stored).toBe(served)
    stop.abort()
    await tools.close()
    await simulator.close()
    await proxy.close()
  })
})
