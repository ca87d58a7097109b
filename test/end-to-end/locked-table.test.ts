// One table locked by another session, on real parts and with the product's own settings: its stream parks, the others write on.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLocalRun, type LocalRun } from '../../cli/local-run.ts'
import { compareServed } from '../../cli/local/compare-served.ts'
import { startGeckoSimulator, type GeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { openTools, type LocalTools } from '../../cli/runtime.ts'
import { systemClock } from '../../shared/clock.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import { parseSettings } from '../../shared/config.ts'
import type { LogEvent } from '../../shared/log.ts'
import { createDatabase } from '../support/database.ts'
import { dex } from '../support/rows.ts'

const settings = parseSettings({
  networks: ['solana'],
  gecko: { requestsPerMinute: 1_000 },
  collectors: { trades: { watchBusiest: 5 } },
})

describe('trades locked by another session', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>
  let simulator: GeckoSimulator
  let dataDir: string
  let tools: LocalTools
  let run: LocalRun
  let holder: Client
  let events: (LogEvent & { readonly atMs: number })[]

  beforeEach(async () => {
    database = await createDatabase()
    simulator = await startGeckoSimulator({ clock: systemClock, limitPerMinute: 10_000, cacheForMs: 0 })
    dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-locked-'))
    events = []
    const keep = (event: LogEvent) => void events.push({ ...event, atMs: performance.now() })
    tools = await openTools({
      settings,
      source: { name: 'simulator', baseUrl: simulator.baseUrl, close: async () => {} },
      databaseUrl: database.url,
      dataDir,
      log: { info: keep, warn: keep, error: keep },
    })
    run = createLocalRun({
      tools,
      databaseUrl: database.url,
      notifier: { publish: async () => {} },
      signal: new AbortController().signal,
      onParked: () => void run.replay(),
    })
    await run.migrate()
    holder = new Client({ connectionString: database.url })
    await holder.connect()
  })
  afterEach(async () => {
    await holder.end()
    await tools.close()
    await simulator.close()
    await database.drop()
    await fs.rm(dataDir, { recursive: true })
  })

  const named = (event: string) => events.filter((e) => e.event === event)
  const collect = (name: 'dexes' | 'top-pools' | 'trades') => run.collect(name, Date.now(), { force: true })
  const breakers = async () => {
    const items = (await tools.state.list()).filter((item) => item.key.startsWith('breaker:'))
    return Object.fromEntries(items.map(({ key, data }) => [key, (data as { state: string }).state]))
  }

  it('parks trades within 6 s, leaves the circuit of the database closed, and writes everything when the lock is gone', async () => {
    await collect('dexes')
    await collect('top-pools')
    await holder.query('begin; lock table tokay_simulator.trades in access exclusive mode')

    // a batch of another stream that waits as well: the replay must not stand behind the locked one
    const waiting = {
      id: 'waiting',
      schemaVersion: 1,
      collector: 'dexes',
      runId: 'r',
      parkedAtMs: Date.now() + 1,
      reason: 'deadline',
    } as const
    const locked = await collect('trades')
    expect(locked).toMatchObject({ kind: 'ran', outcome: 'complete', counts: { inserted: 0, rejected: 0 } })
    const parked = locked?.kind === 'ran' ? locked.counts.parked : 0
    expect(parked).toBeGreaterThan(300)
    const failedAtMs = named('database.attempt-failed')[0]?.atMs as number
    const parkedAtMs = named('batch.parked')[0]?.atMs as number
    expect(named('database.attempt-failed')[0]).toMatchObject({ class: 'lock-timeout' })
    expect(parkedAtMs - failedAtMs).toBeLessThan(6_000)

    await tools.parked.park({ ...waiting, batch: { ...emptyBatch, dexes: [dex({ dex: 'behind-the-lock', network: 'eth' })] } })
    const isIn = async () => (await holder2(`select 1 from tokay_simulator.dexes where dex = 'behind-the-lock'`)).length === 1
    await expect.poll(isIn, { timeout: 15_000, interval: 50 }).toBe(true)
    expect(await collect('top-pools')).toMatchObject({ kind: 'ran', outcome: 'complete', counts: { parked: 0 } })
    // until its own circuit opens, each run finds out for itself
    while ((await breakers())['breaker:stream:trades'] !== 'open') await collect('trades')
    const parkedByCircuit = named('batch.parked').length
    const askedAtMs = performance.now()
    await collect('trades')
    expect(performance.now() - askedAtMs).toBeLessThan(3_000)
    expect(named('batch.parked').slice(parkedByCircuit)).not.toEqual([])
    expect((await breakers())['breaker:database'] ?? 'closed').toBe('closed')
    expect(await tools.database.isOpen()).toBe(false)
    expect(named('circuit.opened').map((e) => e['scope'])).toEqual(['stream:trades'])

    await holder.query('rollback')
    await expect.poll(() => tools.parked.depth(), { timeout: 20_000, interval: 50 }).toBe(0)
    await collect('trades')
    expect((await breakers())['breaker:stream:trades']).toBe('closed')
    const limits = { attemptForMs: 10_000, statementForMs: 9_000, lockForMs: 1_000 }
    const { served, stored, differences } = await compareServed(simulator.served, (s) => tools.directDatabase.query(s, limits))
    expect(differences.filter((difference) => !difference.includes('behind-the-lock'))).toEqual([])
    expect(stored).toBe(served + 1)
  }, 90_000)

  /** Not the session that holds the lock. */
  async function holder2(text: string): Promise<readonly unknown[]> {
    return tools.directDatabase.query({ name: 'look', text, values: [] }, { attemptForMs: 10_000, statementForMs: 9_000, lockForMs: 1_000 })
  }
})
