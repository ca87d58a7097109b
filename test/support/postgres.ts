// Tests share one Postgres server; each takes a schema of its own there.

import { randomBytes } from 'node:crypto'
import { Client, type QueryResultRow } from 'pg'
import { inject } from 'vitest'

/** The run's server. Its role may do anything; its database holds schemas of other tests too. */
export function databaseUrl(): string {
  return inject('databaseUrl')
}

/** Where it listens. */
export function postgresAddress(): { host: string; port: number } {
  const { hostname, port } = new URL(databaseUrl())
  return { host: hostname, port: Number(port || 5432) }
}

export type TestSchema = {
  /** Lower-case, unique: usable without quotes. */
  readonly name: string
  /** The rows of one statement, on a connection whose search_path is this schema. Any number of statements when there are no values. */
  sql<R extends QueryResultRow = QueryResultRow>(text: string, values?: readonly unknown[]): Promise<R[]>
  /** Drops the schema and closes the connection. Called as a test's last line rather than in a `finally`, it keeps a red test's rows. */
  drop(): Promise<void>
}

/** Makes a schema whose name begins with `name` (lower-case letters, digits, underscores). */
export async function createSchema(name: string): Promise<TestSchema> {
  const schema = `${name}_${randomBytes(4).toString('hex')}`
  const client = new Client({ connectionString: databaseUrl(), connectionTimeoutMillis: 10_000 })
  // A test may cut connections on purpose; without a listener that would end the process. The next statement reports it.
  client.on('error', () => {})
  await client.connect()
  await client.query(`create schema ${schema}; set search_path to ${schema}`)
  return {
    name: schema,
    async sql<R extends QueryResultRow>(text: string, values?: readonly unknown[]) {
      const answer = values ? await client.query<R>(text, [...values]) : await client.query<R>(text)
      return answer.rows
    },
    async drop() {
      await client.query(`set client_min_messages to warning; drop schema ${schema} cascade`)
      await client.end()
    },
  }
}
