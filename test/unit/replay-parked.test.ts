import { describe, expect, it } from 'vitest'
import type { ParkedWrite } from '../../shared/collect/parked-writes.ts'
import { replayParked } from '../../shared/collect/replay-parked.ts'
import type { Statement } from '../../shared/db/database.ts'
import { writeBatch } from '../../shared/db/statements.ts'
import { CircuitOpenError, DeadlineExceededError } from '../../shared/errors.ts'
import { createMemoryTools, type MemoryTools } from '../support/collect-tools.ts'
import { lost, refused, unreachable } from '../support/fake-database.ts'
import { createMemoryParkedWrites, parkedWrite } from '../support/memory-parked-writes.ts'
import { at, dex, gap, pool } from '../support/rows.ts'

const startAtMs = at('10:30')
const deadlineAtMs = startAtMs + 55_000

/** A batch of one DEX of that name. */
const batchOf = (name: string) => parkedWrite(name, { dexes: [dex({ dex: name, name })] })
const named = (count: number, first = 1) => Array.from({ length: count }, (_, i) => `dex-${String(first + i).padStart(2, '0')}`)
const toolsWith = (...writes: readonly ParkedWrite[]) => createMemoryTools({ startAtMs, parked: createMemoryParkedWrites(...writes) })
const stored = (tools: MemoryTools) => tools.database.stored('upsert_dexes').map((row) => row[1])
const waiting = (tools: MemoryTools) => tools.parked.waiting.map((write) => write.id)
/** The DEXes that each call tried to write. */
const tried = (tools: MemoryTools) =>
  tools.database.calls.flatMap((call) => call.statements.filter((s) => s.name === 'upsert_dexes').map((s) => s.values[1]))

/** A database that refuses every transaction in which `isBad` finds a DEX. */
function refusing(tools: MemoryTools, isBad: (name: string) => boolean, error: Error): void {
  const { transaction } = tools.database
  tools.database.transaction = async (statements, options) => {
    const names = statements.flatMap((s) => (s.name === 'upsert_dexes' ? (s.values[1] as string[]) : []))
    if (names.some(isBad)) tools.database.script.unshift(error)
    return transaction(statements, options)
  }
}

describe('what is parked', () => {
  it('an empty queue wakes no database and is not even received from', async () => {
    const tools = toolsWith()
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 0, rows: 0, setAside: 0, left: 0 })
    expect(tools.database.calls).toEqual([])
    expect(tools.parked.calls).toEqual(['depth'])
    expect(tools.log.events).toEqual([])
  })

  it('goes in oldest first: one batch alone, then ten at a time in one transaction', async () => {
    const tools = toolsWith(...named(23).map(batchOf))
    const told: unknown[] = []
    const result = await replayParked(tools, { deadlineAtMs, onProgress: (...progress) => told.push(progress) })
    expect(result).toMatchObject({ replayed: 23, rows: 23, setAside: 0, left: 0 })
    expect(tried(tools)).toEqual([named(1), named(10, 2), named(10, 12), named(2, 22)])
    expect(told).toEqual([
      [1, 22],
      [11, 12],
      [21, 2],
      [23, 0],
    ])
    expect(waiting(tools)).toEqual([])
    expect(tools.log.events).toEqual([{ level: 'info', event: 'parked-writes.replayed', batches: 23, rows: 23, left: 0 }])
  })

  it('may probe an open circuit, and is written as late, so that it does not replace what a newer look has confirmed', async () => {
    const write = parkedWrite('a', { pools: [pool()] })
    const tools = toolsWith(write)
    const { signal } = new AbortController()
    await replayParked(tools, { deadlineAtMs, signal })
    const [call] = tools.database.calls
    expect(call?.options).toMatchObject({ mayProbe: true, signal })
    const upsert = (statements: readonly Statement[] | undefined) => statements?.find((s) => s.name === 'upsert_pools')?.text
    expect(upsert(call?.statements)).toBe(upsert(writeBatch(write.batch, { late: true })))
    expect(upsert(call?.statements)).not.toBe(upsert(writeBatch(write.batch, { late: false })))
  })

  it('is removed only after the commit', async () => {
    const tools = toolsWith(batchOf('orca'))
    const { transaction } = tools.database
    tools.database.transaction = async (statements, options) => {
      expect(waiting(tools)).toEqual(['orca'])
      return transaction(statements, options)
    }
    await replayParked(tools, { deadlineAtMs })
    expect(stored(tools)).toEqual(['orca'])
    expect(waiting(tools)).toEqual([])
  })

  it('one batch that is delivered twice in one hand is written once, and both deliveries are removed', async () => {
    const twice = batchOf('orca')
    const tools = toolsWith(batchOf('first'), twice, twice)
    await replayParked(tools, { deadlineAtMs })
    expect(tried(tools)).toEqual([['first'], ['orca']])
    expect(waiting(tools)).toEqual([])
  })

  it('what somebody else has in hand is left to them', async () => {
    const tools = toolsWith(batchOf('orca'))
    await tools.parked.receive(1)
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 0, rows: 0, setAside: 0, left: 1 })
    expect(tools.database.calls).toEqual([])
  })
})

