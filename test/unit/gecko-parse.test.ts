// Rules of the API's fields, each met in a real answer. Bodies are built here; the recordings are in test/conformance.

import { describe, expect, it } from 'vitest'
import { UnexpectedResponseError } from '../../shared/errors.ts'
import { parseDexes, parsePools, parseTrades } from '../../shared/gecko/parse.ts'

const observedAtMs = Date.UTC(2026, 9, 4, 12, 0, 0)
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const base = 'GeckoBaseTokenMadeUpForTests1111111111111111'
const quote = 'QuoteTokenMadeUpForTests22222222222222222222'

type Fields = Record<string, unknown>

const ref = (type: string, id: string) => ({ data: { id, type } })

function pool(attributes: Fields = {}, relationships: Fields = {}, network = 'solana') {
  const address = (attributes['address'] as string | undefined) ?? 'PooLMadeUpForTests3333333333333333333333333'
  return {
    id: `${network}_${address}`,
    type: 'pool',
    attributes: { address, name: 'LIZARD / SOL', base_token_price_usd: '0.00002', pool_created_at: '2026-10-04T11:42:11Z', ...attributes },
    relationships: {
      base_token: ref('token', `${network}_${base}`),
      quote_token: ref('token', `${network}_${quote}`),
      dex: ref('dex', 'pump-fun'),
      ...relationships,
    },
  }
}

const token = (id: string, attributes: Fields) => ({ id, type: 'token', attributes })

const parseOne = (...args: Parameters<typeof pool>) => {
  const parsed = parsePools({ data: [pool(...args)] }, { source: 'new-pools', observedAtMs })
  return { ...parsed, row: parsed.rows[0], extra: parsed.rows[0]?.extra ? (JSON.parse(parsed.rows[0].extra) as Fields) : null }
}

function trade(attributes: Fields = {}, id?: string) {
  const all = {
    block_number: 400000001,
    tx_hash: 'TxMadeUpForTests44444444444444444444444444444',
    tx_from_address: 'MakerMadeUpForTests5555555555555555555555555',
    from_token_amount: '2.5000001',
    to_token_amount: '1000000.25',
    price_from_in_currency_token: '1.0',
    price_to_in_currency_token: '0.00000001',
    price_from_in_usd: '200.25',
    price_to_in_usd: '0.00000125',
    block_timestamp: '2026-10-04T11:59:00Z',
    kind: 'buy',
    volume_in_usd: '500.5',
    from_token_address: quote,
    to_token_address: base,
    ...attributes,
  }
  return { id: id ?? `solana_${all.block_number}_${all.tx_hash}_42_1791115160`, type: 'trade', attributes: all }
}

const tradeContext = { network: 'solana', pool: 'poolAddress', observedAtMs, retentionMs: 30 * dayMs }
const parseTrade = (...args: Parameters<typeof trade>) => {
  const parsed = parseTrades({ data: [trade(...args)] }, tradeContext)
  return { ...parsed, row: parsed.rows[0] }
}

const tradeId = (end: string) => `solana_400000001_TxMadeUpForTests44444444444444444444444444444_${end}`
const keyOf = (end: string) => parseTrade({}, tradeId(end)).row?.key
const tradeAt = (blockAtMs: number) => parseTrade({ block_timestamp: new Date(blockAtMs).toISOString() })

