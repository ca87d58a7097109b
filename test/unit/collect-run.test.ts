import { describe, expect, it } from 'vitest'
import { collect, type CollectRequest } from '../../shared/collect/collect.ts'
import { noItems, pageOf, type Collector, type Page } from '../../shared/collect/collector.ts'
import { collectors } from '../../shared/collect/collectors.ts'
import { DeadlineExceededError, GeckoApiError } from '../../shared/errors.ts'
import type { GeckoClient } from '../../shared/gecko/client.ts'
import { newTally } from '../../shared/resilience/client-metrics.ts'
import type { CollectorState } from '../../shared/state/claim.ts'
import { createMemoryTools, type MemoryTools } from '../support/collect-tools.ts'
import { unreachable } from '../support/fake-database.ts'
import { dexItem, observedAtMs, poolItem, scriptedGecko } from '../support/gecko-bodies.ts'
import { createMemoryParkedWrites, parkedWrite } from '../support/memory-parked-writes.ts'
import { dex, gap } from '../support/rows.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
/** 2026-11-20T10:00:00Z, a tick of every interval; `dexes` is due each hour. */
const tickMs = observedAtMs
const noon = '2026-11-20T12:00:00.000Z'

const at = (scheduledAtMs: number, request: Partial<CollectRequest> = {}): CollectRequest => ({
  scheduledAtMs,
  deadlineAtMs: scheduledAtMs + 55_000,
  ...request,
})
const dexPages = (...pages: readonly (readonly unknown[])[]) =>
  scriptedGecko(Object.fromEntries([...pages, []].map((items, i) => [`/networks/solana/dexes?page=${i + 1}`, items])))
const toolsWith = (gecko: GeckoClient, settings: object = {}) => createMemoryTools({ gecko, settings, startAtMs: tickMs })
const stateOf = (tools: MemoryTools, name = 'dexes') => tools.state.data(`collector:${name}`) as Promise<CollectorState | undefined>
/** run_id, collector, started_at, ended_at, outcome, fetched, inserted, updated, unchanged, rejected, parked, api_calls, problem */
const runRecords = (tools: MemoryTools) => tools.database.stored('insert_runs')

const unavailable = new GeckoApiError('GET /networks/solana/dexes answered 503', { failure: 'unavailable', status: 503 })
const late = new DeadlineExceededError('no complete answer within 300 ms, all that the deadline left')
const notSent = new GeckoApiError('GET /networks/solana/dexes was not sent: no budget', { failure: 'not-sent' })

/** Yields these pages of DEXes; a function runs when its turn comes. */
const yielding = (...items: readonly (Page | (() => void))[]): Collector => ({
  name: 'dexes',
  table: 'dexes',
  async *fetch() {
    for (const item of items) {
      if (typeof item === 'function') item()
      else yield item
    }
  },
})
const dexPage = (names: readonly string[], cursor: Page['cursor'] = {}): Page =>
  pageOf({ items: names.length, rows: [], rejects: [], drift: [] }, 'dex', { dexes: names.map((name) => dex({ dex: name, name })) }, cursor)

