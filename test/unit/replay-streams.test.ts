import { describe, expect, it } from 'vitest'
import type { ParkedWrite } from '../../shared/collect/parked-writes.ts'
import { replayParked } from '../../shared/collect/replay-parked.ts'
import { CircuitOpenError } from '../../shared/errors.ts'
import type { Statement } from '../../shared/db/database.ts'
import type { CallOptions } from '../../shared/db/resilient-database.ts'
import { createMemoryTools, type MemoryTools } from '../support/collect-tools.ts'
import { refused, unreachable } from '../support/fake-database.ts'
import { createMemoryParkedWrites, parkedWrite } from '../support/memory-parked-writes.ts'
import { at, dex, pool, run, trade, tradeKey } from '../support/rows.ts'

const startAtMs = at('10:30')
const deadlineAtMs = startAtMs + 55_000

const trades = (n: number) => parkedWrite(`trades-${n}`, { trades: [trade({ key: tradeKey(n) })] }, { collector: 'trades' })
const pools = (n: number) => parkedWrite(`pools-${n}`, { pools: [pool({ address: `Pool${n}` })] }, { collector: 'top-pools' })
const record = (n: number) => parkedWrite(`run-${n}`, { runs: [run({ runId: `run-${n}` })] })
const toolsWith = (...writes: readonly ParkedWrite[]) => createMemoryTools({ startAtMs, parked: createMemoryParkedWrites(...writes) })
const waiting = (tools: MemoryTools) => tools.parked.waiting.map((write) => write.id)
/** The streams of the transactions, in order. */
const streams = (tools: MemoryTools) => tools.database.calls.filter((c) => c.names.length > 0).map((c) => c.options.stream ?? 'other')
const free = async (tools: MemoryTools) => (await tools.parked.receive(100)).map(({ write }) => write.id)

/** What each transaction throws, decided when it comes. */
function answering(tools: MemoryTools, errorFor: (options: CallOptions, statements: readonly Statement[]) => Error | undefined): void {
  const { transaction } = tools.database
  tools.database.transaction = async (statements, options) => {
    const error = errorFor(options, statements)
    if (error) tools.database.script.unshift(error)
    return transaction(statements, options)
  }
}
const tradesLocked = (untilMs = Infinity) => {
  return (tools: MemoryTools) =>
    answering(tools, ({ stream }) => (stream === 'trades' && tools.clock.nowMs() < untilMs ? refused('55P03') : undefined))
}

describe('batches of several streams', () => {
  it('go in with one transaction for each stream, so that none waits for the locks of another', async () => {
    const tools = toolsWith(pools(0), trades(1), pools(1), record(1), trades(2), pools(2))
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 6, left: 0 })
    expect(streams(tools)).toEqual(['pools', 'trades', 'pools', 'other', 'other'])
    expect(tools.database.calls.at(-1)?.names).toEqual(['confirm_gaps'])
  })
})

