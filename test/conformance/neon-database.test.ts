import { afterAll, beforeAll } from 'vitest'
import { startNeonServer, type NeonServer } from '../../cli/local/neon-server.ts'
import { systemClock } from '../../shared/clock.ts'
import { createNeonDatabase } from '../../shared/db/neon-database.ts'
import { databaseUrl, postgresAddress } from '../support/postgres.ts'
import { databaseSuite } from './database-suite.ts'

let server: NeonServer

beforeAll(async () => {
  server = await startNeonServer({ target: postgresAddress() })
})
afterAll(() => server.close())

databaseSuite('Neon over HTTPS', (schema) =>
  createNeonDatabase({ url: server.url(databaseUrl()), schema, poolMax: 3, connectForMs: 5_000, idleForMs: 15_000, clock: systemClock }),
)
