import { beforeEach, expect, it } from 'vitest'
import { unit } from '../../cli/local/simulator/seeded.ts'
import { mergeBatches } from '../../shared/collect/batch.ts'
import type { DatabaseError } from '../../shared/db/database.ts'
import type { Batch } from '../../shared/model.ts'
import { at, dex, pool, token, trade, tradeKey } from '../support/rows.ts'
import { connect, createTables, limits, statementsOf, type Tables } from '../support/tables.ts'

const seed = 20_250_828
const writers = 20

/** What a round's writers are: collectors write one or two kinds, a replay all of them. */
const rounds = [['tokens', 'pools'], ['pools', 'trades'], ['trades'], ['dexes', 'tokens', 'pools', 'trades']] as const

/** Rows of a kind in a round: more than one statement takes. */
const described = 1_400
const undescribed = 60
const traded = 1_400

let tables: Tables
beforeEach(async () => void (tables = await createTables('writers')))

it(
  `${writers} writers on overlapping keys in different order never deadlock and never wait 5 s for a lock`,
  { timeout: 60_000 },
  async () => {
    const databases = Array.from({ length: writers }, () => connect(tables.name))
    const failures: string[] = []
    for (const [round, kinds] of rounds.entries()) {
      const all = rowsOf(round)
      // pools that are known and don't change are not locked: behind them, writers meet at the snapshots first
      await tables.write({ pools: all.pools.slice(0, described / 2).map((row) => ({ ...row, observedAtMs: at('09:00') })) })
      const batches = databases.map((_, writer) => {
        const share = kinds.map((kind, k) => [kind, shareOf<unknown>(all[kind], (round * writers + writer) * 4 + k)])
        return statementsOf(mergeBatches([Object.fromEntries(share) as Partial<Batch>]))
      })
      await Promise.all(databases.map((database) => database.query({ name: 'connected', text: 'select 1', values: [] }, limits)))
      const writing = databases.map((database, writer) =>
        database
          .transaction(batches[writer] ?? [], limits)
          .catch((error: DatabaseError) => failures.push(`round ${round}: ${error.message}`)),
      )
      await Promise.all(writing)
      await tables.write(all)
    }
    expect(failures).toEqual([])
    expect(
      await tables.sql(`select
      (select count(*)::int from dexes) as dexes,
      (select count(*)::int from tokens) as tokens,
      (select count(*)::int from pools) as pools,
      (select count(*)::int from pools where dex is null) as undescribed,
      (select count(*)::int from pool_snapshots join pools using (pool_sk)) as snapshots,
      (select count(*)::int from trades join pools using (pool_sk)) as trades`),
    ).toEqual([
      {
        dexes: rounds.length * 20,
        tokens: rounds.length * described,
        pools: rounds.length * (described + undescribed),
        undescribed: rounds.length * undescribed,
        snapshots: rounds.length * described * 1.5,
        trades: rounds.length * traded,
      },
    ])
    await Promise.all(databases.map((database) => database.end()))
    await tables.drop()
  },
)

/** Keys that only this round has. Every other trade is of a pool that no answer described. */
function rowsOf(round: number): Pick<Batch, 'dexes' | 'tokens' | 'pools' | 'trades'> {
  const each = <Row>(count: number, row: (n: number) => Row) => Array.from({ length: count }, (_, n) => row(n))
  const poolOf = (n: number) => `pool-${round}-${n % 2 ? n % described : described + ((n / 2) % undescribed)}`
  return {
    dexes: each(20, (n) => dex({ dex: `dex-${round}-${n}` })),
    tokens: each(described, (n) => token({ address: `token-${round}-${n}` })),
    // times that don't ascend with the address
    pools: each(described, (n) => pool({ address: `pool-${round}-${n}`, observedAtMs: at('10:00') + ((n * 7) % 5) * 60_000 })),
    trades: each(traded, (n) =>
      trade({ key: tradeKey(round * traded + n), blockAtMs: at('11:00') + ((n * 13) % 600) * 1_000, pool: poolOf(n) }),
    ),
  }
}

/** Nothing, a few or nearly all of the rows, shuffled. */
function shareOf<Row>(rows: readonly Row[], salt: number): Row[] {
  const part = [0, 0.05, 0.9, 0.95][Math.floor(unit(seed, -1, salt) * 4)] ?? 0
  return rows
    .map((row, n) => [unit(seed, n, salt), row] as const)
    .toSorted(([a], [b]) => a - b)
    .slice(0, rows.length * part)
    .map(([, row]) => row)
}
