// One run of one collector: claim it, fetch page by page, write or park what came, move the cursor, record the run.
//
//   claim (due? cooldown? somebody else's?) -> pages -> page-writer -> write or park -> cursor and outcome into the state table
//
// The cursor moves only behind rows that are committed or parked. A crash in between fetches again; rows are idempotent.
// Without the state table a run goes on unclaimed and without a cursor: the same rows may be fetched twice, which changes nothing.

import type { Random } from '../clock.ts'
import type { Settings } from '../config.ts'
import type { Statement } from '../db/database.ts'
import { DeadlineExceededError, GeckoApiError } from '../errors.ts'
import type { GeckoClient } from '../gecko/client.ts'
import type { Batch, BatchCounts, RunCounts, RunOutcome, RunRow } from '../model.ts'
import { collectorNames, stateKeys } from '../names.ts'
import type { BreakerState } from '../resilience/circuit-breaker.ts'
import { newTally, type ClientCounts } from '../resilience/client-metrics.ts'
import { claim, finish, type ClaimResult, type CollectorState, type Pacing } from '../state/claim.ts'
import { updateItem, type StateItem, type StateTable } from '../state/state-table.ts'
import { withProvisionalGaps } from './batch.ts'
import { isFailure, type Collector, type Cursor, type FetchContext, type FetchFailure, type Page } from './collector.ts'
import { createPageWriter } from './page-writer.ts'
import { writeOrPark, type WriteTools } from './write-or-park.ts'

export type CollectTools = WriteTools & {
  readonly settings: Settings
  readonly state: StateTable
  readonly gecko: GeckoClient
  readonly random: Random
}

export type CollectRequest = {
  /** The schedule's own time: the same tick delivered twice is the same run. */
  readonly scheduledAtMs: number
  /** By hand: runs whether due or not. */
  readonly force?: boolean
  /** Fetches and parses, writes nothing: no rows, no cursor, no claim. */
  readonly dryRun?: boolean
  readonly deadlineAtMs: number
  readonly signal?: AbortSignal
  /** After each page. */
  readonly onProgress?: (counts: RunCounts) => void
}

export type CollectResult =
  | {
      readonly kind: 'ran'
      readonly outcome: RunOutcome
      readonly counts: RunCounts
      readonly problem: string | null
      /** What this run asked of the database, and how often in vain. */
      readonly client: ClientCounts
    }
  /** Nothing was done: not due, in cooldown, or claimed by another run. */
  | { readonly kind: 'skipped'; readonly why: 'not-due' | 'leased' | 'cooldown'; readonly untilMs: number }

/** At most one run of a collector at a time. A claim outlives its run's deadline by this much; a dead run's claim ends by itself. */
const claimBeyondMs = 10_000

/** Fetching ends this long before the run does: enough for an attempt to write, another one, and to park. */
const keptToWriteMs = 15_000

/** Batching switched off. */
const eachPageAtOnce = { maxRows: 0, maxWaitMs: 0 }

const stopped = new Error('the process was asked to stop')

/** Throws when what was fetched could be neither written nor parked; the cursor stays and the run is recorded as deferred first. */
export async function collect(collector: Collector, tools: CollectTools, request: CollectRequest): Promise<CollectResult> {
  const { clock, log, settings } = tools
  const { deadlineAtMs, signal, dryRun = false } = request
  const startedAtMs = clock.nowMs()
  const runId = new Date(request.scheduledAtMs).toISOString()
  const claimed: ClaimResult = dryRun ? { verdict: 'run', cursor: null } : await claimRun(collector, tools, { ...request, runId })
  if (claimed.verdict !== 'run') return { kind: 'skipped', why: claimed.verdict, untilMs: claimed.untilMs }
  const cursor = (claimed.cursor ?? {}) as Cursor

  const tally = newTally()
  const { breaker, batching, parking } = settings.collectors[collector.name]
  // whoever does not park has no replayer that would probe for it
  const switches = { tally, ignoreCircuit: !breaker, mayProbe: !parking }
  const run = { ...switches, collector: collector.name, runId, deadlineAtMs, signal, parking }
  const keep = async (batch: Batch) => writeOrPark(await withGapsJudged(batch, tools), tools, { ...run, table: collector.table })
  const writer = createPageWriter({ cursor, rules: batching ? settings.batch : eachPageAtOnce, clock, keep: dryRun ? undefined : keep })
  const failures: FetchFailure[] = []
  const drift = new Set<string>()
  let apiCalls = 0
  const counts = (): RunCounts => ({ ...writer.counts, apiCalls })

  const context: FetchContext = {
    settings,
    cursor,
    signal,
    warn: log.warn,
    deadlineAtMs: deadlineAtMs - keptToWriteMs,
    gecko: { get: (path, query, options) => tools.gecko.get(path, query, { ...options, onCall: () => void apiCalls++ }) },
    query: (statement: Statement) =>
      tools.database.query(statement, { ...switches, deadlineAtMs, repeat: 'idempotent', ...(signal ? { signal } : {}) }),
  }

  const end = async (outcome: RunOutcome, problem: string | null) => {
    if (dryRun) return
    const record: RunRow = { ...counts(), collector: collector.name, runId, startedAtMs, endedAtMs: clock.nowMs(), outcome, problem }
    await finishRun(collector, tools, record, {
      cursor: writer.cursor,
      client: tally,
      // pages that are written one by one on purpose say nothing about how batches fill
      ...(batching ? { batches: writer.batches } : {}),
    })
    await writeOrPark({ runs: [record] }, tools, run)
  }

  try {
    for await (const item of everything(collector, context)) {
      if (isFailure(item)) {
        // also a request that the stop has cut off comes as a failure
        if (signal?.aborted) break
        failures.push(item)
        log.warn({ event: 'fetch.failed', collector: collector.name, what: item.what, error: item.error })
        continue
      }
      for (const path of item.drift) drift.add(path)
      for (const reject of item.rejects) log.warn({ event: 'item.rejected', collector: collector.name, ...reject })
      await writer.add(item)
      request.onProgress?.(counts())
      if (signal?.aborted) break
    }
    await writer.flush()
  } catch (error) {
    // rows that found no place are the database's and the disk's trouble, not the source's: it is asked again at the next tick
    await end('deferred', messageOf(error)).catch((second: unknown) =>
      log.error({ event: 'run.unrecorded', collector: collector.name, error: second }),
    )
    throw error
  }
  if (signal?.aborted) failures.push({ what: 'the rest', error: stopped })
  if (drift.size > 0) log.info({ event: 'schema.drifted', collector: collector.name, keys: [...drift].toSorted() })
  const outcome = outcomeOf(failures, writer.counts.fetched)
  const problem = failures[0] ? `${failures[0].what}: ${messageOf(failures[0].error)}` : null
  await end(outcome, problem)
  return { kind: 'ran', outcome, counts: counts(), problem, client: tally }
}

