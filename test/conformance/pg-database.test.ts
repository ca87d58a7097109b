import { systemClock } from '../../shared/clock.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { silentLog } from '../../shared/log.ts'
import { databaseUrl } from '../support/postgres.ts'
import { databaseSuite } from './database-suite.ts'

databaseSuite('pg', (schema) =>
  createPgDatabase({
    url: databaseUrl(),
    schema,
    poolMax: 3,
    connectForMs: 5_000,
    wakeForMs: 5_000,
    idleForMs: 15_000,
    lifetimeMs: 600_000,
    clock: systemClock,
    log: silentLog,
  }),
)
