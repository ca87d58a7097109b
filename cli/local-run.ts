// What the schedules, the replayer and the health check do on AWS, in one process: used by start, collect and demo.
// Each part runs at most once at a time and never throws into the timer that started it.

import { collect, type CollectResult } from '../shared/collect/collect.ts'
import { collectors } from '../shared/collect/collectors.ts'
import { replayParked } from '../shared/collect/replay-parked.ts'
import { migrate } from '../shared/db/migrate.ts'
import { countRows, dataTables } from '../shared/db/queries.ts'
import { checkHealth, type Kept } from '../shared/health/check-health.ts'
import { storeHealth } from '../shared/health/history.ts'
import type { Notifier } from '../shared/health/alert/notifier.ts'
import { openHealthDatabase } from '../shared/health/open-health-database.ts'
import type { ProbeTools } from '../shared/health/probe.ts'
import type { HealthReport } from '../shared/health/report.ts'
import type { RunCounts } from '../shared/model.ts'
import { type CollectorName, collectorNames } from '../shared/names.ts'
import { classifyFailure } from '../shared/resilience/classify-failure.ts'
import type { LocalTools } from './runtime.ts'

/** What one invocation may take on AWS as well. */
const runForMs = 55_000

/** Beyond the next tick, which prolongs it. */
const replayForMs = 65_000

export type CollectorView = RunCounts & { readonly doing: string }

export type LocalRun = {
  /** Sums since the start of this process. */
  readonly collectors: Readonly<Record<CollectorName, CollectorView>>
  lastReport(): HealthReport | undefined
  /** True once the schema is there. False: the database does not answer; asked again later. Throws when it answers and refuses. */
  migrate(): Promise<boolean>
  /** Undefined when the run threw: then it is logged, and counted as failed. */
  collect(name: CollectorName, scheduledAtMs: number, options?: { force?: boolean; dryRun?: boolean }): Promise<CollectResult | undefined>
  replay(forMs?: number): Promise<void>
  checkHealth(): Promise<void>
  /** Rows by table, or undefined when the database can't be asked. */
  tables(): Promise<Readonly<Record<string, { rows: number }>> | undefined>
}

const nothing: CollectorView = { fetched: 0, inserted: 0, updated: 0, unchanged: 0, rejected: 0, parked: 0, apiCalls: 0, doing: 'waiting' }

