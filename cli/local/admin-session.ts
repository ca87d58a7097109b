// One connection of an operator: plain SQL, transactions that stay open, locks that are held. For what is done to a database from outside
// (faults, counting what arrived), around the proxy and around the guarded path. Collected rows never go this way.

import { Client, type QueryResultRow } from 'pg'

export type AdminSession = {
  readonly pid: number
  /** Any number of statements when there are no values; answers the last one's rows. */
  sql<R extends QueryResultRow = QueryResultRow>(text: string, values?: readonly unknown[]): Promise<R[]>
  /** Whatever it holds is let go of. Never throws, also when the server is gone or does not answer. */
  end(): Promise<void>
}

const endForMs = 500

export async function openAdminSession(url: string): Promise<AdminSession> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000, fallback_application_name: 'tokay-admin' })
  // the server may be killed under it: whoever asks next is told
  client.on('error', () => {})
  await client.connect()
  // the database's default may be read-only, as a fault; the operator is not bound by it
  const { rows } = await client.query<{ pid: number }>(`set default_transaction_read_only = off; select pg_backend_pid() as pid`).then(last)
  return {
    pid: (rows[0] as { pid: number }).pid,
    async sql<R extends QueryResultRow>(text: string, values?: readonly unknown[]) {
      const answer = values ? await client.query<R>(text, [...values]) : last(await client.query<R>(text))
      return answer.rows
    },
    async end() {
      const timer = setTimeout(() => client.connection.stream.destroy(), endForMs)
      await client.end().catch(() => {}) // it was lost before: nothing is held any more
      clearTimeout(timer)
    },
  }
}

/** Several statements in one text have several answers. */
const last = <Answer>(answers: Answer | Answer[]) => (Array.isArray(answers) ? (answers.at(-1) as Answer) : answers)

/** Opens one for one purpose. */
export async function withAdminSession<Result>(url: string, use: (session: AdminSession) => Promise<Result>): Promise<Result> {
  const session = await openAdminSession(url)
  try {
    return await use(session)
  } finally {
    await session.end()
  }
}
