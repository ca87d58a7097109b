// How long it takes until rows are safe when the database fails, and until all is well again when it is back: the local run's own parts over
// an embedded Postgres and a proxy. Several independent runs at once, each with its own circuit, since most of the time they wait.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { createLocalRun, type LocalRun } from '../../cli/local-run.ts'
import { openTools, readSettings, type LocalTools } from '../../cli/runtime.ts'
import { writeOrPark } from '../../shared/collect/write-or-park.ts'
import { silentLog } from '../../shared/log.ts'
import type { Requirement } from './report.ts'
import { startServer, type Cleanup } from './server.ts'
import { median, quantile } from './statistics.ts'
import { createTrades } from './trades.ts'

export type RecoveryEffort = {
  /** Circuits at a time. */
  readonly runs: number
  /** Outages of each, one after the other. */
  readonly outages: number
  readonly parkedBatches: number
}

export type Recovery = {
  /** From the start of the first write to its rows being parked. */
  readonly refusedS: readonly number[]
  readonly lockedS: readonly number[]
  /** From the server being there again to the circuit being closed. */
  readonly backToClosedS: readonly number[]
  readonly replay: { readonly batches: number; readonly rows: number; readonly forS: number }
  readonly outageOf60S: { readonly connections: number; readonly writes: number }
}

/** A page of the API. */
const rowsOfBatch = 300
/** The longest open time is reached after 5 s + 9 s. */
const outageS = { least: 10, most: 40 }

/** One run: a client with its own circuit, its replayer and health check, behind its own proxy. */
type World = {
  readonly tools: LocalTools
  readonly run: LocalRun
  readonly proxy: FaultProxy
  /** Writes a batch as a collector does. Answers how it ended, and after how many seconds. */
  write(): Promise<{ readonly kind: 'written' | 'parked'; readonly forS: number }>
  /** Resolves when the circuit closes the next time. */
  closed(): Promise<void>
}

export async function measureRecovery(effort: RecoveryEffort, progress: (line: string) => void, cleanup: Cleanup): Promise<Recovery> {
  const url = await startServer(cleanup)
  const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-recovery-'))
  cleanup(() => fs.rm(dataDir, { recursive: true, force: true }))
  const admin = new Client({ connectionString: url })
  await admin.connect()
  cleanup(() => admin.end())
  const worlds: World[] = []
  for (let n = 0; n < effort.runs; n++) worlds.push(await openWorld(url, path.join(dataDir, String(n)), cleanup))
  const [first] = worlds
  if (!first) throw new Error('at least one run is needed')
  cleanup(async () => void (await admin.query(`drop schema if exists ${first.tools.schema} cascade`)))

  progress(`${effort.runs} x ${effort.outages} outages of ${outageS.least} to ${outageS.most} s: connections are refused`)
  const outages = effort.runs * effort.outages
  const lengthS = (n: number) => outageS.least + ((outageS.most - outageS.least) * n) / Math.max(1, outages - 1)
  const seen = await Promise.all(
    worlds.map(async (world, w) => {
      const rounds: Awaited<ReturnType<typeof outage>>[] = []
      for (let o = 0; o < effort.outages; o++) rounds.push(await outage(world, lengthS(o * effort.runs + w) * 1_000))
      return rounds
    }),
  )
  progress('another session holds the lock')
  const lockedS = await locked(first, admin)
  progress(`${effort.parkedBatches} parked batches of ${rowsOfBatch} trades`)
  const replay = await drain(first, effort.parkedBatches)
  progress('an outage of 60 s, connections counted')
  const outageOf60S = await longOutage(first)
  return {
    refusedS: seen.flat().map(({ parkedS }) => parkedS),
    lockedS,
    backToClosedS: seen.flat().map(({ closedS }) => closedS),
    replay,
    outageOf60S,
  }
}

async function openWorld(url: string, dataDir: string, cleanup: Cleanup): Promise<World> {
  const { hostname: host, port } = new URL(url)
  const proxy = await startFaultProxy({ target: { host, port: Number(port || 5432) } })
  cleanup(() => proxy.close())
  const stop = new AbortController()
  const waiting: (() => void)[] = []
  const tools = await openTools({
    settings: readSettings(),
    source: { name: 'simulator', baseUrl: 'http://127.0.0.1:9', close: async () => {} },
    databaseUrl: proxy.url(url),
    dataDir,
    log: silentLog,
    onTransition: ({ kind }) => {
      if (kind === 'closed') for (const resolve of waiting.splice(0)) resolve()
      void run.checkHealth()
    },
  })
  cleanup(() => tools.close())
  const notifier = { publish: async () => {} }
  const run: LocalRun = createLocalRun({ tools, databaseUrl: proxy.url(url), notifier, signal: stop.signal })
  cleanup(async () => stop.abort())
  if (!(await run.migrate())) throw new Error('the database does not answer')
  const trades = createTrades()
  return {
    tools,
    run,
    proxy,
    closed: () => new Promise((resolve) => void waiting.push(resolve)),
    async write() {
      const startedMs = performance.now()
      const { clock } = tools
      const { kind } = await writeOrPark({ trades: trades(rowsOfBatch) }, tools, {
        collector: 'trades',
        runId: crypto.randomUUID(),
        deadlineAtMs: clock.nowMs() + 55_000,
      })
      const forS = (performance.now() - startedMs) / 1_000
      if (kind === 'parked') void run.replay()
      return { kind, forS }
    },
  }
}