describe('an answer without data', () => {
  const bodies: ReadonlyArray<readonly [string, unknown, string]> = [
    ['an error document', { errors: [{ status: '404', title: 'Not Found' }] }, 'an object with errors'],
    ['a status document', { status: { error_code: 429 } }, 'an object with status'],
    ['data null', { data: null }, 'an object with data'],
    ['an empty object', {}, 'an empty object'],
    ['a list', [], 'a list'],
    ['null', null, 'null'],
    ['text', 'Throttled', 'a string'],
    ['data that is text', { data: 'Throttled' }, 'a string'],
  ]
  for (const [name, body, found] of bodies) {
    it(`${name} is never read as no rows, and the error says what was found`, () => {
      for (const parse of [
        () => parsePools(body, { source: 'new-pools', observedAtMs }),
        () => parseTrades(body, tradeContext),
        () => parseDexes(body, { network: 'eth', observedAtMs }),
      ]) {
        expect(parse).toThrow(UnexpectedResponseError)
        expect(parse).toThrow(found)
      }
    })
  }

  it('one trade or one DEX as an object instead of a list is unexpected too', () => {
    expect(() => parseTrades({ data: trade() }, tradeContext)).toThrow(UnexpectedResponseError)
    expect(() => parseDexes({ data: {} }, { network: 'eth', observedAtMs })).toThrow(UnexpectedResponseError)
  })

  it('an empty list is no rows', () => {
    expect(parsePools({ data: [] }, { source: 'new-pools', observedAtMs })).toEqual({
      items: 0,
      rows: [],
      tokens: [],
      dexes: [],
      rejects: [],
      drift: [],
    })
    expect(parseTrades({ data: [] }, tradeContext)).toEqual({ items: 0, rows: [], rejects: [], drift: [] })
  })
})

describe('numbers', () => {
  it('69 decimals and 24 digits before the point arrive as they were sent', () => {
    const small = '0.000012345678901234567890123456789012345678901234567890123456789012345'
    const large = '123456789012345678901234.5'
    const { row } = parseOne({ base_token_price_usd: small, fdv_usd: large })
    expect(row?.basePriceUsd).toBe(small)
    expect(row?.fdvUsd).toBe(large)
  })

  it('"NaN" becomes null', () => {
    const { row, rejects } = parseOne({ base_token_price_usd: 'NaN', base_token_price_native_currency: 'NaN', volume_usd: { h24: 'NaN' } })
    expect(rejects).toEqual([])
    expect(row).toMatchObject({ basePriceUsd: null, basePriceNative: null, h24: { volumeUsd: null } })
  })

  it('null and missing are null everywhere the API has been seen to send them', () => {
    const { row, rejects } = parseOne({
      base_token_price_usd: null,
      base_token_price_native_currency: null,
      reserve_in_usd: null,
      fdv_usd: null,
      market_cap_usd: null,
      pool_created_at: null,
      name: null,
      transactions: { m5: { buys: 3, sells: 0, buyers: null }, h1: null },
    })
    expect(rejects).toEqual([])
    expect(row).toMatchObject({
      name: null,
      basePriceUsd: null,
      quotePriceUsd: null,
      reserveUsd: null,
      fdvUsd: null,
      marketCapUsd: null,
      poolCreatedAtMs: null,
      m5: { buys: 3, sells: 0, buyers: null, sellers: null, volumeUsd: null, changePct: null },
      h1: { buys: null, sells: null },
    })
  })

  it('a negative reserve, "0.0", an exponent and a JSON number are kept', () => {
    expect(parseOne({ reserve_in_usd: '-12.5' }).row?.reserveUsd).toBe('-12.5')
    expect(parseOne({ reserve_in_usd: '0.0' }).row?.reserveUsd).toBe('0.0')
    expect(parseOne({ reserve_in_usd: '1.5e-6' }).row?.reserveUsd).toBe('1.5e-6')
    expect(parseOne({ reserve_in_usd: 1.5e-7 }).row?.reserveUsd).toBe('1.5e-7')
    expect(parseOne({ price_change_percentage: { h24: '12345678.9' } }).row?.h24.changePct).toBe('12345678.9')
  })

  it('what is no number rejects its item', () => {
    for (const value of ['', 'abc', '1,5', 'Infinity', '-Infinity', '0x10', '1e9999', '1.', ' 1', true, '1'.repeat(1001)]) {
      const { rows, rejects } = parseOne({ base_token_price_usd: value })
      expect({ value, rows, items: rejects.map((r) => r.item) }).toEqual({
        value,
        rows: [],
        items: ['solana_PooLMadeUpForTests3333333333333333333333333'],
      })
      expect(rejects[0]?.reason).toContain('attributes.base_token_price_usd')
    }
  })

  it('a JSON number too large for JavaScript rejects its item instead of becoming Infinity', () => {
    const body: unknown = JSON.parse(JSON.stringify({ data: [pool({ fdv_usd: 0 })] }).replace('"fdv_usd":0', '"fdv_usd":1e400'))
    expect(parsePools(body, { source: 'new-pools', observedAtMs }).rejects).toHaveLength(1)
  })

  it('counts must fit Postgres integers', () => {
    expect(parseOne({ transactions: { m5: { buys: 2_147_483_647 } } }).row?.m5.buys).toBe(2_147_483_647)
    expect(parseOne({ transactions: { m5: { buys: 2_147_483_648 } } }).rejects).toHaveLength(1)
    expect(parseOne({ transactions: { m5: { buys: -1 } } }).rejects).toHaveLength(1)
    expect(parseOne({ transactions: { m5: { buys: 1.5 } } }).rejects).toHaveLength(1)
  })
})

