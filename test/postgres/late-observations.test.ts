import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { at, dex, pool, token, trade, tradeKey } from '../support/rows.ts'
import { createTables, type Tables } from '../support/tables.ts'

// each test has a network of its own in these tables
let tables: Tables
beforeAll(async () => void (tables = await createTables('late')))
afterAll(() => tables.drop())

const poolRow = async (network: string, columns: string) =>
  (await tables.sql(`select ${columns} from pools where network = '${network}'`))[0]
const nothing = { inserted: 0, updated: 0 }

describe('an older observation', () => {
  it('does not replace a newer one of a dex, a token or a pool, and is kept as a snapshot', async () => {
    const network = 'older'
    await tables.write({
      dexes: [dex({ network, name: 'new', observedAtMs: at('10:20') })],
      tokens: [token({ network, name: 'new', observedAtMs: at('10:20') })],
      pools: [pool({ network, name: 'new', basePriceUsd: '2', observedAtMs: at('10:20') })],
    })
    const written = await tables.write({
      dexes: [dex({ network, name: 'old', observedAtMs: at('10:15') })],
      tokens: [token({ network, name: 'old', observedAtMs: at('10:15') })],
      pools: [pool({ network, name: 'old', basePriceUsd: '1', observedAtMs: at('10:15') })],
    })
    expect(written).toEqual({ dexes: nothing, pools: nothing, trades: nothing })
    expect(
      await tables.sql(`select d.name as dex, t.name as token from dexes d join tokens t using (network) where network = 'older'`),
    ).toEqual([{ dex: 'new', token: 'new' }])
    expect(await poolRow(network, 'name, base_price_usd')).toEqual({ name: 'new', base_price_usd: '2' })
    expect(
      await tables.sql(
        `select s.base_price_usd from pool_snapshots s join pools using (pool_sk) where network = 'older' order by s.observed_at`,
      ),
    ).toEqual([{ base_price_usd: '1' }, { base_price_usd: '2' }])
  })

  it('of the same time does not replace what is there', async () => {
    await tables.write({ pools: [pool({ network: 'same-time', basePriceUsd: '1' })] })
    expect((await tables.write({ pools: [pool({ network: 'same-time', basePriceUsd: '2', source: 'new-pools' })] })).pools).toEqual(nothing)
    expect(await poolRow('same-time', 'base_price_usd')).toEqual({ base_price_usd: '1' })
  })

  it('replayed late does not put a stale state over one that a newer look confirmed', async () => {
    const seen = (price: string, time: string) => ({ pools: [pool({ network: 'stale', basePriceUsd: price, observedAtMs: at(time) })] })
    await tables.write(seen('1', '10:00'))
    await tables.write(seen('1', '10:20'))
    // the row did not change, so it is not written, and still bears the time of the first look
    expect(await poolRow('stale', 'observed_at')).toEqual({ observed_at: new Date('2025-08-28T10:00:00Z') })
    expect((await tables.write(seen('2', '10:15'), { late: true })).pools).toEqual(nothing)
    expect(await poolRow('stale', 'base_price_usd')).toEqual({ base_price_usd: '1' })
  })

  it('replayed late replaces what was seen before it when nobody looked since', async () => {
    const seen = (price: string, time: string) => ({ pools: [pool({ network: 'outage', basePriceUsd: price, observedAtMs: at(time) })] })
    await tables.write(seen('1', '10:00'))
    expect((await tables.write(seen('2', '10:15'), { late: true })).pools).toEqual({ inserted: 0, updated: 1 })
    expect(await poolRow('outage', 'base_price_usd, observed_at')).toEqual({
      base_price_usd: '2',
      observed_at: new Date('2025-08-28T10:15:00Z'),
    })
  })
})

