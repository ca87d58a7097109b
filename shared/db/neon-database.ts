// The database port over Neon's HTTPS: a transaction is one request, and there is no session that could be left open.
//
//   settings and statements -> one request -> Neon's proxy: begin, each behind the good answer of the one before, commit -> rows, or one failure
//
// So holdCommit asks for nothing more here. What a sleeping database takes to wake happens inside the request: the attempt's own limit is its budget.
//
// The driver encodes the request and reads the rows. It would put the connection string into the error of a malformed one, so it gets one that is
// made here from an address that was checked; and it loses status and cause of a failure, so the request itself is made in neon-requests.

import { neon, neonConfig, type NeonQueryPromise } from '@neondatabase/serverless'
import type { Clock } from '../clock.ts'
import { arrayLiteral } from './array-literal.ts'
import { DatabaseError, type AttemptOptions, type Database, type Rows, type Statement } from './database.ts'
import { neonEndpoint } from './neon-host.ts'
import { openNeonRequests } from './neon-requests.ts'
import { parsePostgresUrl, type PostgresAddress } from './postgres-url.ts'
import { assertSendable } from './sendable.ts'
import { transactionSettings } from './transaction-settings.ts'

export type NeonDatabaseOptions = {
  /** postgres://user:password@ep-name.region.aws.neon.tech/database; on the loopback, whatever speaks Neon's protocol there. Wrong: ConfigError. */
  readonly url: string
  /** The stage's own schema: the search_path of every transaction. */
  readonly schema: string
  /** How the server's lists of sessions name it. Default: what the URL says, else `tokay`. */
  readonly applicationName?: string
  /** Most requests at once. */
  readonly poolMax: number
  /** Connecting to Neon's proxy, which is always awake. */
  readonly connectForMs: number
  /** A connection unused for longer, by wall time, is replaced. */
  readonly idleForMs: number
  readonly clock: Clock
}

/** How long end() waits for requests under way before it cuts them off. */
const endForMs = 2_000

/** Opens no connection. @throws ConfigError when the URL is wrong */
export function createNeonDatabase(options: NeonDatabaseOptions): Database {
  const { schema, poolMax, connectForMs, idleForMs, clock } = options
  const address = parsePostgresUrl(options.url)
  const sql = neon(connectionString(address, options.applicationName ?? address.applicationName ?? 'tokay'))
  const requests = openNeonRequests({ endpoint: neonEndpoint(address), most: poolMax, connectForMs, idleForMs, clock })
  const underWay = new Set<Promise<unknown>>()
  let ending: Promise<void> | undefined

  /** The driver's settings are global; it reads them in the tick of the call. Nobody else's requests are made in between. */
  function execute(queries: readonly NeonQueryPromise<false, false>[], send: typeof fetch): Promise<unknown> {
    const { fetchFunction } = neonConfig
    neonConfig.fetchFunction = send
    try {
      return sql.transaction([...queries])
    } finally {
      neonConfig.fetchFunction = fetchFunction
    }
  }

  async function run(statements: readonly Statement[], limits: AttemptOptions): Promise<readonly Rows[]> {
    const names = statements.map(({ name }) => name).join(', ')
    let text: string | undefined
    // only what the driver reads of a Response
    const send = async (_endpoint: unknown, init: { headers: Record<string, string>; body: string }) => {
      text = await requests.post({ ...init, statements: names, withinMs: Math.ceil(limits.attemptForMs) })
      return { ok: true, status: 200, json: async () => JSON.parse(text as string) as unknown }
    }
    // values of the driver that would send themselves whenever they are awaited: they never are
    const queries = [transactionSettings(limits, schema), ...statements].map((s) => sql.query(s.text, s.values.map(encoded)))
    try {
      const answers = (await execute(queries, send as unknown as typeof fetch)) as readonly Rows[]
      if (answers.length !== queries.length) throw new Error(`${answers.length} answers to ${queries.length} statements`)
      return answers.slice(1)
    } catch (error) {
      const { sourceError } = error as { sourceError?: unknown }
      if (sourceError instanceof DatabaseError) throw sourceError
      // without its cause: the driver's words can hold the connection string, a parser's words rows
      if (text === undefined)
        throw new DatabaseError(`${names}: the driver could not make the request`, { statement: names, applied: 'not-sent' })
      // a 200 stands for a COMMIT, whatever is wrong with its body
      const why = error instanceof SyntaxError ? 'it is no JSON' : String(error)
      throw new DatabaseError(`${names}: Neon's answer could not be read: ${why}`, { statement: names, applied: 'unknown' })
    }
  }

  async function transaction(statements: readonly Statement[], limits: AttemptOptions): Promise<readonly Rows[]> {
    statements.forEach(assertSendable)
    if (ending) throw new DatabaseError('connect: the database was closed', { statement: 'connect', applied: 'not-sent' })
    const request = run(statements, limits)
    underWay.add(request)
    try {
      return await request
    } finally {
      underWay.delete(request)
    }
  }

  async function end(): Promise<void> {
    // those that still run are cut off, so that whoever waits for an answer hears of it
    const timer = setTimeout(requests.destroy, endForMs)
    await Promise.allSettled(underWay)
    clearTimeout(timer)
    requests.destroy()
  }

  return {
    driver: 'neon',
    connections: requests.connections,
    transaction,
    query: async (statement, limits) => (await transaction([statement], limits))[0] ?? [],
    end: () => (ending ??= end()),
  }
}

const encoded = (value: Statement['values'][number]) => (Array.isArray(value) ? arrayLiteral(value) : value)

/** Only what Neon's proxy uses: sslmode and the like are of no use over HTTPS. */
function connectionString({ host, port, user, password, database, options }: PostgresAddress, applicationName: string): string {
  const url = new URL('postgres://neon')
  url.host = `${host.includes(':') ? `[${host}]` : host}:${port}`
  url.username = encodeURIComponent(user)
  url.password = encodeURIComponent(password)
  url.pathname = `/${encodeURIComponent(database)}`
  url.searchParams.set('application_name', applicationName)
  if (options !== undefined) url.searchParams.set('options', options)
  return url.href
}