const pause = (forMs: number) => new Promise<void>((resolve) => setTimeout(resolve, forMs))

async function untilDrained({ tools }: World): Promise<void> {
  while ((await tools.parked.depth()) > 0) await pause(50)
}

/** Refuses connections for so long. */
async function outage(world: World, forMs: number): Promise<{ parkedS: number; closedS: number }> {
  await written(world)
  await world.proxy.mode({ kind: 'refuse' })
  const startedMs = performance.now()
  const { kind, forS: parkedS } = await world.write()
  if (kind !== 'parked') throw new Error('a write to a database that refuses connections was not parked')
  await pause(forMs - (performance.now() - startedMs))
  const closed = world.closed()
  await world.proxy.mode({ kind: 'pass' })
  const backMs = performance.now()
  await closed
  const closedS = (performance.now() - backMs) / 1_000
  await untilDrained(world)
  return { parkedS, closedS }
}

async function written(world: World): Promise<void> {
  const { kind } = await world.write()
  if (kind !== 'written') throw new Error('a write to a healthy database was parked')
}

/** Three times: then the table's own circuit is open, and parks at once. */
async function locked(world: World, admin: Client): Promise<readonly number[]> {
  await admin.query(`begin; lock table ${world.tools.schema}.trades in access exclusive mode`)
  const seconds: number[] = []
  for (let n = 0; n < 3; n++) {
    const { kind, forS } = await world.write()
    if (kind !== 'parked') throw new Error('a write to a locked table was not parked')
    seconds.push(forS)
  }
  await admin.query('rollback')
  await untilDrained(world)
  return seconds
}

async function drain(world: World, batches: number): Promise<Recovery['replay']> {
  await written(world)
  await world.proxy.mode({ kind: 'refuse' })
  for (let n = 0; n < batches; n++) await world.write()
  const closed = world.closed()
  await world.proxy.mode({ kind: 'pass' })
  await closed
  const startedMs = performance.now()
  await untilDrained(world)
  return { batches, rows: batches * rowsOfBatch, forS: (performance.now() - startedMs) / 1_000 }
}

/** Every 5 s somebody has a batch. The proxy hangs up on who connects, so that each connection is counted. */
async function longOutage(world: World): Promise<Recovery['outageOf60S']> {
  await written(world)
  await world.proxy.mode({ kind: 'fin' })
  await world.proxy.mode({ kind: 'accept-then-close' })
  const before = world.proxy.accepted
  const untilMs = performance.now() + 60_000
  let writes = 0
  while (performance.now() < untilMs) {
    await world.write()
    writes++
    // the tick that falls into each minute
    if (writes === 6) void world.run.checkHealth()
    await pause(Math.max(0, Math.min(5_000, untilMs - performance.now())))
  }
  const connections = world.proxy.accepted - before
  const closed = world.closed()
  await world.proxy.mode({ kind: 'pass' })
  await closed
  await untilDrained(world)
  return { connections, writes }
}

export function recoveryTable({ refusedS, lockedS, backToClosedS, replay, outageOf60S }: Recovery): string {
  const line = (what: string, seconds: readonly number[]) => {
    const figures = [median(seconds), quantile(seconds, 0.95), Math.max(...seconds)]
    return `${what.padEnd(38)}${String(seconds.length).padStart(4)}${figures.map((s) => s.toFixed(2).padStart(8)).join('')}`
  }
  return [
    `${'seconds'.padEnd(38)}${'n'.padStart(4)}${['median', 'p95', 'most'].map((head) => head.padStart(8)).join('')}`,
    line('connections refused: until parked', refusedS),
    line('lock held: until parked', lockedS),
    line('database back: until circuit closed', backToClosedS),
    `${replay.batches} parked batches, ${replay.rows} rows: written in ${replay.forS.toFixed(2)} s (${(replay.rows / replay.forS / 1_000).toFixed(1)}k rows/s)`,
    `outage of 60 s: ${outageOf60S.writes} batches parked, ${outageOf60S.connections} connections opened`,
  ].join('\n')
}

export function recoveryRequirements({ refusedS, lockedS, backToClosedS, replay, outageOf60S }: Recovery): readonly Requirement[] {
  const atMost = (text: string, figure: number, limit: number): Requirement => ({ text, figure, limit, met: figure <= limit })
  return [
    atMost('s from the first failure to parked, connections refused: the slowest', Math.max(...refusedS), 5),
    atMost('s from the first failure to parked, lock held: the slowest', Math.max(...lockedS), 6),
    atMost('s from the database being back to the circuit being closed: p95', quantile(backToClosedS, 0.95), 10),
    atMost(`s to write ${replay.batches} parked batches`, replay.forS, 15),
    atMost('connections opened in an outage of 60 s: one every 5 s', outageOf60S.connections, 12),
  ]
}