describe('while one stream is blocked', () => {
  it('the others are written to the last batch, however many of the blocked one stand before them', async () => {
    const many = Array.from({ length: 35 }, (_, i) => trades(i))
    const tools = toolsWith(...many, pools(1), pools(2), record(1))
    tradesLocked()(tools)
    const result = await replayParked(tools, { deadlineAtMs: startAtMs + 4_000 })
    expect(result).toMatchObject({ replayed: 3, setAside: 0, left: 35 })
    expect(waiting(tools).every((id) => id.startsWith('trades'))).toBe(true)
    // one attempt; the rest of the stream was not even tried
    expect(streams(tools)).toEqual(['trades', 'pools', 'other'])
  })

  it('its batches are tried again while the run lasts, and written when the lock is gone', async () => {
    const tools = toolsWith(...Array.from({ length: 12 }, (_, i) => trades(i)), pools(1))
    tradesLocked(startAtMs + 14_000)(tools)
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 13, left: 0 })
    expect(tools.clock.nowMs()).toBe(startAtMs + 15_000)
  })

  it("its open circuit says when: until then nothing of it is sent, and other streams' new batches go in", async () => {
    const tools = toolsWith(trades(1))
    answering(tools, ({ stream }) =>
      stream === 'trades' && tools.clock.nowMs() < startAtMs + 9_000
        ? new CircuitOpenError('stream:trades', startAtMs + 9_000 - tools.clock.nowMs())
        : undefined,
    )
    const { sleep } = tools.clock
    tools.clock.sleep = async (forMs, signal) => {
      if (tools.clock.sleptMs.length === 0) await tools.parked.park(pools(9))
      return sleep(forMs, signal)
    }
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 2, left: 0 })
    // asked for new batches after 5 s, and of the stream when its circuit said so
    expect(tools.clock.sleptMs).toEqual([5_000, 4_000])
    expect(streams(tools).slice(0, 3)).toEqual(['trades', 'pools', 'trades'])
  })

  it.each([
    ['at the end', {}],
    ['at a stop', { signal: AbortSignal.abort() }],
  ])('everything in hand is free again %s', async (_, request) => {
    const tools = toolsWith(...Array.from({ length: 12 }, (__, i) => trades(i)), pools(1))
    tradesLocked()(tools)
    await replayParked(tools, { deadlineAtMs: startAtMs + 12_000, ...request })
    expect(await free(tools)).toEqual(waiting(tools))
  })

  it('and when the queue fails in the middle', async () => {
    const tools = toolsWith(trades(0), trades(1), pools(1), pools(2))
    tradesLocked()(tools)
    tools.parked.failing.set('remove', new Error('the queue does not answer'))
    await expect(replayParked(tools, { deadlineAtMs })).rejects.toThrow('the queue does not answer')
    tools.parked.failing.clear()
    expect(await free(tools)).toEqual(['trades-0', 'trades-1', 'pools-1', 'pools-2'])
  })
})

describe('a stream that is refused for a reason that a person has to end', () => {
  const refusals = (tools: MemoryTools) => tools.state.data('refusals')
  const onTrades = (tools: MemoryTools, error: Error) => answering(tools, ({ stream }) => (stream === 'trades' ? error : undefined))

  it('is told to the health check with its class, once, while the others go on', async () => {
    const tools = toolsWith(trades(1), pools(1))
    onTrades(tools, refused('42P01', { message: 'relation "trades" does not exist' }))
    expect(await replayParked(tools, { deadlineAtMs: startAtMs + 12_000 })).toMatchObject({ replayed: 1, left: 1 })
    expect(await refusals(tools)).toEqual({
      trades: { class: 'schema', message: 'write: relation "trades" does not exist (42P01)', sinceMs: startAtMs },
    })
    await replayParked(tools, { deadlineAtMs: startAtMs + 60_000 })
    expect((await tools.state.list()).find((item) => item.key === 'refusals')?.version).toBe(1)
  })

  it('is told to be over as soon as a batch of it is in', async () => {
    const tools = toolsWith(trades(1), trades(2))
    answering(tools, () => (tools.clock.nowMs() < startAtMs + 4_000 ? refused('42501') : undefined))
    await replayParked(tools, { deadlineAtMs })
    expect(await refusals(tools)).toEqual({})
  })

  it('is told to be over by itself, though another stream is still refused', async () => {
    const tools = toolsWith(trades(1), pools(1))
    answering(tools, ({ stream }) => (stream === 'pools' || tools.clock.nowMs() < startAtMs + 4_000 ? refused('42501') : undefined))
    expect(await replayParked(tools, { deadlineAtMs: startAtMs + 14_000 })).toMatchObject({ replayed: 1, left: 1 })
    expect(Object.keys((await refusals(tools)) as object)).toEqual(['pools'])
  })

  it('a healthy replay writes nothing to the state table', async () => {
    const tools = toolsWith(trades(1), pools(1), record(1))
    await replayParked(tools, { deadlineAtMs })
    expect(await tools.state.list()).toEqual([])
  })

  it("contention, or a circuit, is nobody's to mend: nothing is told", async () => {
    const tools = toolsWith(trades(1))
    tradesLocked()(tools)
    await replayParked(tools, { deadlineAtMs: startAtMs + 12_000 })
    expect(await refusals(tools)).toBeUndefined()
  })

  it('without the state table the replay goes on, and the log has it', async () => {
    const tools = toolsWith(trades(1), pools(1))
    tools.state.away = new Error('the state table does not answer')
    onTrades(tools, refused('42P01'))
    expect(await replayParked(tools, { deadlineAtMs: startAtMs + 4_000 })).toMatchObject({ replayed: 1, left: 1 })
    expect(tools.log.named('parked-writes.refused')).toMatchObject([{ level: 'error', stream: 'trades', class: 'schema' }])
  })
})