describe('when a removal fails after the commit', () => {
  it('the batch stays queued and free, and is written once more, which changes nothing', async () => {
    const tools = toolsWith(batchOf('orca'))
    tools.parked.failing.set('remove', new Error('the queue does not answer'))
    await expect(replayParked(tools, { deadlineAtMs })).rejects.toThrow('the queue does not answer')
    expect(stored(tools)).toEqual(['orca'])

    tools.parked.failing.clear()
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 1, left: 0 })
    expect(tried(tools)).toEqual([['orca'], ['orca']])
    expect(stored(tools)).toEqual(['orca'])
  })

  it('and the release too, the error of the removal is the one that goes up', async () => {
    const tools = toolsWith(batchOf('orca'))
    tools.parked.failing.set('remove', new Error('remove: the queue does not answer'))
    tools.parked.failing.set('release', new Error('release: the queue does not answer'))
    await expect(replayParked(tools, { deadlineAtMs })).rejects.toThrow('remove: the queue does not answer')
  })

  it('a batch that can not be set aside is free again as well', async () => {
    const tools = toolsWith(batchOf('bad'))
    tools.database.away = refused('22003')
    tools.parked.failing.set('setAside', new Error('the dead letters do not answer'))
    await expect(replayParked(tools, { deadlineAtMs })).rejects.toThrow('the dead letters do not answer')
    expect((await tools.parked.receive(1)).map((received) => received.write.id)).toEqual(['bad'])
  })
})

