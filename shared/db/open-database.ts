// Which driver a database is talked to with. pg is loaded with the program, where a function's start has the whole CPU; Neon's when it is first used:
// whoever is not at Neon never pays for it.

import type { Database } from './database.ts'
import { driverFor, neonEndpoint, type Driver } from './neon-host.ts'
import { createPgDatabase, type PgDatabaseOptions } from './pg-database.ts'
import { parsePostgresUrl } from './postgres-url.ts'

/** database.driver beside what the drivers need: Neon's uses some of it. */
export type DatabaseOptions = PgDatabaseOptions & { readonly driver: Driver | 'auto' }

/** Opens no connection. @throws ConfigError when the URL is wrong, or names no host of Neon where its driver was asked for */
export function openDatabase(options: DatabaseOptions): Database {
  const address = parsePostgresUrl(options.url)
  if (driverFor(options.driver, address.host) === 'pg') return createPgDatabase(options)
  neonEndpoint(address)
  return openNeon(options)
}

function openNeon(options: DatabaseOptions): Database {
  let loading: Promise<Database> | undefined
  let loaded: Database | undefined
  const load = () => (loading ??= import('./neon-database.ts').then(({ createNeonDatabase }) => (loaded = createNeonDatabase(options))))
  return {
    driver: 'neon',
    connections: () => loaded?.connections?.() ?? { connected: 0, discarded: 0, lost: 0, poolResets: 0 },
    query: async (statement, limits) => (await load()).query(statement, limits),
    transaction: async (statements, limits) => (await load()).transaction(statements, limits),
    // loaded if need be: afterwards it refuses calls
    end: async () => (await load()).end(),
  }
}
