import type { Socket } from 'node:net'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import type { AttemptLimits, Database, DatabaseError, Statement } from '../../shared/db/database.ts'
import { createPgDatabase, type PgDatabaseOptions } from '../../shared/db/pg-database.ts'
import { ConfigError } from '../../shared/errors.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createSchema, databaseUrl, postgresAddress, type TestSchema } from '../support/postgres.ts'
import { pgOptions } from '../support/pg-options.ts'

const limits: AttemptLimits = { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500 }

const statement = (name: string, text: string, values: Statement['values'] = []): Statement => ({ name, text, values })
const insert = (id: number) => statement('insert', 'insert into items (id) values ($1::int)', [id])
const pid = statement('pid', 'select pg_backend_pid() as pid')
const sleep = (seconds: number) => statement('sleep', 'select pg_sleep($1::float8)', [seconds])
const divideByZero = statement('divide', 'select 1 / $1::int', [0])

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error as DatabaseError,
  )

let schema: TestSchema
let proxy: FaultProxy
const opened: Database[] = []

/** A database on the test's own schema; `through` the proxy or straight. */
function open(options: Partial<PgDatabaseOptions> = {}): Database {
  const database = createPgDatabase({
    url: databaseUrl(),
    schema: schema.name,
    ...pgOptions,
    ...options,
  })
  opened.push(database)
  return database
}

/** Writes row 1, and says how many bytes such a transaction sends. Row 2 sends as many. */
async function insertedOnce(database: Database) {
  const query = vi.spyOn(Client.prototype, 'query')
  const backend = await pidOf(database)
  const socket = (query.mock.contexts.at(-1) as Client).connection.stream as Socket
  query.mockRestore()
  const beforeBytes = socket.bytesWritten
  await database.query(insert(1), { ...limits, attemptForMs: 500 })
  return { backend, pipelineBytes: socket.bytesWritten - beforeBytes }
}

const pidOf = async (database: Database) => (await database.query(pid, limits))[0]?.['pid'] as number
/** Of two connections that are in use at the same time, both idle afterwards. */
async function twoPids(database: Database): Promise<number[]> {
  const answers = await Promise.all([1, 2].map(() => database.transaction([sleep(0.2), pid], limits)))
  const pids = answers.map(([, rows]) => rows?.[0]?.['pid'] as number)
  if (new Set(pids).size !== 2) throw new Error('both ran on one connection')
  return pids
}
const ids = async () => (await schema.sql<{ id: number }>('select id from items order by id')).map((row) => row.id)

/** Resolves when the query has a row; fails by name after 10 s. */
async function until(what: string, text: string, values: unknown[] = []): Promise<void> {
  const givesUpAtMs = Date.now() + 10_000
  while ((await schema.sql(text, values)).length === 0) {
    if (Date.now() > givesUpAtMs) throw new Error(`waited 10 s for: ${what}`)
    // within a transaction pg_stat_activity stands still
    await schema.sql('select pg_stat_clear_snapshot()')
  }
}
const untilRunning = (part: string) =>
  until(`a statement with ${part}`, `select 1 from pg_stat_activity where pid <> pg_backend_pid() and state = 'active' and query like $1`, [
    `%${part}%`,
  ])
/** Under the schema's name. */
const untilSleeping = () =>
  until(
    'a statement that sleeps',
    `select 1 from pg_stat_activity where application_name = $1 and state = 'active' and query like '%pg_sleep%'`,
    [schema.name],
  )
const untilGone = (backend: number) =>
  until(`backend ${backend} to end`, 'select 1 where not exists (select from pg_stat_activity where pid = $1)', [backend])

beforeEach(async () => {
  schema = await createSchema('adapter')
  await schema.sql('create table items (id int primary key deferrable initially deferred)')
  proxy = await startFaultProxy({ target: postgresAddress() })
})
afterEach(async () => {
  await proxy.mode({ kind: 'reset' })
  await proxy.close()
  for (const database of opened.splice(0)) await database.end()
  await schema.drop()
})