describe('while the database is not available', () => {
  it('the batch is given back, and one is tried again every 5 s until the time is up', async () => {
    const tools = toolsWith(batchOf('orca'), batchOf('raydium'))
    tools.database.away = unreachable()
    expect(await replayParked(tools, { deadlineAtMs: startAtMs + 17_000 })).toMatchObject({ replayed: 0, rows: 0, setAside: 0, left: 2 })
    expect(tried(tools)).toEqual([['orca'], ['orca'], ['orca'], ['orca']])
    expect(tools.clock.sleptMs).toEqual([5_000, 5_000, 5_000])
    expect(await tools.parked.receive(10)).toHaveLength(2)
  })

  it('an open circuit is asked again when it says so, at least every 5 s and never in a tight loop', async () => {
    const tools = toolsWith(batchOf('orca'))
    const open = (retryAfterMs: number) => new CircuitOpenError('database', retryAfterMs)
    tools.database.script.push(open(1_200), open(40_000), open(0))
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 1, left: 0 })
    expect(tools.clock.sleptMs).toEqual([1_200, 5_000, 50])
  })

  it('the next try is one batch again, and the rest follows when the database is back', async () => {
    const tools = toolsWith(...named(15).map(batchOf))
    tools.database.script.push(undefined, lost())
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 15, left: 0 })
    expect(tried(tools)).toEqual([named(1), named(10, 2), named(1, 2), named(10, 3), named(3, 13)])
  })

  it('too little time for an attempt is no reason to lose one', async () => {
    const tools = toolsWith(batchOf('orca'))
    tools.database.away = new DeadlineExceededError('upsert_dexes: less than 2000 ms were left for an attempt')
    expect(await replayParked(tools, { deadlineAtMs: startAtMs + 3_000 })).toMatchObject({ replayed: 0, setAside: 0, left: 1 })
  })

  it('what went in before is told, though the time ended while it was away again', async () => {
    const tools = toolsWith(batchOf('orca'), batchOf('raydium'))
    tools.database.script.push(undefined)
    tools.database.away = unreachable()
    const { transaction } = tools.database
    let calls = 0
    tools.database.transaction = async (statements, options) => {
      tools.database.away = ++calls === 1 ? undefined : unreachable()
      return transaction(statements, options)
    }
    expect(await replayParked(tools, { deadlineAtMs: startAtMs + 3_000 })).toMatchObject({ replayed: 1, rows: 1, setAside: 0, left: 1 })
    expect(tools.log.named('parked-writes.replayed')).toMatchObject([{ batches: 1, left: 1 }])
  })

  it('a stop ends it at once, and everything is free for the next run', async () => {
    const stop = new AbortController()
    const tools = toolsWith(batchOf('orca'))
    tools.database.away = unreachable()
    const { sleep } = tools.clock
    tools.clock.sleep = async (...args) => {
      await sleep(...args)
      if (tools.clock.sleptMs.length === 2) stop.abort()
    }
    expect(await replayParked(tools, { deadlineAtMs, signal: stop.signal })).toMatchObject({ replayed: 0, left: 1 })
    expect(tried(tools)).toHaveLength(2)
    expect(await tools.parked.receive(1)).toHaveLength(1)
  })

  it('nothing is begun after the deadline', async () => {
    const tools = toolsWith(batchOf('orca'))
    expect(await replayParked(tools, { deadlineAtMs: startAtMs })).toMatchObject({ replayed: 0, left: 1 })
    expect(tools.database.calls).toEqual([])
  })

  it.each([
    ['a table is missing', refused('42P01')],
    ['a privilege is missing', refused('42501')],
    ['the password is wrong', refused('28P01')],
    ['nobody knows what it is', new Error('never seen before')],
  ])('because %s: everything stays queued, nothing is set aside', async (_, error) => {
    const tools = toolsWith(batchOf('orca'), batchOf('raydium'))
    tools.database.away = error
    expect(await replayParked(tools, { deadlineAtMs: startAtMs + 12_000 })).toMatchObject({ replayed: 0, rows: 0, setAside: 0, left: 2 })
    expect(waiting(tools)).toEqual(['orca', 'raydium'])
    expect(tools.parked.setAsides).toEqual([])
    expect(await tools.parked.receive(10)).toHaveLength(2)
    expect(tools.log.named('parked-writes.replayed')).toEqual([])
  })
})