/** What a collector throws is one failure more: the pages that it has brought are kept. */
async function* everything(collector: Collector, context: FetchContext): AsyncIterable<Page | FetchFailure> {
  try {
    yield* collector.fetch(context)
  } catch (error) {
    yield { what: collector.name, error }
  }
}

async function claimRun(collector: Collector, tools: CollectTools, run: CollectRequest & { runId: string }): Promise<ClaimResult> {
  const { clock, log, settings, state } = tools
  const { runId, scheduledAtMs, deadlineAtMs, force = false } = run
  const nowMs = clock.nowMs()
  const leaseForMs = deadlineAtMs - nowMs + claimBeyondMs
  const asked = { runId, scheduledAtMs, force, nowMs, leaseForMs, ...scheduleOf(collector, settings) }
  try {
    return await updateItem(state, stateKeys.collector(collector.name), (data?: CollectorState) => claim(data, asked), tools)
  } catch (error) {
    log.error({ event: 'run.unclaimed', collector: collector.name, error })
    return { verdict: 'run', cursor: null }
  }
}

async function finishRun(
  collector: Collector,
  tools: CollectTools,
  { runId, outcome, endedAtMs }: RunRow,
  { cursor, ...did }: { cursor: Cursor; client: ClientCounts; batches?: BatchCounts },
): Promise<void> {
  const { state, settings, log } = tools
  const key = stateKeys.collector(collector.name)
  try {
    const items = await state.list()
    const pacing = { ...scheduleOf(collector, settings), ...othersOf(collector, items) }
    // over the stored one: a run whose claim's answer was lost has its lease, but knows only the streams that it moved
    const ended = (data?: CollectorState) => ({
      ...did,
      runId,
      outcome,
      pacing,
      nowMs: endedAtMs,
      cursor: { ...(data?.cursor as Cursor | null), ...cursor },
    })
    const known = items.find((item) => item.key === key)
    await updateItem(state, key, (data?: CollectorState) => finish(data, ended(data)), { ...tools, known })
  } catch (error) {
    log.error({ event: 'cursor.unmoved', collector: collector.name, error })
  }
}

const scheduleOf = ({ name }: Collector, { collectors, schedule }: Settings) => ({
  baseIntervalMs: collectors[name].everyMinutes * 60_000,
  maxFactor: schedule.maxStretch,
})

function othersOf({ name }: Collector, items: readonly StateItem[]): Pick<Pacing, 'others' | 'isCircuitClosed'> {
  const keys = new Set(collectorNames.filter((other) => other !== name).map(stateKeys.collector))
  const circuit = items.find((item) => item.key === stateKeys.databaseBreaker)?.data as BreakerState | undefined
  return {
    others: items.filter((item) => keys.has(item.key)).map((item) => item.data as CollectorState),
    isCircuitClosed: circuit?.state !== 'open',
  }
}

function outcomeOf(failures: readonly FetchFailure[], fetched: number): RunOutcome {
  if (failures.length === 0) return 'complete'
  if (fetched > 0) return 'partial'
  const isNobodysFault = ({ error }: FetchFailure) =>
    error === stopped || error instanceof DeadlineExceededError || (error instanceof GeckoApiError && error.failure === 'not-sent')
  return failures.every(isNobodysFault) ? 'deferred' : 'failed'
}

/** A gap that is seen while batches are parked, or may be, may be filled by their replay. */
async function withGapsJudged(batch: Batch, { parked, log }: CollectTools): Promise<Batch> {
  if (batch.gaps.length === 0) return batch
  const waiting = await parked.depth().catch((error: unknown) => {
    log.warn({ event: 'gaps.unjudged', taken_as: 'provisional', error })
    return undefined
  })
  if (waiting === 0) return batch
  return withProvisionalGaps(batch)
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
