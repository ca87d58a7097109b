import { afterEach, describe, expect, it } from 'vitest'
import { type GeckoSimulator, type GeckoSimulatorOptions, startGeckoSimulator } from '../../cli/local/gecko-simulator.ts'

/** Bodies of many shapes, read as a test needs them. */
type Json = { readonly [key: string]: any }
const noon = Date.parse('2026-11-21T12:00:00Z')
const started: GeckoSimulator[] = []

/** A simulator on a clock that moves only when told. */
async function simulator(options: Partial<GeckoSimulatorOptions> = {}) {
  const clock = {
    atMs: noon,
    nowMs: () => clock.atMs,
    sleep: async () => {},
  }
  const gecko = await startGeckoSimulator({ clock, limitPerMinute: 10_000, ...options })
  started.push(gecko)
  const get = (path: string, signal?: AbortSignal) => fetch(gecko.baseUrl + path, signal ? { signal } : {})
  const json = async (path: string): Promise<Json> => (await get(path)).json() as Promise<Json>
  const addresses = async (path: string): Promise<string[]> => (await json(path))['data'].map((pool: Json) => pool['attributes'].address)
  return { gecko, clock, get, json, addresses }
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((gecko) => gecko.close()))
})

const allPages = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]

describe('the simulated market', () => {
  it('gives the same bodies for the same seed and clock, and others for another seed', async () => {
    const [one, same, other] = [await simulator({ seed: 7 }), await simulator({ seed: 7 }), await simulator({ seed: 8 })]
    const [pool] = await one.addresses('/networks/solana/pools')
    for (const path of [
      '/networks/new_pools',
      '/networks/solana/pools?include=base_token,dex',
      `/networks/solana/pools/${pool}/trades`,
      `/networks/solana/pools/${pool}/ohlcv/minute?aggregate=5`,
    ]) {
      const text = await (await one.get(path)).text()
      expect(text.length).toBeGreaterThan(5_000)
      expect(await (await same.get(path)).text()).toBe(text)
    }
    expect(await other.addresses('/networks/solana/pools')).not.toContain(pool)
  })

  it('lists about 26 new Solana pools a minute, newest first, on ten pages of 20', async () => {
    const { json, get } = await simulator()
    const rows = (await Promise.all(allPages.map((page) => json(`/networks/solana/new_pools?page=${page}`)))).flatMap(
      (page) => page['data'],
    )
    const created = rows.map((row) => Date.parse(row.attributes.pool_created_at))
    expect(rows.length).toBe(200)
    expect(new Set(rows.map((row) => row.id)).size).toBe(200)
    expect(created).toEqual(created.toSorted((a, b) => b - a))
    expect((created[0]! - created[199]!) / 60_000).toBeCloseTo(200 / 26, 0)
    expect((await get('/networks/solana/new_pools?page=11')).status).toBe(400)
    expect((await get('/networks/solana/new_pools?page=0')).status).toBe(400)
  })

  it('lists a new pool six seconds after its creation', async () => {
    const { json, clock } = await simulator({ cacheForMs: 0 })
    const ages = []
    for (let i = 0; i < 60; i++) {
      clock.atMs += 1_000
      const [newest] = (await json('/networks/solana/new_pools'))['data']
      ages.push(clock.atMs - Date.parse(newest.attributes.pool_created_at))
    }
    expect(Math.min(...ages)).toBe(6_000)
    expect(Math.max(...ages)).toBeLessThan(12_000)
  })

  it('changes the prices of most top pools from one minute to the next, and leaves some pools as they were', async () => {
    const { json, clock } = await simulator()
    const before: Json[] = (await json('/networks/solana/pools'))['data']
    clock.atMs += 60_000
    const after: Json[] = (await json('/networks/solana/pools'))['data']
    const text = new Map(before.map((pool) => [pool['id'], JSON.stringify(pool)]))
    const unchanged = after.filter((pool) => text.get(pool['id']) === JSON.stringify(pool)).length
    expect(before.length).toBe(20)
    expect(unchanged).toBeGreaterThanOrEqual(3)
    expect(unchanged).toBeLessThanOrEqual(14)
  })

  it('finds a pool by its address without having listed it, and not by the address in lower case', async () => {
    const [lister, finder] = [await simulator(), await simulator()]
    for (const network of ['solana', 'eth', 'bsc', 'polygon_pos', 'base']) {
      for (const list of ['pools', 'new_pools']) {
        const addresses = await lister.addresses(`/networks/${network}/${list}?page=2`)
        expect(await finder.addresses(`/networks/${network}/pools/multi/${addresses.join(',')}`)).toEqual(addresses)
      }
    }
    const [address] = await lister.addresses('/networks/solana/pools')
    expect((await finder.get(`/networks/solana/pools/${address}`)).status).toBe(200)
    expect((await finder.get(`/networks/solana/pools/${address!.toLowerCase()}`)).status).toBe(404)
    expect((await finder.get(`/networks/solana/pools/${address!.slice(0, -3)}xyz`)).status).toBe(404)
    expect((await finder.get(`/networks/eth/pools/${address}`)).status).toBe(404)
  })

  it('does not know a pool before it is listed', async () => {
    const [early, late] = [await simulator(), await simulator()]
    late.clock.atMs += 60_000
    const [address] = await late.addresses('/networks/solana/new_pools')
    expect((await early.get(`/networks/solana/pools/${address}`)).status).toBe(404)
    early.clock.atMs += 60_000
    expect((await early.get(`/networks/solana/pools/${address}`)).status).toBe(200)
  })

  it('shows every odd value that was seen in real answers', async () => {
    const { json } = await simulator()
    const pools: Json[] = []
    const tokens: Json[] = []
    for (const network of ['solana', 'eth', 'bsc', 'polygon_pos', 'base']) {
      for (const list of ['pools', 'new_pools']) {
        for (const page of allPages) {
          const body = await json(`/networks/${network}/${list}?page=${page}&include=base_token,quote_token,dex`)
          pools.push(...body['data'])
          tokens.push(...body['included'].filter((item: Json) => item['type'] === 'token'))
        }
      }
    }
    const values = pools.map((pool) => pool['attributes'] as Json)
    const share = (is: (attributes: Json, pool: Json) => boolean) =>
      pools.filter((pool) => is(pool['attributes'], pool)).length / pools.length
    const tokenIds = new Set(tokens.map((token) => token['id']))
    const seen: Record<string, number> = {
      'native price NaN, price in quote tokens null': share(
        (a) => a['base_token_price_native_currency'] === 'NaN' && a['base_token_price_quote_token'] === null,
      ),
      'market cap null': share((a) => a['market_cap_usd'] === null),
      'fdv null': share((a) => a['fdv_usd'] === null),
      'fdv of 19 digits': share((a) => /^\d{19}(\.|$)/.test(a['fdv_usd'] ?? '')),
      'reserve null': share((a) => a['reserve_in_usd'] === null),
      'reserve negative': share((a) => Number(a['reserve_in_usd']) < 0),
      'reserve 0.0': share((a) => a['reserve_in_usd'] === '0.0'),
      'creation unknown': share((a) => a['pool_created_at'] === null),
      'buyers null': share((a) => a['transactions'].h24.buyers === null),
      'change above a million percent': share((a) => Number(a['price_change_percentage'].h24) > 1_000_000),
      'price of 24 digits in quote tokens': share((a) => /^\d{24}/.test(a['quote_token_price_base_token'] ?? '')),
      'price of 69 decimals': share((a) => digits(a['base_token_price_usd']).scale === 69),
      'last trade as a number': share((a) => typeof a['last_trade_timestamp'] === 'number'),
      'last trade as a string': share((a) => typeof a['last_trade_timestamp'] === 'string'),
      'a key that nobody documented': share((a) => 'launchpad_details' in a),
      'no DEX': share((_, pool) => !pool['relationships'].dex.data),
      'base token null': share((_, pool) => pool['relationships'].base_token.data === null),
      'pool id = token id': share((_, pool) => tokenIds.has(pool['id'])),
      '32-byte address': share((a) => /^0x[0-9a-f]{64}$/.test(a['address'])),
      'address in mixed case': share((a) => /^[1-9A-HJ-NP-Za-km-z]{44}$/.test(a['address']) && /[a-z]/.test(a['address'])),
    }
    expect(Object.keys(seen).filter((what) => seen[what] === 0)).toEqual([])
    expect(seen['native price NaN, price in quote tokens null']).toBeLessThan(0.1)
    const symbols = new Set(tokens.map((token) => token['attributes'].symbol))
    for (const symbol of ['招财猫', '🦎', '42', "O'TAIL", '"QUOTE"', 'BACK\\SLASH']) expect(symbols).toContain(symbol)
    expect(
      values.every(
        (a) => a['address'] === a['address'].trim() && (a['address'].startsWith('0x') ? a['address'] === a['address'].toLowerCase() : true),
      ),
    ).toBe(true)
  })
})

