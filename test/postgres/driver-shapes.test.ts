// What pg says, word for word, when each thing goes wrong. Most of its errors have no code, so the taxonomy reads their text: a driver that
// words, codes or times one of them differently must fail here first. Each is provoked on the real driver, most on a real server.

import { once } from 'node:events'
import { Client, type ClientConfig } from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi, type TestContext } from 'vitest'
import type { FaultMode, FaultProxy } from '../../cli/local/fault-proxy.ts'
import { DatabaseError, type AttemptLimits, type Statement } from '../../shared/db/database.ts'
import type { PgDatabaseOptions } from '../../shared/db/pg-database.ts'
import { failureOf } from '../../shared/db/pg-failure.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'
import { createCertificate } from '../support/certificate.ts'
import { createSchema, databaseUrl, type TestSchema } from '../support/postgres.ts'
import {
  fakeServer,
  freePort,
  inMode,
  limits,
  openDatabase,
  pgClient,
  pgPool,
  protocolMessage,
  rejection,
  socketTo,
  startProxy,
  statement,
  tlsServer,
  untilRunning,
  urlWith,
} from '../support/provoke.ts'

/** `applied` is the phase: not-sent before any byte of it, refused by the server's answer, unknown when it was sent and not answered. */
type Shape = {
  /** pg's own message, or the adapter's where pg says nothing. */
  readonly says: string | RegExp
  readonly sqlState?: string
  readonly errno?: string | RegExp
  readonly severity?: 'ERROR' | 'FATAL'
  readonly applied: 'not-sent' | 'refused' | 'unknown'
  readonly class: string
}

/** One failure: how it is brought about, and what comes of it. */
type Row = readonly [what: string, provoke: (context: TestContext) => Promise<unknown>, shape: Shape]

let schema: TestSchema
let proxy: FaultProxy

beforeAll(async () => {
  schema = await createSchema('shapes')
  await schema.sql('create table items (id int primary key, size int2)')
  await schema.sql('insert into items values (1, 1), (2, 1)')
  proxy = await startProxy()
})
afterAll(async () => {
  await proxy.close()
  await schema.drop()
})

const database = (options?: Partial<PgDatabaseOptions>) => openDatabase(schema.name, options)
const throughProxy = () => proxy.url(databaseUrl())
const connecting = (options: Partial<PgDatabaseOptions>) => rejection(database(options).query(statement('select 1'), limits))
const refused = (text: string, values?: Statement['values'], within: Partial<AttemptLimits> = {}) =>
  rejection(database().query(statement(text, values), { ...limits, ...within }))

/** Without the adapter, whose judgement is applied to what pg says. */
const rawConnecting = async (config: ClientConfig) => failureOf('connect', await rejection(pgClient(config).connect()), 'not-sent')
async function rawClient(config: ClientConfig = { connectionString: databaseUrl() }): Promise<Client> {
  const client = pgClient(config)
  await client.connect()
  await client.query(`set search_path to ${schema.name}`)
  return client
}

/** Runs a statement that lasts, and does something to its connection meanwhile. */
async function midQuery(mode: FaultMode): Promise<unknown> {
  const words = `pg_sleep(10) /* until ${mode.kind} */`
  const failed = rejection(database({ url: throughProxy() }).query(statement(`select ${words}`), limits))
  await untilRunning(schema, words)
  return inMode(proxy, mode, () => failed)
}

async function sinceVersion(major: number, context: TestContext): Promise<void> {
  const [row] = await schema.sql<{ server_version_num: string }>('show server_version_num')
  context.skip(Number(row?.server_version_num) < major * 10_000, `came with PostgreSQL ${major}`)
}

async function withRole(options: string, use: (url: string) => Promise<unknown>): Promise<unknown> {
  const role = `${schema.name}_role`
  await schema.sql(`create role ${role} login password 'right' ${options}`)
  onTestFinished(async () => void (await schema.sql(`drop role ${role}`)))
  return use(urlWith((url) => Object.assign(url, { username: role, password: 'right' })))
}

