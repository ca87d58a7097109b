// Neon's HTTP protocol before a local Postgres: POST /sql with one query or a batch, which is one transaction run step by step, as Neon's own proxy
// does it: COMMIT is said behind a good answer to every statement, and a client that hangs up takes its transaction with it. For the tests, and for
// `npm start -- --driver neon`. It trusts whoever reaches it as Postgres itself does: by the connection string in the request's header.
//
// Failures are worded as by Neon's proxy: what Postgres says has its SQLSTATE in a 400; what happens before a session stands has an empty code.

import { once } from 'node:events'
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Client, type QueryArrayConfig, type QueryConfig } from 'pg'

/** An answer in place of Postgres'. */
export type NeonAnswer = { readonly status: number; readonly body: string }

export type NeonServer = {
  readonly port: number
  /** The same URL through this server. */
  url(databaseUrl: string): string
  /** Requests so far. */
  readonly requests: number
  /** From now on each request gets this answer, and Postgres hears nothing of it; undefined: Postgres' own. */
  answerWith(answer: NeonAnswer | undefined): void
  /** Idempotent. */
  close(): Promise<void>
}

type Query = { readonly query: string; readonly params?: readonly unknown[]; readonly arrayMode?: boolean }
type Failure = NeonAnswer & { readonly kind: 'failure' }

const maxRequestBytes = 64_000_000
const maxAnswerBytes = 10_485_760