describe('a transaction over pg', () => {
  it("has the attempt's timeouts, the schema, UTC and the connection check in force", async () => {
    const [row] = await open().query(
      statement(
        'settings',
        `select current_setting('lock_timeout') as lock, current_setting('statement_timeout') as statement, current_setting('search_path') as path,
           current_setting('timezone') as zone, current_setting('client_connection_check_interval') as check,
           current_setting('idle_in_transaction_session_timeout') as idle, current_setting('tokay.in_transaction') as inside`,
      ),
      { attemptForMs: 9_000.4, statementForMs: 5_000, lockForMs: 700 },
    )
    expect(row).toEqual({
      lock: '700ms',
      statement: '5s',
      path: `"${schema.name}"`,
      zone: 'UTC',
      check: '250ms',
      idle: '9001ms',
      inside: 'yes',
    })
  })

  it('leaves nothing of them behind on the connection', async () => {
    const query = vi.spyOn(Client.prototype, 'query')
    const database = open()
    await database.query(pid, { attemptForMs: 9_000, statementForMs: 5_000, lockForMs: 700 })
    const connection = query.mock.contexts.at(-1) as Client
    query.mockRestore()
    const left = await connection.query(
      `select current_setting('lock_timeout') as lock, current_setting('search_path') as path, current_setting('tokay.in_transaction', true) as inside`,
    )
    expect(left.rows).toEqual([{ lock: '0', path: '"$user", public', inside: '' }])
  })

  it('takes one round trip, however many statements it has', async () => {
    const database = open({ url: proxy.url(databaseUrl()) })
    await database.query(pid, limits)
    await proxy.mode({ kind: 'delay', oneWayMs: 100 })
    const startedMs = performance.now()
    await database.transaction(
      Array.from({ length: 10 }, (_, i) => insert(i)),
      limits,
    )
    // thirteen statements: one by one they would take 2,600 ms
    expect(performance.now() - startedMs).toBeLessThan(600)
    expect(await ids()).toHaveLength(10)
  })
})

describe('a failed transaction over pg', () => {
  it.each([
    ['a failing statement', divideByZero, { statement: 'divide', sqlState: '22012' }],
    ['a syntax error', statement('typo', 'selekt 1'), { statement: 'typo', sqlState: '42601' }],
    ['a missing table', statement('read', 'select from nowhere'), { statement: 'read', sqlState: '42P01' }],
    ['lock_timeout', statement('lock', 'lock table items in access exclusive mode'), { statement: 'lock', sqlState: '55P03' }],
    ['statement_timeout', sleep(10), { statement: 'sleep', sqlState: '57014' }],
  ])('%s: the first failure is reported, nothing is applied, the connection is kept', async (_what, failing, expected) => {
    const database = open({ poolMax: 1 })
    const before = await pidOf(database)
    const blocker = expected.sqlState === '55P03'
    if (blocker) await schema.sql('begin; lock table items in share mode')
    const error = await failureOf(
      database.transaction([statement('one', 'select 1'), failing, insert(2)], { ...limits, lockForMs: 200, statementForMs: 400 }),
    )
    if (blocker) await schema.sql('rollback')
    expect(error).toMatchObject({ name: 'DatabaseError', severity: 'ERROR', applied: 'refused', errno: undefined, ...expected })
    expect(await ids()).toEqual([])
    expect(await pidOf(database)).toBe(before)
  })

  it('a cancelled statement is refused', async () => {
    // under a name of its own: other files' tests sleep on this server as well
    const database = open({ applicationName: schema.name })
    const running = failureOf(database.transaction([insert(1), sleep(10)], limits))
    await untilSleeping()
    await schema.sql('select pg_cancel_backend(pid) from pg_stat_activity where application_name = $1', [schema.name])
    expect(await running).toMatchObject({ statement: 'sleep', sqlState: '57014', applied: 'refused' })
    expect(await ids()).toEqual([])
  })

  it('a deferred constraint fails at commit and is refused; the connection is not kept, since its last answer is still on the way', async () => {
    const database = open({ poolMax: 1 })
    const before = await pidOf(database)
    expect(await failureOf(database.transaction([insert(1), insert(1)], limits))).toMatchObject({
      statement: 'commit',
      sqlState: '23505',
      applied: 'refused',
    })
    expect(await ids()).toEqual([])
    expect(await pidOf(database)).not.toBe(before)
  })

  it.each(['08006', '57P03'])('an answer of %s costs the connection, also when it was no fatal one', async (sqlState) => {
    const database = open({ poolMax: 1 })
    const before = await pidOf(database)
    const raise = statement('raise', `do $$ begin raise exception 'x' using errcode = '${sqlState}'; end $$`)
    expect(await failureOf(database.query(raise, limits))).toMatchObject({ sqlState, severity: 'ERROR', applied: 'refused' })
    expect(await pidOf(database)).not.toBe(before)
  })
})

