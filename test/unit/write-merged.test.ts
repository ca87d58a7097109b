import { describe, expect, it } from 'vitest'
import { mergeBatches } from '../../shared/collect/batch.ts'
import { writeMerged } from '../../shared/collect/write-merged.ts'
import { writeOrPark, type WriteRun } from '../../shared/collect/write-or-park.ts'
import { TooManyBadRowsError } from '../../shared/errors.ts'
import { createMemoryTools, type MemoryTools } from '../support/collect-tools.ts'
import { lost, refused } from '../support/fake-database.ts'
import { at, dex, token } from '../support/rows.ts'

const run: WriteRun = { collector: 'dexes', runId: '2025-08-28T10:00:00.000Z', table: 'dexes', deadlineAtMs: at('10:01') }
const names = (count: number) => Array.from({ length: count }, (_, i) => `dex-${String(i + 1).padStart(2, '0')}`)
const dexes = (...of: readonly string[]) => of.map((name) => dex({ dex: name, name }))
const newTools = () => createMemoryTools({ startAtMs: at('10:00') })
const stored = (tools: MemoryTools) => tools.database.stored('upsert_dexes').map((row) => row[1])
const quarantine = (tools: MemoryTools) => tools.database.calls.flatMap((c) => c.statements).filter((s) => s.name === 'insert_quarantine')

/** A database that refuses each transaction with one of these DEXes. */
function refusing(tools: MemoryTools, bad: readonly string[], error: Error): MemoryTools {
  const { transaction } = tools.database
  tools.database.transaction = async (statements, options) => {
    const written = statements.flatMap((s) => (s.name === 'upsert_dexes' ? (s.values[1] as string[]) : []))
    if (written.some((name) => bad.includes(name))) tools.database.script.unshift(error)
    return transaction(statements, options)
  }
  return tools
}

describe('a bad row among good ones', () => {
  it('goes into the quarantine with its reason and origin; the others, of every table, are in', async () => {
    const tools = refusing(newTools(), ['dex-05'], refused('22003', { message: 'the server refused a value' }))
    const rows = { dexes: dexes(...names(8)), tokens: [token()] }
    expect(await writeOrPark(rows, tools, run)).toEqual({ kind: 'written', inserted: 7, updated: 0, quarantined: 1 })
    expect(stored(tools).toSorted()).toEqual(names(8).filter((name) => name !== 'dex-05'))
    expect(tools.database.stored('upsert_tokens')).toHaveLength(1)
    expect(tools.parked.calls).toEqual([])
    expect(quarantine(tools).map((s) => s.values)).toEqual([
      [
        [expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)],
        ['dexes'],
        [JSON.stringify(dex({ dex: 'dex-05', name: 'dex-05' }))],
        ['data'],
        ['22003'],
        ['write: the server refused a value (22003)'],
        ['dexes'],
        ['2025-08-28T10:00:00.000Z'],
        ['2025-08-28T10:00:00.000Z'],
      ],
    ])
    expect(tools.log.named('row.quarantined')).toMatchObject([{ level: 'error', collector: 'dexes', table: 'dexes', sqlState: '22003' }])
    // values of a row are nobody's business in a log
    expect(JSON.stringify(tools.log.events)).not.toContain('observedAtMs')
  })

  it('is the same entry whenever it comes, and another row is another', async () => {
    const idOf = async (name: string, observedAtMs: number) => {
      const tools = refusing(newTools(), ['dex-01', 'dex-02'], refused('23514'))
      await writeOrPark({ dexes: [dex({ dex: name, observedAtMs })] }, tools, run)
      return quarantine(tools)[0]?.values[0]
    }
    expect(await idOf('dex-01', at('10:05'))).toEqual(await idOf('dex-01', at('10:00')))
    expect(await idOf('dex-02', at('10:00'))).not.toEqual(await idOf('dex-01', at('10:00')))
  })

  it('of another table than the counted one is no rejected item of the run', async () => {
    const tools = newTools()
    const { transaction } = tools.database
    tools.database.transaction = async (statements, options) => {
      if (statements.some((s) => s.name === 'upsert_tokens')) tools.database.script.unshift(refused('22003'))
      return transaction(statements, options)
    }
    const outcome = await writeOrPark({ dexes: dexes('dex-01'), tokens: [token()] }, tools, run)
    expect(outcome).toEqual({ kind: 'written', inserted: 1, updated: 0, quarantined: 0 })
    expect(quarantine(tools).map((s) => s.values[1])).toEqual([['tokens']])
  })

  it('when the connection is lost on the way, the whole batch is parked: what is in already changes nothing a second time', async () => {
    const tools = newTools()
    tools.database.script.push(refused('22003'), undefined, lost())
    expect(await writeOrPark({ dexes: dexes(...names(4)) }, tools, run)).toEqual({ kind: 'parked', reason: 'connection' })
    expect(tools.parked.waiting.map((write) => write.batch.dexes.length)).toEqual([4])
  })

  it('that not even the quarantine takes is parked with its batch', async () => {
    const tools = newTools()
    const bad = refusing(tools, ['dex-02'], refused('22P05'))
    const { transaction } = bad.database
    bad.database.transaction = async (statements, options) => {
      if (statements.some((s) => s.name === 'insert_quarantine')) bad.database.script.unshift(refused('22P05'))
      return transaction(statements, options)
    }
    expect(await writeOrPark({ dexes: dexes('dex-01', 'dex-02') }, bad, run)).toEqual({ kind: 'parked', reason: 'data' })
    expect(stored(tools)).toEqual(['dex-01'])
  })

  it('before the quarantine table is there stays parked: old schema and new code meet at every deploy', async () => {
    const tools = newTools()
    const bad = refusing(tools, ['dex-01'], refused('22003'))
    const { transaction } = bad.database
    bad.database.transaction = async (statements, options) => {
      if (statements.some((s) => s.name === 'insert_quarantine')) bad.database.script.unshift(refused('42P01'))
      return transaction(statements, options)
    }
    expect(await writeOrPark({ dexes: dexes('dex-01') }, bad, run)).toEqual({ kind: 'parked', reason: 'schema' })
  })
})

