import { describe, expect, it } from 'vitest'
import type { Collector, Cursor, FetchContext, FetchFailure, Page } from '../../shared/collect/collector.ts'
import { isFailure } from '../../shared/collect/collector.ts'
import { collectors } from '../../shared/collect/collectors.ts'
import { parseSettings } from '../../shared/config.ts'
import type { Rows } from '../../shared/db/database.ts'
import { GeckoApiError } from '../../shared/errors.ts'
import type { GeckoClient } from '../../shared/gecko/client.ts'
import { dexItem, observedAtMs, poolItem, scriptedGecko, tradeItem } from '../support/gecko-bodies.ts'

async function fetchAll(
  collector: Collector,
  gecko: GeckoClient,
  options: { settings?: object; cursor?: Cursor; query?: FetchContext['query'] } = {},
) {
  const pages: Page[] = []
  const failures: FetchFailure[] = []
  const warned: string[] = []
  const context: FetchContext = {
    settings: parseSettings({ networks: ['solana', 'eth'], ...options.settings }),
    gecko,
    cursor: options.cursor ?? {},
    query: options.query ?? (async () => []),
    warn: ({ event }) => warned.push(event),
    deadlineAtMs: Infinity,
    signal: undefined,
  }
  for await (const item of collector.fetch(context)) (isFailure(item) ? failures : pages).push(item as never)
  return {
    pages,
    failures,
    warned,
    cursor: Object.assign({}, ...pages.map((p) => p.cursor)) as Record<string, unknown>,
    gaps: pages.flatMap((p) => p.rows.gaps ?? []),
    addresses: pages.flatMap((p) => (p.rows.pools ?? []).map((row) => row.address)),
  }
}

const unavailable = new GeckoApiError('GET failed: 503', { failure: 'unavailable', status: 503 })
const refused = new GeckoApiError('GET was not sent: budget', { failure: 'not-sent' })
const minutes = (count: number) => count * 60_000

describe('dexes', () => {
  it('walks each network to its first empty page', async () => {
    const gecko = scriptedGecko({
      '/networks/solana/dexes?page=1': [dexItem('raydium')],
      '/networks/solana/dexes?page=2': [dexItem('orca')],
      '/networks/solana/dexes?page=3': [],
      '/networks/eth/dexes?page=1': [],
    })
    const { pages, failures } = await fetchAll(collectors.dexes, gecko)
    expect(pages.flatMap((p) => p.rows.dexes?.map((d) => `${d.network}/${d.dex}`))).toEqual(['solana/raydium', 'solana/orca'])
    expect(failures).toEqual([])
  })

  it("one network's trouble does not cost the other", async () => {
    const gecko = scriptedGecko({
      '/networks/solana/dexes?page=1': unavailable,
      '/networks/eth/dexes?page=1': [dexItem('uniswap_v2')],
      '/networks/eth/dexes?page=2': [],
    })
    const { pages, failures } = await fetchAll(collectors.dexes, gecko)
    expect(pages).toHaveLength(1)
    expect(failures).toEqual([{ what: 'solana', error: unavailable }])
  })

  it('a refusal that holds for every call ends the walk at once', async () => {
    const gecko = scriptedGecko({ '/networks/solana/dexes?page=1': refused, '/networks/eth/dexes?page=1': [] })
    const { failures } = await fetchAll(collectors.dexes, gecko)
    expect(failures).toEqual([{ what: 'solana', error: refused }])
    expect(gecko.asked).toEqual(['/networks/solana/dexes?page=1'])
  })
})

describe('top-pools', () => {
  it('asks for the DEXes that the settings name, and for the whole network where they name none', async () => {
    const gecko = scriptedGecko({
      '/networks/solana/dexes/pumpswap/pools?page=1': [poolItem('solana', 'A')],
      '/networks/eth/pools?page=1': [poolItem('eth', '0xb')],
    })
    const settings = { collectors: { 'top-pools': { dexes: { solana: ['pumpswap'] } } } }
    const { addresses, failures } = await fetchAll(collectors['top-pools'], gecko, { settings })
    expect(addresses).toEqual(['A', '0xb'])
    expect(failures).toEqual([])
  })
})