describe('lost connections over pg', () => {
  it('a backend terminated while idle in the pool harms nobody', async () => {
    const database = open({ poolMax: 1 })
    const backend = await pidOf(database)
    await schema.sql('select pg_terminate_backend($1)', [backend])
    // the server forgets a session a moment before its farewell arrives here
    await vi.waitUntil(() => database.connections?.().discarded === 1, { timeout: 10_000 })
    await database.query(insert(7), limits)
    expect(await ids()).toEqual([7])
    expect(database.connections?.()).toMatchObject({ connected: 2, discarded: 1 })
  })

  it.each([
    ['in the middle of a statement', sleep(10), 'pg_sleep'],
    ['waiting for a lock', insert(1), 'insert into items'],
  ])('a backend terminated while %s is an unknown outcome, and the next call connects anew', async (_state, doing, text) => {
    const database = open({ poolMax: 1 })
    const backend = await pidOf(database)
    await schema.sql('begin; lock table items in share mode')
    const running = failureOf(database.transaction([statement('one', 'select 1'), doing], { ...limits, lockForMs: 8_000 }))
    await untilRunning(text)
    await schema.sql('select pg_terminate_backend($1)', [backend])
    expect(await running).toMatchObject({ statement: doing.name, sqlState: '57P01', severity: 'FATAL', applied: 'unknown' })
    await schema.sql('rollback')
    await database.query(insert(7), limits)
    expect(await ids()).toEqual([7])
    expect(await pidOf(database)).not.toBe(backend)
    expect(database.connections?.()).toEqual({ connected: 2, discarded: 1, lost: 1, poolResets: 1 })
  })

  it('57P01 in the middle of a statement condemns every connection of the pool', async () => {
    const database = open({ poolMax: 2, applicationName: schema.name })
    const backends = await twoPids(database)
    const running = failureOf(database.query(sleep(10), limits))
    await untilSleeping()
    await schema.sql(`select pg_terminate_backend(pid) from pg_stat_activity where state = 'active' and application_name = $1`, [
      schema.name,
    ])
    expect(await running).toMatchObject({ sqlState: '57P01' })
    for (const backend of await twoPids(database)) expect(backends).not.toContain(backend)
    expect(database.connections?.()).toEqual({ connected: 4, discarded: 2, lost: 2, poolResets: 1 })
  })

  it('57P01 on an idle connection does, too', async () => {
    const database = open({ poolMax: 2 })
    const backends = await twoPids(database)
    await schema.sql('select pg_terminate_backend($1)', [backends[0]])
    await vi.waitUntil(() => database.connections?.().poolResets === 1, { timeout: 10_000 })
    for (const backend of await twoPids(database)) expect(backends).not.toContain(backend)
  })

  it("25006 is refused, and condemns the pool: a reader now answers under the writer's name", async () => {
    const database = open({ poolMax: 1 })
    const before = await pidOf(database)
    const readOnly = statement('demote', `select set_config('transaction_read_only', 'on', true)`)
    expect(await failureOf(database.transaction([readOnly, insert(1)], limits))).toMatchObject({
      statement: 'insert',
      sqlState: '25006',
      applied: 'refused',
    })
    expect(await pidOf(database)).not.toBe(before)
    expect(database.connections?.()).toEqual({ connected: 2, discarded: 1, lost: 1, poolResets: 1 })
  })

  it.each(['fin', 'rst'] as const)(
    'a socket cut (%s) before any answer is an unknown outcome, and the next call connects anew',
    async (how) => {
      const database = open({ url: proxy.url(databaseUrl()), poolMax: 1 })
      await database.query(pid, limits)
      await proxy.mode({ kind: 'cut', direction: 'to-server', afterBytes: 0, how })
      const error = await failureOf(database.query(insert(1), limits))
      expect(error).toMatchObject({ statement: 'begin', sqlState: undefined, applied: 'unknown' })
      await database.query(insert(2), limits)
      expect(await ids()).toEqual([2])
    },
  )

  it('a commit whose answer was lost is an unknown outcome, and it was applied', async () => {
    const database = open({ url: proxy.url(databaseUrl()) })
    await database.query(pid, limits)
    await proxy.mode({ kind: 'drop-answer', containing: 'COMMIT', how: 'fin' })
    expect(await failureOf(database.query(insert(1), limits))).toMatchObject({ applied: 'unknown' })
    expect(proxy.cuts).toBe(1)
    expect(await ids()).toEqual([1])
  })

  it('a black hole costs no more than attemptForMs, then the next call connects anew', async () => {
    const database = open({ url: proxy.url(databaseUrl()), poolMax: 1 })
    await database.query(pid, limits)
    await proxy.mode({ kind: 'blackhole' })
    const startedMs = performance.now()
    const error = await failureOf(database.query(insert(1), { ...limits, attemptForMs: 300 }))
    expect(performance.now() - startedMs).toBeLessThan(3_000)
    expect(error).toMatchObject({ statement: 'begin', errno: 'ATTEMPT_TIMEOUT', applied: 'unknown' })
    expect(error.message).toBe('begin: no answer within 300 ms; the connection was closed, it may have been applied')
    await proxy.mode({ kind: 'pass' })
    await database.query(insert(2), limits)
    expect(await ids()).toEqual([2])
  })

  it('an attempt that was given up does not commit later: the server notices that nobody waits', async () => {
    const database = open({ poolMax: 1 })
    const backend = await pidOf(database)
    const error = await failureOf(database.transaction([insert(1), sleep(4)], { ...limits, attemptForMs: 300 }))
    expect(error).toMatchObject({ statement: 'sleep', errno: 'ATTEMPT_TIMEOUT', applied: 'unknown' })
    await untilGone(backend)
    expect(await ids()).toEqual([])
  })

  it('a commit that the network swallowed does not hold its locks for ever', async () => {
    const database = open({ url: proxy.url(databaseUrl()), poolMax: 1 })
    const { backend, pipelineBytes } = await insertedOnce(database)
    // a simple query: type, length, text, NUL
    const commitBytes = 1 + 4 + 'commit'.length + 1
    await proxy.mode({ kind: 'cut', direction: 'to-server', afterBytes: pipelineBytes - commitBytes, how: 'silence' })
    expect(await failureOf(database.query(insert(2), { ...limits, attemptForMs: 500 }))).toMatchObject({
      errno: 'ATTEMPT_TIMEOUT',
      applied: 'unknown',
    })
    expect(proxy.cuts).toBe(1)
    await untilGone(backend)
    expect(await ids()).toEqual([1])
  })

  it('half a message that the network swallowed does not either, from PostgreSQL 17 on', async ({ skip }) => {
    const [version] = await schema.sql<{ server_version_num: string }>('show server_version_num')
    skip(
      Number(version?.server_version_num) < 170_000,
      'transaction_timeout came with PostgreSQL 17; before, keepalives end it after a minute',
    )
    const database = open({ url: proxy.url(databaseUrl()), poolMax: 1 })
    const { backend, pipelineBytes } = await insertedOnce(database)
    await proxy.mode({ kind: 'cut', direction: 'to-server', afterBytes: pipelineBytes - 40, how: 'silence' })
    expect(await failureOf(database.query(insert(2), { ...limits, attemptForMs: 500 }))).toMatchObject({
      errno: 'ATTEMPT_TIMEOUT',
      applied: 'unknown',
    })
    await untilGone(backend)
    expect(await ids()).toEqual([1])
  })
})