describe('pools', () => {
  it('a pool has its network, address, DEX, tokens, time of creation and three windows', () => {
    const { row } = parseOne({
      base_token_price_native_currency: '0.0000002',
      quote_token_price_usd: '200.75',
      market_cap_usd: '12',
      price_change_percentage: { m5: '1.5', h1: '-2', h24: '9.5' },
      transactions: { m5: { buys: 20, sells: 1, buyers: 14, sellers: 1 }, h1: { buys: 21, sells: 2 }, h24: { buys: 22, sells: 3 } },
      volume_usd: { m5: '7000.25', h1: '8000', h24: '9000' },
    })
    expect(row).toEqual({
      network: 'solana',
      address: 'PooLMadeUpForTests3333333333333333333333333',
      dex: 'pump-fun',
      name: 'LIZARD / SOL',
      baseToken: base,
      quoteToken: quote,
      poolCreatedAtMs: Date.UTC(2026, 9, 4, 11, 42, 11),
      source: 'new-pools',
      observedAtMs,
      basePriceUsd: '0.00002',
      basePriceNative: '0.0000002',
      quotePriceUsd: '200.75',
      reserveUsd: null,
      fdvUsd: null,
      marketCapUsd: '12',
      m5: { volumeUsd: '7000.25', changePct: '1.5', buys: 20, sells: 1, buyers: 14, sellers: 1 },
      h1: { volumeUsd: '8000', changePct: '-2', buys: 21, sells: 2, buyers: null, sellers: null },
      h24: { volumeUsd: '9000', changePct: '9.5', buys: 22, sells: 3, buyers: null, sellers: null },
      extra: null,
    })
  })

  it('one pool as an object parses as a list of one does', () => {
    const context = { source: 'watchlist', observedAtMs }
    expect(parsePools({ data: pool() }, context)).toEqual(parsePools({ data: [pool()] }, context))
  })

  it('a network id may hold underscores, and an address too: the address is cut from the end', () => {
    const { row } = parseOne({ address: '0xabc_def' }, {}, 'polygon_pos')
    expect(row).toMatchObject({ network: 'polygon_pos', address: '0xabc_def', baseToken: base })
  })

  it('addresses keep their case', () => {
    expect(parseOne({ address: 'AbCdEf' }).row?.address).toBe('AbCdEf')
  })

  it('an id that does not end with the address rejects the pool', () => {
    const { rows, rejects } = parsePools({ data: [{ ...pool(), id: 'solana_other' }] }, { source: 'new-pools', observedAtMs })
    expect(rows).toEqual([])
    expect(rejects).toEqual([
      {
        kind: 'pool',
        item: 'solana_other',
        reason: 'id solana_other does not end with the address PooLMadeUpForTests3333333333333333333333333',
      },
    ])
  })

  it('32-byte pool ids and the native token at the zero address are addresses', () => {
    const address = `0x${'0a1b2c3d'.repeat(8)}`
    const { row } = parseOne(
      { address },
      { quote_token: ref('token', `base_0x${'0'.repeat(40)}`), base_token: ref('token', 'base_0xb2') },
      'base',
    )
    expect(row).toMatchObject({ network: 'base', address, baseToken: '0xb2', quoteToken: `0x${'0'.repeat(40)}` })
  })

  it('relationships may be missing, empty or null', () => {
    for (const relationships of [{ base_token: {}, quote_token: { data: null } }, {}, undefined, null]) {
      const { rows, rejects } = parsePools({ data: [{ ...pool(), relationships }] }, { source: 'new-pools', observedAtMs })
      expect(rejects).toEqual([])
      expect(rows[0]).toMatchObject({ dex: null, baseToken: null, quoteToken: null })
    }
  })

  it('a token of another network rejects the pool', () => {
    const { rejects } = parseOne({}, { base_token: ref('token', 'eth_0xabc') })
    expect(rejects[0]?.reason).toBe('a token of another network than solana')
  })

  it('a bad pool costs only itself', () => {
    const good = (n: number) => pool({ address: `good${n}` })
    const data = [
      good(1),
      { ...good(2), type: 'token' },
      null,
      'text',
      good(3),
      { id: 7 },
      pool({ pool_created_at: 'yesterday', address: 'x' }),
    ]
    const { rows, rejects } = parsePools({ data }, { source: 'new-pools', observedAtMs })
    expect(rows.map((r) => r.address)).toEqual(['good1', 'good3'])
    expect(rejects.map((r) => r.item)).toEqual(['solana_good2', 'pool 3 of 7', 'pool 4 of 7', 'pool 6 of 7', 'solana_x'])
  })

  it('of pools with one id the first is kept', () => {
    const data = [pool({ name: 'first' }), pool({ name: 'second' })]
    const { rows, rejects } = parsePools({ data }, { source: 'new-pools', observedAtMs })
    expect(rows.map((r) => r.name)).toEqual(['first'])
    expect(rejects).toEqual([])
  })

  it('pools of several networks in one answer keep their own', () => {
    const data = [pool({ address: 'a' }), pool({ address: '0xb' }, {}, 'eth')]
    expect(parsePools({ data }, { source: 'new-pools', observedAtMs }).rows.map((r) => r.network)).toEqual(['solana', 'eth'])
  })
})

