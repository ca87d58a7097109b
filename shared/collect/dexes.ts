// The DEXes of each network. Pages are walked until an empty one: the API does not say how many there are.

import { parseDexes } from '../gecko/parse.ts'
import { pageOf, type Collector } from './collector.ts'
import { eachPart } from './walk.ts'

const maxPages = 10

export const dexes: Collector = {
  name: 'dexes',
  table: 'dexes',
  fetch: ({ settings, gecko, ...context }) =>
    eachPart(settings.networks, async function* (network) {
      for (let page = 1; page <= maxPages; page++) {
        const answer = await gecko.get(`/networks/${network}/dexes`, { page }, context)
        const parsed = parseDexes(answer.body, { network, observedAtMs: answer.observedAtMs })
        if (parsed.items === 0) return
        yield pageOf(parsed, 'dex', { dexes: parsed.rows })
      }
    }),
}
