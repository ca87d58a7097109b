import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { busiestPools, confirmGaps, countRows } from '../../shared/db/queries.ts'
import { at, dex, gap, oneOfEach, pool, run, token, trade, tradeKey } from '../support/rows.ts'
import { createTables, limits, type Tables } from '../support/tables.ts'

// each test has a network of its own in these tables
let tables: Tables
beforeAll(async () => void (tables = await createTables('statements')))
afterAll(() => tables.drop())

const one = async (text: string) => (await tables.sql(text))[0]

describe('a batch', () => {
  it('written twice is there once, every row as the first time wrote it', async () => {
    const kinds = ['dexes', 'tokens', 'pools', 'pool_snapshots', 'trades', 'coverage_gaps', 'runs']
    const where = kinds.map((table) => `select tableoid::regclass::text as table, ctid::text, xmin::text, t::text as row from ${table} t`)
    const rows = () => tables.sql(where.join(' union all '))
    expect(await tables.write(oneOfEach())).toEqual({
      dexes: { inserted: 1, updated: 0 },
      pools: { inserted: 1, updated: 0 },
      trades: { inserted: 1, updated: 0 },
    })
    const first = await rows()
    expect(first.map((row) => row['table'])).toEqual([
      'dexes',
      'tokens',
      'pools',
      'pool_snapshots_20250828',
      'trades_20250828',
      'coverage_gaps',
      'runs',
    ])
    const nothing = { inserted: 0, updated: 0 }
    expect(await tables.write(oneOfEach())).toEqual({ dexes: nothing, pools: nothing, trades: nothing })
    expect(await tables.write(oneOfEach(), { late: true })).toEqual({ dexes: nothing, pools: nothing, trades: nothing })
    expect(await rows()).toEqual(first)
  })

  it('of more rows than one statement takes is counted as a whole', async () => {
    const network = 'many'
    const trades = Array.from({ length: 2_345 }, (_, n) => trade({ network, key: tradeKey(1_000_000 + n) }))
    const written = await tables.write({ trades: [...trades, ...trades] })
    expect(written.trades).toEqual({ inserted: 2_345, updated: 0 })
    const again = await tables.write({ trades: [...trades, trade({ network, key: tradeKey(2_000_000) })] })
    expect(again.trades).toEqual({ inserted: 1, updated: 0 })
  })

  it('of trades of several pools puts each with its own pool, in every statement', async () => {
    const pools = ['several-b', 'several-a', 'several-c'].flatMap((network) => ['PoolB', 'PoolA'].map((address) => ({ network, address })))
    const trades = Array.from({ length: 1_500 }, (_, n) => {
      const { network, address } = pools[n % pools.length] ?? { network: '', address: '' }
      return trade({ network, pool: address, key: tradeKey(6_000_000 + n), txHash: `${network} ${address}` })
    })
    await tables.write({ trades, pools: [pool({ network: 'several-a', address: 'PoolA' })] })
    const stored = `select network || ' ' || address as pool, tx_hash, count(*)::int from trades join pools using (pool_sk)
      where network like 'several-%' group by 1, 2 order by 1`
    expect(await tables.sql(stored)).toEqual(
      pools
        .map(({ network, address }) => ({ pool: `${network} ${address}`, tx_hash: `${network} ${address}`, count: 250 }))
        .toSorted((a, b) => (a.pool < b.pool ? -1 : 1)),
    )
  })

  it('without rows writes nothing', async () => {
    expect(await tables.write({})).toEqual({
      dexes: { inserted: 0, updated: 0 },
      pools: { inserted: 0, updated: 0 },
      trades: { inserted: 0, updated: 0 },
    })
  })
})