describe('connecting over pg', () => {
  it('a refused connect was not sent, and the database is found again when it listens', async () => {
    const database = open({ url: proxy.url(databaseUrl()) })
    await proxy.mode({ kind: 'refuse' })
    expect(await failureOf(database.query(pid, limits))).toMatchObject({ statement: 'connect', errno: 'ECONNREFUSED', applied: 'not-sent' })
    await proxy.mode({ kind: 'pass' })
    await database.query(insert(1), limits)
    expect(await ids()).toEqual([1])
  })

  it('a server that hangs up while connecting was sent nothing', async () => {
    const database = open({ url: proxy.url(databaseUrl()) })
    await proxy.mode({ kind: 'accept-then-close' })
    expect(await failureOf(database.query(pid, limits))).toMatchObject({ statement: 'connect', sqlState: undefined, applied: 'not-sent' })
  })

  it('gives a silent host wakeForMs once, and connectForMs from then on', async () => {
    const clock = createFakeClock()
    const database = open({ url: proxy.url(databaseUrl()), clock, connectForMs: 100, wakeForMs: 800 })
    await proxy.mode({ kind: 'blackhole' })
    const tookMs = async () => {
      const startedMs = performance.now()
      expect(await failureOf(database.query(pid, limits))).toMatchObject({ statement: 'connect', applied: 'not-sent' })
      return performance.now() - startedMs
    }
    expect(await tookMs()).toBeGreaterThan(750)
    clock.advance(800)
    expect(await tookMs()).toBeLessThan(600)
    await proxy.mode({ kind: 'pass' })
    await database.query(pid, limits)
    await proxy.mode({ kind: 'blackhole' })
    clock.advance(239_000)
    expect(await tookMs()).toBeLessThan(600)
    clock.advance(2_000)
    expect(await tookMs()).toBeGreaterThan(750)
  })

  it('a pool that this process has filled itself is not a failure to connect', async () => {
    const database = open({ poolMax: 1, connectForMs: 200, wakeForMs: 200 })
    await database.query(pid, limits)
    const running = database.query(sleep(1), limits)
    const error = await failureOf(database.query(pid, limits))
    expect(error).toMatchObject({ statement: 'connect', errno: 'POOL_EXHAUSTED', applied: 'not-sent' })
    await running
    expect(await pidOf(database)).toBeGreaterThan(0)
  })

  it('names the database that does not exist, and never the password', async () => {
    const url = new URL(databaseUrl())
    url.pathname = '/nowhere'
    const error = await failureOf(open({ url: url.href }).query(pid, limits))
    expect(error).toMatchObject({ statement: 'connect', sqlState: '3D000', applied: 'not-sent' })
    expect(error.message).toBe('connect: database "nowhere" does not exist (3D000)')
  })

  it('refuses a wrong URL at once', () => {
    expect(() => open({ url: 'postgres://user:hunter2@/x' })).toThrow(ConfigError)
  })

  it('goes no further without TLS when TLS is asked for', async ({ skip }) => {
    const [tls] = await schema.sql<{ ssl: string }>('show ssl')
    skip(tls?.ssl === 'on', 'this server speaks TLS')
    const url = new URL(databaseUrl())
    url.searchParams.set('sslmode', 'verify-full')
    const error = await failureOf(open({ url: url.href }).query(pid, limits))
    expect(error).toMatchObject({
      message: expect.stringMatching(/^connect: The server does not support SSL connections; /),
      applied: 'not-sent',
    })
  })
})