describe('a row that the database refuses', () => {
  it('is kept apart with its reason, and the rest of its hand is in: nothing is set aside, nothing waits', async () => {
    const tools = toolsWith(...named(8).map(batchOf))
    refusing(tools, (name) => name === 'dex-04', refused('22003', { message: 'value overflows' }))
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 8, quarantined: 1, setAside: 0, left: 0 })
    expect(stored(tools)).toEqual(named(8).filter((name) => name !== 'dex-04'))
    expect(tools.log.named('row.quarantined')).toHaveLength(1)
    expect(tools.clock.sleptMs).toEqual([])
  })

  it('several of them are all found', async () => {
    const tools = toolsWith(...named(30).map(batchOf))
    const bad = new Set(['dex-01', 'dex-12', 'dex-13', 'dex-30'])
    refusing(tools, (name) => bad.has(name), refused('23502'))
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 30, quarantined: 4, setAside: 0, left: 0 })
    expect(stored(tools).toSorted()).toEqual(named(30).filter((name) => !bad.has(name)))
  })

  it('that has no place even apart is set aside with its batch, and the others of its hand are in', async () => {
    const tools = toolsWith(...named(8).map(batchOf))
    refusing(tools, (name) => name === 'dex-04', refused('22003'))
    const { transaction } = tools.database
    tools.database.transaction = async (statements, options) => {
      if (statements.some((s) => s.name.includes('quarantine'))) tools.database.script.unshift(refused('22P05'))
      return transaction(statements, options)
    }
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 7, setAside: 1, left: 0 })
    expect(tools.parked.setAsides).toEqual([{ id: 'dex-04', reason: 'data' }])
    expect(stored(tools).toSorted()).toEqual(named(8).filter((name) => name !== 'dex-04'))
    expect(tools.log.named('parked-write.set-aside')).toMatchObject([{ level: 'error', collector: 'dexes', reason: 'data' }])
  })

  it('more of them than single bad rows explain: each batch of the hand is tried alone, before any are merged again', async () => {
    const twoBad = (name: string) => parkedWrite(name, { dexes: [`${name}-a`, `${name}-b`].map((one) => dex({ dex: one, name: one })) })
    const tools = toolsWith(batchOf('good'), ...named(10).map(twoBad))
    refusing(tools, (name) => name !== 'good', refused('23514'))
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 11, quarantined: 20, setAside: 0, left: 0 })
    expect(tried(tools).filter((names) => (names as string[]).length > 10)).toHaveLength(1)
  })

  it('a hand that is too much for one transaction is split without waiting, and nothing of it is set aside', async () => {
    const tools = toolsWith(...named(12).map(batchOf))
    const { transaction } = tools.database
    tools.database.transaction = async (statements, options) => {
      const rows = statements.flatMap((s) => (s.name === 'upsert_dexes' ? (s.values[1] as string[]) : [])).length
      if (rows > 3) tools.database.script.unshift(refused('54000'))
      return transaction(statements, options)
    }
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 12, setAside: 0, left: 0 })
    expect(tools.clock.sleptMs).toEqual([])
  })
})

describe('provisional gaps', () => {
  it('are confirmed when the queue is drained, once', async () => {
    const tools = toolsWith(parkedWrite('gap', { gaps: [gap({ status: 'provisional' })] }), batchOf('orca'))
    await replayParked(tools, { deadlineAtMs })
    expect(tools.database.calls.map((call) => call.names)).toEqual([['insert_gaps'], ['upsert_dexes'], ['confirm_gaps']])
  })

  it('stay so while something waits', async () => {
    const tools = toolsWith(batchOf('orca'), batchOf('raydium'))
    await tools.parked.receive(1)
    await replayParked(tools, { deadlineAtMs })
    expect(tools.database.calls.map((call) => call.names)).toEqual([['upsert_dexes']])
  })

  it('that can not be confirmed now are no failure of the replay', async () => {
    const tools = toolsWith(batchOf('orca'))
    tools.database.script.push(undefined, lost())
    expect(await replayParked(tools, { deadlineAtMs })).toMatchObject({ replayed: 1, left: 0 })
    expect(tools.log.named('gaps.unconfirmed')).toHaveLength(1)
  })
})

describe('what a replay does not know', () => {
  it('a queue that does not answer fails it, and no database is asked', async () => {
    const tools = toolsWith(batchOf('orca'))
    tools.parked.failing.set('depth', new Error('the queue does not answer'))
    await expect(replayParked(tools, { deadlineAtMs })).rejects.toThrow('the queue does not answer')
    expect(tools.database.calls).toEqual([])
  })
})