describe('a value', () => {
  it('of 76 decimals or 24 digits before the point is stored digit by digit', async () => {
    const small = `0.${'0'.repeat(8)}1234567890123456789012345678901234567890123456789012345678901234567${'8'}`
    const large = '123456789012345678901234.123456789012345678'
    await tables.write({
      pools: [pool({ network: 'digits', basePriceUsd: small, basePriceNative: small, reserveUsd: `-${large}`, fdvUsd: large })],
      trades: [
        trade({ network: 'digits', key: tradeKey(3_000_000), fromAmount: large, toAmount: '1e-18', priceToUsd: small, volumeUsd: '1.500' }),
      ],
    })
    expect(small).toHaveLength(78)
    expect(await one(`select base_price_usd::text, reserve_usd::text, fdv_usd::text from pools where network = 'digits'`)).toEqual({
      base_price_usd: small,
      reserve_usd: `-${large}`,
      fdv_usd: large,
    })
    expect(await one(`select base_price_native::text, reserve_usd::text from pool_snapshots where base_price_usd = ${small}`)).toEqual({
      base_price_native: small,
      reserve_usd: `-${large}`,
    })
    expect(
      await one(
        `select from_amount::text, to_amount::text, price_to_usd::text, volume_usd::text from trades where trade_key = '${tradeKey(3_000_000)}'`,
      ),
    ).toEqual({ from_amount: large, to_amount: '0.000000000000000001', price_to_usd: small, volume_usd: '1.500' })
  })

  it('of any script, quote, brace or backslash is stored as it came', async () => {
    const name = `币安人生 🦎 "{NULL}" \\ 'quoted', ñ`
    await tables.write({
      dexes: [dex({ network: 'text', name })],
      tokens: [token({ network: 'text', symbol: 'NULL', name })],
      pools: [pool({ network: 'text', name, extra: JSON.stringify({ [name]: [name, null, 1e21] }) })],
      runs: [run({ runId: 'text', problem: name })],
    })
    expect(await one(`select name from dexes where network = 'text'`)).toEqual({ name })
    expect(await one(`select symbol, name from tokens where network = 'text'`)).toEqual({ symbol: 'NULL', name })
    expect(await one(`select name, extra from pools where network = 'text'`)).toEqual({ name, extra: { [name]: [name, null, 1e21] } })
    expect(await one(`select problem from runs where run_id = 'text'`)).toEqual({ problem: name })
  })

  it('that is not known is null, not zero and not text', async () => {
    const none = { volumeUsd: null, changePct: null, buys: null, sells: null, buyers: null, sellers: null }
    const unknown = {
      dex: null,
      name: null,
      baseToken: null,
      quoteToken: null,
      poolCreatedAtMs: null,
      basePriceUsd: null,
      quotePriceUsd: null,
    }
    const unpriced = { basePriceNative: null, reserveUsd: null, fdvUsd: null, marketCapUsd: null, m5: none, h1: none, h24: none }
    await tables.write({
      tokens: [token({ network: 'nulls', symbol: null, name: null, decimals: null, coingeckoId: null })],
      pools: [pool({ network: 'nulls', ...unknown, ...unpriced })],
      trades: [
        trade({
          network: 'nulls',
          key: tradeKey(4_000_000),
          maker: null,
          priceFromUsd: null,
          priceToUsd: null,
          basePriceUsd: null,
          volumeUsd: null,
        }),
      ],
    })
    const given = (table: string, where: string) =>
      one(
        `select array_agg(key order by key) as given from ${table} t, jsonb_each(to_jsonb(t)) where ${where} and jsonb_typeof(value) <> 'null'`,
      )
    expect(await given('tokens', `network = 'nulls'`)).toEqual({ given: ['address', 'network', 'observed_at'] })
    expect(await given('pools', `network = 'nulls'`)).toEqual({
      given: ['address', 'first_seen_at', 'first_seen_via', 'network', 'observed_at', 'pool_sk'],
    })
    expect(await given('pool_snapshots', `pool_sk = (select pool_sk from pools where network = 'nulls')`)).toEqual({
      given: ['observed_at', 'pool_sk', 'source'],
    })
    expect(await given('trades', `trade_key = '${tradeKey(4_000_000)}'`)).toEqual({
      given: [
        'block_at',
        'block_number',
        'from_amount',
        'from_token',
        'ingested_at',
        'kind',
        'pool_sk',
        'to_amount',
        'to_token',
        'trade_key',
        'tx_hash',
      ],
    })
  })

  it('lands in the column of its name', async () => {
    const window = (n: number) => ({
      volumeUsd: `${n}1`,
      changePct: `${n}2`,
      buys: n * 10 + 3,
      sells: n * 10 + 4,
      buyers: n * 10 + 5,
      sellers: n * 10 + 6,
    })
    await tables.write({
      pools: [pool({ network: 'names', marketCapUsd: '7', m5: window(1), h1: window(2), h24: window(3) })],
      trades: [trade({ network: 'names', key: tradeKey(5_000_000), kind: 'sell', priceFromUsd: '8', priceToUsd: '9', basePriceUsd: '10' })],
    })
    expect(await one(`select to_jsonb(p) - 'pool_sk' as row from pools p where network = 'names'`)).toEqual({
      row: {
        network: 'names',
        address: 'PoolA',
        dex: 'raydium',
        name: 'BONK / SOL',
        base_token: 'BonkMint',
        quote_token: 'So11111111111111111111111111111111111111112',
        pool_created_at: '2025-08-28T09:00:00+00:00',
        first_seen_at: '2025-08-28T10:00:00+00:00',
        first_seen_via: 'top-pools',
        observed_at: '2025-08-28T10:00:00+00:00',
        base_price_usd: 0.0000566,
        quote_price_usd: 201.5,
        reserve_usd: 15000,
        fdv_usd: 1000000,
        market_cap_usd: 7,
        volume_h24_usd: 31,
        extra: null,
      },
    })
    expect(
      await one(`select to_jsonb(s) - 'pool_sk' as row from pool_snapshots s join pools using (pool_sk) where network = 'names'`),
    ).toEqual({
      row: {
        observed_at: '2025-08-28T10:00:00+00:00',
        source: 'top-pools',
        base_price_usd: 0.0000566,
        base_price_native: 0.00000028,
        quote_price_usd: 201.5,
        reserve_usd: 15000,
        fdv_usd: 1000000,
        market_cap_usd: 7,
        volume_m5_usd: 11,
        volume_h1_usd: 21,
        volume_h24_usd: 31,
        change_m5_pct: 12,
        change_h1_pct: 22,
        change_h24_pct: 32,
        buys_m5: 13,
        sells_m5: 14,
        buys_h1: 23,
        sells_h1: 24,
        buys_h24: 33,
        sells_h24: 34,
        buyers_h24: 35,
        sellers_h24: 36,
      },
    })
    expect(
      await one(`select to_jsonb(t) - 'pool_sk' - 'ingested_at' as row from trades t where trade_key = '${tradeKey(5_000_000)}'`),
    ).toEqual({
      row: {
        block_at: '2025-08-28T10:00:00+00:00',
        trade_key: tradeKey(5_000_000),
        block_number: 362000000,
        tx_hash: 'txHash1',
        maker: 'maker1',
        kind: 'sell',
        from_token: 'So11111111111111111111111111111111111111112',
        to_token: 'BonkMint',
        from_amount: 1.5,
        to_amount: 2500000,
        price_from_usd: 8,
        price_to_usd: 9,
        base_price_usd: 10,
        volume_usd: 302.25,
      },
    })
  })

  it('of two pools whose addresses differ only in case stays with its pool', async () => {
    await tables.write({
      pools: [pool({ network: 'case', address: 'AbC', fdvUsd: '1' }), pool({ network: 'case', address: 'aBc', fdvUsd: '2' })],
    })
    expect(await tables.sql(`select address, fdv_usd from pools where network = 'case' order by fdv_usd`)).toEqual([
      { address: 'AbC', fdv_usd: '1' },
      { address: 'aBc', fdv_usd: '2' },
    ])
  })
})

