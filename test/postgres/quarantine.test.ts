// Rows that pass parse and that Postgres refuses, on a real server: found, kept apart with their reason, and everything beside them written.

import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { replayParked } from '../../shared/collect/replay-parked.ts'
import { writeOrPark, type WriteRun } from '../../shared/collect/write-or-park.ts'
import { parseSettings } from '../../shared/config.ts'
import { dropQuarantined, entryOf, markRetried, selectQuarantine, insertQuarantine, quarantined } from '../../shared/db/quarantine.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import { createMemoryParkedWrites, parkedWrite } from '../support/memory-parked-writes.ts'
import { dex, pool, token, trade, tradeKey } from '../support/rows.ts'
import { createWriteTools } from '../support/write-tools.ts'
import { createTables, limits, type Tables } from '../support/tables.ts'

const settings = parseSettings({})
let tables: Tables
beforeEach(async () => void (tables = await createTables('quarantine')))
afterEach(async () => tables.drop())

const createTools = (parked = createMemoryParkedWrites()) => createWriteTools(tables, settings, parked)
const aRun = (table: 'dexes' | 'pools' | 'trades'): WriteRun => ({
  collector: table,
  runId: '2025-08-28T10:00:00.000Z',
  table,
  deadlineAtMs: Date.now() + 55_000,
})

type Held = { table_name: string; class: string; sqlstate: string; message: string; row: Record<string, unknown>; status: string }
const held = () => tables.sql<Held>('select table_name, class, sqlstate, message, "row", status from quarantine order by table_name, id')
const count = async (table: string) => (await tables.sql<{ n: number }>(`select count(*)::int as n from ${table}`))[0]?.n

const beyondNumeric = '1e200000'
const pools = (n: number) => Array.from({ length: n }, (_, i) => pool({ address: `Pool${String(i).padStart(3, '0')}` }))
const trades = (n: number) => Array.from({ length: n }, (_, i) => trade({ key: tradeKey(i + 1) }))
/** Does not compress below the 2,704 bytes that a B-tree takes. */
const endless = randomBytes(6_000).toString('hex')

describe('a row that Postgres refuses', () => {
  it.each([
    ['a number beyond numeric', 'pools', { pools: [pool({ address: 'Bad', reserveUsd: beyondNumeric })] }, 'data', '22003'],
    ['decimals beyond int', 'tokens', { tokens: [token({ address: 'Bad', decimals: 3_000_000_000 })] }, 'data', '22003'],
    ['a NUL in JSON', 'pools', { pools: [pool({ address: 'Bad', extra: '{"a":"\\u0000"}' })] }, 'data', '22P05'],
    ['no JSON at all', 'pools', { pools: [pool({ address: 'Bad', extra: '{' })] }, 'data', '22P02'],
    ['NaN where it poisons sums', 'trades', { trades: [trade({ key: tradeKey(999), toAmount: 'NaN' })] }, 'data', '23514'],
    ['null where none may be', 'dexes', { dexes: [dex({ dex: 'bad', name: null as unknown as string })] }, 'data', '23502'],
    ['a key too long for its index', 'pools', { pools: [pool({ address: endless })] }, 'too-large', '54000'],
  ] as const)('%s: it is kept apart, and its neighbours in every table are in', async (_, table, bad, failureClass, sqlState) => {
    const tools = createTools()
    const rows = {
      dexes: [dex(), ...('dexes' in bad ? bad.dexes : [])],
      tokens: [token(), ...('tokens' in bad ? bad.tokens : [])],
      pools: [...pools(20), ...('pools' in bad ? bad.pools : [])],
      trades: [...trades(30), ...('trades' in bad ? bad.trades : [])],
    }
    const outcome = await writeOrPark(rows, tools, aRun('pools'))
    expect(outcome).toMatchObject({ kind: 'written', quarantined: table === 'pools' ? 1 : 0 })
    expect(await held()).toEqual([
      {
        table_name: table,
        class: failureClass,
        sqlstate: sqlState,
        message: expect.stringContaining(sqlState) as string,
        row: JSON.parse(JSON.stringify(Object.values(bad)[0]?.[0])) as object,
        status: 'held',
      },
    ])
    // no value of the row but in the row itself
    expect((await held())[0]?.message).not.toMatch(/1e200000|3000000000|u0000/)
    const named = ['Pool000', ...pools(20).map((p) => p.address)]
    expect([await count('dexes'), await count('tokens'), await count('trades')]).toEqual([1, 1, 30])
    expect((await tables.sql<{ address: string }>('select address from pools')).map((r) => r.address)).toEqual(
      expect.arrayContaining(named),
    )
    expect(await count('pool_snapshots')).toBe(20)
    expect(tools.parked.waiting).toEqual([])
    expect((await tools.breaker.view()).state).toBe('closed')
  })

  it('three among 600, in two tables, cost few transactions and leave 597 rows written once', async () => {
    const tools = createTools()
    const rows = {
      pools: [...pools(299), pool({ address: 'Bad', reserveUsd: beyondNumeric })],
      trades: [
        ...trades(298),
        trade({ key: tradeKey(900), fromAmount: beyondNumeric }),
        trade({ key: tradeKey(901), kind: 'swap' as 'buy' }),
      ],
    }
    expect(await writeOrPark(rows, tools, aRun('trades'))).toEqual({ kind: 'written', inserted: 298, updated: 0, quarantined: 2 })
    expect((await held()).map((row) => [row.table_name, row.sqlstate])).toEqual(
      expect.arrayContaining([
        ['pools', '22003'],
        ['trades', '22003'],
        ['trades', '23514'],
      ]) as unknown,
    )
    expect(await count('trades')).toBe(298)
    expect(await count('pool_snapshots')).toBe(299)
    expect(tools.database.counters().attempts).toBeLessThanOrEqual(1 + 3 * 2 * 10 + 1)
  })

  it('seen again, live or by a replay, is one entry: the first time stays, the last one moves', async () => {
    const bad = { pools: [pool({ address: 'Bad', reserveUsd: beyondNumeric })] }
    await writeOrPark(bad, createTools(), aRun('pools'))
    await tables.sql(`update quarantine set first_seen_at = '2025-08-01', last_seen_at = '2025-08-01', status = 'retried'`)
    const tools = createTools(createMemoryParkedWrites(parkedWrite('again', { pools: bad.pools })))
    expect(await replayParked(tools, { deadlineAtMs: Date.now() + 20_000 })).toMatchObject({ replayed: 1, quarantined: 1, left: 0 })
    expect(
      await tables.sql('select first_seen_at::text, last_seen_at > first_seen_at as moved, status, collector from quarantine'),
    ).toEqual([{ first_seen_at: '2025-08-01 00:00:00+00', moved: true, status: 'held', collector: 'dexes' }])
  })

  it('and that the quarantine refuses as well, is set aside by the replayer; its neighbours are in', async () => {
    const impossible = pool({ address: 'Bad', name: 'NUL \0 here' })
    const tools = createTools()
    expect(await writeOrPark({ pools: [pool(), impossible] }, tools, aRun('pools'))).toEqual({ kind: 'parked', reason: 'data' })
    expect(await count('pools')).toBe(1)
    const later = Date.now() + 20_000
    expect(await replayParked(tools, { deadlineAtMs: later })).toMatchObject({ replayed: 0, setAside: 1, left: 0 })
    expect(tools.parked.setAsides).toMatchObject([{ reason: 'data' }])
    expect(await count('quarantine')).toBe(0)
  })

  it('a constraint that suddenly refuses everything quarantines nothing: the batch waits for a person', async () => {
    await tables.sql(`alter table dexes add constraint changed check (name <> 'Raydium')`)
    const tools = createTools()
    const rows = { dexes: Array.from({ length: 50 }, (_, i) => dex({ dex: `dex-${i}` })) }
    expect(await writeOrPark(rows, tools, aRun('dexes'))).toEqual({ kind: 'parked', reason: 'data' })
    expect(await count('quarantine')).toBe(0)
    expect(tools.log.named('batch.refused')).toMatchObject([{ level: 'error' }])
    const result = await replayParked(tools, { deadlineAtMs: Date.now() + 3_000 })
    expect(result).toMatchObject({ replayed: 0, setAside: 0, left: 1 })

    await tables.sql('alter table dexes drop constraint changed')
    expect(await replayParked(tools, { deadlineAtMs: Date.now() + 20_000 })).toMatchObject({ replayed: 1, left: 0 })
    expect(await count('dexes')).toBe(50)
  })
})

