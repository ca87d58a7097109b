// parse over recorded answers of the API. The folder with the recordings and their manifest.json is named by GECKO_RECORDINGS; nothing of it is kept here.

import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseDexes, parsePools, parseTrades } from '../../shared/gecko/parse.ts'

const folder = process.env['GECKO_RECORDINGS'] ?? ''
const isThere = folder !== '' && existsSync(path.join(folder, 'manifest.json'))
const why = isThere
  ? ''
  : folder === ''
    ? ' (skipped: GECKO_RECORDINGS names no folder)'
    : ' (skipped: GECKO_RECORDINGS has no manifest.json)'

type Fields = Record<string, unknown>
type Item = { id: string; attributes: Fields }
type Recording = { readonly file: string; readonly endpoint: string; readonly items: number }

const recordings = isThere ? (JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as { files: Recording[] }).files : []
const bodyOf = ({ file }: Recording) =>
  JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as { data: Item | Item[]; included?: Item[] }
const itemsOf = (recording: Recording) => [bodyOf(recording).data].flat()
const ofEndpoints = (...endpoints: string[]) => recordings.filter((r) => endpoints.includes(r.endpoint))

const dayMs = 86_400_000
const observedAtMs = Date.UTC(2026, 10, 1)
/** As the API sends it, or null for "NaN" and what is missing. */
const asSent = (value: unknown) => (value === undefined || value === 'NaN' ? null : value)
const at = (attributes: Fields, ...keys: string[]) =>
  asSent(keys.reduce<unknown>((inner, key) => (inner as Fields | undefined)?.[key], attributes))

const poolLists = ofEndpoints(
  'pool',
  'pools_multi',
  'new_pools',
  'new_pools_all',
  'top_pools',
  'top_pools_dex',
  'top_pools_token',
  'trending_pools',
  'trending_pools_all',
)