describe('the counts of a run', () => {
  it('everything that was fetched is inserted, updated, unchanged, rejected or parked', async () => {
    const before = dexPages([dexItem('orca'), { ...dexItem('raydium'), attributes: { name: 'an older name' } }])
    const tools = toolsWith(before, { batch: { maxRows: 3 } })
    await collect(collectors.dexes, tools, at(tickMs))
    const gecko = dexPages(
      [dexItem('orca'), dexItem('raydium'), dexItem('meteora'), { id: 'no-name', type: 'dex', attributes: {} }],
      [dexItem('phoenix'), dexItem('phoenix')],
    )
    // its first batch is written, its second is not
    tools.database.script.push(undefined, unreachable())

    const result = await collect(collectors.dexes, { ...tools, gecko }, at(tickMs + hourMs))

    const counts = { fetched: 6, inserted: 1, updated: 1, unchanged: 1, rejected: 1, parked: 2, apiCalls: 3 }
    expect(result).toMatchObject({ kind: 'ran', outcome: 'complete', problem: null, counts })
  })

  it('a row that came twice in one run is unchanged the second time', async () => {
    const tools = toolsWith(dexPages([dexItem('orca'), dexItem('raydium')], [dexItem('orca')]))
    expect(await collect(collectors.dexes, tools, at(tickMs))).toMatchObject({
      counts: { fetched: 3, inserted: 2, updated: 0, unchanged: 1, rejected: 0, parked: 0, apiCalls: 3 },
    })
  })

  it('are told after each page', async () => {
    const told: unknown[] = []
    const tools = toolsWith(dexPages([dexItem('orca')], [dexItem('raydium')]))
    await collect(collectors.dexes, tools, at(tickMs, { onProgress: ({ fetched, apiCalls }) => told.push([fetched, apiCalls]) }))
    expect(told).toEqual([
      [1, 1],
      [2, 2],
    ])
  })
})

describe('whether a run starts', () => {
  it('a second claim of the same tick is the same run: both do it, and it is recorded once', async () => {
    const gecko = dexPages([dexItem('orca')])
    const tools = toolsWith(gecko)
    const both = await Promise.all([collect(collectors.dexes, tools, at(tickMs)), collect(collectors.dexes, tools, at(tickMs))])
    expect(both.map((result) => result.kind)).toEqual(['ran', 'ran'])
    expect(runRecords(tools).map((record) => record.slice(0, 2))).toEqual([['2026-11-20T10:00:00.000Z', 'dexes']])
    expect(tools.database.stored('upsert_dexes')).toHaveLength(1)
  })

  it.each([
    ['it is not due', { nextDueAtMs: tickMs + hourMs }, { why: 'not-due', untilMs: tickMs + hourMs }],
    ['it pauses after failures', { cooldownUntilMs: tickMs + 5_000 }, { why: 'cooldown', untilMs: tickMs + 5_000 }],
    ['another run has it', { lease: { runId: 'other', untilMs: tickMs + 9_000 } }, { why: 'leased', untilMs: tickMs + 9_000 }],
  ])('when %s nothing is asked, and nothing changes', async (_, fields, skipped) => {
    const gecko = dexPages([dexItem('orca')])
    const tools = toolsWith(gecko)
    const state = { nextDueAtMs: 0, intervalFactor: 1, fetchFailures: 0, cooldownUntilMs: null, cursor: null, ...fields }
    await tools.state.compareAndSet('collector:dexes', 0, state)
    expect(await collect(collectors.dexes, tools, at(tickMs))).toEqual({ kind: 'skipped', ...skipped })
    expect(gecko.asked).toEqual([])
    expect(await stateOf(tools)).toEqual(state)
    expect(tools.database.calls).toEqual([])
  })

  it('by hand it runs though it is not due, but never beside another run', async () => {
    const tools = toolsWith(dexPages([dexItem('orca')]))
    await collect(collectors.dexes, tools, at(tickMs))
    expect(await collect(collectors.dexes, tools, at(tickMs + minuteMs, { force: true }))).toMatchObject({ kind: 'ran' })
    const held = { ...(await stateOf(tools)), lease: { runId: 'other', untilMs: tickMs + 9_000 } }
    await tools.state.compareAndSet('collector:dexes', 4, held)
    expect(await collect(collectors.dexes, tools, at(tickMs + minuteMs, { force: true }))).toMatchObject({ why: 'leased' })
  })

  it('a claim outlives its run, so that a run that takes all its time has no rival', async () => {
    let lease: unknown
    const tools = toolsWith(dexPages())
    const looking = yielding(() => void tools.state.data('collector:dexes').then((data) => (lease = (data as CollectorState).lease)))
    await collect(looking, tools, at(tickMs, { deadlineAtMs: tickMs + 55_000 }))
    expect(lease).toEqual({ runId: '2026-11-20T10:00:00.000Z', untilMs: tickMs + 65_000 })
  })
})

