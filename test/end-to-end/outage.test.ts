// The outage that this project exists for, on real parts: a Postgres behind a proxy that refuses, the real driver, the simulator's own record.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLocalRun, type LocalRun } from '../../cli/local-run.ts'
import { compareServed } from '../../cli/local/compare-served.ts'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { startGeckoSimulator, type GeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { openTools, type LocalTools } from '../../cli/runtime.ts'
import { systemClock } from '../../shared/clock.ts'
import { parseSettings } from '../../shared/config.ts'
import type { AlertMessage } from '../../shared/health/alert/notifier.ts'
import type { LogEvent } from '../../shared/log.ts'
import { createDatabase } from '../support/database.ts'

const settings = parseSettings({
  networks: ['solana'],
  gecko: { requestsPerMinute: 1_000 },
  retry: { baseMs: 20, capMs: 50 },
  breaker: { openForMs: 200, maxOpenForMs: 500, leaseForMs: 12_000 },
  batch: { maxRows: 300 },
})

describe('an outage of the database', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>
  let proxy: FaultProxy
  let simulator: GeckoSimulator
  let dataDir: string
  let tools: LocalTools
  let run: LocalRun
  let told: (AlertMessage & { readonly atMs: number })[]
  let events: (LogEvent & { readonly atMs: number })[]
  const stop = new AbortController()

  beforeEach(async () => {
    database = await createDatabase()
    const { hostname: host, port } = new URL(database.url)
    proxy = await startFaultProxy({ target: { host, port: Number(port) } })
    simulator = await startGeckoSimulator({ clock: systemClock, limitPerMinute: 10_000, cacheForMs: 0 })
    dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-outage-'))
    told = []
    events = []
    const keep = (event: LogEvent) => void events.push({ ...event, atMs: Date.now() })
    const databaseUrl = proxy.url(database.url)
    tools = await openTools({
      settings,
      source: { name: 'simulator', baseUrl: simulator.baseUrl, close: async () => {} },
      databaseUrl,
      dataDir,
      log: { info: keep, warn: keep, error: keep },
      onTransition: () => run.checkHealth(),
    })
    run = createLocalRun({
      tools,
      databaseUrl,
      notifier: { publish: async (message) => void told.push({ ...message, atMs: Date.now() }) },
      signal: stop.signal,
      onParked: () => void run.replay(),
      onDrained: () => void run.checkHealth(),
    })
    await run.migrate()
  })
  afterEach(async () => {
    await tools.close()
    await simulator.close()
    await proxy.close()
    await database.drop()
    await fs.rm(dataDir, { recursive: true })
  })

  const collectAll = async () => {
    for (const name of ['dexes', 'top-pools', 'new-pools', 'trades'] as const) await run.collect(name, Date.now(), { force: true })
  }
  const isDrained = async () => (await tools.parked.depth()) === 0 && !(await tools.database.isOpen())

  it('loses no row, waits under 1 s a run while the circuit is open, and tells once that it began and once that it is over', async () => {
    await collectAll()
    await proxy.mode({ kind: 'refuse' })
    await collectAll()
    expect(await tools.database.isOpen()).toBe(true)

    const accepted = proxy.accepted
    const openAtMs = performance.now()
    await run.collect('top-pools', Date.now(), { force: true })
    expect(performance.now() - openAtMs).toBeLessThan(1_000)
    expect(proxy.accepted).toBe(accepted)
    expect(await tools.parked.depth()).toBeGreaterThan(0)
    expect(told.map((m) => m.subject)).toEqual(['[CRITICAL] tokay-dev: database unreachable'])
    // from the first operation that failed to the message
    const failedAtMs = events.find(({ event }) => event === 'database.attempt-failed')?.atMs as number
    expect((told[0]?.atMs as number) - failedAtMs).toBeLessThan(30_000)

    await proxy.mode({ kind: 'pass' })
    await expect.poll(isDrained, { timeout: 15_000, interval: 50 }).toBe(true)
    await collectAll()
    await run.checkHealth()
    expect(told.map((m) => m.subject)).toEqual([
      '[CRITICAL] tokay-dev: database unreachable',
      expect.stringMatching(/^\[RECOVERED\] tokay-dev: database unreachable, over after \d+ s$/),
    ])
    expect(told[1]?.email).toContain('Rows lost: 0.')
    expect(events.filter((e) => e.event === 'circuit.closed')).toHaveLength(1)

    const limits = { attemptForMs: 10_000, statementForMs: 9_000, lockForMs: 1_000 }
    const { served, stored, differences } = await compareServed(simulator.served, (s) => tools.directDatabase.query(s, limits))
    expect(differences).toEqual([])
    expect(stored).toBe(served)
    expect(stored).toBeGreaterThan(1_000)
  }, 60_000)

  it('when the parked writes have no place either, the run fails loudly, its cursor stays, and the next one fetches again', async () => {
    await proxy.mode({ kind: 'refuse' })
    const place = path.join(dataDir, 'simulator', 'parked')
    await fs.rm(place, { recursive: true })
    expect(await run.collect('new-pools', Date.now(), { force: true })).toBeUndefined()
    expect(events.filter((e) => e.event === 'collector.failed').map((e) => String(e['error']))).toEqual([
      expect.stringContaining(`a batch could not be parked in ${place}`),
    ])
    const item = (await tools.state.list()).find((i) => i.key === 'collector:new-pools')
    expect(item?.data).toMatchObject({ cursor: {}, lastOutcome: 'deferred', fetchFailures: 0 })

    await fs.mkdir(place)
    await proxy.mode({ kind: 'pass' })
    const again = await run.collect('new-pools', Date.now(), { force: true })
    expect(again).toMatchObject({ kind: 'ran', outcome: 'complete' })
  }, 30_000)
})
