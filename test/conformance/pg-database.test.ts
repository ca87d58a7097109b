import { systemClock } from '../../shared/clock.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { silentLog } from '../../shared/log.ts'
import { databaseUrl } from '../support/postgres.ts'
import { databaseSuite } from './database-suite.ts'

for (const [name, prepareStatements] of [
  ['pg', false],
  ['pg with prepared statements', true],
] as const)
  databaseSuite(name, (schema) =>
    createPgDatabase({
      url: databaseUrl(),
      schema,
      poolMax: 3,
      connectForMs: 5_000,
      wakeForMs: 5_000,
      idleForMs: 15_000,
      lifetimeMs: 600_000,
      prepareStatements,
      clock: systemClock,
      log: silentLog,
    }),
  )
