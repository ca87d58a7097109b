// `tokay start`: the collectors on their ticks, the replayer, the health check, on one machine, until it is asked to stop.

import { Cron } from 'croner'
import { type CollectorName, collectorNames } from '../shared/names.ts'
import { ConfigError } from '../shared/errors.ts'
import type { Log } from '../shared/log.ts'
import type { Driver } from '../shared/db/neon-host.ts'
import type { RunCounts } from '../shared/model.ts'
import { consoleNotifier } from './local/console-notifier.ts'
import { collectorTable, startLiveView, type ViewData } from './live-view.ts'
import { createLocalRun, type LocalRun } from './local-run.ts'
import { createStatusRecorder, type StatusRecorder } from './local/status-page/recorder.ts'
import { serveStatusPage, type StatusPage } from './local/status-page/serve.ts'
import { grouped, type Lines, lineLog } from './output.ts'
import { dataDirOf, type LocalTools, openDriver, openPostgres, openTools, readSettings } from './runtime.ts'
import { openSource, type SourceChoice } from './source.ts'

export type StartOptions = SourceChoice & {
  readonly once?: boolean
  readonly durationS?: number
  readonly dataDir?: string
  readonly port?: number
  /** In place of database.driver. */
  readonly driver?: Driver
  /** Of the status page. 0: a free one. */
  readonly pagePort?: number
  /** False: none. */
  readonly page?: boolean
  readonly json?: boolean
}

export type Summary = {
  readonly source: string
  readonly collectors: Readonly<Record<string, RunCounts>>
  readonly tables: Readonly<Record<string, { rows: number }>>
}

const minuteMs = 60_000

/** Of the 5 s that a stop may take: this long writes in flight may go on, then their connections are cut and what they held is parked. */
const finishForMs = 1_500

/** The status page's. A person watches an outage unfold with it. */
const lookEveryMs = 2_000

/** A bookmark stays good while the port is free; a second Tokay on this machine gets another one. */
const usualPagePort = 7_460

/** Answers the exit code: 0, or 1 when with --once a collector failed or something could not be written. Throws ConfigError for what can't start. */
export async function start(options: StartOptions, signal: AbortSignal): Promise<number> {
  const settings = readSettings()
  const lines: Lines = { write: (line) => (options.json ? console.error(line) : console.log(line)) }
  // the live view takes this over once there is something to show
  const sink = { ...lines }
  const log = lineLog({ write: (line) => sink.write(line) }, Date.now)
  const dataDir = dataDirOf(options.dataDir)

  await using open = new AsyncDisposableStack()
  const opened = await openSource(options, settings)
  open.defer(() => opened.source.close())
  lines.write(opened.says)
  const postgres = await openPostgres({ dataDir, log, ...(options.port === undefined ? {} : { port: options.port }) })
  open.defer(() => postgres.stop())
  const way = await openDriver({ settings: opened.settings, url: postgres.url, asked: options.driver })
  open.defer(() => way.close())
  const place = `Postgres at ${postgres.address}${postgres.embedded ? ' (embedded)' : ' (DATABASE_URL)'}, ${way.says}`

  const tools = await openTools({
    settings: opened.settings,
    source: opened.source,
    databaseUrl: way.url,
    driver: way.driver,
    isDirect: postgres.embedded,
    dataDir,
    log,
    onTransition: (transition) => {
      recorder?.noteTransition(transition)
      void run.checkHealth()
    },
  })
  open.defer(() => tools.close())
  lines.write(`${place}, schema ${tools.schema}, data in ${dataDir}`)
  const notifier = consoleNotifier((text) => sink.write(text))
  let recorder: StatusRecorder | undefined
  const run: LocalRun = createLocalRun({
    tools,
    databaseUrl: way.url,
    directUrl: postgres.url,
    notifier: {
      async publish(message) {
        await notifier.publish(message)
        recorder?.noteAlert(message)
      },
    },
    signal,
    ...(options.once ? {} : { onParked: () => void run.replay(), onDrained: () => void run.checkHealth() }),
  })
  if (!(await run.migrate())) {
    log.warn({ event: 'database.away', address: postgres.address, meanwhile: 'what is fetched is parked, and written when it is back' })
  }
  if (!options.once && options.page !== false) {
    const system = `tokay-${settings.stage}`
    recorder = createStatusRecorder({ tools, run, system, place: `${opened.source.name}, ${place}` })
    const page = await openPage(recorder, { port: options.pagePort, log })
    open.defer(() => page.close())
    lines.write(`status page: ${page.url}`)
  }
  const cutConnections = setTimeoutOn(signal, finishForMs, () => void tools.directDatabase.end())
  const title = `Tokay: ${opened.source.name}, ${place}`
  const failed = options.once
    ? await once(run, signal)
    : await untilStopped(run, { ...options, tools, signal, log, sink, lines, title, recorder })
  cutConnections()
  return await summarise(run, tools, { source: opened.source.name, json: options.json ?? false, lines, failed })
}

