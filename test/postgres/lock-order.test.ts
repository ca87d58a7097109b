import { beforeEach, describe, expect, it } from 'vitest'
import { mergeBatches } from '../../shared/collect/batch.ts'
import type { Batch } from '../../shared/model.ts'
import { at, pool, token, trade, tradeKey } from '../support/rows.ts'
import { connect, createTables, limits, statementsOf, type Tables } from '../support/tables.ts'

let tables: Tables
beforeEach(async () => void (tables = await createTables('lock_order')))

/** As many as a statement takes, less one: with one more, whatever follows is in the next statement. */
const crowd = Array.from({ length: 999 }, (_, n) => `a${String(n).padStart(3, '0')}`)

// The row `m` is held by somebody else. The first writer comes as far as m and waits; the second one takes what it can and waits, too; m is
// let go. If the first one still wants a row that the second has taken, they stand in a ring, and Postgres ends one of them (40P01).
describe('two writers that want the same rows, one of them held up half way, both go on', () => {
  it('when the rows of a table take several statements and came in no order', async () => {
    await held(`insert into tokens (network, address, observed_at) values ('solana', 'm', now())`)
    const tokens = (addresses: readonly string[]) => ({ tokens: addresses.map((address) => token({ address })) })
    const failures = await meet(tokens(['c', ...crowd.slice(1).map((address) => `d${address}`), 'm', 'b']), tokens(['b', 'c']))
    expect(failures).toEqual([])
    expect(await tables.sql(`select count(*)::int as rows from tokens`)).toEqual([{ rows: 1_001 }])
    await tables.drop()
  })

  it('when one describes a pool that the other knows by a trade', async () => {
    // the day is there: else the second would wait for the first one's partition
    await tables.write({ pools: [pool({ address: 'z' })], trades: [trade({ pool: 'z' })] })
    await held(
      `insert into pools (network, address, first_seen_at, first_seen_via, observed_at) values ('solana', 'm', now(), 'test', now())`,
    )
    const failures = await meet(
      { pools: [pool({ address: 'c' }), pool({ address: 'm' })], trades: [trade({ pool: 'b', key: tradeKey(2) })] },
      { pools: [pool({ address: 'b' }), pool({ address: 'c' })] },
    )
    expect(failures).toEqual([])
    expect(await tables.sql(`select address from pools order by address`)).toEqual(['b', 'c', 'm', 'z'].map((address) => ({ address })))
    await tables.drop()
  })

  it('when they add the same observations of pools that did not change', async () => {
    const seen = (addresses: readonly string[], observedAtMs: number) => addresses.map((address) => pool({ address, observedAtMs }))
    await tables.write({ pools: seen([...crowd, 'k', 'm', 'n'], at('09:00')) })
    await held(`insert into pool_snapshots (pool_sk, observed_at, source)
      select pool_sk, '2025-08-28 10:01+00', 'top-pools' from pools where address = 'm'`)
    const [k, m, n] = [seen(['k'], at('10:02')), seen(['m'], at('10:01')), seen(['n'], at('10:00'))]
    const failures = await meet({ pools: [...k, ...m, ...n] }, { pools: [...seen(crowd, at('10:00')), ...k, ...n] })
    expect(failures).toEqual([])
    expect(await tables.sql(`select count(*)::int as rows from pool_snapshots where observed_at >= '2025-08-28 10:00+00'`)).toEqual([
      { rows: 1_002 },
    ])
    await tables.drop()
  })
})

/** An uncommitted row of somebody else's. */
async function held(row: string): Promise<void> {
  await tables.sql(`set search_path to ${tables.name}; begin`)
  await tables.sql(row)
}

/** What the two writers failed with, once the held row is gone. */
async function meet(first: Partial<Batch>, second: Partial<Batch>): Promise<unknown[]> {
  const observer = connect(tables.name)
  const waiting = {
    name: 'waiting',
    text: `select pid from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'`,
    values: [tables.name],
  }
  const writers = [connect(tables.name), connect(tables.name)]
  const failures: unknown[] = []
  const writing: Promise<unknown>[] = []
  for (const [n, batch] of [first, second].entries()) {
    const done = writers[n]?.transaction(statementsOf(mergeBatches([batch])), limits).catch((error: unknown) => failures.push(error))
    writing.push(done ?? Promise.resolve())
    await expect
      .poll(async () => (await observer.query(waiting, limits)).length, { timeout: 10_000, message: `writer ${n + 1} waits for a lock` })
      .toBe(n + 1)
  }
  await tables.sql('rollback')
  await Promise.all(writing)
  await Promise.all([...writers, observer].map((database) => database.end()))
  return failures
}