describe('a dry run', () => {
  it('fetches and counts, and leaves no row, no claim, no cursor and nothing parked', async () => {
    const tools = toolsWith(scriptedGecko({ '/networks/solana/new_pools?page=1': [poolItem('solana', 'A')] }), {
      collectors: { 'new-pools': { maxPages: 1 } },
    })
    const result = await collect(collectors['new-pools'], tools, at(tickMs, { dryRun: true }))
    expect(result).toMatchObject({ kind: 'ran', outcome: 'complete', counts: { fetched: 1, inserted: 0, parked: 0, apiCalls: 1 } })
    expect(await tools.state.list()).toEqual([])
    expect(tools.database.calls).toEqual([])
    expect(tools.parked.calls).toEqual([])
  })

  it('runs beside a real one', async () => {
    const tools = toolsWith(dexPages([dexItem('orca')]))
    await tools.state.compareAndSet('collector:dexes', 0, { lease: { runId: 'other', untilMs: tickMs + 9_000 } })
    expect(await collect(collectors.dexes, tools, at(tickMs, { dryRun: true }))).toMatchObject({ kind: 'ran', outcome: 'complete' })
  })
})

describe('the cursor', () => {
  const networks = ['solana', 'eth', 'bsc']
  const oneEach = () =>
    scriptedGecko(Object.fromEntries(networks.map((n) => [`/networks/${n}/new_pools?page=1`, [poolItem(n, `new-${n}`)]])))
  const settings = { networks, batch: { maxRows: 1 }, collectors: { 'new-pools': { maxPages: 1 } } }
  const seen = (network: string) => ({ newest: [`new-${network}`], newestAtMs: observedAtMs - minuteMs })

  it('moves behind rows that were written', async () => {
    const tools = toolsWith(oneEach(), settings)
    await collect(collectors['new-pools'], tools, at(tickMs))
    expect((await stateOf(tools, 'new-pools'))?.cursor).toEqual({ solana: seen('solana'), eth: seen('eth'), bsc: seen('bsc') })
  })

  it('moves behind rows that were parked, and that is no failure of the collector', async () => {
    const tools = toolsWith(oneEach(), settings)
    tools.database.away = unreachable()
    const result = await collect(collectors['new-pools'], tools, at(tickMs))
    expect(result).toMatchObject({ outcome: 'complete', problem: null, counts: { fetched: 3, inserted: 0, parked: 3 } })
    expect(await stateOf(tools, 'new-pools')).toMatchObject({
      cursor: { solana: seen('solana'), eth: seen('eth'), bsc: seen('bsc') },
      fetchFailures: 0,
      cooldownUntilMs: null,
      lastOutcome: 'complete',
      lastSuccessAtMs: tickMs,
    })
  })

  it('stays where it was for rows that found no place; what went before has moved it, and the run fails loudly', async () => {
    const gecko = oneEach()
    const tools = toolsWith(gecko, settings)
    // solana and eth are written, bsc can be neither written nor parked, the record of the run is written
    tools.database.script.push(undefined, undefined, unreachable())
    tools.parked.failing.set('park', new Error('a batch could not be parked in /data: no space left'))
    await expect(collect(collectors['new-pools'], tools, at(tickMs))).rejects.toThrow('a batch could not be parked in /data')
    expect(await stateOf(tools, 'new-pools')).toMatchObject({
      cursor: { solana: seen('solana') },
      fetchFailures: 0,
      lastOutcome: 'deferred',
      nextDueAtMs: tickMs,
    })
    expect(runRecords(tools).map((record) => [record[4], record[12]])).toEqual([
      ['deferred', 'a batch could not be parked in /data: no space left'],
    ])

    tools.parked.failing.clear()
    tools.database.away = undefined
    gecko.asked.length = 0
    expect(await collect(collectors['new-pools'], tools, at(tickMs + 5 * minuteMs))).toMatchObject({ outcome: 'complete' })
    expect(tools.database.stored('upsert_pools').map((row) => row[1])).toEqual(['new-solana', 'new-eth', 'new-bsc'])
  })

  it('when even the record of such a run has no place, the first error is the one that goes up', async () => {
    const tools = toolsWith(oneEach(), settings)
    tools.database.away = unreachable()
    tools.parked.failing.set('park', new Error('no space left'))
    await expect(collect(collectors['new-pools'], tools, at(tickMs))).rejects.toThrow('no space left')
    expect(tools.log.named('run.unrecorded')).toHaveLength(1)
  })

  it('a stream that this run did not reach stays where it was', async () => {
    const tools = toolsWith(oneEach(), settings)
    await collect(collectors['new-pools'], tools, at(tickMs))
    const gecko = scriptedGecko({ '/networks/solana/new_pools?page=1': [poolItem('solana', 'newer', 1_000)] })
    await collect(collectors['new-pools'], { ...tools, gecko }, at(tickMs + 5 * minuteMs))
    expect((await stateOf(tools, 'new-pools'))?.cursor).toEqual({
      solana: { newest: ['newer'], newestAtMs: observedAtMs - 1_000 },
      eth: seen('eth'),
      bsc: seen('bsc'),
    })
  })

  it('a stream that the collector gives up leaves it', async () => {
    const tools = toolsWith(dexPages())
    await collect(yielding(noItems({}, { kept: 1, left: 2 })), tools, at(tickMs))
    await collect(yielding(noItems({}, { left: undefined })), tools, at(tickMs + hourMs))
    expect((await stateOf(tools))?.cursor).toEqual({ kept: 1 })
  })

  it('a run that could not read it, because the answer to its claim was lost, wipes no stream', async () => {
    const tools = toolsWith(oneEach(), settings)
    await collect(collectors['new-pools'], tools, at(tickMs))
    const { compareAndSet } = tools.state
    tools.state.compareAndSet = async (...change) => {
      await compareAndSet(...change)
      tools.state.compareAndSet = compareAndSet
      throw new Error('the state table did not answer')
    }
    const gecko = scriptedGecko({ '/networks/solana/new_pools?page=1': [poolItem('solana', 'newer', 1_000)] })
    await collect(collectors['new-pools'], { ...tools, gecko }, at(tickMs + 5 * minuteMs))
    expect(tools.log.named('run.unclaimed')).toHaveLength(1)
    expect((await stateOf(tools, 'new-pools'))?.cursor).toMatchObject({ eth: seen('eth'), bsc: seen('bsc') })
  })
})

