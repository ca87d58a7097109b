// Brings a database to this version's schema: numbered SQL files, applied once each, all in one transaction, with the advisory
// lock and the search_path of that transaction: so a transaction pooler neither mixes them up nor passes them on to somebody else.
// Several at once are fine: one applies, the others wait and find nothing to do.
// Of Neon's two host names it takes the direct one.

import path from 'node:path'
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate'
import { Client } from 'pg'
import { DatabaseError } from './database.ts'
import { directHost } from './neon-host.ts'
import { failureOf } from './pg-failure.ts'
import { parsePostgresUrl } from './postgres-url.ts'

/** Beside this file, or beside the bundle. */
const folder = path.join(import.meta.dirname, 'migrations')

/**
 * Applies what is not applied yet in `schema`, which is made if it is missing.
 * Answers the names of the files applied now. A failing file rolls everything back.
 * @throws ConfigError when the URL is wrong, DatabaseError when the database can't be reached or refuses
 */
export async function migrate(options: { url: string; schema: string; connectForMs: number }): Promise<readonly string[]> {
  const { applicationName: _unused, ...address } = parsePostgresUrl(options.url)
  const client = new Client({
    ...address,
    host: directHost(address.host),
    application_name: 'tokay-migrate',
    connectionTimeoutMillis: options.connectForMs,
  })
  // a connection that dies between two queries reports here; the query that follows rejects with it
  client.on('error', () => {})
  await client.connect().catch((error: unknown) => {
    throw failureOf('connect', error, 'not-sent')
  })
  try {
    const hasSchema = await assertMayCreate(client, options.schema)
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock($1)', [PG_MIGRATE_LOCK_ID])
    // also where the schema is there, Postgres asks for the right to create one
    if (!hasSchema) await client.query(`create schema if not exists ${quoted(options.schema)}`)
    await client.query(`set local search_path to ${quoted(options.schema)}`)
    const applied = await runner({
      dbClient: client,
      dir: folder,
      direction: 'up',
      // not `schema`: the library would set the session's search_path
      migrationsSchema: options.schema,
      migrationsTable: 'migrations',
      // its BEGIN meets ours and changes nothing; its COMMIT or ROLLBACK ends both
      singleTransaction: true,
      noLock: true,
      // every other file in the folder would be taken for a migration
      ignorePattern: String.raw`(?!.*\.sql$).*`,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    })
    // where there was nothing to apply
    if (client.getTransactionStatus() !== 'I') await client.query('commit')
    return applied.map((file) => file.name)
  } catch (error) {
    throw error instanceof DatabaseError ? error : failureOf('migrate', error, 'unknown')
  } finally {
    await client.end()
  }
}

/** Answers whether the schema is there. Asked first, because the library hides the SQLSTATE of a refusal in a text. */
async function assertMayCreate(client: Client, schema: string): Promise<boolean> {
  const { rows } = await client.query<{ has_schema: boolean; allowed: boolean; role: string; database: string }>(
    `select n.oid is not null as has_schema, current_user as role, current_database() as database,
       case when n.oid is null then has_database_privilege(current_database(), 'create') else has_schema_privilege(n.oid, 'create') end as allowed
     from (select) one left join pg_namespace n on n.nspname = $1`,
    [schema],
  )
  const [answer] = rows
  if (answer?.allowed) return answer.has_schema
  const message = answer?.has_schema
    ? `the role "${answer.role}" may not create tables in schema "${schema}": let its owner run  grant all on schema "${schema}" to "${answer.role}"`
    : `the role "${answer?.role}" may not create schema "${schema}" in database "${answer?.database}": let the database's owner run  create schema "${schema}" authorization "${answer?.role}"`
  throw new DatabaseError(`migrate: ${message}`, { statement: 'migrate', applied: 'refused', sqlState: '42501' })
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
