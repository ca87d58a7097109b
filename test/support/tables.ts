// The collectors' tables in a schema of a test's own, written the way that the collectors write: merged, days ensured, one transaction.

import { mergeBatches } from '../../shared/collect/batch.ts'
import { systemClock } from '../../shared/clock.ts'
import type { AttemptLimits, Database, Rows, Statement } from '../../shared/db/database.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { daysOf, ensureDays } from '../../shared/db/partitions.ts'
import { writeBatch, writtenRows, type Written } from '../../shared/db/statements.ts'
import { silentLog } from '../../shared/log.ts'
import type { Batch } from '../../shared/model.ts'
import { createSchema, databaseUrl, type TestSchema } from './postgres.ts'

/** A lock that is not there within 5 s is a failure: the tests write for far less. */
export const limits: AttemptLimits = { attemptForMs: 20_000, lockForMs: 5_000, statementForMs: 10_000 }

export type WriteOptions = { readonly late?: boolean }

export type Tables = Pick<TestSchema, 'name' | 'sql'> & {
  readonly database: Database
  /** Merges and writes; answers what the database said of each table that is counted. */
  write(batch: Partial<Batch>, options?: WriteOptions): Promise<Record<'dexes' | 'pools' | 'trades', Written>>
  drop(): Promise<void>
}

export async function createTables(name: string): Promise<Tables> {
  const schema = await createSchema(name)
  await migrate({ url: databaseUrl(), schema: schema.name, connectForMs: 10_000 })
  const database = connect(schema.name)
  return {
    name: schema.name,
    sql: schema.sql,
    database,
    async write(batch, options = {}) {
      const statements = statementsOf(mergeBatches([batch]), options)
      const answers: readonly Rows[] = await database.transaction(statements, limits)
      const written = (table: 'dexes' | 'pools' | 'trades') => writtenRows(statements, answers, table)
      return { dexes: written('dexes'), pools: written('pools'), trades: written('trades') }
    },
    async drop() {
      await database.end()
      await schema.drop()
    },
  }
}

/** One connection of its own, known to the server by the schema's name. */
export function connect(schema: string): Database {
  const url = new URL(databaseUrl())
  url.searchParams.set('application_name', schema)
  return createPgDatabase({
    url: url.href,
    schema,
    poolMax: 1,
    connectForMs: 10_000,
    wakeForMs: 10_000,
    idleForMs: 60_000,
    lifetimeMs: 600_000,
    clock: systemClock,
    log: silentLog,
  })
}

/** All statements of a merged batch, its days' partitions first. */
export function statementsOf(batch: Batch, { late = false }: WriteOptions = {}): readonly Statement[] {
  const days = daysOf(batch)
  return [
    ...(['trades', 'pool_snapshots'] as const).filter((table) => days[table].length > 0).map((table) => ensureDays(table, days[table])),
    ...writeBatch(batch, { late }),
  ]
}
