// New pools of each network, newest first. A walk goes on until it meets a pool that the last walk saw.
// If it reaches the API's last page without meeting one, pools in between were missed: that is recorded as a coverage gap.
// Pages shift while they are walked and are cached one by one, so a pool may come twice; the batch dedupes.

import * as z from 'zod'
import type { PoolRow } from '../model.ts'
import { noItems, type Collector, type Page } from './collector.ts'
import { poolIncludes, poolPage } from './pool-page.ts'
import { eachPart } from './walk.ts'

/** Addresses of the newest pools of the last complete walk. Two pages of them: page drift may push some out of sight. */
const lastWalk = z.object({ newest: z.array(z.string()), newestAtMs: z.number() })
const rememberedPools = 40

export const newPools: Collector = {
  name: 'new-pools',
  table: 'pools',
  fetch: ({ settings, gecko, cursor, ...context }) =>
    eachPart(settings.networks, async function* (network): AsyncIterable<Page> {
      const last = lastWalk.optional().parse(cursor[network])
      const known = new Set(last?.newest)
      const walked: PoolRow[] = []
      let page = 1
      let overlaps = false
      for (; page <= settings.collectors['new-pools'].maxPages && !overlaps; page++) {
        const found = poolPage(await gecko.get(`/networks/${network}/new_pools`, { page, ...poolIncludes }, context), 'new-pools')
        if (!found) break
        walked.push(...found.pools)
        overlaps = found.pools.some((p) => known.has(p.address))
        // without the cursor: if the walk breaks off, the next one must come this way again
        yield found.page
      }
      const created = walked.map((p) => p.poolCreatedAtMs ?? p.observedAtMs)
      const [newestMs, oldestMs] = [Math.max(...created), Math.min(...created)]
      const listEnded = page <= settings.collectors['new-pools'].maxPages
      const missed = last && !overlaps && !listEnded && oldestMs > last.newestAtMs
      const gaps = missed
        ? [
            {
              stream: `pools:new:${network}`,
              fromMs: last.newestAtMs,
              toMs: oldestMs,
              reason: `no known pool on ${page - 1} pages`,
              status: 'open' as const,
            },
          ]
        : []
      if (walked.length === 0) return
      const newest = [...new Set(walked.map((p) => p.address))].slice(0, rememberedPools)
      yield noItems({ gaps }, { [network]: { newest, newestAtMs: newestMs } })
    }),
}
