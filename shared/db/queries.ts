// What is asked of the collected data, apart from writing it.

import type { Statement } from './database.ts'

/** The most traded pools of these networks, busiest first. */
export const busiestPools = (networks: readonly string[], limit: number): Statement => ({
  name: 'busiest_pools',
  text: `
select network, address
from pools
where network = any ($1::text[]) and volume_h24_usd is not null
order by volume_h24_usd desc, network, address
limit $2`,
  values: [[...networks], limit],
})

/** Once nothing is parked any more, a provisional gap is a real one. Idempotent. */
export const confirmGaps: Statement = {
  name: 'confirm_gaps',
  text: `update coverage_gaps set status = 'open' where status = 'provisional'`,
  values: [],
}

/** Tables that hold collected data, in the order of the README. */
export const dataTables = ['dexes', 'tokens', 'pools', 'pool_snapshots', 'trades', 'coverage_gaps'] as const

/** One row: a count for each data table. */
export const countRows: Statement = {
  name: 'count_rows',
  text: `select ${dataTables.map((t) => `(select count(*)::int from ${t}) as ${t}`).join(', ')}`,
  values: [],
}