describe('trades', () => {
  it('are the newest 300 within 24 h, and a price belongs to the side that it says', async () => {
    const { json } = await simulator()
    const pool = (await json('/networks/solana/pools'))['data'][0]
    const base = pool.relationships.base_token.data.id.slice('solana_'.length)
    const trades: Json[] = (await json(`/networks/solana/pools/${pool.attributes.address}/trades`))['data']
    expect(trades.length).toBe(300)
    expect(new Set(trades.map((trade) => trade['id'])).size).toBe(300)
    const blockAtMs = trades.map((trade) => Date.parse(trade['attributes'].block_timestamp))
    expect(blockAtMs).toEqual(blockAtMs.toSorted((a, b) => b - a))
    expect(trades.filter((trade) => trade['attributes'].kind === 'buy').length).toBeGreaterThan(80)
    for (const { id, attributes: a } of trades as { id: string; attributes: Json }[]) {
      expect(a['kind'] === 'buy' ? a['to_token_address'] : a['from_token_address']).toBe(base)
      const basePrice = Number(a['kind'] === 'buy' ? a['price_to_in_usd'] : a['price_from_in_usd'])
      expect(basePrice / Number(pool.attributes.base_token_price_usd)).toBeGreaterThan(0.5)
      expect(basePrice / Number(pool.attributes.base_token_price_usd)).toBeLessThan(2)
      const [network, block, txHash, , indexedAt] = id.split('_')
      expect([network, block, txHash]).toEqual(['solana', String(a['block_number']), a['tx_hash']])
      const delayMs = Number(indexedAt) * 1000 - Date.parse(a['block_timestamp'])
      expect(delayMs).toBeGreaterThanOrEqual(3_000)
      expect(delayMs).toBeLessThanOrEqual(27_000)
      const [amount, price, volume] = [a['from_token_amount'], a['price_from_in_usd'], a['volume_in_usd']].map(digits)
      expect(volume!.n * 10n ** BigInt(amount!.scale + price!.scale - volume!.scale)).toBe(amount!.n * price!.n)
    }
  })

  it('of two polls are the same where they overlap, though some older ones come late', async () => {
    const { json, clock, addresses } = await simulator()
    const [address] = await addresses('/networks/solana/pools')
    const path = `/networks/solana/pools/${address}/trades`
    const first: Json[] = (await json(path))['data']
    clock.atMs += 61_000
    const second: Json[] = (await json(path))['data']
    const texts = new Map(second.map((trade) => [trade['id'], JSON.stringify(trade)]))
    const oldestOfSecond = second.at(-1)!['attributes'].block_timestamp
    const shared = first.filter((trade) => trade['attributes'].block_timestamp > oldestOfSecond)
    expect(shared.length).toBeGreaterThan(200)
    for (const trade of shared) expect(texts.get(trade['id'])).toBe(JSON.stringify(trade))
    const known = new Set(first.map((trade) => trade['id']))
    const newestOfFirst = first[0]!['attributes'].block_timestamp
    const late = second.filter((trade) => !known.has(trade['id']) && trade['attributes'].block_timestamp < newestOfFirst)
    expect(late.length).toBeGreaterThan(0)
  })

  it('are listed from their indexing time on, both of a transaction too', async () => {
    // Minutes lie between the trades of these pools: one that waited for the next stretch of time would be late by a poll.
    const { json, clock, addresses } = await simulator({ cacheForMs: 0, rates: { tradesPerMinute: 0.5 } })
    const pools = (await addresses('/networks/eth/pools')).slice(2, 6)
    const pollMs = 1_200_000
    const firstSeenAtMs = new Map<string, number>()
    for (; clock.atMs < noon + 100 * pollMs; clock.atMs += pollMs) {
      for (const address of pools) {
        const trades: Json[] = (await json(`/networks/eth/pools/${address}/trades`))['data']
        for (const trade of trades) if (!firstSeenAtMs.has(trade['id'])) firstSeenAtMs.set(trade['id'], clock.atMs)
      }
    }
    const fresh = [...firstSeenAtMs].filter(([, atMs]) => atMs > noon)
    const lateForMs = fresh.map(([id, atMs]) => atMs - Number(id.split('_').at(-1)) * 1000)
    expect(fresh.length).toBeGreaterThan(200)
    expect(Math.min(...lateForMs)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...lateForMs)).toBeLessThan(pollMs)
  })

  it('have volumes of 76 decimals, and now and then two of them share a transaction', async () => {
    const { json, addresses } = await simulator()
    const longest = []
    let sharing = 0
    for (const address of [...(await addresses('/networks/solana/pools')), ...(await addresses('/networks/solana/new_pools?page=9'))]) {
      const trades: Json[] = (await json(`/networks/solana/pools/${address}/trades`))['data']
      longest.push(Math.max(0, ...trades.map((trade) => trade['attributes'].volume_in_usd.split('.')[1].length)))
      sharing += trades.length - new Set(trades.map((trade) => trade['attributes'].tx_hash)).size
    }
    expect(Math.max(...longest)).toBe(76)
    expect(sharing).toBeGreaterThan(20)
  })

  it('below the asked volume are left out, and older ones take their place', async () => {
    const { json, addresses } = await simulator()
    const [address] = await addresses('/networks/solana/pools')
    const trades: Json[] = (await json(`/networks/solana/pools/${address}/trades?trade_volume_in_usd_greater_than=1000`))['data']
    expect(trades.length).toBe(300)
    // The volume is of the rounded amount.
    for (const trade of trades) expect(Number(trade['attributes'].volume_in_usd)).toBeGreaterThan(999)
  })

  it('come at the rate that was asked for', async () => {
    const { json, addresses, clock } = await simulator({ rates: { tradesPerMinute: 300 } })
    const [address] = await addresses('/networks/solana/pools')
    const trades: Json[] = (await json(`/networks/solana/pools/${address}/trades`))['data']
    const spanMs = clock.atMs - Date.parse(trades.at(-1)!['attributes'].block_timestamp)
    expect(spanMs).toBeGreaterThan(55_000)
    expect(spanMs).toBeLessThan(75_000)
  })
})