describe.skipIf(!isThere)(`recorded answers${why}`, () => {
  it('the recordings hold what these tests are about', () => {
    expect(poolLists.length).toBeGreaterThanOrEqual(20)
    expect(ofEndpoints('trades')).toHaveLength(3)
    expect(ofEndpoints('dexes').length).toBeGreaterThanOrEqual(3)
  })

  it('every recorded pool becomes a row, without rejects and without drift', () => {
    for (const recording of poolLists) {
      const { rows, rejects, drift } = parsePools(bodyOf(recording), { source: 'recording', observedAtMs })
      expect({ file: recording.file, rows: rows.length, rejects, drift }).toEqual({
        file: recording.file,
        rows: recording.items,
        rejects: [],
        drift: [],
      })
    }
  })

  it('a page of new pools has 20 pools, each with both tokens and its DEX included', () => {
    const page = poolLists.find((r) => r.file === 'new_pools--1.json')
    const { rows, tokens, dexes } = parsePools(page && bodyOf(page), { source: 'new-pools', observedAtMs })
    expect(rows).toHaveLength(20)
    const known = new Set(tokens.map((t) => `${t.network} ${t.address}`))
    expect(rows.filter((r) => !known.has(`${r.network} ${r.baseToken}`) || !known.has(`${r.network} ${r.quoteToken}`))).toEqual([])
    const named = new Set(dexes.map((d) => `${d.network} ${d.dex}`))
    expect(rows.filter((r) => !named.has(`${r.network} ${r.dex}`))).toEqual([])
  })

  it('every value of a pool is the text that was sent, and "NaN" is null', () => {
    let values = 0
    let notNumbers = 0
    for (const recording of poolLists) {
      const { rows } = parsePools(bodyOf(recording), { source: 'recording', observedAtMs })
      for (const [index, { attributes, id }] of itemsOf(recording).entries()) {
        const row = rows[index]
        const activity = (window: string) => ({
          volumeUsd: at(attributes, 'volume_usd', window),
          changePct: at(attributes, 'price_change_percentage', window),
          buys: at(attributes, 'transactions', window, 'buys'),
          sells: at(attributes, 'transactions', window, 'sells'),
          buyers: at(attributes, 'transactions', window, 'buyers'),
          sellers: at(attributes, 'transactions', window, 'sellers'),
        })
        expect(row).toMatchObject({
          address: attributes['address'],
          name: attributes['name'],
          basePriceUsd: at(attributes, 'base_token_price_usd'),
          basePriceNative: at(attributes, 'base_token_price_native_currency'),
          quotePriceUsd: at(attributes, 'quote_token_price_usd'),
          reserveUsd: at(attributes, 'reserve_in_usd'),
          fdvUsd: at(attributes, 'fdv_usd'),
          marketCapUsd: at(attributes, 'market_cap_usd'),
          m5: activity('m5'),
          h1: activity('h1'),
          h24: activity('h24'),
        })
        expect(`${row?.network}_${row?.address}`).toBe(id)
        expect(row?.poolCreatedAtMs ?? null).toBe(
          typeof attributes['pool_created_at'] === 'string' ? Date.parse(attributes['pool_created_at']) : null,
        )
        values += 6
        notNumbers += Object.values(attributes).filter((value) => value === 'NaN').length
      }
    }
    expect(values).toBeGreaterThanOrEqual(400)
    expect(notNumbers).toBeGreaterThan(0)
  })

  it('nothing of a pool is lost: what has no column is in extra', () => {
    const columns = new Set(['address', 'name', 'pool_created_at', 'reserve_in_usd', 'fdv_usd', 'market_cap_usd'])
    for (const name of ['base_token_price_usd', 'base_token_price_native_currency', 'quote_token_price_usd']) columns.add(name)
    const windowed = new Set(['volume_usd', 'price_change_percentage', 'transactions'])
    for (const recording of poolLists) {
      const { rows } = parsePools(bodyOf(recording), { source: 'recording', observedAtMs })
      for (const [index, { attributes }] of itemsOf(recording).entries()) {
        const extra = JSON.parse(rows[index]?.extra ?? '{}') as Fields
        for (const [key, value] of Object.entries(attributes)) {
          if (columns.has(key)) continue
          const { m5: _m5, h1: _h1, h24: _h24, ...rest } = windowed.has(key) ? (value as Fields) : {}
          const expected = windowed.has(key) ? (Object.keys(rest).length > 0 ? rest : undefined) : value
          expect(extra[key]).toEqual(expected)
        }
      }
    }
  })

  it('every included token becomes one row with its own text', () => {
    for (const recording of poolLists) {
      const included = (bodyOf(recording).included ?? []).filter((item) => (item as Item & { type: string }).type === 'token')
      const { tokens } = parsePools(bodyOf(recording), { source: 'recording', observedAtMs })
      expect(tokens.map((t) => [`${t.network}_${t.address}`, t.symbol, t.name, t.decimals, t.coingeckoId])).toEqual(
        included.map(({ id, attributes: a }) => [id, a['symbol'], a['name'], a['decimals'], a['coingecko_coin_id']]),
      )
    }
  })

  it('all 303 recorded trades become rows with 303 keys, each value the text that was sent', () => {
    const keys = new Set<string>()
    for (const recording of ofEndpoints('trades')) {
      const items = itemsOf(recording)
      const newestMs = Math.max(...items.map((item) => Date.parse(String(item.attributes['block_timestamp']))))
      const context = { network: 'eth', pool: 'pool', observedAtMs: newestMs + 10_000, retentionMs: 30 * dayMs }
      const { rows, rejects, drift } = parseTrades(bodyOf(recording), context)
      expect({ file: recording.file, rejects, drift }).toEqual({ file: recording.file, rejects: [], drift: [] })
      expect(
        rows.map((r) => [
          r.fromAmount,
          r.toAmount,
          r.priceFromUsd,
          r.priceToUsd,
          r.volumeUsd,
          r.blockNumber,
          r.txHash,
          r.maker,
          r.kind,
          r.blockAtMs,
        ]),
      ).toEqual(
        items.map(({ attributes: a }) => [
          a['from_token_amount'],
          a['to_token_amount'],
          a['price_from_in_usd'],
          a['price_to_in_usd'],
          a['volume_in_usd'],
          a['block_number'],
          a['tx_hash'],
          a['tx_from_address'],
          a['kind'],
          Date.parse(String(a['block_timestamp'])),
        ]),
      )
      for (const row of rows) keys.add(row.key)
    }
    expect(keys.size).toBe(303)
  })

  it('the base price is the price of one and the same token in all trades of a pool, bought or sold', () => {
    for (const recording of ofEndpoints('trades')) {
      const context = { network: 'eth', pool: 'pool', observedAtMs, retentionMs: 5 * 365 * dayMs }
      const { rows } = parseTrades(bodyOf(recording), context)
      expect(rows).toHaveLength(recording.items)
      expect(new Set(rows.map((r) => (r.kind === 'buy' ? r.toToken : r.fromToken))).size).toBe(1)
      const prices = rows.map((r) => Number(r.basePriceUsd))
      // the quote token's price is millions of times higher in the largest recording
      expect(Math.max(...prices) / Math.min(...prices)).toBeLessThan(10)
    }
  })

  it('every recorded DEX becomes a row', () => {
    for (const recording of ofEndpoints('dexes')) {
      const { rows, rejects, drift } = parseDexes(bodyOf(recording), { network: 'eth', observedAtMs })
      expect({ rejects, drift }).toEqual({ rejects: [], drift: [] })
      expect(rows.map((r) => [r.dex, r.name])).toEqual(itemsOf(recording).map((item) => [item.id, item.attributes['name']]))
    }
  })

  it('recorded error documents are never read as no rows', () => {
    for (const recording of ofEndpoints('error')) {
      expect(() => parsePools(bodyOf(recording), { source: 'recording', observedAtMs })).toThrow('expected pools under "data"')
    }
  })
})
