// The most traded pools of each network, or of the DEXes that the settings name for it.

import type { Collector } from './collector.ts'
import { poolIncludes, poolPage } from './pool-page.ts'
import { eachPart } from './walk.ts'

export const topPools: Collector = {
  name: 'top-pools',
  table: 'pools',
  fetch: ({ settings, gecko, ...context }) => {
    const { pages, dexes } = settings.collectors['top-pools']
    const lists = settings.networks.flatMap((network) =>
      dexes[network] ? dexes[network].map((dex) => `/networks/${network}/dexes/${dex}/pools`) : [`/networks/${network}/pools`],
    )
    return eachPart(lists, async function* (list) {
      for (let page = 1; page <= pages; page++) {
        const found = poolPage(await gecko.get(list, { page, ...poolIncludes }, context), 'top-pools')
        if (!found) return
        yield found.page
      }
    })
  },
}