describe('candles', () => {
  it('open where the one before closed, also over minutes without trades', async () => {
    const { json, addresses } = await simulator()
    const pairs: [newer: number[], older: number[]][] = []
    for (const address of (await addresses('/networks/eth/pools')).slice(8, 14)) {
      const list: number[][] = (await json(`/networks/eth/pools/${address}/ohlcv/minute?limit=1000`))['data'].attributes.ohlcv_list
      expect(list.length).toBe(1000)
      pairs.push(...list.slice(1).map((older, i): [number[], number[]] => [list[i]!, older]))
    }
    const doubled = pairs.filter(([newer, older]) => newer[0] === older[0])
    const broken = pairs.filter(([newer, older]) => newer[0] !== older[0] && newer[1] !== older[4])
    const apart = pairs.filter(([newer, older]) => newer[0]! - older[0]! > 60)
    expect(broken).toEqual([])
    expect(doubled.length).toBeGreaterThan(10)
    expect(apart.length).toBeGreaterThan(1000)
  })

  it('stay as they are once their time is over; the newest one goes on', async () => {
    const { json, clock, addresses } = await simulator()
    const [address] = await addresses('/networks/solana/pools')
    const candles = async (): Promise<number[][]> =>
      (await json(`/networks/solana/pools/${address}/ohlcv/hour?limit=5`))['data'].attributes.ohlcv_list
    clock.atMs += 30 * 60_000
    const first = await candles()
    clock.atMs += 20 * 60_000
    const second = await candles()
    expect(first[0]![0]).toBe(noon / 1000)
    expect(second[0]![0]).toBe(noon / 1000)
    expect(second[0]![5]).not.toBe(first[0]![5])
    expect(second.slice(1)).toEqual(first.slice(1))
  })

  it('before a timestamp go on where a first call ended', async () => {
    const { json, addresses } = await simulator()
    const [address] = await addresses('/networks/solana/pools')
    const candles = async (query: string): Promise<number[][]> =>
      (await json(`/networks/solana/pools/${address}/ohlcv/minute?limit=10${query}`))['data'].attributes.ohlcv_list
    let page = await candles('')
    for (let i = 0; i < 10; i++) {
      const [startsAt, open] = page.at(-1)!
      page = await candles(`&before_timestamp=${startsAt}`)
      expect([page[0]![0], page[0]![4]]).toEqual([startsAt! - 60, open])
    }
  })

  it('are refused for an unknown timeframe, aggregate, currency or a limit above 1,000', async () => {
    const { get, addresses } = await simulator()
    const [address] = await addresses('/networks/solana/pools')
    const rests = ['second', 'hour?aggregate=2', 'day?limit=1001', 'day?currency=token', 'day?before_timestamp=yesterday']
    const answers = await Promise.all(rests.map((rest) => get(`/networks/solana/pools/${address}/ohlcv/${rest}`)))
    expect(answers.map((answer) => answer.status)).toEqual([400, 400, 400, 400, 400])
  })
})

