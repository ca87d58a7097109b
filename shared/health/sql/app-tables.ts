// Tokay's own tables, as far as they are there: before the first migration, or with code that is newer than the schema, some are not, and a statement
// that names a missing table fails as a whole. So it is asked first which are there.

import type { Row, Rows, Statement } from '../../db/database.ts'
import { migrationNames } from '../../db/migration-names.ts'
import type { AppTables } from '../observation.ts'

const tables = ['migrations', 'quarantine', 'coverage_gaps', 'health_hours'] as const
type Table = (typeof tables)[number]

/** Those that there are in the stage's own schema, whether or not they may be read: one that may not says so when it is. */
export const appTablesPresent: Statement = {
  name: 'app_tables_present',
  text: `
select c.relname as table_name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = replace(btrim(current_setting('search_path'), '"'), '""', '"') and c.relname = any ($1::text[])`,
  values: [tables],
}

export const readPresent = (rows: Rows): readonly Table[] => rows.map((row) => row['table_name'] as Table)

const parts: Readonly<Record<Table, readonly [field: string, sql: string]>> = {
  migrations: ['applied', `(select jsonb_agg(name order by id) from migrations)`],
  quarantine: ['quarantined', `(select count(*) from quarantine where status = 'held')`],
  coverage_gaps: ['openGaps', `(select count(*) from coverage_gaps where status = 'open')`],
  // of each day its last known size
  health_hours: [
    'dailyBytes',
    `(select jsonb_agg(jsonb_build_object('day', day::text, 'bytes', bytes) order by day) from (
      select (hour at time zone 'UTC')::date as day, (array_agg(database_bytes order by hour desc))[1] as bytes
      from health_hours
      where database_bytes is not null and hour > now() - interval '60 days'
      group by 1) days)`,
  ],
}

export function appTablesStatement(present: readonly Table[]): Statement {
  const fields = present.map((table) => {
    const [field, sql] = parts[table]
    return [`'${field}', ${sql}`]
  })
  return { name: 'app_tables', text: `select jsonb_build_object(${fields.join(', ')}) as seen`, values: [] }
}

export function readAppTables(rows: Rows): AppTables {
  const { applied, ...seen } = (rows[0] as Row)['seen'] as Partial<AppTables> & { readonly applied?: readonly string[] | null }
  const known = new Set(applied ?? [])
  return {
    migrationsPending: migrationNames.filter((name) => !known.has(name)),
    quarantined: seen.quarantined ?? 0,
    openGaps: seen.openGaps ?? 0,
    dailyBytes: seen.dailyBytes ?? [],
  }
}