const withIncluded = (included: unknown, ...pools: unknown[]) =>
  parsePools({ data: pools.length > 0 ? pools : [pool()], included }, { source: 'new-pools', observedAtMs })

describe('what the answer includes', () => {
  it('tokens and DEXes become rows, DEXes for each network that names them', () => {
    const { tokens, dexes, rejects } = withIncluded(
      [
        token(`polygon_pos_${base}`, {
          address: base,
          name: 'Lizard',
          symbol: 'LIZARD',
          decimals: 6,
          image_url: null,
          coingecko_coin_id: 'lizard',
        }),
        { id: 'pump-fun', type: 'dex', attributes: { name: 'Pump.fun' } },
        { id: 'unused', type: 'dex', attributes: { name: 'Nobody names it' } },
      ],
      pool(),
      pool({ address: 'b' }),
      pool({}, {}, 'eth'),
    )
    expect(rejects).toEqual([])
    expect(tokens).toEqual([
      { network: 'polygon_pos', address: base, symbol: 'LIZARD', name: 'Lizard', decimals: 6, coingeckoId: 'lizard', observedAtMs },
    ])
    expect(dexes).toEqual([
      { network: 'solana', dex: 'pump-fun', name: 'Pump.fun', observedAtMs },
      { network: 'eth', dex: 'pump-fun', name: 'Pump.fun', observedAtMs },
    ])
  })

  it('a token with the id of its pool is still a token', () => {
    const { rows, tokens } = withIncluded(
      [token('bsc_0xsame', { address: '0xsame', symbol: 'S' })],
      pool({ address: '0xsame' }, { base_token: ref('token', 'bsc_0xsame'), quote_token: ref('token', 'bsc_0xq') }, 'bsc'),
    )
    expect(rows[0]).toMatchObject({ address: '0xsame', baseToken: '0xsame' })
    expect(tokens).toMatchObject([{ network: 'bsc', address: '0xsame', symbol: 'S' }])
  })

  it('a symbol such as "42" stays text; CJK and emoji names and quotes arrive unchanged', () => {
    const { tokens, rows } = withIncluded(
      [token('solana_a', { address: 'a', symbol: '42', name: '龙 "🐉" \'x\'' })],
      pool({ name: '龙 🐉 / SOL' }),
    )
    expect(tokens[0]).toMatchObject({ symbol: '42', name: '龙 "🐉" \'x\'' })
    expect(rows[0]?.name).toBe('龙 🐉 / SOL')
  })

  it('a bad token is rejected and its pool is kept', () => {
    const { rows, tokens, rejects } = withIncluded([
      token('solana_a', { address: 'a', decimals: 'six' }),
      token('solana_b', { address: 'c' }),
    ])
    expect(rows).toHaveLength(1)
    expect(tokens).toEqual([])
    expect(rejects.map((r) => r.item)).toEqual(['solana_a', 'solana_b'])
  })

  it('an `included` that is no list is reported, and the pools are kept', () => {
    const { rows, rejects } = withIncluded({ a: 1 })
    expect(rows).toHaveLength(1)
    expect(rejects).toEqual([{ kind: 'token', item: 'included', reason: 'expected a list, found an object with a' }])
  })
})