/** @throws ConfigError when the asked port is taken */
async function openPage(recorder: StatusRecorder, options: { port: number | undefined; log: Log }): Promise<StatusPage> {
  const { port = usualPagePort, log } = options
  const serve = (at: number) => serveStatusPage({ port: at, view: () => recorder.view(), log })
  try {
    return await serve(port)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    if (options.port === undefined) return await serve(0)
    throw new ConfigError([
      `port ${port} for the status page is taken by another program: give --page-port another one, or 0 for a free one`,
    ])
  }
}

/** Each collector once, in their order; then what is parked. True when one of them did not do what it should. */
async function once(run: LocalRun, signal: AbortSignal): Promise<boolean> {
  let failed = false
  for (const name of collectorNames) {
    if (signal.aborted) return true
    const result = await run.collect(name, Date.now(), { force: true })
    if (result === undefined || result.kind === 'skipped' || result.outcome !== 'complete') failed = true
  }
  await run.replay(10_000)
  return failed
}

async function untilStopped(
  run: LocalRun,
  options: {
    tools: LocalTools
    signal: AbortSignal
    log: Log
    sink: Lines
    lines: Lines
    title: string
    recorder: StatusRecorder | undefined
    durationS?: number
    json?: boolean
  },
): Promise<false> {
  const { tools, signal } = options
  const isTerminal = process.stdout.isTTY && !options.json
  let [circuit, parked] = ['closed', 0]
  const data = (): ViewData => ({
    title: options.title,
    collectors: run.collectors,
    circuit,
    parked,
    health: run.lastReport()?.status.toLowerCase() ?? 'unknown',
  })
  const view = isTerminal ? startLiveView(data, () => process.stdout.columns) : undefined
  if (view) options.sink.write = (line) => view.write(line)

  const flights = new Set<Promise<unknown>>()
  const fly = (work: Promise<unknown>) => {
    const flight = work.catch((error: unknown) => options.log.error({ event: 'tick.failed', error })).finally(() => flights.delete(flight))
    flights.add(flight)
  }
  const scheduled = (atMs: number) => Math.floor(atMs / minuteMs) * minuteMs
  const tick = () => {
    const atMs = scheduled(Date.now())
    for (const name of collectorNames) fly(run.collect(name, atMs))
    fly(run.replay())
    if ((atMs / minuteMs) % tools.settings.health.everyMinutes === 0) fly(run.checkHealth())
  }
  const look = async () => {
    circuit = (await tools.database.isOpen()) ? 'open' : 'closed'
    parked = await tools.parked.depth()
  }
  const looking = view ? setInterval(() => fly(look()), 1_000) : undefined
  const recording = options.recorder ? setInterval(() => fly((options.recorder as StatusRecorder).look()), lookEveryMs) : undefined

  // the first time in order: trades watches pools that the others have found
  const first = (async () => {
    for (const name of collectorNames as readonly CollectorName[]) if (!signal.aborted) await run.collect(name, scheduled(Date.now()))
    await run.checkHealth()
  })()
  fly(first)
  const job = new Cron('0 * * * * *', { name: 'tick' }, tick)
  await stopAsked(signal, options.durationS)
  options.log.info({ event: 'run.stopping', finishing: flights.size })
  job.stop()
  clearInterval(looking)
  clearInterval(recording)
  await Promise.allSettled(flights)
  view?.stop()
  options.sink.write = options.lines.write
  return false
}

function stopAsked(signal: AbortSignal, durationS: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const timer = durationS === undefined ? undefined : setTimeout(resolve, durationS * 1_000)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })
}

/** Does it `afterMs` after the signal; the answer calls it off. */
function setTimeoutOn(signal: AbortSignal, afterMs: number, work: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const arm = () => (timer = setTimeout(work, afterMs))
  signal.addEventListener('abort', arm, { once: true })
  return () => {
    signal.removeEventListener('abort', arm)
    clearTimeout(timer)
  }
}

async function summarise(
  run: LocalRun,
  tools: LocalTools,
  options: { source: string; json: boolean; lines: Lines; failed: boolean },
): Promise<number> {
  const tables = await run.tables()
  const collectors = Object.fromEntries(collectorNames.map((name) => [name, countsOf(run.collectors[name])]))
  const waiting = await tools.parked.depth()
  if (waiting > 0)
    options.lines.write(
      `${waiting} ${waiting === 1 ? 'batch is' : 'batches are'} parked, and written at the next start that reaches the database`,
    )
  const summary: Summary = { source: options.source, collectors, tables: tables ?? {} }
  if (options.json) console.log(JSON.stringify(summary))
  else {
    for (const line of collectorTable(run.collectors)) options.lines.write(line)
    const stored = Object.entries(summary.tables).map(([table, { rows }]) => `${grouped(rows)} ${table.replaceAll('_', ' ')}`)
    if (tables) options.lines.write(`stored in ${tools.schema}: ${stored.join(', ')}`)
  }
  return options.failed || tables === undefined ? 1 : 0
}

function countsOf(view: RunCounts): RunCounts {
  const { fetched, inserted, updated, unchanged, rejected, parked, apiCalls } = view
  return { fetched, inserted, updated, unchanged, rejected, parked, apiCalls }
}