describe('the statements of the quarantine', () => {
  const entry = (name: string, fields: { seenAtMs?: number } = {}) =>
    quarantined(
      { ...emptyBatch, dexes: [dex({ dex: name })] },
      {
        class: 'data',
        sqlState: '22003',
        message: 'm',
        collector: 'dexes',
        runId: 'r',
        seenAtMs: Date.parse('2025-08-28T10:00:00Z'),
        ...fields,
      },
    )
  const ask = (statement: Parameters<Tables['database']['query']>[0]) => tables.database.query(statement, limits)

  it('list what is held, oldest first, by id or all; a retried row is shown only when asked for', async () => {
    const [a, b] = [entry('a', { seenAtMs: Date.parse('2025-08-28T10:05:00Z') }), entry('b')]
    await ask(insertQuarantine([a, b]))
    await ask(insertQuarantine([a, b]))
    const list = async (which: Omit<Parameters<typeof selectQuarantine>[0], 'limit'>) =>
      (await ask(selectQuarantine({ ...which, limit: 100 }))).map(entryOf).map(({ id }) => id)
    expect(await list({})).toEqual([b.id, a.id])
    expect(await list({ ids: [a.id] })).toEqual([a.id])
    await ask(markRetried([b.id]))
    expect(await list({ status: 'held' })).toEqual([a.id])
    expect(await list({})).toEqual([b.id, a.id])
    expect(entryOf((await ask(selectQuarantine({ ids: [a.id], limit: 1 })))[0] ?? {})).toEqual({
      id: a.id,
      table: 'dexes',
      row: dex({ dex: 'a' }),
      class: 'data',
      sqlState: '22003',
      message: 'm',
      collector: 'dexes',
      runId: 'r',
      firstSeenAt: '2025-08-28T10:05:00.000Z',
      lastSeenAt: '2025-08-28T10:05:00.000Z',
      status: 'held',
    })
  })

  it('drop these, or all, and say how many', async () => {
    const [a, b, c] = [entry('a'), entry('b'), entry('c')]
    await ask(insertQuarantine([a, b, c]))
    expect(await ask(dropQuarantined([a.id, a.id]))).toEqual([{ dropped: 1 }])
    expect(await ask(dropQuarantined([a.id]))).toEqual([{ dropped: 0 }])
    expect(await ask(dropQuarantined(undefined))).toEqual([{ dropped: 2 }])
  })
})