describe('the API and its limits', () => {
  it('describes an included token and DEX once', async () => {
    const { json } = await simulator()
    const { data, included } = await json('/networks/bsc/new_pools?include=base_token,quote_token,dex')
    const keys = included.map((item: Json) => `${item['type']} ${item['id']}`)
    expect(data.length).toBe(20)
    expect(new Set(keys).size).toBe(keys.length)
    expect(keys).toContain('token bsc_0x0000000000000000000000000000000000000000')
    expect(keys.length).toBeLessThan(30)
    expect('included' in (await json('/networks/bsc/new_pools'))).toBe(false)
  })

  it('takes 30 addresses, refuses 31 and leaves unknown ones out', async () => {
    const { get, json, addresses } = await simulator()
    const known = await addresses('/networks/eth/pools')
    const unknown = Array.from({ length: 11 }, (_, i) => `0x${String(i).padStart(40, '0')}`)
    const thirty = [...known, ...unknown.slice(0, 10)].join(',')
    expect((await json(`/networks/eth/pools/multi/${thirty}`))['data'].length).toBe(20)
    expect((await get(`/networks/eth/pools/multi/${thirty},${unknown[10]}`)).status).toBe(400)
  })

  it('answers 404 in its error shape for an unknown network, DEX, pool or path', async () => {
    const { get } = await simulator()
    const paths = ['/networks/nowhere/pools', '/networks/eth/dexes/nodex/pools', '/networks/eth/pools/0x00', '/nothing', '/../networks']
    for (const path of paths) {
      const response = await get(path)
      expect([path, response.status, await response.json()]).toEqual([path, 404, { errors: [{ status: '404', title: 'Not Found' }] }])
    }
  })

  it('lists networks, DEXes, the pools of one DEX, and trending pools', async () => {
    const { json } = await simulator()
    expect((await json('/networks'))['data'].map((network: Json) => network['id'])).toEqual(['solana', 'eth', 'bsc', 'polygon_pos', 'base'])
    expect((await json('/networks/eth/dexes'))['data'][0]).toEqual({ id: 'uniswap_v2', type: 'dex', attributes: { name: 'Uniswap V2' } })
    expect((await json('/networks/eth/dexes?page=2'))['data']).toEqual([])
    const ofDex: Json[] = (await json('/networks/eth/dexes/uniswap_v3/pools'))['data']
    expect(ofDex.length).toBeGreaterThan(10)
    expect(new Set(ofDex.map((pool) => pool['relationships'].dex.data?.id ?? 'uniswap_v3'))).toEqual(new Set(['uniswap_v3']))
    expect((await json('/networks/base/trending_pools?duration=1h'))['data'].length).toBe(20)
    expect(
      new Set((await json('/networks/new_pools'))['data'].map((pool: Json) => pool['relationships'].network.data.id)).size,
    ).toBeGreaterThan(1)
  })

  it('refuses what goes beyond the limit, until the minute has passed', async () => {
    const { get, clock } = await simulator({ limitPerMinute: 30 })
    for (let i = 0; i < 30; i++) expect((await get('/networks')).status).toBe(200)
    const refused = await get('/networks')
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('0')
    expect(await refused.json()).toMatchObject({ status: { error_code: 429 } })
    clock.atMs += 59_999
    expect((await get('/networks')).status).toBe(429)
    clock.atMs += 1
    expect((await get('/networks')).status).toBe(200)
  })

  it('gives the same answer to one URL for 60 s, and says how old it is', async () => {
    const { get, clock } = await simulator()
    const first = await (await get('/networks/solana/new_pools')).text()
    clock.atMs += 59_000
    const cached = await get('/networks/solana/new_pools')
    expect(await cached.text()).toBe(first)
    expect(cached.headers.get('date')).toBe('Sat, 21 Nov 2026 12:00:00 GMT')
    expect(cached.headers.get('age')).toBe('59')
    clock.atMs += 1_000
    const fresh = await get('/networks/solana/new_pools')
    expect(await fresh.text()).not.toBe(first)
    expect(fresh.headers.get('date')).toBe('Sat, 21 Nov 2026 12:01:00 GMT')
  })

  it('lets pages that were made at different moments overlap, or leave pools out', async () => {
    const walk = await simulator()
    const page1 = await walk.addresses('/networks/solana/new_pools?page=1')
    walk.clock.atMs += 20_000
    const later2 = await walk.addresses('/networks/solana/new_pools?page=2')
    expect(later2.filter((address) => page1.includes(address)).length).toBeGreaterThan(4)

    const skip = await simulator()
    const early2 = await skip.addresses('/networks/solana/new_pools?page=2')
    skip.clock.atMs += 20_000
    const fresh1 = await skip.addresses('/networks/solana/new_pools?page=1')
    const cached2 = await skip.addresses('/networks/solana/new_pools?page=2')
    expect(cached2).toEqual(early2)
    const left = page1.filter((address) => !fresh1.includes(address) && !cached2.includes(address))
    expect(left.length).toBeGreaterThan(4)
  })
})