export async function startNeonServer(options: { target: { host: string; port: number }; port?: number }): Promise<NeonServer> {
  const { target } = options
  const idle = new Map<string, Client[]>()
  const all = new Set<Client>()
  let requests = 0
  let instead: NeonAnswer | undefined

  /** A kept session of this user and database, or a new one. */
  const session = async (header: string): Promise<Client> => idle.get(header)?.pop() ?? (await connect(header))

  async function connect(header: string): Promise<Client> {
    const { username, password, pathname, searchParams } = addressIn(header)
    const user = decodeURIComponent(username)
    const client = new Client({
      ...target,
      user,
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
      application_name: searchParams.get('application_name') ?? undefined,
      connectionTimeoutMillis: 10_000,
    })
    // a session that ends while it is idle; one in use rejects beside it
    client.on('error', () => forget(client))
    client.on('end', () => forget(client))
    all.add(client)
    try {
      await client.connect()
      return client
    } catch (error) {
      forget(client)
      throw connectFailure(error as Error & { code?: string; severity?: string }, user)
    }
  }

  function forget(client: Client): void {
    all.delete(client)
    for (const [header, clients] of idle)
      idle.set(
        header,
        clients.filter((other) => other !== client),
      )
  }

  function hangUp(client: Client): void {
    forget(client)
    socketOf(client).destroy()
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests++
    let used: Client | undefined
    let hasGone = false
    response.on('close', () => {
      if (response.writableFinished) return
      hasGone = true
      // the proxy cancels what a client no longer waits for
      if (used) hangUp(used)
    })
    try {
      const body = await bodyOf(request)
      if (request.method !== 'POST' || request.url !== '/sql') throw failure(404, 'Not Found')
      if (instead) return void response.writeHead(instead.status, { 'content-type': 'application/json' }).end(instead.body)
      const payload = parsed(body)
      const header = headerOf(request.headers, 'neon-connection-string')
      const client = await session(header)
      used = client
      if (hasGone) return hangUp(client)
      const text = await answerOf(client, payload, request.headers)
      used = undefined
      if (all.has(client)) idle.set(header, [...(idle.get(header) ?? []), client])
      response.writeHead(200, { 'content-type': 'application/json' }).end(text)
    } catch (error) {
      // unlike Neon's proxy, which keeps what it could roll back: a session that is read-only for life would be met again and again
      if (used) hangUp(used)
      const { status, body } = (error as Failure).kind === 'failure' ? (error as Failure) : statementFailure(error as object)
      if (!hasGone) response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    }
  }

  const listener = http.createServer((request, response) => void serve(request, response))
  listener.listen(options.port ?? 0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  return {
    port,
    url: (databaseUrl) => {
      const url = new URL(databaseUrl)
      url.host = `127.0.0.1:${port}`
      return url.href
    },
    get requests() {
      return requests
    },
    answerWith(answer) {
      instead = answer
    },
    async close() {
      listener.close()
      listener.closeAllConnections()
      for (const client of all) hangUp(client)
    },
  }
}

/** The body of a 200. */
async function answerOf(client: Client, payload: Query | { queries: readonly Query[] }, headers: IncomingHttpHeaders): Promise<string> {
  const isRaw = headers['neon-raw-text-output'] === 'true'
  const isArray = headers['neon-array-mode'] === 'true'
  const run = async (query: Query) => {
    const text = JSON.stringify(await resultOf(client, query, { isRaw, isArray: query.arrayMode ?? isArray }))
    if (text.length > maxAnswerBytes) throw failure(507, `response is too large (max is ${maxAnswerBytes} bytes)`)
    return text
  }
  if (!('queries' in payload)) return run(payload)
  await client.query(beginOf(headers))
  const results: string[] = []
  try {
    for (const query of payload.queries) results.push(await run(query))
  } catch (error) {
    // its own failure has a witness: the connection is closed
    await client.query('rollback').catch(() => {})
    throw error
  }
  const { command } = await client.query('commit')
  if (command !== 'COMMIT') throw failure(500, `the server answered ${command} instead of COMMIT`)
  return `{"results":[${results.join(',')}]}`
}

async function resultOf(client: Client, { query, params = [] }: Query, how: { isRaw: boolean; isArray: boolean }): Promise<object> {
  const config: QueryArrayConfig & { queryMode: string } = {
    text: query,
    values: params.map(asText),
    rowMode: 'array',
    // one statement a query: the extended protocol refuses a second one
    queryMode: 'extended',
    ...(how.isRaw ? { types: { getTypeParser: () => (value: string) => value } } : {}),
  } as QueryConfig as QueryArrayConfig & { queryMode: string }
  const { fields, rows, command, rowCount } = await client.query<unknown[]>(config)
  const named = (row: readonly unknown[]) => Object.fromEntries(fields.map(({ name }, i) => [name, row[i]]))
  return { fields, rows: how.isArray ? rows : rows.map(named), rowAsArray: how.isArray, command, rowCount }
}

const asText = (value: unknown) => (value === null || typeof value === 'string' ? value : JSON.stringify(value))

function beginOf(headers: IncomingHttpHeaders): string {
  const level = headers['neon-batch-isolation-level']
  const levels: Readonly<Record<string, string>> = {
    Serializable: 'serializable',
    RepeatableRead: 'repeatable read',
    ReadCommitted: 'read committed',
    ReadUncommitted: 'read uncommitted',
  }
  if (level !== undefined && !(String(level) in levels)) throw failure(400, 'invalid isolation level')
  const parts = [
    level === undefined ? '' : ` isolation level ${levels[String(level)]}`,
    headers['neon-batch-read-only'] === 'true' ? ' read only' : '',
    headers['neon-batch-deferrable'] === 'true' ? ' deferrable' : '',
  ]
  return `begin${parts.join('')}`
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxRequestBytes) throw failure(413, `request is too large (max is ${maxRequestBytes} bytes)`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function parsed(body: string): Query | { queries: readonly Query[] } {
  try {
    return JSON.parse(body) as Query | { queries: readonly Query[] }
  } catch (error) {
    throw failure(400, `could not parse the HTTP request body: ${(error as Error).message}`)
  }
}

function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  if (typeof value !== 'string') throw failure(400, `invalid header: ${name}`)
  return value
}

function addressIn(header: string): URL {
  if (!URL.canParse(header)) throw failure(400, 'invalid connection string: relative URL without a base')
  const url = new URL(header)
  if (url.username === '') throw failure(400, 'missing username')
  if (url.pathname.length < 2) throw failure(400, 'missing database name')
  return url
}

/** Of Neon's proxy itself: no code, no severity. */
const failure = (status: number, message: string): Failure => ({ kind: 'failure', status, body: JSON.stringify({ ...empty, message }) })

const fieldNames = [
  'code',
  'detail',
  'hint',
  'where',
  'table',
  'column',
  'schema',
  'dataType',
  'constraint',
  'file',
  'severity',
  'routine',
] as const
const empty = {
  ...Object.fromEntries(fieldNames.map((name) => [name, ''])),
  line: null,
  position: null,
  internalPosition: null,
  internalQuery: null,
}

/** Thrown by a statement, or by the session under it. */
function statementFailure(error: object): NeonAnswer {
  const said = error as Readonly<Record<string, unknown>>
  // the session was lost in mid-flight
  if (typeof said['severity'] !== 'string') return failure(400, `error communicating with the server: ${String(said['message'])}`)
  const fields = Object.fromEntries(fieldNames.map((name) => [name, said[name] ?? '']))
  return { status: 400, body: JSON.stringify({ ...empty, ...fields, message: said['message'] }) }
}

function connectFailure(error: Error & { code?: string; severity?: string }, user: string): Failure {
  // the proxy checks passwords itself
  if (error.code === '28P01') return failure(400, `password authentication failed for user '${user}'`)
  if (error.severity === undefined) return failure(500, "Couldn't connect to compute node")
  return { kind: 'failure', status: 500, body: statementFailure(error).body }
}

const socketOf = (client: Client) => client.connection.stream as Socket
