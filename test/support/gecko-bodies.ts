// Bodies in the API's shapes, with just what a test is about.

import { GeckoApiError } from '../../shared/errors.ts'
import type { GeckoClient } from '../../shared/gecko/client.ts'

export const observedAtMs = Date.parse('2026-11-20T10:00:00Z')
const ago = (ms: number) => new Date(observedAtMs - ms).toISOString().replace('.000Z', 'Z')

/** `ageMs` before the observation it was created. */
export const poolItem = (network: string, address: string, ageMs = 60_000) => ({
  id: `${network}_${address}`,
  type: 'pool',
  attributes: { address, name: `${address} / SOL`, pool_created_at: ago(ageMs), base_token_price_usd: '1.5', reserve_in_usd: '1000.25' },
  relationships: { dex: { data: { id: 'raydium', type: 'dex' } } },
})

export const tradeItem = (network: string, block: number, ageMs: number) => ({
  id: `${network}_${block}_tx${block}_0_1763632000`,
  type: 'trade',
  attributes: {
    block_number: block,
    tx_hash: `tx${block}`,
    tx_from_address: 'maker',
    from_token_amount: '2.5',
    to_token_amount: '10.25',
    price_from_in_usd: '4',
    price_to_in_usd: '0.97',
    block_timestamp: ago(ageMs),
    kind: 'buy',
    volume_in_usd: '10',
    from_token_address: 'quote',
    to_token_address: 'base',
  },
})

export const dexItem = (dex: string) => ({ id: dex, type: 'dex', attributes: { name: dex.toUpperCase() } })

/** Answers `path?page=N` (page left out where there is none) from a table; an Error is thrown, a path that is not there is a 404. */
export function scriptedGecko(answers: Readonly<Record<string, readonly unknown[] | Error>>): GeckoClient & { readonly asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    async get(path, query = {}, options = {}) {
      const key = query['page'] === undefined ? path : `${path}?page=${query['page']}`
      asked.push(key)
      options.onCall?.()
      const answer = answers[key]
      if (answer instanceof Error) throw answer
      if (answer === undefined) throw new GeckoApiError(`GET ${key}: not found`, { failure: 'not-found', status: 404 })
      return { body: { data: answer }, observedAtMs }
    },
  }
}