describe('text that Postgres refuses', () => {
  it('NUL and half a surrogate pair are replaced in names, in extra and in its keys', () => {
    const { row } = parseOne({ name: 'a\0b\ud800c', pool_name: 'x\0y', odd: { 'k\0': ['\udc00'] } })
    expect(row?.name).toBe('a\uFFFDb\uFFFDc')
    expect(row?.extra).not.toMatch(/\\u0000|\\ud[89a-f]/i)
    expect(JSON.parse(row?.extra ?? '')).toEqual({ pool_name: 'x\uFFFDy', odd: { 'k\uFFFD': ['\uFFFD'] } })
  })

  it('text that only looks like an escape is kept', () => {
    expect(parseOne({ pool_name: String.raw`\u0000` }).extra).toEqual({ pool_name: String.raw`\u0000` })
  })

  it('NUL in an address rejects the item: replacing it would name another pool', () => {
    expect(parseOne({ address: 'a\0b' }).rejects).toEqual([
      { kind: 'pool', item: 'solana_a\uFFFDb', reason: expect.stringContaining('is not printable ASCII') as string },
    ])
  })

  it('an item nested too deeply to be written as JSON is rejected alone', () => {
    const deep: unknown = JSON.parse(`${'['.repeat(20_000)}${']'.repeat(20_000)}`)
    const { rows, rejects } = parsePools({ data: [pool({ odd: deep }), pool({ address: 'b' })] }, { source: 'new-pools', observedAtMs })
    expect(rows.map((r) => r.address)).toEqual(['b'])
    expect(rejects[0]?.reason).toBe('nested too deeply to be kept')
  })
})

