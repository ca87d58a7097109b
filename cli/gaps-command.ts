// `tokay gaps`: the stretches of time of which the API no longer had everything when it was asked. Having some is no failure of this command.

import type { Row } from '../shared/db/database.ts'
import { countGaps, listGaps } from '../shared/db/export-statements.ts'
import { inWords } from '../shared/health/alert/words.ts'
import { grouped } from './output.ts'
import { type ReadChoice, readLimits, withReadDatabase } from './read-database.ts'

export type GapsOptions = ReadChoice & { readonly json?: boolean }

const mostShown = 1_000
const statuses = ['open', 'provisional', 'closed'] as const

/** Open first, the newest of each status first. */
export const showGaps = (options: GapsOptions, signal: AbortSignal): Promise<number> =>
  withReadDatabase(options, signal, async (database) => {
    const [counted = [], rows = []] = await database.transaction([countGaps, listGaps(mostShown)], readLimits)
    const counts = statuses.map((status) => {
      const found = counted.find((row) => row['status'] === status)
      return { status, gaps: Number(found?.['gaps'] ?? 0), seconds: Number(found?.['seconds'] ?? 0) }
    })
    const gaps = rows.map(gapOf)
    const all = counts.reduce((sum, { gaps: some }) => sum + some, 0)
    if (all > gaps.length)
      console.error(`only ${grouped(gaps.length)} of ${grouped(all)} gaps are shown; \`tokay export coverage_gaps\` has all`)
    if (options.json) {
      const byStatus = Object.fromEntries(counts.map(({ status, ...sums }) => [status, sums]))
      console.log(JSON.stringify({ ...byStatus, list: gaps }))
      return 0
    }
    for (const { status, stream, from, to, seconds, reason } of gaps)
      console.log(`${status.padEnd(11)}  ${stream}  ${from} to ${to}, ${inWords(seconds * 1_000)}: ${reason}`)
    const words = counts.map(
      ({ status, gaps: some, seconds }) => `${grouped(some)} ${status}${some > 0 ? ` (${inWords(seconds * 1_000)})` : ''}`,
    )
    console.log(all === 0 ? 'no gap is known' : words.join(', '))
    return 0
  })

function gapOf(row: Row) {
  const [from, to] = [row['from_at'] as string, row['to_at'] as string]
  return {
    stream: row['stream'] as string,
    status: row['status'] as string,
    from,
    to,
    seconds: (Date.parse(to) - Date.parse(from)) / 1_000,
    reason: row['reason'] as string,
  }
}
