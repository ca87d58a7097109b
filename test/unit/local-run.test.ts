import { describe, expect, it } from 'vitest'
import { createLocalRun, type LocalRun } from '../../cli/local-run.ts'
import type { LocalTools } from '../../cli/runtime.ts'
import type { AlertMessage } from '../../shared/health/alert/notifier.ts'
import type { Breaker } from '../../shared/state/breaker.ts'
import { createMemoryTools, type MemoryTools } from '../support/collect-tools.ts'
import { createFakeDatabase, refused, unreachable, type Scripted } from '../support/fake-database.ts'
import { dexItem, observedAtMs, scriptedGecko } from '../support/gecko-bodies.ts'
import { createMemoryParkedWrites, parkedWrite } from '../support/memory-parked-writes.ts'
import { dex } from '../support/rows.ts'

const dexPages = (...pages: readonly (readonly unknown[])[]) =>
  scriptedGecko(Object.fromEntries([...pages, []].map((items, i) => [`/networks/solana/dexes?page=${i + 1}`, items])))

/** A local run over memory. `pings` are what the health check's database answers, a look after the other, the last one for ever. */
function createRun(options: { tools?: MemoryTools; pings?: readonly Scripted[]; onParked?: () => void } = {}) {
  const { tools = createMemoryTools({ gecko: dexPages([dexItem('orca')]), startAtMs: observedAtMs }), pings = [[]] } = options
  const told: AlertMessage[] = []
  let looks = 0
  const localTools: LocalTools = {
    ...tools,
    directDatabase: createFakeDatabase(),
    breaker: {} as Breaker,
    schema: 'tokay_test',
    close: async () => {},
  }
  const run: LocalRun = createLocalRun({
    tools: localTools,
    databaseUrl: 'postgres://nobody@127.0.0.1:1/nothing',
    notifier: { publish: async (message) => void told.push(message) },
    signal: new AbortController().signal,
    // its vitals may not be read
    openDatabase: () => createFakeDatabase(pings[Math.min(looks++, pings.length - 1)] as Scripted, refused('42501')),
    ...(options.onParked ? { onParked: options.onParked } : {}),
  })
  return { run, tools, told }
}

describe("a collector's line in the view", () => {
  it('sums the runs of this process, and shows what it does now', async () => {
    const { run, tools } = createRun()
    await run.collect('dexes', observedAtMs)
    await run.collect('dexes', observedAtMs + 60_000, { force: true })
    expect(run.collectors.dexes).toEqual({
      fetched: 2,
      inserted: 1,
      updated: 0,
      unchanged: 1,
      rejected: 0,
      parked: 0,
      apiCalls: 4,
      doing: 'waiting',
    })
    expect(tools.log.named('collector.ran')).toHaveLength(2)
  })

  it('stays as it was when the run was not due', async () => {
    const { run, tools } = createRun()
    await run.collect('dexes', observedAtMs)
    const before = run.collectors.dexes
    expect(await run.collect('dexes', observedAtMs)).toMatchObject({ kind: 'skipped', why: 'not-due' })
    expect(run.collectors.dexes).toEqual(before)
    expect(tools.log.named('collector.ran')).toHaveLength(1)
  })

  it('says what failed', async () => {
    const tools = createMemoryTools({ gecko: scriptedGecko({}), startAtMs: observedAtMs })
    const { run } = createRun({ tools })
    await run.collect('dexes', observedAtMs)
    expect(run.collectors.dexes.doing).toBe('failed: solana: GET /networks/solana/dexes?page=1: not found')
  })

  it('says so when a run threw, and nothing is thrown at the timer that started it', async () => {
    const { run, tools } = createRun()
    tools.database.away = unreachable()
    tools.parked.failing.set('park', new Error('no space left'))
    expect(await run.collect('dexes', observedAtMs)).toBeUndefined()
    expect(run.collectors.dexes).toMatchObject({ fetched: 0, doing: 'failed: no space left' })
    expect(tools.log.named('collector.failed')).toHaveLength(1)
  })
})

describe('after a run', () => {
  it('whoever replays is told that a batch waits, whichever run parked it', async () => {
    let told = 0
    const { run, tools } = createRun({ onParked: () => void told++ })
    await run.collect('dexes', observedAtMs)
    expect(told).toBe(0)
    tools.database.away = unreachable()
    await run.collect('dexes', observedAtMs + 60_000, { force: true })
    expect(told).toBe(1)
  })

  it('a queue that can not be counted does not make a failure of it', async () => {
    let told = 0
    const { run, tools } = createRun({ onParked: () => void told++ })
    tools.parked.failing.set('depth', new Error('the folder is not there'))
    expect(await run.collect('dexes', observedAtMs)).toMatchObject({ kind: 'ran', outcome: 'complete' })
    expect(run.collectors.dexes).toMatchObject({ fetched: 1, inserted: 1, doing: 'waiting' })
    expect(tools.log.named('collector.failed')).toEqual([])
    // the replayer finds out, and says it
    expect(told).toBe(1)
  })
})