describe('extra and drift', () => {
  it('windows and fields without a column are kept in extra and are no drift', () => {
    const { extra, drift } = parseOne(
      {
        quote_token_price_base_token: '1000.000000000001',
        volume_usd: { m5: '1', m15: '2', m30: '3', h1: '4', h6: '5', h24: '6' },
        transactions: { m15: { buys: 1 }, h24: { buys: 2 } },
        net_buy_volume_usd: { h24: '-4000000.5' },
        sentiment_vote_positive_percentage: 61.5,
        last_trade_timestamp: 1791115160,
      },
      { quote_tokens: { data: [{ id: 'solana_x', type: 'token' }] }, network: ref('network', 'solana') },
    )
    expect(extra).toEqual({
      quote_token_price_base_token: '1000.000000000001',
      volume_usd: { m15: '2', m30: '3', h6: '5' },
      transactions: { m15: { buys: 1 } },
      net_buy_volume_usd: { h24: '-4000000.5' },
      sentiment_vote_positive_percentage: 61.5,
      last_trade_timestamp: 1791115160,
      relationships: { quote_tokens: { data: [{ id: 'solana_x', type: 'token' }] } },
    })
    expect(drift).toEqual([])
  })

  it('an unknown key is kept in extra and named once, by its path', () => {
    const { extra, drift } = parseOne(
      {
        launchpad_details: { graduated: false },
        volume_usd: { h24: '6', d7: '7' },
        transactions: { m5: { buys: 1, whales: 2 } },
        constructor: 1,
      },
      { launchpad: { data: { id: 'x' } } },
    )
    expect(extra).toEqual({
      launchpad_details: { graduated: false },
      volume_usd: { d7: '7' },
      transactions: { m5: { whales: 2 } },
      constructor: 1,
      relationships: { launchpad: { data: { id: 'x' } } },
    })
    expect(drift).toEqual([
      'pool.attributes.constructor',
      'pool.attributes.launchpad_details',
      'pool.attributes.transactions.m5.whales',
      'pool.attributes.volume_usd.d7',
      'pool.relationships.launchpad',
    ])
  })

  it('unknown keys around the items, of tokens, and unknown included types are drift', () => {
    const body = {
      data: [pool({ address: 'a' }), pool({ address: 'b' })],
      included: [token('solana_a', { address: 'a', tax: '0.05' }), { id: 'n', type: 'network' }, { id: 'l', type: 'launchpad' }],
      links: {},
      meta: {},
      warnings: [],
    }
    expect(parsePools(body, { source: 'new-pools', observedAtMs }).drift).toEqual([
      'body.warnings',
      'included.launchpad',
      'token.attributes.tax',
    ])
  })
})

describe('times', () => {
  it('ISO times in UTC only, fractions allowed', () => {
    expect(parseOne({ pool_created_at: '2026-02-28T23:59:59.5Z' }).row?.poolCreatedAtMs).toBe(Date.UTC(2026, 1, 28, 23, 59, 59, 500))
    for (const time of [
      '2026-10-04T11:42:11',
      '2026-10-04T11:42:11+02:00',
      '2026-10-04',
      '2026-02-30T00:00:00Z',
      'Sun, 04 Oct 2026 11:42:11 GMT',
      1791115160,
    ]) {
      expect(parseOne({ pool_created_at: time }).rejects).toHaveLength(1)
    }
  })
})

