// The switches of one collector: breaker, batching and parking, each off by itself.

import { describe, expect, it } from 'vitest'
import { collect } from '../../shared/collect/collect.ts'
import { pageOf, type Collector } from '../../shared/collect/collector.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import type { CollectorState } from '../../shared/state/claim.ts'
import { createMemoryTools, type MemoryTools } from '../support/collect-tools.ts'
import { createFakeDatabase, refused, unreachable, type Scripted } from '../support/fake-database.ts'
import { observedAtMs as tickMs } from '../support/gecko-bodies.ts'
import { dex } from '../support/rows.ts'

/** Two pages of one DEX each, and a cursor that says how far it came. */
const collector: Collector = {
  name: 'dexes',
  table: 'dexes',
  async *fetch() {
    for (const [i, name] of ['orca', 'raydium'].entries()) {
      yield pageOf(
        { items: 1, rows: [], rejects: [], drift: [] },
        'dex',
        { dexes: [dex({ dex: name, name })] },
        { solana: `page ${i + 1}` },
      )
    }
  },
}

const request = { scheduledAtMs: tickMs, deadlineAtMs: tickMs + 55_000, force: true }
const toolsWith = (switches: object) => createMemoryTools({ settings: { collectors: { dexes: switches } }, startAtMs: tickMs })
const stateOf = async (tools: Pick<MemoryTools, 'state'>) => (await tools.state.data('collector:dexes')) as CollectorState

/** The real client over a scripted database, with the circuit of the shared state table. */
function overScript(tools: MemoryTools, script: readonly Scripted[]) {
  const { clock, log, random, settings, state } = tools
  const breaker = createBreaker({
    scope: 'database',
    key: 'breaker:database',
    table: state,
    rules: settings.breaker,
    clock,
    random,
    log,
    viewForMs: 0,
  })
  const database = createFakeDatabase(...script)
  const resilient = createResilientDatabase({ database, breaker, rules: settings.retry, limits: settings.database, clock, random, log })
  return { tools: { ...tools, database: resilient }, database, breaker }
}

const written = [{ inserted: 1, updated: 0 }]
const opening = [unreachable(), unreachable(), unreachable()]

describe('the breaker of a collector', () => {
  it('on: an open circuit parks its rows, and nothing is sent', async () => {
    const { tools, database } = overScript(toolsWith({}), [...opening, written])
    await collect(collector, tools, request)
    expect(await collect(collector, tools, request)).toMatchObject({ counts: { inserted: 0, parked: 2 } })
    expect(database.attempts).toHaveLength(3)
  })

  it('off: its writes go through an open circuit, which stays open for the others', async () => {
    const { tools, database, breaker } = overScript(toolsWith({ breaker: false }), [...opening, written])
    await collect(collector, tools, request)
    expect(database.attempts.length).toBeGreaterThan(3)
    expect((await breaker.view()).state).toBe('open')
    expect(await collect(collector, tools, request)).toMatchObject({ outcome: 'complete', counts: { inserted: 1, parked: 0 } })
  })

  it('off: what it sees is still recorded', async () => {
    const { tools, breaker } = overScript(toolsWith({ breaker: false }), [unreachable()])
    await collect(collector, tools, request)
    expect((await breaker.view()).state).toBe('open')
  })
})

describe('the batching of a collector', () => {
  const writes = (tools: MemoryTools) => tools.database.calls.filter(({ names }) => names.includes('upsert_dexes')).length

  it('on: its pages go together', async () => {
    const tools = toolsWith({})
    await collect(collector, tools, request)
    expect(writes(tools)).toBe(1)
  })

  it('off: each page goes by itself, and the cursor behind it', async () => {
    const tools = toolsWith({ batching: false })
    tools.database.script.push(undefined, unreachable())
    tools.parked.failing.set('park', new Error('no space left'))
    await expect(collect(collector, tools, request)).rejects.toThrow('no space left')
    expect(writes(tools)).toBe(2)
    expect((await stateOf(tools)).cursor).toEqual({ solana: 'page 1' })
  })
})

describe('the parking of a collector', () => {
  it('off: a write that fails makes the run fail, loudly, with its cursor unmoved and nothing parked', async () => {
    const tools = toolsWith({ parking: false })
    const failure = refused('53100')
    tools.database.away = failure
    await expect(collect(collector, tools, request)).rejects.toBe(failure)
    expect(tools.parked.waiting).toEqual([])
    expect(await stateOf(tools)).toMatchObject({ cursor: {}, lastOutcome: 'deferred', fetchFailures: 0 })
    expect(tools.log.named('run.unrecorded')).toHaveLength(1)
  })

  it('off: the next run fetches again, and is complete when the database is back', async () => {
    const tools = toolsWith({ parking: false })
    tools.database.script.push(unreachable(), unreachable())
    await expect(collect(collector, tools, request)).rejects.toMatchObject({ errno: 'ECONNREFUSED' })
    expect(await collect(collector, tools, request)).toMatchObject({ outcome: 'complete', counts: { inserted: 2, parked: 0 } })
    expect((await stateOf(tools)).cursor).toEqual({ solana: 'page 2' })
  })

  it('off: its own write is the probe of an open circuit, because without parked writes no replayer would close it', async () => {
    const { tools, breaker } = overScript(toolsWith({ parking: false }), [...opening, written])
    await expect(collect(collector, tools, request)).rejects.toMatchObject({ errno: 'ECONNREFUSED' })
    expect((await breaker.view()).state).toBe('open')
    await expect(collect(collector, tools, request)).rejects.toMatchObject({ name: 'CircuitOpenError' })
    tools.clock.advance(6_000)
    expect(await collect(collector, tools, request)).toMatchObject({ outcome: 'complete', counts: { parked: 0 } })
    expect((await breaker.view()).state).toBe('closed')
  })
})

describe("a run's own counts of the client", () => {
  it('are in its result, and add up in the state table over all its runs', async () => {
    const { tools } = overScript(toolsWith({}), [unreachable(), written])
    const first = await collect(collector, tools, request)
    expect(first).toMatchObject({ client: { calls: 2, succeeded: 2, attempts: 3, retries: 1, failures: { connection: 1 } } })
    // the record of the run itself is written after the state
    expect((await stateOf(tools)).client).toMatchObject({ calls: 1, attempts: 2, failures: { connection: 1 } })
    await collect(collector, tools, request)
    expect((await stateOf(tools)).client).toMatchObject({
      calls: 2,
      succeeded: 2,
      attempts: 3,
      retries: 1,
      failures: { connection: 1 },
    })
  })
})