describe('the statements that read', () => {
  it('busiest pools are those of the asked networks with the most volume in a day, and none without a volume', async () => {
    const volume = (address: string, volumeUsd: string | null, network = 'busy') =>
      pool({ network, address, h24: { ...pool().h24, volumeUsd } })
    await tables.write({
      pools: [
        volume('a', '9.5'),
        volume('b', '10'),
        volume('c', null),
        volume('d', '9.5'),
        volume('e', '1'),
        volume('f', '99', 'idle'),
        volume('g', '70', 'busy2'),
      ],
    })
    expect(await tables.database.query(busiestPools(['busy', 'busy2'], 4), limits)).toEqual([
      { network: 'busy2', address: 'g' },
      { network: 'busy', address: 'b' },
      { network: 'busy', address: 'a' },
      { network: 'busy', address: 'd' },
    ])
    expect(await tables.database.query(busiestPools([], 4), limits)).toEqual([])
  })

  it('counting answers one row with a number for every data table', async () => {
    const rows = await tables.database.query(countRows, limits)
    const counts = await one(`select count(*)::int as trades, (select count(*)::int from coverage_gaps) as coverage_gaps from trades`)
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ ...counts })
    expect(Object.keys(rows[0] ?? {})).toEqual(['dexes', 'tokens', 'pools', 'pool_snapshots', 'trades', 'coverage_gaps'])
    expect(Object.values(rows[0] ?? {}).every((count) => Number.isInteger(count) && (count as number) > 0)).toBe(true)
  })

  it('confirming makes provisional gaps open and leaves the others', async () => {
    await tables.write({
      gaps: [
        gap({ stream: 'confirm:1', status: 'provisional' }),
        gap({ stream: 'confirm:2' }),
        gap({ stream: 'confirm:3', fromMs: at('08:00') }),
      ],
    })
    await tables.sql(`update coverage_gaps set status = 'closed' where stream = 'confirm:3'`)
    for (const _ of ['once', 'twice']) {
      await tables.database.query(confirmGaps, limits)
      expect(await tables.sql(`select status from coverage_gaps where stream like 'confirm:%' order by stream`)).toEqual([
        { status: 'open' },
        { status: 'open' },
        { status: 'closed' },
      ])
    }
  })
})
