// The database that is there, for commands that read what was collected: DATABASE_URL, else the embedded server where it runs. Starts none and
// makes nothing.

import { systemClock } from '../shared/clock.ts'
import { type AttemptLimits, type Database, DatabaseError } from '../shared/db/database.ts'
import { openDatabase } from '../shared/db/open-database.ts'
import { ConfigError } from '../shared/errors.ts'
import { silentLog } from '../shared/log.ts'
import { sourceInUse } from './chosen-state.ts'
import { dataDirOf, driverHere, findPostgres, readSettings, schemaOf, type SourceName } from './runtime.ts'

export type ReadChoice = { readonly source?: SourceName; readonly dataDir?: string }

/** Of one query. The lock is only another's `alter table`. */
export const readLimits: AttemptLimits = { attemptForMs: 130_000, statementForMs: 120_000, lockForMs: 10_000 }

/**
 * What `work` answers; nobody waits for it any longer once `signal` is aborted: then 130.
 * @throws ConfigError when there is no database, or nothing of this source in it
 */
export async function withReadDatabase(
  choice: ReadChoice,
  signal: AbortSignal,
  work: (database: Database) => Promise<number>,
): Promise<number> {
  const settings = readSettings()
  const dataDir = dataDirOf(choice.dataDir)
  const postgres = await findPostgres(dataDir)
  if (postgres === undefined)
    throw new ConfigError([
      'there is no database to read: set DATABASE_URL, or start the embedded Postgres with `npm start` (--data-dir says where, if not in the usual place)',
    ])
  const source = sourceInUse(choice.source, dataDir)
  const schema = schemaOf(settings, source)
  const database = openDatabase({
    ...settings.database,
    driver: driverHere(settings, postgres.url),
    // the bounds of a page are constants to its plan only where it is planned anew
    prepareStatements: false,
    url: postgres.url,
    schema,
    clock: systemClock,
    log: silentLog,
  })
  console.error(`Postgres at ${postgres.address} (${postgres.embedded ? 'embedded' : 'DATABASE_URL'}), data of ${source}`)
  const breakOff = () => void database.end()
  signal.addEventListener('abort', breakOff, { once: true })
  try {
    return await work(database)
  } catch (error) {
    // what is in flight fails because its connection was closed under it
    if (signal.aborted) return 130
    if (error instanceof DatabaseError && error.sqlState === '42P01')
      throw new ConfigError(
        [`nothing of the source ${source} is in this database: schema ${schema} lacks its tables; --source names another`],
        {
          cause: error,
        },
      )
    throw error
  } finally {
    signal.removeEventListener('abort', breakOff)
    await database.end()
  }
}