describe('trades', () => {
  it('a trade has everything that its columns need, and decimals as they were sent', () => {
    const volume = `500.${'1234567890'.repeat(7)}123456`
    const { row, rejects, drift } = parseTrade({ volume_in_usd: volume })
    expect(rejects).toEqual([])
    expect(drift).toEqual([])
    expect(row).toEqual({
      network: 'solana',
      pool: 'poolAddress',
      key: 'de8e2113-e0fe-8bfe-bc2e-5f156eb4bb30',
      blockAtMs: Date.UTC(2026, 9, 4, 11, 59),
      blockNumber: 400000001,
      txHash: 'TxMadeUpForTests44444444444444444444444444444',
      maker: 'MakerMadeUpForTests5555555555555555555555555',
      kind: 'buy',
      fromToken: quote,
      toToken: base,
      fromAmount: '2.5000001',
      toAmount: '1000000.25',
      priceFromUsd: '200.25',
      priceToUsd: '0.00000125',
      basePriceUsd: '0.00000125',
      volumeUsd: volume,
      fetchedAtMs: observedAtMs,
    })
  })

  it('the base price of a sell is the price of what was sold', () => {
    expect(parseTrade({ kind: 'sell', price_from_in_usd: '0.00002', price_to_in_usd: '201' }).row?.basePriceUsd).toBe('0.00002')
  })

  it('prices, volume and maker may be null, "NaN" is null, amounts must be numbers', () => {
    expect(parseTrade({ price_to_in_usd: 'NaN', volume_in_usd: null, tx_from_address: null }).row).toMatchObject({
      basePriceUsd: null,
      volumeUsd: null,
      maker: null,
    })
    expect(parseTrade({ from_token_amount: 'NaN' }).rejects).toHaveLength(1)
    expect(parseTrade({ from_token_amount: null }).rejects).toHaveLength(1)
    expect(parseTrade({ from_token_amount: 2.5 }).row?.fromAmount).toBe('2.5')
  })

  it('a kind that is neither buy nor sell rejects the trade', () => {
    expect(parseTrade({ kind: 'add_liquidity' }).rejects).toHaveLength(1)
  })

  it('the same swap indexed at another time has the same key; another log index has another', () => {
    expect(keyOf('42_1791115160')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(keyOf('42_1791115999')).toBe(keyOf('42_1791115160'))
    expect(keyOf('43_1791115160')).not.toBe(keyOf('42_1791115160'))
    expect(keyOf('42_1_1791115160')).not.toBe(keyOf('42_1791115160'))
  })

  it('an id without the known parts rejects the trade: cutting it short would make one trade of several', () => {
    for (const id of [
      'solana_400000001_TxMadeUpForTests44444444444444444444444444444_42',
      'solana_1_TxMadeUpForTests44444444444444444444444444444_42_1791115160',
      'solana_400000001_other_42_1791115160',
      '_400000001_TxMadeUpForTests44444444444444444444444444444_42_1791115160',
      'solana_400000001_TxMadeUpForTests44444444444444444444444444444_42_late',
    ]) {
      expect(parseTrade({}, id).rejects[0]?.reason).toBe(`id ${id} is not network_block_transaction_logindex_seconds`)
    }
  })

  it('one swap twice in one answer is one row, the first', () => {
    const data = [trade({ volume_in_usd: '1' }, tradeId('42_1')), trade({ volume_in_usd: '2' }, tradeId('42_2'))]
    const { rows } = parseTrades({ data }, tradeContext)
    expect(rows.map((r) => r.volumeUsd)).toEqual(['1'])
  })

  it('block times from the start of the retention to an hour ahead are kept, others rejected', () => {
    expect(tradeAt(observedAtMs - 30 * dayMs).rows).toHaveLength(1)
    expect(tradeAt(observedAtMs - 30 * dayMs - 1).rejects[0]?.reason).toBe(
      'block time 2026-09-04T11:59:59.999Z is older than the retention',
    )
    expect(tradeAt(observedAtMs + hourMs).rows).toHaveLength(1)
    expect(tradeAt(observedAtMs + hourMs + 1).rejects[0]?.reason).toBe(
      'block time 2026-10-04T13:00:00.001Z is more than an hour ahead of the answer',
    )
  })

  it('an unknown key of a trade is drift', () => {
    expect(parseTrade({ mev: true }).drift).toEqual(['trade.attributes.mev'])
  })
})

describe('DEXes', () => {
  it('a DEX belongs to the network that was asked for, and a bad one costs only itself', () => {
    const data = [
      { id: 'uniswap_v3', type: 'dex', attributes: { name: 'Uniswap V3' } },
      { id: 'nameless', type: 'dex', attributes: {} },
      { id: 'uniswap_v3', type: 'dex', attributes: { name: 'again' } },
      { id: 'sushiswap', type: 'dex', attributes: { name: 'SushiSwap', since: 2020 } },
    ]
    expect(parseDexes({ data, links: { next: null } }, { network: 'eth', observedAtMs })).toEqual({
      items: 4,
      rows: [
        { network: 'eth', dex: 'uniswap_v3', name: 'Uniswap V3', observedAtMs },
        { network: 'eth', dex: 'sushiswap', name: 'SushiSwap', observedAtMs },
      ],
      rejects: [{ kind: 'dex', item: 'nameless', reason: expect.stringContaining('attributes.name') as string }],
      drift: ['dex.attributes.since'],
    })
  })
})
