// One page of pools, whichever list it is from.

import type { GeckoPage } from '../gecko/client.ts'
import { parsePools } from '../gecko/parse.ts'
import type { PoolRow } from '../model.ts'
import { pageOf, type Page } from './collector.ts'

export const poolIncludes = { include: 'base_token,quote_token,dex' }

/** The page, and its pools for the walk's own decisions; undefined when the list has ended. */
export function poolPage(answer: GeckoPage, source: string): { readonly page: Page; readonly pools: readonly PoolRow[] } | undefined {
  const parsed = parsePools(answer.body, { source, observedAtMs: answer.observedAtMs })
  if (parsed.items === 0) return undefined
  return { pools: parsed.rows, page: pageOf(parsed, 'pool', { dexes: parsed.dexes, tokens: parsed.tokens, pools: parsed.rows }) }
}
