import { afterAll, beforeAll, describe } from 'vitest'
import { systemClock } from '../../shared/clock.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { silentLog } from '../../shared/log.ts'
import { noPgbouncer, startPgbouncer, throughPgbouncer, type Pgbouncer } from '../support/pgbouncer.ts'
import { databaseUrl } from '../support/postgres.ts'
import { databaseSuite } from './database-suite.ts'

const open = (url: string, schema: string, prepareStatements = false) =>
  createPgDatabase({
    url,
    schema,
    poolMax: 3,
    connectForMs: 5_000,
    wakeForMs: 5_000,
    idleForMs: 15_000,
    lifetimeMs: 600_000,
    prepareStatements,
    clock: systemClock,
    log: silentLog,
  })

databaseSuite('pg', (schema) => open(databaseUrl(), schema))
databaseSuite('pg with prepared statements', (schema) => open(databaseUrl(), schema, true))

describe.skipIf(noPgbouncer)('in transaction mode', () => {
  let pooler: Pgbouncer
  beforeAll(async () => {
    // fewer connections than the adapter has: they are shared
    pooler = await startPgbouncer({ users: [databaseUrl()], settings: { default_pool_size: 2 } })
  })
  afterAll(() => pooler.stop())
  databaseSuite(`pg ${throughPgbouncer}`, (schema) => open(pooler.url(databaseUrl()), schema))
})
