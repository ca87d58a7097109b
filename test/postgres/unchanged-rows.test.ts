import { beforeEach, describe, expect, it } from 'vitest'
import { mergeBatches } from '../../shared/collect/batch.ts'
import { writeBatch } from '../../shared/db/statements.ts'
import type { Batch } from '../../shared/model.ts'
import { at, dex, oneOfEach, pool, token, trade, tradeKey } from '../support/rows.ts'
import { createTables, type Tables } from '../support/tables.ts'

let tables: Tables
beforeEach(async () => void (tables = await createTables('unchanged')))

const many = <Row>(row: (n: number) => Row) => Array.from({ length: 300 }, (_, n) => row(n))
const pools = (time: string, priceUsd = '1') => many((n) => pool({ address: `pool-${n}`, basePriceUsd: priceUsd, observedAtMs: at(time) }))

describe('rows that did not change', () => {
  it('of pools, tokens, DEXes and trades cost no WAL, whoever else writes meanwhile', async () => {
    const seen = (time: string) => ({
      dexes: many((n) => dex({ dex: `dex-${n}`, observedAtMs: at(time) })),
      tokens: many((n) => token({ address: `token-${n}`, observedAtMs: at(time) })),
      pools: pools(time),
      trades: many((n) => trade({ key: tradeKey(n), pool: `pool-${n}`, fetchedAtMs: at(time) })),
    })
    await tables.write(seen('10:00'))
    // the measure is one that sees what is written
    expect((await walOf({ pools: pools('10:05') }))['insert_snapshots']).toBeGreaterThan(300 * 50)
    expect((await walOf({ pools: pools('10:10', '2') }))['upsert_pools']).toBeGreaterThan(300 * 50)
    expect(await leastWalOf({ ...seen('10:15'), pools: pools('10:15', '2') })).toEqual({
      upsert_dexes: 0,
      upsert_tokens: 0,
      upsert_pools: 0,
      insert_snapshots: 0,
      insert_trades: 0,
    })
    await tables.drop()
  })

  it('of pools cost no WAL in a late replay either', async () => {
    await tables.write({ pools: pools('10:00') })
    expect(await leastWalOf({ pools: pools('09:55', '2') }, { late: true })).toMatchObject({ upsert_pools: 0 })
    expect(await leastWalOf({ pools: pools('10:05') }, { late: true })).toMatchObject({ upsert_pools: 0 })
    await tables.drop()
  })

  it('stay where they are, unlocked, and need no transaction id', async () => {
    await tables.write({ pools: pools('10:00') })
    const rows = () => tables.sql(`select ctid::text, xmin::text, xmax::text from pools order by pool_sk`)
    const before = await rows()
    const upsert = writeBatch(mergeBatches([{ pools: pools('10:05') }]), { late: false }).filter((s) => s.name === 'upsert_pools')
    const [, used] = await tables.database.transaction(
      [...upsert, { name: 'used', text: `select pg_current_xact_id_if_assigned() as id`, values: [] }],
      { attemptForMs: 10_000, lockForMs: 5_000, statementForMs: 5_000 },
    )
    expect(used).toEqual([{ id: null }])
    expect(await rows()).toEqual(before)
    await tables.drop()
  })

  it('do not hold up the one that did', async () => {
    await tables.write({ pools: pools('10:00') })
    const seen = pools('10:05').map((row, n) => (n === 7 ? { ...row, basePriceUsd: '2' } : row))
    expect((await tables.write({ pools: seen })).pools).toEqual({ inserted: 0, updated: 1 })
    expect(await tables.sql(`select address from pools where base_price_usd = 2`)).toEqual([{ address: 'pool-7' }])
    await tables.drop()
  })
})

it('an update of a pool stays in its page and touches no index', async () => {
  await tables.write(oneOfEach())
  for (let minute = 1; minute <= 9; minute++)
    await tables.write({ pools: [pool({ fdvUsd: String(minute), observedAtMs: at(`10:0${minute}`) })] })
  await tables.sql(`select pg_stat_force_next_flush()`)
  await tables.database.end()
  await expect
    .poll(
      () =>
        tables.sql(`select n_tup_upd::int as updated, n_tup_hot_upd::int as hot from pg_stat_user_tables where relid = 'pools'::regclass`),
      {
        timeout: 10_000,
        message: 'statistics of the writing connection',
      },
    )
    .toEqual([{ updated: 9, hot: 9 }])
  await tables.drop()
})

/** Bytes of WAL by statement, as the server counts them for the statement alone. */
async function walOf(batch: Partial<Batch>, { late = false } = {}): Promise<Record<string, number>> {
  const costs: [string, number][] = []
  for (const { name, text, values } of writeBatch(mergeBatches([batch]), { late })) {
    const [row] = await tables.sql<{ 'QUERY PLAN': [{ Plan: { 'WAL Bytes': number } }] }>(
      `explain (analyze, wal, format json) ${text}`,
      values,
    )
    // a plan counts what its own nodes wrote, CTEs too
    costs.push([name, row?.['QUERY PLAN'][0].Plan['WAL Bytes'] ?? Number.NaN])
  }
  return Object.fromEntries(costs)
}

/** Of several times. Whoever reads the catalog tidies pages that another test's tables have left there, and that is WAL, too. */
async function leastWalOf(batch: Partial<Batch>, options = {}): Promise<Record<string, number>> {
  let least = await walOf(batch, options)
  for (let more = 0; more < 4; more++) {
    const costs = await walOf(batch, options)
    least = Object.fromEntries(Object.entries(least).map(([name, cost]) => [name, Math.min(cost, costs[name] ?? cost)]))
  }
  return least
}