describe('a newer observation', () => {
  it('replaces every state that it shows, also by "not known", and counts as an update', async () => {
    const network = 'newer'
    await tables.write({ pools: [pool({ network, marketCapUsd: '5', extra: '{"a":1}' })] })
    const written = await tables.write({
      pools: [pool({ network, basePriceUsd: '2', reserveUsd: '-1', marketCapUsd: null, extra: null, observedAtMs: at('10:05') })],
    })
    expect(written.pools).toEqual({ inserted: 0, updated: 1 })
    expect(await poolRow(network, 'base_price_usd, reserve_usd, market_cap_usd, extra')).toEqual({
      base_price_usd: '2',
      reserve_usd: '-1',
      market_cap_usd: null,
      extra: null,
    })
  })

  it('that leaves out a name, a DEX or a token keeps what is known of them', async () => {
    const network = 'left-out'
    await tables.write({ tokens: [token({ network })], pools: [pool({ network })] })
    await tables.write({
      tokens: [token({ network, symbol: 'SOL2', name: null, decimals: null, coingeckoId: null, observedAtMs: at('10:05') })],
      pools: [
        pool({
          network,
          dex: null,
          name: null,
          baseToken: null,
          quoteToken: null,
          poolCreatedAtMs: null,
          fdvUsd: '2',
          observedAtMs: at('10:05'),
        }),
      ],
    })
    expect(await tables.sql(`select symbol, name, decimals, coingecko_id from tokens where network = 'left-out'`)).toEqual([
      { symbol: 'SOL2', name: 'Wrapped SOL', decimals: 9, coingecko_id: 'wrapped-solana' },
    ])
    expect(await poolRow(network, 'dex, name, base_token, pool_created_at, fdv_usd')).toEqual({
      dex: 'raydium',
      name: 'BONK / SOL',
      base_token: 'BonkMint',
      pool_created_at: new Date('2025-08-28T09:00:00Z'),
      fdv_usd: '2',
    })
  })

  it('does not change who saw the pool first, and when', async () => {
    await tables.write({ pools: [pool({ network: 'first', source: 'new-pools' })] })
    await tables.write({ pools: [pool({ network: 'first', fdvUsd: '2', observedAtMs: at('10:05') })] })
    expect(await poolRow('first', 'first_seen_at, first_seen_via')).toEqual({
      first_seen_at: new Date('2025-08-28T10:00:00Z'),
      first_seen_via: 'new-pools',
    })
  })

  it('of two in one batch is the one that the row shows; both are snapshots', async () => {
    const network = 'both'
    const written = await tables.write({
      pools: [pool({ network, fdvUsd: '2', observedAtMs: at('10:05') }), pool({ network, fdvUsd: '1' })],
    })
    expect(written.pools).toEqual({ inserted: 1, updated: 0 })
    expect(await poolRow(network, 'fdv_usd')).toEqual({ fdv_usd: '2' })
    expect(await tables.sql(`select count(*)::int from pool_snapshots join pools using (pool_sk) where network = 'both'`)).toEqual([
      { count: 2 },
    ])
  })
})

describe('a trade', () => {
  it('of a pool that nobody has described is stored, and the first real observation describes the pool', async () => {
    const network = 'undescribed'
    const written = await tables.write({ trades: [trade({ network, key: tradeKey(10) })] })
    expect(written.trades).toEqual({ inserted: 1, updated: 0 })
    expect(await poolRow(network, `first_seen_via, first_seen_at, observed_at = '-infinity' as undescribed, name`)).toEqual({
      first_seen_via: 'trades',
      first_seen_at: new Date('2025-08-28T10:01:00Z'),
      undescribed: true,
      name: null,
    })
    // long before the trade, and replayed late: still the first that is known of the pool
    const described = await tables.write({ pools: [pool({ network, observedAtMs: at('02:00') })] }, { late: true })
    expect(described.pools).toEqual({ inserted: 0, updated: 1 })
    expect(await poolRow(network, 'name, observed_at')).toEqual({ name: 'BONK / SOL', observed_at: new Date('2025-08-28T02:00:00Z') })
    expect(await tables.sql(`select address from trades join pools using (pool_sk) where network = 'undescribed'`)).toEqual([
      { address: 'PoolA' },
    ])
  })

  it('leaves the described row of its pool alone', async () => {
    const network = 'described'
    const written = await tables.write({ pools: [pool({ network })], trades: [trade({ network, key: tradeKey(11) })] })
    expect(written.pools).toEqual({ inserted: 1, updated: 0 })
    await tables.write({ trades: [trade({ network, key: tradeKey(12) })] })
    expect(await poolRow(network, 'name, first_seen_via')).toEqual({ name: 'BONK / SOL', first_seen_via: 'top-pools' })
  })

  it('fetched again at another time is stored once, as it was', async () => {
    const network = 'again'
    const key = tradeKey(13)
    await tables.write({ trades: [trade({ network, key })] })
    expect((await tables.write({ trades: [trade({ network, key, fetchedAtMs: at('10:06'), volumeUsd: '1' })] })).trades).toEqual(nothing)
    expect(await tables.sql(`select volume_usd from trades where trade_key = '${key}'`)).toEqual([{ volume_usd: '302.25' }])
  })
})