describe('more bad rows than single ones explain', () => {
  it('park the batch and say so loudly; ten are still found', async () => {
    const ten = refusing(newTools(), names(10), refused('23514'))
    expect(await writeOrPark({ dexes: dexes(...names(40)) }, ten, run)).toMatchObject({ kind: 'written', inserted: 30, quarantined: 10 })

    const eleven = refusing(newTools(), names(11), refused('23514', { message: 'violates check constraint "dexes_check"' }))
    expect(await writeOrPark({ dexes: dexes(...names(40)) }, eleven, run)).toEqual({ kind: 'parked', reason: 'data' })
    expect(quarantine(eleven)).toEqual([])
    const told = eleven.log.named('batch.refused')
    expect(told).toMatchObject([{ level: 'error', collector: 'dexes' }])
    expect((told[0] as unknown as { error: TooManyBadRowsError }).error.message).toBe(
      'more than 10 of 40 rows were refused, the last with: write: violates check constraint "dexes_check" (23514); ' +
        'the batch waits: look for a changed constraint or column, or a change of the API',
    )
  })
})

describe('too much for one transaction', () => {
  const refusingAbove = (most: number) => {
    const tools = newTools()
    const { transaction } = tools.database
    tools.database.transaction = async (statements, options) => {
      const rows = statements.flatMap((s) => (s.name === 'upsert_dexes' ? (s.values[1] as string[]) : [])).length
      if (rows > most) tools.database.script.unshift(refused('54000'))
      return transaction(statements, options)
    }
    return tools
  }

  it('is halved until it fits, and both halves are written', async () => {
    const tools = refusingAbove(3)
    expect(await writeOrPark({ dexes: dexes(...names(20)) }, tools, run)).toEqual({
      kind: 'written',
      inserted: 20,
      updated: 0,
      quarantined: 0,
    })
    expect(stored(tools)).toEqual(names(20))
  })

  it('a single row that is too large is a bad row', async () => {
    const tools = refusingAbove(0)
    expect(await writeOrPark({ dexes: dexes('dex-01') }, tools, run)).toMatchObject({ kind: 'written', quarantined: 1 })
    expect(quarantine(tools).map((s) => [s.values[3], s.values[4]])).toEqual([[['too-large'], ['54000']]])
  })
})

describe('what is asked of the client', () => {
  it('every part is idempotent, counts contention against its own stream, and leaves time to park', async () => {
    const tools = newTools()
    await writeOrPark({ dexes: dexes('dex-01') }, tools, run)
    expect(tools.database.calls[0]?.options).toMatchObject({ stream: 'dexes', repeat: 'idempotent', deadlineAtMs: at('10:01') })
    await writeOrPark({ tokens: [token()] }, tools, run)
    expect(tools.database.calls[1]?.options).not.toHaveProperty('stream')
  })

  it('a replay has nothing left to park, and may use that time', async () => {
    const tools = newTools()
    const originOf = () => ({ collector: 'dexes', runId: 'r', seenAtMs: 0 })
    await writeMerged(mergeBatches([{ dexes: dexes('dex-01') }]), tools, {
      deadlineAtMs: at('10:01'),
      late: true,
      isParked: true,
      originOf,
    })
    expect(tools.database.calls[0]?.options.deadlineAtMs).toBe(at('10:01') + 5_000)
  })
})