describe('how a run ends', () => {
  const networks = ['solana', 'eth']
  const answers = (solana: readonly unknown[] | Error, eth: readonly unknown[] | Error) => {
    const pages = (network: string, first: readonly unknown[] | Error) => [
      [`/networks/${network}/dexes?page=1`, first],
      [`/networks/${network}/dexes?page=2`, []],
    ]
    return scriptedGecko(Object.fromEntries([...pages('solana', solana), ...pages('eth', eth)]))
  }
  const twoFailuresBefore = { nextDueAtMs: tickMs, intervalFactor: 1, fetchFailures: 2, cooldownUntilMs: null, cursor: null }
  const problem = 'solana: GET /networks/solana/dexes answered 503'

  it.each([
    ['all came', answers([dexItem('orca')], [dexItem('uniswap')]), { outcome: 'complete', problem: null, fetchFailures: 0, due: hourMs }],
    ['a list is empty', answers([], [dexItem('uniswap')]), { outcome: 'complete', problem: null, fetchFailures: 0, due: hourMs }],
    ['a part failed', answers(unavailable, [dexItem('uniswap')]), { outcome: 'partial', problem, fetchFailures: 2, due: hourMs }],
    ['nothing came', answers(unavailable, unavailable), { outcome: 'failed', problem, fetchFailures: 3, due: hourMs }],
    [
      'nothing could be asked',
      answers(notSent, notSent),
      { outcome: 'deferred', problem: 'solana: GET /networks/solana/dexes was not sent: no budget', fetchFailures: 2, due: 0 },
    ],
    [
      'there was no time for an answer',
      answers(late, unavailable),
      { outcome: 'deferred', problem: 'solana: no complete answer within 300 ms, all that the deadline left', fetchFailures: 2, due: 0 },
    ],
  ])('when %s', async (_, gecko, expected) => {
    const tools = toolsWith(gecko, { networks })
    await tools.state.compareAndSet('collector:dexes', 0, twoFailuresBefore)
    const result = await collect(collectors.dexes, tools, at(tickMs))
    expect(result).toMatchObject({ outcome: expected.outcome, problem: expected.problem })
    expect(await stateOf(tools)).toMatchObject({
      lastOutcome: expected.outcome,
      fetchFailures: expected.fetchFailures,
      nextDueAtMs: tickMs + expected.due,
    })
    expect(runRecords(tools).map((record) => [record[4], record[12]])).toEqual([[expected.outcome, expected.problem]])
    expect(tools.log.named('fetch.failed').length > 0).toBe(expected.problem !== null)
  })

  it('five failures in a row pause the collector for a minute; then it is tried again, and one success clears it', async () => {
    const gecko = scriptedGecko({ '/networks/solana/dexes?page=1': unavailable })
    const tools = toolsWith(gecko)
    for (let n = 0; n < 5; n++) {
      expect(await collect(collectors.dexes, tools, at(tickMs + n * hourMs)), `run ${n + 1}`).toMatchObject({ outcome: 'failed' })
    }
    const cooldownUntilMs = tickMs + minuteMs
    expect(await stateOf(tools)).toMatchObject({ fetchFailures: 5, cooldownUntilMs })
    expect(await collect(collectors.dexes, tools, at(tickMs + 5 * hourMs))).toEqual({
      kind: 'skipped',
      why: 'cooldown',
      untilMs: cooldownUntilMs,
    })
    expect(gecko.asked).toHaveLength(5)

    tools.clock.advance(minuteMs)
    const well = { ...tools, gecko: dexPages([dexItem('orca')]) }
    expect(await collect(collectors.dexes, well, at(tickMs + 5 * hourMs))).toMatchObject({ outcome: 'complete' })
    expect(await stateOf(tools)).toMatchObject({ fetchFailures: 0, cooldownUntilMs: null })
  })

  it('a collector that breaks in the middle loses nothing that it has brought, and counts as a failure to read', async () => {
    const broken = () => {
      throw new TypeError('undefined is not a page')
    }
    const tools = toolsWith(dexPages())
    const result = await collect(yielding(dexPage(['orca'], { page: 1 }), broken), tools, at(tickMs))
    expect(result).toMatchObject({ outcome: 'partial', problem: 'dexes: undefined is not a page', counts: { fetched: 1, inserted: 1 } })
    expect((await stateOf(tools))?.cursor).toEqual({ page: 1 })
    expect(await collect(yielding(broken), tools, at(tickMs + hourMs))).toMatchObject({ outcome: 'failed' })
    expect(await stateOf(tools)).toMatchObject({ fetchFailures: 1 })
  })

  it('what was rejected and what is new in the answers is logged, each new key once', async () => {
    const odd = { ...dexItem('orca'), attributes: { name: 'Orca', founded: 2021 } }
    const tools = toolsWith(dexPages([odd, { id: 'no-name', type: 'dex', attributes: {} }], [{ ...odd, id: 'raydium' }]))
    await collect(collectors.dexes, tools, at(tickMs))
    expect(tools.log.named('item.rejected')).toMatchObject([{ level: 'warn', collector: 'dexes', kind: 'dex', item: expect.any(String) }])
    expect(tools.log.named('schema.drifted')).toMatchObject([{ level: 'info', collector: 'dexes', keys: ['dex.attributes.founded'] }])
  })
})

