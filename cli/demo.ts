// `tokay demo`: an outage from start to end, in about a minute, on real parts: embedded Postgres, the real client, and a TCP proxy that cuts the
// database off. Nothing is staged: the waits are the breaker's own, and the last line is counted from the simulator's record and the tables.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { styleText } from 'node:util'
import { systemClock } from '../shared/clock.ts'
import type { Log, LogEvent } from '../shared/log.ts'
import type { CollectorName } from '../shared/names.ts'
import { compareServed } from './local/compare-served.ts'
import { consoleNotifier } from './local/console-notifier.ts'
import { startPostgres } from './local/embedded-postgres.ts'
import { startFaultProxy } from './local/fault-proxy.ts'
import { startGeckoSimulator } from './local/gecko-simulator.ts'
import { createLocalRun, type LocalRun } from './local-run.ts'
import { formatEvent } from './output.ts'
import { openTools, readSettings } from './runtime.ts'

const roundEveryMs = 6_000
const outageRounds = 4
const recoverWithinMs = 90_000

/** Answers the exit code: 0 when every row that was served is stored, 1 when not. */
export async function demo(options: { json?: boolean }, signal: AbortSignal): Promise<number> {
  const startedAtMs = Date.now()
  const write = (text: string) => (options.json ? console.error(text) : console.log(text))
  const say = (text: string) => write(styleText('bold', `${((Date.now() - startedAtMs) / 1_000).toFixed(1).padStart(5)} s  ${text}`))
  const show = (event: LogEvent) => write(`         ${inWords(event)}`)
  const log: Log = {
    info: (event) => (/^(circuit|parked)/.test(event.event) ? show(event) : undefined),
    // each round says itself what was parked
    warn: (event) => (/^(batch|watched-pools)/.test(event.event) ? undefined : show(event)),
    error: show,
  }

  await using open = new AsyncDisposableStack()
  const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-demo-'))
  open.defer(() => fs.rm(dataDir, { recursive: true, force: true }))
  // as root, Postgres runs under another account, which must be able to enter
  await fs.chmod(dataDir, 0o755)
  say('starting an embedded Postgres, a GeckoTerminal simulator, and a proxy between Tokay and the database')
  const postgres = await startPostgres({ baseDir: path.join(dataDir, 'postgres') })
  open.defer(() => postgres.stop())
  const { hostname: host, port } = new URL(postgres.url)
  const proxy = await startFaultProxy({ target: { host, port: Number(port) } })
  open.defer(() => proxy.close())
  const simulator = await startGeckoSimulator({ clock: systemClock, limitPerMinute: 10_000, cacheForMs: 3_000 })
  open.defer(() => simulator.close())
  const settings = readSettings()
  const databaseUrl = proxy.url(postgres.url)
  const tools = await openTools({
    settings: { ...settings, gecko: { ...settings.gecko, requestsPerMinute: 10_000 } },
    source: { name: 'simulator', baseUrl: simulator.baseUrl, close: async () => {} },
    databaseUrl,
    dataDir,
    log,
    onTransition: () => void run.checkHealth(),
  })
  open.defer(() => tools.close())
  const notices: string[] = []
  const shown = consoleNotifier(write)
  const run: LocalRun = createLocalRun({
    tools,
    databaseUrl,
    notifier: {
      async publish(message) {
        await shown.publish(message)
        notices.push(message.subject)
      },
    },
    signal,
    onParked: () => void run.replay(),
    onDrained: () => void run.checkHealth(),
  })
  await run.migrate()
  await run.checkHealth()

  say('the collectors run')
  await round(run, ['dexes', 'top-pools', 'new-pools', 'trades'], say)
  await pause(2_000, signal)
  await round(run, ['top-pools', 'new-pools', 'trades'], say)

  await proxy.mode({ kind: 'refuse' })
  say('the database is cut off: connections are reset, new ones refused')
  for (let i = 0; i < outageRounds && !signal.aborted; i++) {
    await round(run, ['top-pools', 'new-pools', 'trades'], say)
    await pause(roundEveryMs, signal)
  }
  await proxy.mode({ kind: 'pass' })
  say(`the database is back; ${await tools.parked.depth()} batches wait in files`)
  const isDrained = await until(async () => (await tools.parked.depth()) === 0, recoverWithinMs, signal)
  if (signal.aborted) return 1
  if (!isDrained) say(`not everything was written within ${recoverWithinMs / 1_000} s`)
  else say('everything that was parked is written')
  await round(run, ['top-pools', 'new-pools', 'trades'], say)
  // five good looks, 3 s apart, before anybody is told that it is over
  await until(async () => notices.some((subject) => subject.startsWith('[RECOVERED]')), recoverWithinMs, signal)

  const limits = { attemptForMs: 30_000, statementForMs: 25_000, lockForMs: 5_000 }
  const comparison = await compareServed(simulator.served, (statement) => tools.directDatabase.query(statement, limits))
  const same = comparison.differences.length === 0 && comparison.served === comparison.stored
  for (const line of comparison.differences.slice(0, 10)) write(line)
  if (options.json)
    console.log(JSON.stringify({ served: comparison.served, stored: comparison.stored, differences: comparison.differences.length }))
  write(
    same
      ? `rows served = rows stored: ${comparison.stored}`
      : `rows served: ${comparison.served}, rows stored: ${comparison.stored}, different: ${comparison.differences.length}`,
  )
  return same ? 0 : 1
}

async function round(run: LocalRun, names: readonly CollectorName[], say: (text: string) => void): Promise<void> {
  const parts: string[] = []
  const startedAtMs = Date.now()
  for (const name of names) {
    const result = await run.collect(name, Date.now(), { force: true })
    if (result?.kind !== 'ran') parts.push(`${name} did not run`)
    else if (result.counts.parked > 0) parts.push(`${name} ${result.counts.parked} rows parked`)
    else parts.push(`${name} ${result.counts.inserted} new, ${result.counts.updated} changed`)
  }
  say(`${parts.join('; ')} (${Date.now() - startedAtMs} ms)`)
}

const pause = (forMs: number, signal: AbortSignal) => systemClock.sleep(forMs, signal)

async function until(isTrue: () => Promise<boolean>, withinMs: number, signal: AbortSignal): Promise<boolean> {
  const untilMs = Date.now() + withinMs
  while (!signal.aborted && Date.now() < untilMs) {
    if (await isTrue()) return true
    await pause(200, signal)
  }
  return isTrue()
}

/** The log's own lines hold more; a story reads better. */
function inWords(event: LogEvent): string {
  const seconds = (ms: unknown) => `${(Number(ms) / 1_000).toFixed(1)} s`
  switch (event.event) {
    case 'database.attempt-failed':
      return `attempt ${event['attempt']}: ${event['message']}`
    case 'circuit.opened':
      return `the circuit opens for ${seconds(event['openForMs'])}: nobody connects but a probe`
    case 'circuit.reopened':
      return `the probe failed, the circuit stays open for ${seconds(event['openForMs'])}`
    case 'circuit.closed':
      return `the probe's batch is committed, the circuit closes after ${seconds(event['wasOpenForMs'])}`
    case 'parked-writes.replayed':
      return `${event['batches']} parked batches are written: ${event['rows']} rows`
    default:
      return formatEvent(event, Date.now())
  }
}
