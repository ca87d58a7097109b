import { describe, expect, it } from 'vitest'
import { writeOrPark, type WriteRun } from '../../shared/collect/write-or-park.ts'
import { DatabaseError } from '../../shared/db/database.ts'
import { CircuitOpenError, ConfigError, DeadlineExceededError } from '../../shared/errors.ts'
import { createMemoryTools, type MemoryTools } from '../support/collect-tools.ts'
import { lost, refused, unreachable } from '../support/fake-database.ts'
import { at, dex, gap, incident, oneOfEach, pool, run, sample, trade, tradeKey } from '../support/rows.ts'

const aRun: WriteRun = { collector: 'dexes', runId: '2025-08-28T10:00:00.000Z', table: 'dexes', deadlineAtMs: at('10:01') }
const newTools = () => createMemoryTools({ startAtMs: at('10:00') })
const ensured = (tools: MemoryTools) =>
  tools.database.calls.map(({ statements }) => statements.filter((s) => s.name.startsWith('ensure_days')).map((s) => s.values))
const missingPartition = () => refused('23514', { message: 'no partition of relation "trades" found', routine: 'ExecFindPartition' })

describe('a batch that can be written', () => {
  it('goes in one transaction, and the rows of the asked table are counted', async () => {
    const tools = newTools()
    const outcome = await writeOrPark(oneOfEach(), tools, { ...aRun, table: 'trades' })
    expect(outcome).toMatchObject({ kind: 'written', inserted: 1, updated: 0 })
    expect(tools.database.calls.map((call) => call.names)).toEqual([
      [
        'ensure_days:trades',
        'ensure_days:pool_snapshots',
        'upsert_dexes',
        'upsert_tokens',
        'upsert_pools',
        'insert_snapshots',
        'insert_trades',
        'insert_gaps',
        'insert_runs',
        'insert_health_samples',
        'lock_health_hours',
        'roll_up_health_hours',
        'upsert_incidents',
      ],
    ])
    expect(tools.parked.calls).toEqual([])
  })

  it('has until the deadline, and is never the probe of an open circuit', async () => {
    const tools = newTools()
    const { signal } = new AbortController()
    await writeOrPark({ dexes: [dex()] }, tools, { ...aRun, signal })
    expect(tools.database.calls[0]?.options).toMatchObject({ deadlineAtMs: at('10:01'), mayProbe: false, signal })
  })

  it('asks for the partitions of a day once in the life of a process', async () => {
    const tools = newTools()
    const trades = (block: number, day: string) => ({
      trades: [trade({ key: tradeKey(block), blockAtMs: Date.parse(`${day}T12:00:00Z`) })],
    })
    await writeOrPark(trades(1, '2025-08-28'), tools, aRun)
    await writeOrPark(trades(2, '2025-08-28'), tools, aRun)
    await writeOrPark({ ...trades(3, '2025-08-29'), pools: [pool()] }, tools, aRun)
    await writeOrPark({ ...trades(4, '2025-08-29'), pools: [pool()] }, tools, aRun)
    expect(ensured(tools)).toEqual([
      [['trades', ['2025-08-28']]],
      [],
      [
        ['trades', ['2025-08-29']],
        ['pool_snapshots', ['2025-08-28']],
      ],
      [],
    ])
  })

  it('a day counts as seen only once its transaction is committed', async () => {
    const tools = newTools()
    tools.database.script.push(lost())
    await writeOrPark({ trades: [trade()] }, tools, aRun)
    await writeOrPark({ trades: [trade()] }, tools, aRun)
    expect(ensured(tools)).toEqual([[['trades', ['2025-08-28']]], [['trades', ['2025-08-28']]]])
  })
})

describe('a partition that was dropped since it was seen', () => {
  it('is ensured, and the batch written again, once', async () => {
    const tools = newTools()
    await writeOrPark({ trades: [trade()] }, tools, aRun)
    tools.database.script.push(missingPartition())
    const outcome = await writeOrPark({ trades: [trade({ key: tradeKey(2) })] }, tools, { ...aRun, table: 'trades' })
    expect(outcome).toMatchObject({ kind: 'written', inserted: 1, updated: 0 })
    expect(ensured(tools)).toEqual([[['trades', ['2025-08-28']]], [], [['trades', ['2025-08-28']]]])
  })

  it('that is missing still parks the batch', async () => {
    const tools = newTools()
    tools.database.away = missingPartition()
    expect(await writeOrPark({ trades: [trade()] }, tools, aRun)).toEqual({ kind: 'parked', reason: 'missing-partition' })
    expect(tools.database.calls).toHaveLength(2)
    expect(tools.parked.waiting).toHaveLength(1)
  })
})