describe('the replayer', () => {
  it('an empty queue asks neither for the schema nor for the database', async () => {
    const { run, tools } = createRun()
    await run.replay()
    expect(tools.database.calls).toEqual([])
    expect(tools.log.events).toEqual([])
  })

  it('a queue that can not be counted is told in the log, not thrown at the timer', async () => {
    const { run, tools } = createRun()
    tools.parked.failing.set('depth', new Error('the folder is not there'))
    await run.replay()
    expect(tools.log.named('replay.failed')).toHaveLength(1)
  })

  it('a database that never had its schema is asked for it until the time is up, and the batches stay', async () => {
    const parked = createMemoryParkedWrites(parkedWrite('a', { dexes: [dex()] }))
    const { run, tools } = createRun({ tools: createMemoryTools({ startAtMs: observedAtMs, parked }) })
    await run.replay(12_000)
    expect(tools.clock.sleptMs).toEqual([5_000, 5_000])
    expect(tools.log.named('schema.unmigrated')).toHaveLength(3)
    expect(parked.waiting).toHaveLength(1)
  })

  it('one that is asked for during another prolongs it: between two nobody would look for a database that is back', async () => {
    const parked = createMemoryParkedWrites(parkedWrite('a', { dexes: [dex()] }))
    const { run, tools } = createRun({ tools: createMemoryTools({ startAtMs: observedAtMs, parked }) })
    const { sleep } = tools.clock
    tools.clock.sleep = async (...args) => {
      await sleep(...args)
      // the tick of the next minute
      if (tools.clock.sleptMs.length === 2) void run.replay(12_000)
    }
    await run.replay(12_000)
    expect(tools.clock.nowMs() - observedAtMs).toBe(20_000)
    await run.replay(6_000)
    expect(tools.clock.nowMs() - observedAtMs).toBe(25_000)
  })
})

describe('the health check', () => {
  it('one that is asked for while another looks is made anew afterwards: the first may have looked before the change', async () => {
    let answer = (_rows: []) => {}
    const looking = () => new Promise<[]>((resolve) => (answer = resolve))
    const { run, tools, told } = createRun({ pings: [unreachable(), unreachable(), unreachable(), looking, []] })
    await run.checkHealth()
    // the record of what was seen waits for the database as well
    expect(tools.parked.waiting.map(({ reason }) => reason)).toEqual(['database-away'])
    tools.clock.advance(60_000)
    const depths = () => tools.parked.calls.filter((call) => call === 'depth').length
    const first = run.checkHealth()
    await expect.poll(depths, { timeout: 1_000, interval: 1 }).toBe(4)
    // the last batch is written while the first looks
    await tools.parked.remove(['receipt-1'])
    const [second, third] = [run.checkHealth(), run.checkHealth()]
    answer([])
    await first
    expect(run.lastReport()).toMatchObject({ metrics: { parked_batches: 1 } })
    await Promise.all([second, third])
    expect(run.lastReport()).toMatchObject({ metrics: { parked_batches: 0 } })
    expect(told.map((message) => message.subject)).toEqual([
      '[CRITICAL] tokay-dev: database unreachable',
      expect.stringMatching(/^\[RECOVERED\] tokay-dev: database unreachable, over after \d+ s$/),
    ])
  })

  it('never looks twice at the same time', async () => {
    let [now, most] = [0, 0]
    const looking = async () => {
      most = Math.max(most, ++now)
      await new Promise((resolve) => setImmediate(resolve))
      now--
      return []
    }
    const { run } = createRun({ pings: [looking] })
    const asked: Promise<void>[] = []
    for (let n = 0; n < 5; n++) {
      asked.push(run.checkHealth())
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(asked)
    expect(most).toBe(1)
  })

  it('one that fails is told in the log and does not stop the next', async () => {
    const { run, tools } = createRun({ pings: [unreachable(), unreachable(), unreachable(), []] })
    tools.parked.failing.set('park', new Error('the folder is not there'))
    await run.checkHealth()
    expect(tools.log.named('health-check.failed')).toHaveLength(1)
    expect(run.lastReport()).toBeUndefined()
    tools.parked.failing.clear()
    tools.clock.advance(60_000)
    await run.checkHealth()
    expect(run.lastReport()).toMatchObject({ metrics: { parked_batches: 0 } })
  })
})

describe('the tables', () => {
  it('are counted, or undefined and told when the database is away', async () => {
    const { run, tools } = createRun()
    tools.database.answers['count_rows'] = [{ dexes: 1, tokens: 2, pools: 3, pool_snapshots: 4, trades: 5, coverage_gaps: 6 }]
    expect(await run.tables()).toEqual({
      dexes: { rows: 1 },
      tokens: { rows: 2 },
      pools: { rows: 3 },
      pool_snapshots: { rows: 4 },
      trades: { rows: 5 },
      coverage_gaps: { rows: 6 },
    })
    tools.database.away = unreachable()
    expect(await run.tables()).toBeUndefined()
    expect(tools.log.named('tables.uncounted')).toHaveLength(1)
  })
})
