// The statements on which the server spends most of its time, from pg_stat_statements. First the numbers, then the texts of those few: the view's
// texts lie in a file that can be hundreds of megabytes, and asking for all of them has cost servers their memory.

import type { Rows, Statement } from '../../db/database.ts'
import type { SlowStatement } from '../observation.ts'
import { withoutLiterals } from './without-literals.ts'

const quoted = (identifier: string) => `"${identifier.replaceAll('"', '""')}"`

/** What another role's statement is called where the right to see it (pg_read_all_stats) is missing. */
export const hiddenId = 'hidden'

/** `schema`: where the extension is installed. One row for each of the ten that took longest, of this database. */
export const slowestStatements = (schema: string): Statement => ({
  name: 'slow_statements',
  text: `
select jsonb_agg(jsonb_build_object('id', id, 'calls', calls, 'meanMs', mean, 'totalMs', total, 'share', share) order by total desc) as seen
from (
  select coalesce(queryid::text, '${hiddenId}') as id, sum(calls) as calls, sum(total_exec_time) / sum(calls) as mean, sum(total_exec_time) as total,
    coalesce(sum(total_exec_time) / nullif(sum(sum(total_exec_time)) over (), 0), 0) as share
  from ${quoted(schema)}.pg_stat_statements(false)
  where dbid = (select oid from pg_database where datname = current_database()) and calls > 0
  group by 1
  order by 4 desc
  limit 10
) x`,
  values: [],
})

export const textsOfStatements = (schema: string, ids: readonly string[]): Statement => ({
  name: 'slow_statement_texts',
  text: `
select queryid::text as id, min(left(query, 2000)) as query
from ${quoted(schema)}.pg_stat_statements
where queryid = any ($1::bigint[]) and query <> '<insufficient privilege>'
group by 1`,
  values: [ids],
})

export type Slowest = Omit<SlowStatement, 'query'>

export const readSlowest = (rows: Rows): readonly Slowest[] => (rows[0]?.['seen'] ?? []) as readonly Slowest[]

export function withTexts(slowest: readonly Slowest[], texts: Rows): readonly SlowStatement[] {
  const textOf = new Map(texts.map((row) => [row['id'], row['query'] as string]))
  return slowest.map((statement) => {
    const text = textOf.get(statement.id)
    return { ...statement, query: text === undefined ? null : withoutLiterals(text, 200) }
  })
}