describe('a batch that can not be written', () => {
  const timedOut = new DatabaseError('write: no answer', { statement: 'write', applied: 'unknown', errno: 'ATTEMPT_TIMEOUT' })
  const late = (cause?: unknown) =>
    new DeadlineExceededError('write: less than 2000 ms were left', cause === undefined ? undefined : { cause })

  it.each([
    ['connection', unreachable()],
    ['connection', lost()],
    ['unanswered', timedOut],
    ['unavailable', refused('57P03')],
    ['read-only', refused('25006')],
    ['saturated', refused('53300')],
    ['resources', refused('53200')],
    ['disk', refused('53100')],
    ['slow', refused('57014')],
    ['internal', refused('XX000')],
    ['corrupted', refused('XX001')],
    ['contention', refused('40P01')],
    ['lock-timeout', refused('55P03')],
    ['cancelled', refused('57014', { message: 'canceling statement due to user request' })],
    ['session', refused('26000')],
    ['config', refused('28P01')],
    ['config', new ConfigError(['DATABASE_URL is not a Postgres URL'])],
    ['permission', refused('42501')],
    ['schema', refused('42P01')],
    ['too-large', refused('54000')],
    ['data', refused('22003')],
    ['bug', new TypeError('undefined is no row')],
    ['unknown', new Error('nobody has seen this before')],
    ['circuit-open', new CircuitOpenError('database', 4_000)],
    ['deadline', late()],
    ['connection', late(unreachable())],
  ])('is parked whole, with the class of the failure as its reason: %s', async (reason, error) => {
    const tools = newTools()
    tools.database.away = error
    expect(await writeOrPark({ dexes: [dex()] }, tools, aRun)).toEqual({ kind: 'parked', reason })
    expect(tools.parked.waiting).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        schemaVersion: 1,
        collector: 'dexes',
        runId: '2025-08-28T10:00:00.000Z',
        parkedAtMs: at('10:00'),
        reason,
        batch: { dexes: [dex()], tokens: [], pools: [], trades: [], gaps: [], runs: [], samples: [], incidents: [] },
      },
    ])
    expect(tools.log.events).toEqual([{ level: 'warn', event: 'batch.parked', collector: 'dexes', rows: 1, reason }])
  })

  it('has the version that older code can read, unless it holds what such code would lose', async () => {
    const tools = newTools()
    tools.database.away = unreachable()
    for (const rows of [{ dexes: [dex()] }, { runs: [run()] }, { samples: [sample()] }, { incidents: [incident()] }])
      await writeOrPark(rows, tools, aRun)
    expect(tools.parked.waiting.map((write) => write.schemaVersion)).toEqual([1, 1, 2, 2])
  })

  it('two batches never have the same id', async () => {
    const tools = newTools()
    tools.database.away = unreachable()
    await writeOrPark({ dexes: [dex()] }, tools, aRun)
    await writeOrPark({ dexes: [dex()] }, tools, aRun)
    expect(new Set(tools.parked.waiting.map((write) => write.id)).size).toBe(2)
  })

  it('its gaps are provisional: while it waits, nobody knows', async () => {
    const tools = newTools()
    tools.database.away = unreachable()
    await writeOrPark({ gaps: [gap({ status: 'open' })] }, tools, aRun)
    expect(tools.parked.waiting.map((write) => write.batch.gaps)).toEqual([[gap({ status: 'provisional' })]])
  })

  it('at a stop is parked at once, and the database is not asked', async () => {
    const tools = newTools()
    const outcome = await writeOrPark({ dexes: [dex()] }, tools, { ...aRun, signal: AbortSignal.abort() })
    expect(outcome).toEqual({ kind: 'parked', reason: 'deadline' })
    expect(tools.database.calls).toEqual([])
  })

  it('a record of a run is parked without a word: its data has told already', async () => {
    const tools = newTools()
    tools.database.away = unreachable()
    await writeOrPark({ runs: [run()] }, tools, aRun)
    expect(tools.parked.waiting).toHaveLength(1)
    expect(tools.log.events).toEqual([])
  })

  it('nor parked is thrown to the caller: nothing was kept, and nothing says so', async () => {
    const tools = newTools()
    tools.database.away = unreachable()
    tools.parked.failing.set('park', new Error('no space left'))
    await expect(writeOrPark({ dexes: [dex()] }, tools, aRun)).rejects.toThrow('no space left')
    expect(tools.log.named('batch.parked')).toEqual([])
  })
})