describe('faults', () => {
  const told = [
    { kind: '429', status: 429, body: '{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}' },
    { kind: '429-as-200', status: 200, body: '{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}' },
    { kind: '429-as-200-errors', status: 200, body: '{"errors":[{"status":"429","title":"Rate Limited"}]}' },
    { kind: '403', status: 403, body: 'error code: 1020' },
    { kind: '503-html', status: 503, body: '<html>' },
    { kind: '500', status: 500, body: '"status":"500"' },
    { kind: 'garbage', status: 200, body: '<oops' },
    { kind: 'no-data', status: 200, body: '{"meta":{}}' },
  ] as const
  it.each(told)('answers $kind when told to, once, and then as before', async ({ kind, status, body }) => {
    const { gecko, get } = await simulator()
    gecko.fail({ kind })
    const failed = await get('/networks/eth/pools')
    expect(failed.status).toBe(status)
    expect(await failed.text()).toContain(body)
    expect((await get('/networks/eth/pools')).status).toBe(200)
    expect(gecko.served.pools().size).toBe(20)
  })

  it('sends an empty body, a cut one, or none at all', async () => {
    const { gecko, get } = await simulator()
    gecko.fail({ kind: 'empty' })
    expect(await (await get('/networks/eth/pools')).text()).toBe('')
    gecko.fail({ kind: 'truncated' })
    await expect(get('/networks/eth/pools').then((response) => response.text())).rejects.toThrow('terminated')
    gecko.fail({ kind: 'reset' })
    await expect(get('/networks/eth/pools')).rejects.toMatchObject({ cause: { code: 'ECONNRESET' } })
    gecko.fail({ kind: 'hang' })
    await expect(get('/networks/eth/pools', AbortSignal.timeout(100))).rejects.toThrow('timeout')
    expect(gecko.served.pools().size).toBe(0)
    expect(gecko.served.requests()).toEqual({ top_pools: { '200': 1, truncated: 1, reset: 1, hang: 1 } })
  })

  it('meets only requests to the named path, as often as told, with the Retry-After that was given', async () => {
    const { gecko, get } = await simulator()
    gecko.fail({ kind: '429', count: 2, pathIncludes: '/trades', retryAfter: '7' })
    expect((await get('/networks/eth/pools')).status).toBe(200)
    const [address] = [...gecko.served.pools().values()].map((pool) => pool.address)
    const statuses = []
    for (let i = 0; i < 3; i++) {
      const response = await get(`/networks/eth/pools/${address}/trades`)
      statuses.push([response.status, response.headers.get('retry-after')])
    }
    expect(statuses).toEqual([
      [429, '7'],
      [429, '7'],
      [200, null],
    ])
  })

  it('come at the background rate, the same ones for the same seed', async () => {
    const first = await outcomes(3)
    expect(await outcomes(3)).toEqual(first)
    const plain = (first['200'] ?? 0) / 100
    expect(plain).toBeGreaterThan(0.6)
    expect(Object.keys(first).length).toBeGreaterThan(4)
    expect(first).not.toHaveProperty('hang')
  })

  it('do not keep the simulator from closing', async () => {
    const { gecko, get } = await simulator()
    gecko.fail({ kind: 'hang' })
    const hanging = get('/networks')
    await expect.poll(() => gecko.served.requests()['networks']?.['hang']).toBe(1)
    await gecko.close()
    await expect(hanging).rejects.toThrow('fetch failed')
    await gecko.close()
  })
})

