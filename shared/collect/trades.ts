// Trades of watched pools: those of the settings, and the busiest that the database knows.
// The API has the newest 300 of the last 24 hours and no paging: a full page that does not reach back to the last one has lost trades,
// and that is recorded as a coverage gap. When the database can't be asked, the pools of the last run are watched on.

import * as z from 'zod'
import { busiestPools } from '../db/queries.ts'
import { parseTrades } from '../gecko/parse.ts'
import { noItems, pageOf, type Collector, type FetchContext, type Page } from './collector.ts'
import { eachPart } from './walk.ts'

const fullPage = 300
const dayMs = 86_400_000

const poolId = z.object({ network: z.string(), address: z.string() })
const watchedPools = z.array(poolId)
/** By `network address`: block time of the newest trade that was kept. */
const newestTrade = z.object({ newestAtMs: z.number() })
type PoolId = z.output<typeof poolId>

const idOf = (pool: PoolId) => `${pool.network} ${pool.address}`

export const trades: Collector = {
  name: 'trades',
  table: 'trades',
  async *fetch(context) {
    const { settings, gecko, cursor } = context
    const watched = await watch(context)
    const ids = new Set(['watched', ...watched.map(idOf)])
    // pools that are watched no more leave the cursor, or it would grow for ever
    const left = Object.keys(cursor).filter((key) => !ids.has(key))
    yield noItems({}, { watched, ...Object.fromEntries(left.map((key) => [key, undefined])) })
    yield* eachPart(
      watched,
      async function* (pool): AsyncIterable<Page> {
        const minVolume = settings.collectors.trades.minVolumeUsd
        const answer = await gecko.get(
          `/networks/${pool.network}/pools/${pool.address}/trades`,
          minVolume > 0 ? { trade_volume_in_usd_greater_than: minVolume } : {},
          context,
        )
        const parsed = parseTrades(answer.body, {
          network: pool.network,
          pool: pool.address,
          observedAtMs: answer.observedAtMs,
          retentionMs: settings.retention.tradesDays * dayMs,
        })
        const times = parsed.rows.map((t) => t.blockAtMs)
        const last = newestTrade.optional().parse(cursor[idOf(pool)])
        const newestAtMs = Math.max(last?.newestAtMs ?? 0, ...times)
        const oldestAtMs = Math.min(...times)
        const missed = last && parsed.items >= fullPage && oldestAtMs > last.newestAtMs
        const gaps = missed
          ? [
              {
                stream: `trades:${idOf(pool)}`,
                fromMs: last.newestAtMs,
                toMs: oldestAtMs,
                reason: `a full page of ${parsed.items} trades does not reach the last one`,
                status: 'open' as const,
              },
            ]
          : []
        yield pageOf(parsed, 'trade', { trades: parsed.rows, gaps }, times.length > 0 ? { [idOf(pool)]: { newestAtMs } } : {})
      },
      idOf,
    )
  },
}

async function watch({ settings, cursor, query, warn }: FetchContext): Promise<PoolId[]> {
  const { pools, watchBusiest } = settings.collectors.trades
  if (watchBusiest === 0) return pools
  const busiest = await query(busiestPools(settings.networks, watchBusiest)).then(
    (rows) => watchedPools.parse(rows),
    (error: unknown) => {
      warn({ event: 'watched-pools.unread', going_on_with: 'the pools of the last run', error })
      return watchedPools.catch([]).parse(cursor['watched'])
    },
  )
  return [...new Map([...pools, ...busiest].map((pool) => [idOf(pool), pool])).values()]
}