describe('a batch with too many bad rows', () => {
  const bad = parkedWrite('bad', { dexes: Array.from({ length: 30 }, (_, i) => dex({ dex: `bad-${i}` })) })
  const good = (n: number) => parkedWrite(`good-${n}`, { dexes: [dex({ dex: `good-${n}` })] })

  it('stays queued and is told; the others of its hand and of its stream are written', async () => {
    const tools = toolsWith(good(1), bad, good(2), good(3))
    answering(tools, (_options, statements) =>
      statements.some((s) => s.name === 'upsert_dexes' && (s.values[1] as string[]).some((name) => name.startsWith('bad')))
        ? refused('23514', { message: 'violates check constraint' })
        : undefined,
    )
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 3, setAside: 0, quarantined: 0, left: 1 })
    expect(waiting(tools)).toEqual(['bad'])
    expect(tools.parked.setAsides).toEqual([])
    expect(await free(tools)).toEqual(['bad'])
    expect(tools.log.named('parked-writes.refused')).toMatchObject([{ stream: 'dexes', class: 'data' }])
  })
})

describe('a batch that this program can not send', () => {
  it('stays queued by itself: those behind it are written', async () => {
    const good = (n: number) => parkedWrite(`good-${n}`, { dexes: [dex({ dex: `good-${n}` })] })
    const tools = toolsWith(good(1), parkedWrite('odd', { dexes: [dex({ dex: 'odd' })] }), good(2))
    answering(tools, (_options, statements) =>
      statements.some((s) => s.name === 'upsert_dexes' && (s.values[1] as string[]).includes('odd'))
        ? new TypeError('statement upsert_dexes, $3 is of type undefined; nothing was sent')
        : undefined,
    )
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 2, left: 1 })
    expect(waiting(tools)).toEqual(['odd'])
  })
})

describe('a probe that fails', () => {
  it('asks the open circuit at once when the next one is due, and comes no later than that', async () => {
    const tools = toolsWith(trades(1))
    tools.database.isOpen = async () => tools.parked.waiting.length > 0
    tools.database.script.push(unreachable(), new CircuitOpenError('database', 4_450))
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 1 })
    expect(tools.clock.sleptMs).toEqual([50, 4_450])
  })
})

describe('an empty queue behind an open circuit', () => {
  it('is looked into each second: what opened the circuit is about to be parked', async () => {
    const tools = toolsWith()
    let isOpen = true
    tools.database.isOpen = async () => isOpen
    const { sleep } = tools.clock
    tools.clock.sleep = async (forMs, signal) => {
      if (tools.clock.sleptMs.length === 1) await tools.parked.park(trades(1))
      if (tools.clock.sleptMs.length === 2) isOpen = false
      return sleep(forMs, signal)
    }
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 1, left: 0 })
    expect(tools.clock.sleptMs.slice(0, 2)).toEqual([1_000, 1_000])
  })

  it('asks no database meanwhile, and ends with the run', async () => {
    const tools = toolsWith()
    tools.database.isOpen = async () => true
    await replayParked(tools, { deadlineAtMs: startAtMs + 10_000 })
    expect(tools.database.calls).toEqual([])
    expect(tools.clock.nowMs()).toBeLessThan(startAtMs + 10_000)
  })
})