describe('the connections of the pool', () => {
  it('replaces one that was idle for longer than idleForMs of wall time, as after a freeze', async () => {
    const clock = createFakeClock()
    const database = open({ clock, poolMax: 1, idleForMs: 15_000 })
    const first = await pidOf(database)
    clock.advance(15_000)
    expect(await pidOf(database)).toBe(first)
    clock.advance(15_001)
    expect(await pidOf(database)).not.toBe(first)
    expect(database.connections?.()).toEqual({ connected: 2, discarded: 1, lost: 0, poolResets: 0 })
    await untilGone(first)
  })

  it('uses no half-open connection after a freeze: what vanished meanwhile costs nothing', async () => {
    const clock = createFakeClock()
    const database = open({ clock, poolMax: 1, url: proxy.url(databaseUrl()) })
    await database.query(pid, limits)
    await proxy.mode({ kind: 'blackhole' })
    await proxy.mode({ kind: 'pass' })
    clock.advance(60_000)
    await database.query(insert(1), { ...limits, attemptForMs: 5_000 })
    expect(await ids()).toEqual([1])
  })

  it('replaces one at its age', async () => {
    const clock = createFakeClock()
    const database = open({ clock, poolMax: 1, lifetimeMs: 20_000 })
    const first = await pidOf(database)
    clock.advance(10_000)
    expect(await pidOf(database)).toBe(first)
    clock.advance(10_001)
    expect(await pidOf(database)).not.toBe(first)
  })

  it('ends at once when idle, twice without harm, and refuses calls afterwards', async () => {
    const database = open()
    const backend = await pidOf(database)
    await Promise.all([database.end(), database.end()])
    await database.end()
    await untilGone(backend)
    const error = await failureOf(database.query(pid, limits))
    expect(error).toMatchObject({ name: 'DatabaseError', applied: 'not-sent' })
    expect(error.message).toMatch(/pool after calling end/)
  })

  it('tells whoever still waits for a connection that it has ended', async () => {
    const database = open({ poolMax: 1 })
    await database.query(pid, limits)
    const running = database.query(sleep(0.3), limits)
    const waiting = failureOf(database.query(pid, limits))
    await untilRunning('pg_sleep')
    await database.end()
    expect(await waiting).toMatchObject({ message: 'connect: the pool was closed', applied: 'not-sent' })
    expect(await running).toHaveLength(1)
  })

  it('does not wait for a transaction in a black hole to end', async () => {
    const database = open({ url: proxy.url(databaseUrl()) })
    await database.query(pid, limits)
    await proxy.mode({ kind: 'blackhole' })
    const running = failureOf(database.query(insert(1), limits))
    await new Promise(setImmediate)
    const startedMs = performance.now()
    await database.end()
    expect(performance.now() - startedMs).toBeLessThan(5_000)
    expect(await running).toMatchObject({ applied: 'unknown' })
  })
})

describe('prepared statements', () => {
  const insertAll = (added: readonly number[]) =>
    statement('insert_all', 'insert into items (id) select * from unnest($1::int[])', [[...added]])
  const prepared = statement('prepared', `select count(*)::int as n from pg_prepared_statements where statement like 'insert into items%'`)

  it('are made once a connection, however many chunks there are, and stay usable when their transaction fails', async () => {
    const database = open({ poolMax: 1, prepareStatements: true })
    await database.transaction([insertAll([1, 2]), insertAll([3])], limits)
    await expect(database.transaction([insertAll([1]), insertAll([4])], limits)).rejects.toThrow('23505')
    await database.transaction([insertAll([5]), insertAll([6])], limits)
    expect(await database.query(prepared, limits)).toEqual([{ n: 1 }])
    expect(await schema.sql('select array_agg(id order by id) as ids from items')).toEqual([{ ids: [1, 2, 3, 5, 6] }])
  })

  it('are not made unless asked for: a transaction pooler would lose them', async () => {
    const database = open({ poolMax: 1 })
    await database.transaction([insertAll([1])], limits)
    expect(await database.query(prepared, limits)).toEqual([{ n: 0 }])
  })
})