describe('the record of what was served', () => {
  it('has the pools, tokens and DEXes of the bodies, each as the last body showed it', async () => {
    const { gecko, json, clock } = await simulator()
    await json('/networks/solana/new_pools?include=base_token,quote_token,dex')
    clock.atMs += 61_500
    const { data, included } = await json('/networks/solana/new_pools?page=2&include=base_token,quote_token,dex')
    const pools = gecko.served.pools()
    expect(pools.size).toBeGreaterThan(20)
    for (const pool of data) {
      const served = pools.get(pool.id)!
      expect(served.attributes).toEqual(pool.attributes)
      expect(served.baseToken).toBe(pool.relationships.base_token.data?.id)
      expect(served.dex).toBe(pool.relationships.dex.data?.id)
      expect(served.observedAtMs.at(-1)).toBe(noon + 61_000)
    }
    for (const token of included.filter((item: Json) => item['type'] === 'token')) {
      const { address, name, symbol, decimals, coingecko_coin_id: coingeckoId } = token.attributes
      expect(gecko.served.tokens().get(token.id)).toMatchObject({ network: 'solana', address, name, symbol, decimals, coingeckoId })
    }
    expect(gecko.served.dexes().get('solana_pump-fun')).toEqual({ network: 'solana', dex: 'pump-fun', name: 'Pump.fun' })
  })

  it('tells the last served body, even when the cache made it older than the one before', async () => {
    const { gecko, json, clock } = await simulator()
    const [early] = (await json('/networks/solana/pools'))['data']
    clock.atMs += 30_000
    const id = early.id as string
    await json(`/networks/solana/pools/${early.attributes.address}`)
    expect(gecko.served.pools().get(id)!.attributes).not.toEqual(early.attributes)
    await json('/networks/solana/pools')
    expect(gecko.served.pools().get(id)!.attributes).toEqual(early.attributes)
    expect(gecko.served.pools().get(id)!.observedAtMs).toEqual([noon, noon + 30_000])
  })

  it('has each served trade once, with the pool that was asked for', async () => {
    const { gecko, json, clock, addresses } = await simulator()
    const [address] = await addresses('/networks/base/pools')
    const first: Json[] = (await json(`/networks/base/pools/${address}/trades`))['data']
    clock.atMs += 61_000
    const second: Json[] = (await json(`/networks/base/pools/${address}/trades`))['data']
    const trades = gecko.served.trades()
    const ids = new Set([...first, ...second].map((trade) => trade['id']))
    expect(new Set(trades.keys())).toEqual(ids)
    for (const trade of second) expect(trades.get(trade['id'])).toEqual({ network: 'base', pool: address, attributes: trade['attributes'] })
  })

  it('leaves a body out whose client had gone before it was sent', async () => {
    const held = Promise.withResolvers<void>()
    const waits = [held.promise]
    const clock = { nowMs: () => noon, sleep: async () => waits.shift() }
    const { gecko, get } = await simulator({ clock, latencyMs: 1 })
    const leaving = new AbortController()
    const left = get('/networks/eth/pools', leaving.signal)
    await expect.poll(() => waits.length).toBe(0)
    leaving.abort()
    await expect(left).rejects.toThrow('aborted')
    // A whole exchange later the server knows that the first client has gone.
    await (await get('/networks')).text()
    held.resolve()
    await expect.poll(() => gecko.served.requests()['top_pools']?.['200']).toBe(1)
    await (await get('/networks')).text()
    expect(gecko.served.pools().size).toBe(0)
  })

  it('counts requests but keeps no rows when it is told not to remember', async () => {
    const { gecko, json } = await simulator({ remember: false })
    await json('/networks/base/pools')
    expect(gecko.served.pools().size).toBe(0)
    expect(gecko.served.requests()).toEqual({ top_pools: { '200': 1 } })
  })
})

/** What 100 requests met, counted. */
async function outcomes(seed: number) {
  const { gecko, get } = await simulator({ seed, faultRate: 0.3 })
  // A reset rejects; the counts tell it as well.
  for (let i = 0; i < 100; i++)
    await get('/networks')
      .then((response) => response.text())
      .catch(() => undefined)
  return gecko.served.requests()['networks']!
}

function digits(text: string): { n: bigint; scale: number } {
  const [whole = '', fraction = ''] = text.split('.')
  return { n: BigInt(whole + fraction), scale: fraction.length }
}