describe('a stop in the middle of a run', () => {
  it('parks what is in hand without asking the database, and the run is partial', async () => {
    const stop = new AbortController()
    const tools = toolsWith(dexPages())
    const stopped = yielding(dexPage(['orca']), () => stop.abort(), dexPage(['raydium'], { page: 2 }), dexPage(['never']))
    const result = await collect(stopped, tools, at(tickMs, { signal: stop.signal }))
    expect(result).toMatchObject({
      outcome: 'partial',
      problem: 'the rest: the process was asked to stop',
      counts: { fetched: 2, inserted: 0, parked: 2 },
    })
    expect(tools.database.calls).toEqual([])
    expect(tools.parked.waiting.map((write) => [write.reason, write.batch.dexes.map((d) => d.dex), write.batch.runs.length])).toEqual([
      ['deadline', ['orca', 'raydium'], 0],
      ['deadline', [], 1],
    ])
    expect((await stateOf(tools))?.cursor).toEqual({ page: 2 })
  })

  it('before anything came it is deferred: nobody has failed', async () => {
    const stop = new AbortController()
    const gecko: GeckoClient = {
      get: async (path) => {
        stop.abort()
        throw new Error(`GET ${path} was cut off`)
      },
    }
    const tools = toolsWith(gecko)
    const result = await collect(collectors.dexes, tools, at(tickMs, { signal: stop.signal }))
    expect(result).toMatchObject({ outcome: 'deferred', problem: 'the rest: the process was asked to stop' })
    expect(await stateOf(tools)).toMatchObject({ fetchFailures: 0, nextDueAtMs: tickMs })
    expect(tools.log.named('fetch.failed')).toEqual([])
  })
})