export function createLocalRun(options: {
  tools: LocalTools
  databaseUrl: string
  /** For the migrations, which need a session. Default: the same. */
  directUrl?: string
  notifier: Notifier
  signal: AbortSignal
  /** A batch waits, or may: whoever runs the replayer should start it now, not at the next tick. */
  onParked?: () => void
  /** Everything that was parked is written: whoever runs the health check should look now, or the recovery notice waits for the next tick. */
  onDrained?: () => void
  /** Of the health check alone. Default: a connection of its own to `databaseUrl`. */
  openDatabase?: ProbeTools['openDatabase']
}): LocalRun {
  const { tools, databaseUrl, notifier, signal } = options
  const { log, clock, settings, schema } = tools
  const views = Object.fromEntries(collectorNames.map((name) => [name, nothing])) as Record<CollectorName, CollectorView>
  let migrated = false
  let report: HealthReport | undefined
  const kept: Kept = {}
  const {
    openDatabase = ({ connectForMs }) => openHealthDatabase({ ...settings.database, url: databaseUrl, schema, clock, log, connectForMs }),
  } = options

  /** One flight at a time. Whoever asks during one gets the next: this one may have looked before what they ask about. `work` never throws. */
  const inTurn = (work: () => Promise<void>) => {
    let flight = Promise.resolve()
    let next: Promise<void> | undefined
    return () =>
      (next ??= flight.then(() => {
        next = undefined
        return (flight = work())
      }))
  }

  const run: LocalRun = {
    collectors: views,
    lastReport: () => report,

    async migrate() {
      if (migrated) return true
      try {
        const applied = await migrate({ url: options.directUrl ?? databaseUrl, schema, connectForMs: settings.database.connectForMs })
        migrated = true
        if (applied.length > 0) log.info({ event: 'schema.migrated', schema, applied })
        return true
      } catch (error) {
        const failure = classifyFailure(error)
        if (failure.retry === 'never') throw error
        log.warn({ event: 'schema.unmigrated', reason: failure.class, error })
        return false
      }
    },

    async collect(name, scheduledAtMs, { force = false, dryRun = false } = {}) {
      const before = views[name]
      views[name] = { ...before, doing: 'fetching' }
      try {
        const result = await collect(collectors[name], tools, {
          scheduledAtMs,
          force,
          dryRun,
          deadlineAtMs: clock.nowMs() + runForMs,
          signal,
          onProgress: (counts) => (views[name] = { ...before, doing: `fetching, ${counts.fetched} rows in ${counts.apiCalls} calls` }),
        })
        if (result.kind === 'skipped') {
          views[name] = before
          return result
        }
        const { outcome, counts, problem, client } = result
        views[name] = { ...added(before, counts), doing: outcome === 'complete' ? 'waiting' : `${outcome}: ${problem}` }
        log.info({
          event: 'collector.ran',
          collector: name,
          outcome,
          ...counts,
          ...(client.attempts > client.calls ? { client } : {}),
          ...(problem ? { problem } : {}),
        })
        // a queue that can't be counted is not this run's failure: the replayer meets it, and says so
        const waiting = dryRun ? 0 : await tools.parked.depth().catch(() => undefined)
        if (waiting !== 0) options.onParked?.()
        return result
      } catch (error) {
        views[name] = { ...before, doing: `failed: ${(error as Error).message}` }
        log.error({ event: 'collector.failed', collector: name, error })
        return undefined
      }
    },

    async replay(forMs = replayForMs) {
      const deadlineAtMs = clock.nowMs() + forMs
      await replayFlight(deadlineAtMs)
    },

    checkHealth: inTurn(async () => {
      try {
        report = await checkHealth({
          ...tools,
          openDatabase,
          receivers: async () => ({ confirmed: 1, pending: 0 }), // whoever reads the console
          wakeForMs: settings.database.wakeForMs,
          notifier,
          publishMetrics: async () => {}, // on one machine the view shows them
          store: (rows) => storeHealth(rows, tools),
          system: `tokay-${settings.stage}`,
          kept,
          signal,
        })
      } catch (error) {
        log.error({ event: 'health-check.failed', error })
      }
    }),

    async tables() {
      try {
        const [row] = await tools.database.query(countRows, { deadlineAtMs: clock.nowMs() + 20_000, repeat: 'idempotent' })
        return Object.fromEntries(dataTables.map((table) => [table, { rows: Number(row?.[table]) }]))
      } catch (error) {
        log.error({ event: 'tables.uncounted', error })
        return undefined
      }
    },
  }

  let replaying: Promise<void> | undefined
  let replayUntilMs = 0
  /** One at a time. Whoever asks during a replay prolongs it: between two of them nobody would look for a database that is back. */
  const replayFlight = (deadlineAtMs: number) => {
    replayUntilMs = Math.max(replayUntilMs, deadlineAtMs)
    replaying ??= (async () => {
      try {
        let untilMs = 0
        while (untilMs < replayUntilMs && !signal.aborted) {
          untilMs = replayUntilMs
          await replayOnce(untilMs)
        }
      } catch (error) {
        log.error({ event: 'replay.failed', error })
      } finally {
        replaying = undefined
        replayUntilMs = 0
      }
    })()
    return replaying
  }

  async function replayOnce(deadlineAtMs: number): Promise<void> {
    if ((await tools.parked.depth()) === 0) return
    while (!(await run.migrate())) {
      if (signal.aborted || clock.nowMs() + 5_000 >= deadlineAtMs) return
      await clock.sleep(5_000, signal)
    }
    const { replayed, left } = await replayParked(tools, { deadlineAtMs, signal })
    if (replayed > 0 && left === 0) options.onDrained?.()
  }

  return run
}

function added(a: CollectorView, b: RunCounts): RunCounts {
  return {
    fetched: a.fetched + b.fetched,
    inserted: a.inserted + b.inserted,
    updated: a.updated + b.updated,
    unchanged: a.unchanged + b.unchanged,
    rejected: a.rejected + b.rejected,
    parked: a.parked + b.parked,
    apiCalls: a.apiCalls + b.apiCalls,
  }
}