const notReached: readonly Row[] = [
  [
    'nobody listens',
    async () => connecting({ url: `postgres://u:p@127.0.0.1:${await freePort()}/d` }),
    { says: /^connect ECONNREFUSED 127\.0\.0\.1:\d+$/, errno: 'ECONNREFUSED', applied: 'not-sent', class: 'connection' },
  ],
  [
    'nobody listens at either of two addresses: an AggregateError without a message',
    async () => {
      const stream = () => socketTo('127.0.0.1', '127.0.0.2')
      return rawConnecting({ host: 'both.invalid', port: await freePort(), user: 'u', password: 'p', stream })
    },
    { says: '', errno: 'ECONNREFUSED', applied: 'not-sent', class: 'connection' },
  ],
  [
    'a name that does not exist',
    () => connecting({ url: 'postgres://u:p@tokay.invalid/d' }),
    {
      says: /^getaddrinfo (ENOTFOUND|EAI_AGAIN) tokay\.invalid$/,
      errno: /^(ENOTFOUND|EAI_AGAIN)$/,
      applied: 'not-sent',
      class: 'connection',
    },
  ],
  [
    'a silent host, within connectForMs',
    () => inMode(proxy, { kind: 'blackhole' }, () => connecting({ url: throughProxy(), connectForMs: 100, wakeForMs: 100 })),
    { says: 'connect: no connection to the database within 100 ms', errno: 'CONNECT_TIMEOUT', applied: 'not-sent', class: 'connection' },
  ],
  [
    "a silent host, within a client's connectionTimeoutMillis",
    () => inMode(proxy, { kind: 'blackhole' }, () => rawConnecting({ connectionString: throughProxy(), connectionTimeoutMillis: 100 })),
    { says: 'timeout expired', applied: 'not-sent', class: 'connection' },
  ],
  [
    "a silent host, within a pool's connectionTimeoutMillis",
    async () => {
      const pool = pgPool({ connectionString: throughProxy(), connectionTimeoutMillis: 100 })
      return failureOf('connect', await inMode(proxy, { kind: 'blackhole' }, () => rejection(pool.connect())), 'not-sent')
    },
    { says: 'Connection terminated due to connection timeout', applied: 'not-sent', class: 'connection' },
  ],
  [
    'a server that hangs up on who connects',
    () => inMode(proxy, { kind: 'accept-then-close' }, () => connecting({ url: throughProxy() })),
    { says: 'Connection terminated unexpectedly', applied: 'not-sent', class: 'connection' },
  ],
  [
    'a server that resets who connects',
    async () => connecting({ url: await fakeServer((socket) => socket.once('data', () => socket.resetAndDestroy())) }),
    { says: 'read ECONNRESET', errno: 'ECONNRESET', applied: 'not-sent', class: 'connection' },
  ],
  [
    'a pool that this process has filled itself',
    async () => {
      const pool = pgPool({ connectionString: databaseUrl(), max: 1, connectionTimeoutMillis: 100 })
      const held = await pool.connect()
      const error = await rejection(pool.connect())
      held.release()
      return failureOf('connect', error, 'not-sent')
    },
    { says: 'timeout exceeded when trying to connect', applied: 'not-sent', class: 'own-limit' },
  ],
  [
    'a server without TLS, when TLS is asked for',
    async () => connecting({ url: await fakeServer((socket) => socket.once('data', () => socket.write('N'))), ssl: {} }),
    { says: 'The server does not support SSL connections', applied: 'not-sent', class: 'config' },
  ],
  [
    'a server that answers the question about TLS with something else',
    async () => connecting({ url: await fakeServer((socket) => socket.once('data', () => socket.write('?'))), ssl: {} }),
    { says: 'There was an error establishing an SSL connection', applied: 'not-sent', class: 'config' },
  ],
  [
    'a certificate that nobody has signed',
    async () => {
      const certificate = createCertificate({ host: '127.0.0.1', untilMs: Date.UTC(2049, 0, 1) })
      return connecting({ url: await tlsServer(certificate), ssl: {} })
    },
    { says: /^self-signed certificate/, errno: 'DEPTH_ZERO_SELF_SIGNED_CERT', applied: 'not-sent', class: 'config' },
  ],
  [
    "another host's certificate",
    async () => {
      const certificate = createCertificate({ host: 'elsewhere.invalid', untilMs: Date.UTC(2049, 0, 1) })
      return connecting({ url: await tlsServer(certificate), ssl: { ca: certificate.cert, servername: 'here.invalid' } })
    },
    {
      says: /^Hostname\/IP does not match certificate's altnames: /,
      errno: 'ERR_TLS_CERT_ALTNAME_INVALID',
      applied: 'not-sent',
      class: 'config',
    },
  ],
  [
    'an expired certificate',
    async () => {
      const certificate = createCertificate({ host: 'here.invalid', untilMs: Date.UTC(2020, 0, 1) })
      return connecting({ url: await tlsServer(certificate), ssl: { ca: certificate.cert, servername: 'here.invalid' } })
    },
    { says: 'certificate has expired', errno: 'CERT_HAS_EXPIRED', applied: 'not-sent', class: 'config' },
  ],
  [
    'no password',
    () => rawConnecting({ connectionString: urlWith((url) => (url.password = '')) }),
    { says: 'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string', applied: 'not-sent', class: 'config' },
  ],
  [
    'an empty password',
    () => {
      const { hostname, port, username } = new URL(databaseUrl())
      return rawConnecting({ host: hostname, port: Number(port || 5432), user: username, password: () => '' })
    },
    { says: 'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a non-empty string', applied: 'not-sent', class: 'config' },
  ],
  [
    'a wrong password',
    () => connecting({ url: urlWith((url) => (url.password = 'wrong')) }),
    { says: /^password authentication failed for user "/, sqlState: '28P01', severity: 'FATAL', applied: 'not-sent', class: 'config' },
  ],
  [
    'a database that does not exist',
    () => connecting({ url: urlWith((url) => (url.pathname = '/nowhere')) }),
    { says: 'database "nowhere" does not exist', sqlState: '3D000', severity: 'FATAL', applied: 'not-sent', class: 'config' },
  ],
  [
    'no connection left for the role',
    () => withRole('connection limit 0', (url) => connecting({ url })),
    { says: /^too many connections for role "/, sqlState: '53300', severity: 'FATAL', applied: 'not-sent', class: 'saturated' },
  ],
]

const answeredByServer: readonly Row[] = [
  [
    'a statement that takes too long',
    () => refused('select pg_sleep(5)', [], { statementForMs: 50 }),
    { says: 'canceling statement due to statement timeout', sqlState: '57014', severity: 'ERROR', applied: 'refused', class: 'slow' },
  ],
  [
    'a statement that somebody cancels',
    () => refused('select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)'),
    { says: 'canceling statement due to user request', sqlState: '57014', severity: 'ERROR', applied: 'refused', class: 'cancelled' },
  ],
  [
    'a lock that does not come: cancelled, too, under a code of its own',
    async () => {
      await schema.sql('begin; lock table items in share mode')
      onTestFinished(async () => void (await schema.sql('rollback')))
      return refused('insert into items values (9)', [], { lockForMs: 50 })
    },
    { says: 'canceling statement due to lock timeout', sqlState: '55P03', severity: 'ERROR', applied: 'refused', class: 'lock-timeout' },
  ],
  [
    'a deadlock',
    async () => {
      const [one, two] = [database(), database()]
      const update = (id: number) => statement(`update items set size = size + 1 where id = ${id}`)
      const pause = statement('select pg_sleep(0.3)')
      const patient = { ...limits, lockForMs: 5_000 }
      const both = await Promise.allSettled([
        one.transaction([update(1), pause, update(2)], patient),
        two.transaction([update(2), pause, update(1)], patient),
      ])
      return both.find((result) => result.status === 'rejected')?.reason as unknown
    },
    { says: 'deadlock detected', sqlState: '40P01', severity: 'ERROR', applied: 'refused', class: 'contention' },
  ],
  [
    'a row that changed under a repeatable read',
    async () => {
      const client = await rawClient()
      await client.query('begin isolation level repeatable read; select * from items')
      await schema.sql('update items set size = size + 1 where id = 1')
      return failureOf('update', await rejection(client.query('update items set size = 0 where id = 1')), 'refused')
    },
    {
      says: 'could not serialize access due to concurrent update',
      sqlState: '40001',
      severity: 'ERROR',
      applied: 'refused',
      class: 'contention',
    },
  ],
  [
    'a write in a read-only transaction',
    async () =>
      rejection(
        database().transaction(
          [statement(`select set_config('transaction_read_only', 'on', true)`), statement('insert into items values (9)')],
          limits,
        ),
      ),
    {
      says: 'cannot execute INSERT in a read-only transaction',
      sqlState: '25006',
      severity: 'ERROR',
      applied: 'refused',
      class: 'read-only',
    },
  ],
  [
    'a statement behind a failed one',
    async () => {
      const client = await rawClient()
      await client.query('begin')
      await rejection(client.query('select 1/0'))
      return failureOf('select', await rejection(client.query('select 1')), 'refused')
    },
    {
      says: 'current transaction is aborted, commands ignored until end of transaction block',
      sqlState: '25P02',
      severity: 'ERROR',
      applied: 'refused',
      class: 'session',
    },
  ],
  [
    'a plan whose table has changed',
    async () => {
      const client = await rawClient()
      await client.query('create temp table plans (a int)')
      await client.query({ name: 'plan', text: 'select * from plans' })
      await client.query('alter table plans add column b int')
      return failureOf('plan', await rejection(client.query({ name: 'plan', text: 'select * from plans' })), 'refused')
    },
    { says: 'cached plan must not change result type', sqlState: '0A000', severity: 'ERROR', applied: 'refused', class: 'session' },
  ],
  [
    'a NUL in a text',
    () => refused('select $1::text', ['a\0b']),
    { says: 'invalid byte sequence for encoding "UTF8": 0x00', sqlState: '22021', severity: 'ERROR', applied: 'refused', class: 'data' },
  ],
  [
    'an escaped NUL in jsonb',
    () => refused('select $1::jsonb', ['"\\u0000"']),
    { says: 'unsupported Unicode escape sequence', sqlState: '22P05', severity: 'ERROR', applied: 'refused', class: 'data' },
  ],
  [
    'a text that is no number',
    () => refused('select $1::int', ['x']),
    { says: 'invalid input syntax for type integer: "x"', sqlState: '22P02', severity: 'ERROR', applied: 'refused', class: 'data' },
  ],
  [
    'a number that is too large',
    () => refused('insert into items values (9, $1)', [70_000]),
    { says: 'value "70000" is out of range for type smallint', sqlState: '22003', severity: 'ERROR', applied: 'refused', class: 'data' },
  ],
  [
    'a row that is there',
    () => refused('insert into items values (1)'),
    {
      says: 'duplicate key value violates unique constraint "items_pkey"',
      sqlState: '23505',
      severity: 'ERROR',
      applied: 'refused',
      class: 'data',
    },
  ],
  [
    'a table that is not there',
    () => refused('select from nowhere'),
    { says: 'relation "nowhere" does not exist', sqlState: '42P01', severity: 'ERROR', applied: 'refused', class: 'schema' },
  ],
  [
    'a privilege that is missing',
    async () => withRole('', async (url) => rejection(database({ url }).query(statement(`select * from ${schema.name}.items`), limits))),
    { says: /^permission denied for schema /, sqlState: '42501', severity: 'ERROR', applied: 'refused', class: 'permission' },
  ],
  [
    'one parameter more than the protocol can count',
    () => {
      const list = Array.from({ length: 65_536 }, (_, i) => `$${i + 1}`).join()
      return refused(
        `select 1 where 1 in (${list})`,
        Array.from({ length: 65_536 }, () => 1),
      )
    },
    { says: /^bind message supplies 0 parameters/, sqlState: '08P01', severity: 'ERROR', applied: 'refused', class: 'bug' },
  ],
]

/** The beginning of a row: it should have so many bytes. */
function rowOf(bytes: number): Buffer {
  const row = Buffer.alloc(7, 'D')
  row.writeInt32BE(bytes, 1)
  row.writeInt16BE(2, 5)
  return row
}
const farewell = protocolMessage(
  'E',
  Buffer.from('SFATAL\0VFATAL\0C08P01\0Mserver conn crashed? and a few words more, so that it is long enough\0\0'),
)

/** A server that lets anybody in, begins to answer, and then sends that and hangs up. */
const brokenOff = (bytes: Buffer): Promise<string> =>
  fakeServer((socket) => {
    const ready = (status: string) => protocolMessage('Z', Buffer.from(status))
    const answers = [
      Buffer.concat([protocolMessage('R', Buffer.alloc(4)), ready('I')]),
      Buffer.concat([protocolMessage('C', Buffer.from('BEGIN\0')), ready('T'), bytes]),
    ]
    socket.on('data', () => {
      const answer = answers.shift()
      if (answer) socket.write(answer)
      if (answers.length === 0) socket.end()
    })
  })

const sentAndLost: readonly Row[] = [
  [
    'a backend that is terminated in mid-statement',
    () => refused('select pg_terminate_backend(pg_backend_pid()), pg_sleep(5)'),
    {
      says: 'terminating connection due to administrator command',
      sqlState: '57P01',
      severity: 'FATAL',
      applied: 'unknown',
      class: 'unavailable',
    },
  ],
  [
    'a FIN in mid-statement',
    () => midQuery({ kind: 'fin' }),
    { says: 'Connection terminated unexpectedly', applied: 'unknown', class: 'connection' },
  ],
  [
    'a RST in mid-statement',
    () => midQuery({ kind: 'reset' }),
    { says: 'read ECONNRESET', errno: 'ECONNRESET', applied: 'unknown', class: 'connection' },
  ],
  [
    "silence, within the adapter's own timer",
    () => refused('select pg_sleep(5)', [], { attemptForMs: 200 }),
    { says: 'Connection terminated unexpectedly', errno: 'ATTEMPT_TIMEOUT', applied: 'unknown', class: 'unanswered' },
  ],
  [
    "silence, within pg's query_timeout",
    async () => {
      const client = await rawClient({ connectionString: databaseUrl(), query_timeout: 200 })
      return failureOf('select', await rejection(client.query('select pg_sleep(1)')), 'unknown')
    },
    { says: 'Query read timeout', applied: 'unknown', class: 'unanswered' },
  ],
  [
    'transaction_timeout',
    async (context) => {
      await sinceVersion(17, context)
      const client = await rawClient()
      await client.query(`begin; set local transaction_timeout = '50ms'`)
      return failureOf('select', await rejection(client.query('select pg_sleep(5)')), 'unknown')
    },
    { says: 'terminating connection due to transaction timeout', sqlState: '25P04', severity: 'FATAL', applied: 'unknown', class: 'slow' },
  ],
  [
    'idle_in_transaction_session_timeout: an error event, for which nobody waits',
    async () => {
      const client = await rawClient()
      const event = once(client, 'error')
      await client.query(`set idle_in_transaction_session_timeout = '50ms'; begin`)
      return failureOf('session', (await event)[0], 'unknown')
    },
    {
      says: 'terminating connection due to idle-in-transaction timeout',
      sqlState: '25P03',
      severity: 'FATAL',
      applied: 'unknown',
      class: 'session',
    },
  ],
  [
    "a pooler's farewell in the middle of a row: read as the row's bytes, it makes no sense",
    async () => connecting({ url: await brokenOff(Buffer.concat([rowOf(60), farewell])) }),
    { says: /^the answer makes no sense/, errno: 'BROKEN_ANSWER', applied: 'unknown', class: 'connection' },
  ],
  [
    "a pooler's farewell that begins where a message's type should stand",
    async () => connecting({ url: await brokenOff(Buffer.concat([rowOf(farewell.length - 40), farewell])) }),
    {
      says: /^the answer makes no sense|^received invalid response/,
      errno: /^(BROKEN_ANSWER|undefined)$/,
      applied: 'unknown',
      class: 'connection',
    },
  ],
  [
    'a message that belongs to nothing: an error event',
    async () => {
      const ready = Buffer.concat([protocolMessage('R', Buffer.alloc(4)), protocolMessage('Z', Buffer.from('I'))])
      const url = await fakeServer((socket) =>
        socket.once('data', () => {
          socket.write(ready)
          socket.write(protocolMessage('C', Buffer.from('SELECT 1\0')))
        }),
      )
      const client = pgClient({ connectionString: url })
      const event = once(client, 'error')
      await client.connect()
      return failureOf('session', (await event)[0], 'unknown')
    },
    { says: 'Received unexpected commandComplete message from backend.', applied: 'unknown', class: 'bug' },
  ],
]

const notSent: readonly Row[] = [
  [
    'a query on a client whose connection was lost',
    async () => {
      const client = await rawClient()
      await rejection(client.query('select pg_terminate_backend(pg_backend_pid())'))
      await vi.waitUntil(() => client.connection.stream.destroyed, { timeout: 10_000 })
      return failureOf('select', await rejection(client.query('select 1')), 'unknown')
    },
    { says: 'Client has encountered a connection error and is not queryable', applied: 'not-sent', class: 'connection' },
  ],
  [
    'a query on a client that was ended',
    async () => {
      const client = await rawClient()
      await client.end()
      return failureOf('select', await rejection(client.query('select 1')), 'unknown')
    },
    { says: 'Client was closed and is not queryable', applied: 'not-sent', class: 'connection' },
  ],
  [
    'a pool that was ended',
    async () => {
      const pool = pgPool({ connectionString: databaseUrl() })
      await pool.end()
      return failureOf('connect', await rejection(pool.connect()), 'unknown')
    },
    { says: 'Cannot use a pool after calling end on the pool', applied: 'not-sent', class: 'bug' },
  ],
]

/** What the shape names, of what was seen. */
function seen(error: unknown) {
  if (!(error instanceof DatabaseError)) throw error
  const { cause, sqlState, errno, severity, applied } = error
  const says = cause instanceof Error ? cause.message : error.message
  return { says, sqlState, errno, severity, applied, class: classifyFailure(error).class }
}

describe.each([
  ['on the way to the server', notReached],
  ['answered by the server', answeredByServer],
  ['sent, and lost on the way', sentAndLost],
  ['refused by pg itself', notSent],
] as const)('%s', (_where, rows) => {
  it.for(rows)('%s', async ([, provoke, shape], context) => {
    const found = seen(await provoke(context))
    // where the words or the code vary, the pattern stands for what it matches
    const shown = Object.entries(found).map(([field, value]) => {
      const pattern = shape[field as keyof Shape]
      return [field, pattern instanceof RegExp && pattern.test(String(value)) ? pattern : value]
    })
    expect(Object.fromEntries(shown)).toEqual({ sqlState: undefined, errno: undefined, severity: undefined, ...shape })
  })
})