describe('without the state table', () => {
  it('the run goes on, unclaimed and without a cursor, and says so', async () => {
    const tools = toolsWith(dexPages([dexItem('orca')]))
    tools.state.away = new Error('the state table does not answer')
    expect(await collect(collectors.dexes, tools, at(tickMs))).toMatchObject({ outcome: 'complete', counts: { inserted: 1 } })
    expect(tools.log.events.map(({ level, event }) => [level, event])).toEqual([
      ['error', 'run.unclaimed'],
      ['error', 'cursor.unmoved'],
    ])
    expect(runRecords(tools)).toHaveLength(1)
  })
})

describe('gaps', () => {
  const gapStatus = (tools: MemoryTools) => tools.database.stored('insert_gaps').map((row) => row[4])
  const found = yielding(noItems({ gaps: [gap()] }, {}))

  it('are open while nothing is parked', async () => {
    const tools = toolsWith(dexPages())
    await collect(found, tools, at(tickMs))
    expect(gapStatus(tools)).toEqual(['open'])
  })

  it('are provisional while batches wait', async () => {
    const tools = { ...toolsWith(dexPages()), parked: createMemoryParkedWrites(parkedWrite('a', { dexes: [dex()] })) }
    await collect(found, tools, at(tickMs))
    expect(gapStatus(tools)).toEqual(['provisional'])
  })

  it('are provisional, and written, when nobody can say whether batches wait', async () => {
    const tools = toolsWith(dexPages())
    tools.parked.failing.set('depth', new Error('the queue does not answer'))
    expect(await collect(found, tools, at(tickMs))).toMatchObject({ outcome: 'complete' })
    expect(gapStatus(tools)).toEqual(['provisional'])
    expect(tools.log.named('gaps.unjudged')).toHaveLength(1)
  })

  it('that are parked themselves are provisional', async () => {
    const tools = toolsWith(dexPages())
    tools.database.away = unreachable()
    await collect(found, tools, at(tickMs))
    expect(tools.parked.waiting.flatMap((write) => write.batch.gaps.map((g) => g.status))).toEqual(['provisional'])
  })
})