describe('new-pools', () => {
  const settings = { networks: ['solana'], collectors: { 'new-pools': { maxPages: 3 } } }
  const path = (page: number) => `/networks/solana/new_pools?page=${page}`
  const cursor = { solana: { newest: ['K1', 'K2'], newestAtMs: observedAtMs - minutes(10) } }

  it('stops at the first page with a pool of the last walk', async () => {
    const gecko = scriptedGecko({
      [path(1)]: [poolItem('solana', 'N1', minutes(1))],
      [path(2)]: [poolItem('solana', 'N2', minutes(9)), poolItem('solana', 'K1', minutes(10))],
    })
    const { gaps, cursor: moved } = await fetchAll(collectors['new-pools'], gecko, { settings, cursor })
    expect(gecko.asked).toEqual([path(1), path(2)])
    expect(gaps).toEqual([])
    expect(moved).toEqual({ solana: { newest: ['N1', 'N2', 'K1'], newestAtMs: observedAtMs - minutes(1) } })
  })

  it('a walk that reaches its last page without a known pool records what it missed', async () => {
    const gecko = scriptedGecko({
      [path(1)]: [poolItem('solana', 'N1', minutes(1))],
      [path(2)]: [poolItem('solana', 'N2', minutes(2))],
      [path(3)]: [poolItem('solana', 'N3', minutes(3))],
    })
    const { gaps } = await fetchAll(collectors['new-pools'], gecko, { settings, cursor })
    expect(gaps).toEqual([
      {
        stream: 'pools:new:solana',
        fromMs: observedAtMs - minutes(10),
        toMs: observedAtMs - minutes(3),
        reason: 'no known pool on 3 pages',
        status: 'open',
      },
    ])
  })

  it('the first walk has missed nothing that it could know of', async () => {
    const pages = { [path(1)]: [poolItem('solana', 'N1')], [path(2)]: [poolItem('solana', 'N2')], [path(3)]: [poolItem('solana', 'N3')] }
    expect((await fetchAll(collectors['new-pools'], scriptedGecko(pages), { settings })).gaps).toEqual([])
  })

  it('a list that ends before a known pool is met has no gap: the API shows all that it has', async () => {
    const gecko = scriptedGecko({ [path(1)]: [poolItem('solana', 'N1')], [path(2)]: [] })
    expect((await fetchAll(collectors['new-pools'], gecko, { settings, cursor })).gaps).toEqual([])
  })

  it('a walk that breaks off keeps its rows and leaves the cursor, so that the next one comes this way again', async () => {
    const gecko = scriptedGecko({ [path(1)]: [poolItem('solana', 'N1')], [path(2)]: unavailable })
    const { addresses, cursor: moved, failures } = await fetchAll(collectors['new-pools'], gecko, { settings, cursor })
    expect(addresses).toEqual(['N1'])
    expect(moved).toEqual({})
    expect(failures).toHaveLength(1)
  })
})

describe('trades', () => {
  const path = '/networks/solana/pools/P/trades'
  const watching = { collectors: { trades: { pools: [{ network: 'solana', address: 'P' }] } } }
  const newestAt = (ms: number) => ({ 'solana P': { newestAtMs: observedAtMs - ms } })
  const fullPage = (oldestMs: number) => Array.from({ length: 300 }, (_, i) => tradeItem('solana', 1_000 - i, (oldestMs * (i + 1)) / 300))

  it('a full page that does not reach back to the last trade records the stretch that was lost', async () => {
    const gecko = scriptedGecko({ [path]: fullPage(minutes(2)) })
    const { gaps, cursor } = await fetchAll(collectors.trades, gecko, { settings: watching, cursor: newestAt(minutes(5)) })
    expect(gaps).toEqual([
      {
        stream: 'trades:solana P',
        fromMs: observedAtMs - minutes(5),
        toMs: observedAtMs - minutes(2),
        reason: 'a full page of 300 trades does not reach the last one',
        status: 'open',
      },
    ])
    expect(cursor['solana P']).toEqual({ newestAtMs: observedAtMs - 400 })
  })

  it('a full page that reaches the last trade has lost nothing', async () => {
    const gecko = scriptedGecko({ [path]: fullPage(minutes(6)) })
    expect((await fetchAll(collectors.trades, gecko, { settings: watching, cursor: newestAt(minutes(5)) })).gaps).toEqual([])
  })

  it('a page with room left has lost nothing, however old the last trade is', async () => {
    const gecko = scriptedGecko({ [path]: [tradeItem('solana', 7, minutes(1))] })
    expect((await fetchAll(collectors.trades, gecko, { settings: watching, cursor: newestAt(minutes(50)) })).gaps).toEqual([])
  })

  it('watches the pools of the settings and the busiest of the database, each once', async () => {
    const gecko = scriptedGecko({ [path]: [], '/networks/eth/pools/0xq/trades': [] })
    const query = async (): Promise<Rows> => [
      { network: 'solana', address: 'P' },
      { network: 'eth', address: '0xq' },
    ]
    await fetchAll(collectors.trades, gecko, { settings: watching, query })
    expect(gecko.asked).toEqual([path, '/networks/eth/pools/0xq/trades'])
  })

  it('when the database can not be asked, the pools of the last run are watched on', async () => {
    const gecko = scriptedGecko({ '/networks/eth/pools/0xq/trades': [tradeItem('eth', 7, 1_000)] })
    const { pages, warned } = await fetchAll(collectors.trades, gecko, {
      cursor: { watched: [{ network: 'eth', address: '0xq' }] },
      query: () => Promise.reject(new Error('the circuit breaker of database is open')),
    })
    expect(pages.flatMap((p) => p.rows.trades ?? [])).toHaveLength(1)
    expect(warned).toEqual(['watched-pools.unread'])
  })

  it('a pool that is watched no more leaves the cursor', async () => {
    const gecko = scriptedGecko({ [path]: [] })
    const { pages } = await fetchAll(collectors.trades, gecko, { settings: watching, cursor: { 'eth 0xold': { newestAtMs: 1 } } })
    expect(JSON.parse(JSON.stringify(pages[0]?.cursor))).toEqual({ watched: [{ network: 'solana', address: 'P' }] })
    expect(pages[0]?.cursor).toHaveProperty(['eth 0xold'], undefined)
  })
})
