import { beforeEach, describe, expect, it } from 'vitest'
import { daysOf, ensureDays } from '../../shared/db/partitions.ts'
import { writeBatch } from '../../shared/db/statements.ts'
import { mergeBatches } from '../../shared/collect/batch.ts'
import { at, pool, trade, tradeKey } from '../support/rows.ts'
import { connect, createTables, limits, type Tables } from '../support/tables.ts'

let tables: Tables
beforeEach(async () => void (tables = await createTables('days')))

const partitions = async (parent: string) =>
  (
    await tables.sql<{ child: string; bound: string }>(
      `select c.relname as child, pg_get_expr(c.relpartbound, c.oid) as bound
       from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = '${parent}'::regclass order by 1`,
    )
  ).map(({ child, bound }) => `${child} ${bound}`)

describe('the daily partitions', () => {
  it('are made once each by writers that want two days in either order, and all of them go on', async () => {
    const databases = Array.from({ length: 12 }, () => connect(tables.name))
    const days = Array.from({ length: 8 }, (_, n) => `2025-09-0${n + 1}`)
    const failures: unknown[] = []
    let made = 0
    for (const [n, day] of days.slice(0, -1).entries()) {
      const wanted = [day, days[n + 1] ?? '']
      const writing = databases.map(async (database, writer) => {
        const order = writer % 2 ? wanted : wanted.toReversed()
        const answers = await database.transaction([ensureDays('trades', order), ensureDays('pool_snapshots', order)], limits)
        for (const [row] of answers) made += Number(row?.['made'])
      })
      for (const outcome of await Promise.allSettled(writing)) if (outcome.status === 'rejected') failures.push(outcome.reason)
    }
    expect(failures).toEqual([])
    expect(made).toBe(16)
    expect(await partitions('trades')).toHaveLength(8)
    expect(await partitions('pool_snapshots')).toHaveLength(8)
    await Promise.all(databases.map((database) => database.end()))
    await tables.drop()
  })

  it('begin and end at midnight UTC, wherever the session thinks it is', async () => {
    await tables.sql(`set timezone to 'Asia/Kolkata'; set datestyle to 'German, DMY'`)
    const { text, values } = ensureDays('trades', ['2025-08-28'])
    expect(await tables.sql(text, values)).toEqual([{ made: 1 }])
    await tables.sql(`set timezone to 'UTC'; set datestyle to 'ISO'`)
    expect(await partitions('trades')).toEqual([`trades_20250828 FOR VALUES FROM ('2025-08-28 00:00:00+00') TO ('2025-08-29 00:00:00+00')`])
    await tables.drop()
  })

  it('hold the first and the last millisecond of their day', async () => {
    const midnight = Date.parse('2025-08-29T00:00:00Z')
    await tables.write({
      trades: [
        trade({ key: tradeKey(1), blockAtMs: at('00:00') }),
        trade({ key: tradeKey(2), blockAtMs: at('23:59:59.999') }),
        trade({ key: tradeKey(3), blockAtMs: midnight }),
      ],
      pools: [pool({ observedAtMs: at('00:00') }), pool({ observedAtMs: at('23:59:59.999') }), pool({ observedAtMs: midnight })],
    })
    expect(await tables.sql(`select tableoid::regclass::text as day from trades order by trade_key`)).toEqual([
      { day: 'trades_20250828' },
      { day: 'trades_20250828' },
      { day: 'trades_20250829' },
    ])
    expect(await tables.sql(`select tableoid::regclass::text as day from pool_snapshots order by observed_at`)).toEqual([
      { day: 'pool_snapshots_20250828' },
      { day: 'pool_snapshots_20250828' },
      { day: 'pool_snapshots_20250829' },
    ])
    await tables.drop()
  })

  it('have the key and the index of their table', async () => {
    await tables.write({ trades: [trade()], pools: [pool()] })
    const indexes = await tables.sql<{ definition: string }>(
      `select replace(indexdef, current_schema || '.', '') as definition from pg_indexes
       where schemaname = current_schema and tablename in ('trades_20250828', 'pool_snapshots_20250828') order by tablename, indexname`,
    )
    expect(indexes.map(({ definition }) => definition.replace(/^.* USING btree /, ''))).toEqual([
      '(observed_at, pool_sk, source)',
      '(pool_sk, observed_at DESC)',
      '(block_at, trade_key)',
      '(pool_sk, block_at DESC)',
    ])
    await tables.drop()
  })

  it('of days that are there are not made again', async () => {
    expect(await tables.database.query(ensureDays('trades', ['2025-08-28', '2025-08-29', '2025-08-28']), limits)).toEqual([{ made: 2 }])
    expect(await tables.database.query(ensureDays('trades', ['2025-08-29', '2025-08-30']), limits)).toEqual([{ made: 1 }])
    expect(await tables.database.query(ensureDays('trades', []), limits)).toEqual([{ made: 0 }])
    await tables.drop()
  })

  it('that are missing refuse the whole batch, and say so in a way that is told from bad rows', async () => {
    const statements = writeBatch(mergeBatches([{ pools: [pool()], trades: [trade()] }]), { late: false })
    await expect(tables.database.transaction(statements, limits)).rejects.toMatchObject({
      statement: 'insert_snapshots',
      applied: 'refused',
      sqlState: '23514',
      routine: 'ExecFindPartition',
    })
    expect(await tables.sql(`select count(*)::int as pools from pools`)).toEqual([{ pools: 0 }])
    await tables.drop()
  })
})

it('the days of a batch are those of its trades and observations, in UTC, each once, ascending', () => {
  const batch = mergeBatches([
    {
      trades: [
        trade({ blockAtMs: Date.parse('2025-08-29T00:00:00Z') }),
        trade({ key: tradeKey(2), blockAtMs: at('23:59:59.999') }),
        trade({ key: tradeKey(3) }),
      ],
      pools: [pool({ observedAtMs: at('00:00') })],
    },
  ])
  expect(daysOf(batch)).toEqual({ trades: ['2025-08-28', '2025-08-29'], pool_snapshots: ['2025-08-28'] })
})