describe('the record of a run', () => {
  it('is written with times, outcome and counts', async () => {
    const tools = toolsWith(dexPages([dexItem('orca')]))
    const slow = {
      ...tools,
      gecko: { get: (...asked: Parameters<GeckoClient['get']>) => (tools.clock.advance(1_500), tools.gecko.get(...asked)) },
    }
    await collect(collectors.dexes, slow, at(Date.parse(noon)))
    expect(runRecords(tools)).toEqual([
      [noon, 'dexes', '2026-11-20T10:00:00.000Z', '2026-11-20T10:00:03.000Z', 'complete', 1, 1, 0, 0, 0, 0, 2, null],
    ])
  })

  it('is parked with the rest when the database is away, and without a word of its own', async () => {
    const tools = toolsWith(dexPages([dexItem('orca')]))
    tools.database.away = unreachable()
    await collect(collectors.dexes, tools, at(tickMs))
    expect(tools.parked.waiting.map(({ reason, batch }) => [reason, batch.dexes.length, batch.runs.map((run) => run.parked)])).toEqual([
      ['connection', 1, []],
      ['connection', 0, [1]],
    ])
    expect(tools.log.named('batch.parked')).toMatchObject([{ level: 'warn', collector: 'dexes', rows: 1, reason: 'connection' }])
  })
})

describe('what a run leaves in its item for others to judge', () => {
  it('is how its batches filled, and nothing where batching is switched off', async () => {
    const names = ['orca', 'raydium', 'meteora']
    const pages = () => yielding(dexPage(names), dexPage(['phoenix']))
    const tools = toolsWith(dexPages([]), { batch: { maxRows: 3 } })
    await collect(pages(), tools, at(tickMs))
    expect((await stateOf(tools))?.batches).toEqual({ count: 2, rows: 4, waitedMs: 0, sourceLimited: 1, sourceLimitedRows: 1 })
    const unbatched = toolsWith(dexPages([]), { collectors: { dexes: { batching: false } } })
    await collect(pages(), unbatched, at(tickMs))
    expect((await stateOf(unbatched))?.batches).toBeUndefined()
  })
})

describe('the interval of a collector', () => {
  const sinceMs = tickMs - 10 * minuteMs
  const nothing = { calls: 0, succeeded: 0, attempts: 0, contended: 0 }
  /** Another collector, whose runs met locks since the last decision. */
  async function contendedTools(settings: object = {}) {
    const tools = toolsWith(dexPages([]), settings)
    const counts = { ...newTally(), calls: 40, succeeded: 40, attempts: 50, failures: { 'lock-timeout': 10 } }
    const trades = { ...(await afterRun(tools)), client: counts, pace: { ...nothing, sinceMs }, intervalFactor: 2 }
    await tools.state.compareAndSet('collector:trades', 0, trades)
    return tools
  }
  /** The item of a collector that ran once. */
  async function afterRun({ settings }: MemoryTools): Promise<CollectorState | undefined> {
    const tools = { ...toolsWith(dexPages([])), settings }
    await collect(yielding(dexPage(['orca'])), tools, at(tickMs - hourMs))
    return stateOf(tools)
  }

  it('is stretched by the locks that all collectors met together, from the last factor that any of them has set', async () => {
    const tools = await contendedTools()
    await collect(yielding(dexPage(['orca'])), tools, at(tickMs))
    expect(await stateOf(tools)).toMatchObject({
      intervalFactor: 3,
      nextDueAtMs: tickMs + 3 * hourMs,
      pace: { attempts: 50, contended: 10, sinceMs: tickMs },
    })
  })

  it("stays while the database's circuit is open", async () => {
    const tools = await contendedTools()
    await tools.state.compareAndSet('breaker:database', 0, { state: 'open', epoch: 1 })
    await collect(yielding(dexPage(['orca'])), tools, at(tickMs))
    expect(await stateOf(tools)).toMatchObject({ intervalFactor: 2, pace: { sinceMs: tickMs } })
  })

  it('is that of the schedule when stretching is switched off', async () => {
    const tools = await contendedTools({ schedule: { maxStretch: 1 } })
    await collect(yielding(dexPage(['orca'])), tools, at(tickMs))
    expect(await stateOf(tools)).toMatchObject({ intervalFactor: 1, nextDueAtMs: tickMs + hourMs })
  })
})
