// The adapter through a real PgBouncer in transaction mode: what a pooler adds to the ways in which a database fails, each brought about, with the
// pooler's own words; and that one client's session never shows through to another.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { startFaultProxy } from '../../cli/local/fault-proxy.ts'
import { DatabaseError, type Database } from '../../shared/db/database.ts'
import type { PgDatabaseOptions } from '../../shared/db/pg-database.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { migrationNames } from '../../shared/db/migration-names.ts'
import { connectFailureOf } from '../../shared/health/connect-failure.ts'
import type { LogEvent } from '../../shared/log.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'
import { createCertificate } from '../support/certificate.ts'
import { lookAt } from '../support/health-look.ts'
import { noPgbouncer, startPgbouncer, throughPgbouncer, type Pgbouncer } from '../support/pgbouncer.ts'
import { createSchema, databaseUrl, type TestSchema } from '../support/postgres.ts'
import { freePort, limits, openDatabase, pgClient, rejection, statement, untilRunning } from '../support/provoke.ts'

const insert = (id: number) => statement('insert into items (id) values ($1::int)', [id])
const pid = statement('select pg_backend_pid() as pid')
const pidOf = async (database: Database) => (await database.query(pid, limits))[0]?.['pid'] as number

let schema: TestSchema
const ids = async () => (await schema.sql<{ id: number }>('select id from items order by id')).map((row) => row.id)
const shared: Partial<Record<'usual' | 'single', Pgbouncer>> = {}

/** With one connection to the server, which all its clients share; ended with the test. */
async function startPooler(options: Partial<Parameters<typeof startPgbouncer>[0]> = {}): Promise<Pgbouncer> {
  const pooler = await startPgbouncer({ users: [databaseUrl()], ...options })
  onTestFinished(() => pooler.stop())
  return pooler
}

const open = (pooler: Pgbouncer, options: Partial<PgDatabaseOptions> = {}, change: (url: URL) => void = () => {}) => {
  const url = new URL(pooler.url(databaseUrl()))
  change(url)
  return openDatabase(schema.name, { url: url.href, ...options })
}

/** What is thrown, as the rest of the program reads it. */
function seen(error: unknown) {
  if (!(error instanceof DatabaseError)) throw error
  const says = error.cause instanceof Error ? error.cause.message : error.message
  const { sqlState, applied } = error
  return { says, sqlState, applied, class: classifyFailure(error).class, connect: connectFailureOf(error) }
}

describe.skipIf(noPgbouncer)(`pg ${throughPgbouncer}`, () => {
  beforeAll(async () => {
    shared.usual = await startPgbouncer({ users: [databaseUrl()] })
    shared.single = await startPgbouncer({ users: [databaseUrl()], settings: { default_pool_size: 1 } })
  })
  afterAll(() => Promise.all(Object.values(shared).map((pooler) => pooler.stop())))
  beforeEach(async () => {
    schema = await createSchema('pooled')
    await schema.sql('create table items (id int primary key)')
  })
  // what a test has opened is closed by then
  afterEach(() => schema.drop())
  const usual = () => shared.usual as Pgbouncer
  const single = () => shared.single as Pgbouncer

  it('a write takes one round trip, however many statements it has', async () => {
    const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: usual().port } })
    onTestFinished(() => proxy.close())
    const database = openDatabase(schema.name, { url: proxy.url(databaseUrl()) })
    await database.query(pid, limits)
    await proxy.mode({ kind: 'delay', oneWayMs: 100 })
    const startedMs = performance.now()
    await database.transaction(
      Array.from({ length: 10 }, (_, id) => insert(id)),
      limits,
    )
    // one by one they would take 2,600 ms
    expect(performance.now() - startedMs).toBeLessThan(600)
    expect(await ids()).toHaveLength(10)
  })

  it('is told from a server without one, at no further round trip', async () => {
    const [through, straight] = [await lookAt(usual().url(databaseUrl())), await lookAt(databaseUrl())]
    expect(through.database).toMatchObject({ kind: 'answers', pooled: true })
    expect(straight.database).toMatchObject({ kind: 'answers' })
    expect(straight.database).not.toHaveProperty('pooled')
  })

  describe('two clients on one connection to the server', () => {
    const settings = [
      'search_path',
      'lock_timeout',
      'statement_timeout',
      'idle_in_transaction_session_timeout',
      'timezone',
      'application_name',
    ]
    const inForce = statement(
      `select pg_backend_pid() as pid, ${settings.map((name) => `current_setting('${name}') as ${name}`).join(', ')}`,
    )

    it('each see their own schema, timeouts and name, and leave nothing of them to a third one', async () => {
      const other = await createSchema('pooled_other')
      const one = open(single(), { applicationName: 'one' })
      const two = openDatabase(other.name, { url: single().url(databaseUrl()), applicationName: 'two' })
      const backends = new Set<unknown>()
      for (let round = 0; round < 3; round++) {
        for (const [database, path, name, lockForMs] of [
          [one, schema.name, 'one', 700],
          [two, other.name, 'two', 900],
        ] as const) {
          const [row] = await database.query(inForce, { attemptForMs: 9_000, statementForMs: lockForMs + 1_000, lockForMs })
          backends.add(row?.['pid'])
          expect(row).toMatchObject({
            search_path: `"${path}"`,
            lock_timeout: `${lockForMs}ms`,
            statement_timeout: `${lockForMs + 1_000}ms`,
            timezone: 'UTC',
            application_name: name,
          })
        }
      }
      const third = pgClient({ connectionString: single().url(databaseUrl()), application_name: 'third' })
      await third.connect()
      const { rows } = await third.query(
        `${inForce.text}, current_setting('tokay.in_transaction', true) as inside, (select count(*)::int from pg_prepared_statements) as prepared`,
      )
      backends.add(rows[0]?.pid)
      expect(rows[0]).toMatchObject({
        search_path: '"$user", public',
        lock_timeout: '0',
        statement_timeout: '0',
        idle_in_transaction_session_timeout: '0',
        application_name: 'third',
        inside: '',
        prepared: 0,
      })
      expect(backends.size).toBe(1)
      await other.drop()
    })

    it('each write into their own schema, at once', async () => {
      const other = await createSchema('pooled_other')
      await other.sql('create table items (id int primary key)')
      const one = open(single(), { poolMax: 3 })
      const two = openDatabase(other.name, { url: single().url(databaseUrl()), poolMax: 3 })
      await Promise.all(Array.from({ length: 20 }, (_, id) => (id % 2 === 0 ? one : two).query(insert(id), limits)))
      expect(await ids()).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18])
      expect((await other.sql('select array_agg(id order by id) as ids from items'))[0]).toEqual({
        ids: [1, 3, 5, 7, 9, 11, 13, 15, 17, 19],
      })
      await other.drop()
    })
  })

  it('migrations that start at once while others use the pooler are applied by one, in their own schema, and nobody sees its search_path', async () => {
    const pooler = await startPooler({ settings: { default_pool_size: 3 } })
    const name = `${schema.name}_migrated`
    const [others, paths] = [[1, 2, 3, 4].map(() => pgClient({ connectionString: pooler.url(databaseUrl()) })), new Set<unknown>()]
    for (const other of others) await other.connect()
    const over = new AbortController()
    const traffic = others.map(async (other) => {
      while (!over.signal.aborted) paths.add((await other.query(`select current_setting('search_path') as path`)).rows[0]?.path)
    })
    const applied = await Promise.all([1, 2].map(() => migrate({ url: pooler.url(databaseUrl()), schema: name, connectForMs: 5_000 })))
    over.abort()
    await Promise.all(traffic)
    expect(applied.map((files) => files.length).toSorted()).toEqual([0, migrationNames.length])
    expect([...paths]).toEqual(['"$user", public'])
    expect(
      await schema.sql(
        `select count(*)::int as n from pg_tables where schemaname = $1 and tablename in ('migrations', 'pools', 'trades')`,
        [name],
      ),
    ).toEqual([{ n: 3 }])
    expect(
      await schema.sql(`select tablename from pg_tables where schemaname = 'public' and tablename in ('migrations', 'pools', 'trades')`),
    ).toEqual([])
    await schema.sql(`set client_min_messages to warning; drop schema ${name} cascade`)
  })

  describe('prepared statements, which this PgBouncer mixes up', () => {
    const events: LogEvent[] = []
    const keep = (event: LogEvent) => void events.push(event)
    const preparing = (pooler: Pgbouncer) =>
      open(pooler, { prepareStatements: true, poolMax: 3, log: { info: keep, warn: keep, error: keep } })
    beforeEach(() => void events.splice(0))

    it('that somebody else has prepared are refused as a whole (42P05), told once, and not prepared again', async () => {
      const pooler = await startPooler({ settings: { default_pool_size: 1 } })
      const [one, two] = [preparing(pooler), preparing(pooler)]
      await one.query(insert(1), limits)
      const error = await rejection(two.query(insert(2), limits))
      expect(seen(error)).toMatchObject({ sqlState: '42P05', applied: 'refused', class: 'session' })
      expect(await ids()).toEqual([1])
      await two.query(insert(2), limits)
      await two.query(insert(3), limits)
      expect(await ids()).toEqual([1, 2, 3])
      expect(events).toMatchObject([{ event: 'database.prepared-statements-lost', sqlState: '42P05' }])
      expect(JSON.stringify(events)).toContain('switch database.prepareStatements off')
    })

    it('that another connection to the server does not know are refused as a whole (26000), told once, and not prepared again', async () => {
      const pooler = await startPooler({ settings: { default_pool_size: 1 } })
      const database = preparing(pooler)
      await database.query(insert(1), limits)
      await pooler.command('reconnect')
      expect(seen(await rejection(database.query(insert(2), limits)))).toMatchObject({
        sqlState: '26000',
        applied: 'refused',
        class: 'session',
      })
      await database.query(insert(2), limits)
      expect(await ids()).toEqual([1, 2])
      expect(events.filter(({ event }) => event === 'database.prepared-statements-lost')).toHaveLength(1)
    })

    it('never run as another one: where this client has prepared nothing, but somebody else has, the server knows no statement of that name', async () => {
      const pooler = await startPooler({ settings: { default_pool_size: 2 } })
      await schema.sql('create table others (id int primary key)')
      const elsewhere = (id: number) => statement('insert into others (id) values ($1::int)', [id])
      /** Two that hold a connection to the server each, so that whoever comes gets the one that is let go. */
      const holders = [1, 2].map(() => pgClient({ connectionString: pooler.url(databaseUrl()) }))
      for (const holder of holders) await holder.connect()
      const onThe = async (nth: 0 | 1, use: () => Promise<unknown>) => {
        for (const holder of holders) await holder.query('begin')
        const pids = await Promise.all(holders.map(async (holder) => Number((await holder.query(pid.text)).rows[0]?.pid)))
        const free = pids.indexOf(nth === 0 ? Math.min(...pids) : Math.max(...pids))
        await holders[free]?.query('commit')
        try {
          return await use()
        } finally {
          await holders[1 - free]?.query('commit')
        }
      }
      const [one, two] = [preparing(pooler), preparing(pooler)]
      await onThe(0, () => one.query(insert(1), limits))
      await onThe(1, () => two.query(elsewhere(2), limits))
      expect(seen(await onThe(0, () => rejection(two.query(elsewhere(3), limits))))).toMatchObject({
        sqlState: '26000',
        applied: 'refused',
      })
      await onThe(0, () => two.query(elsewhere(3), limits))
      expect(await ids()).toEqual([1])
      expect(await schema.sql('select array_agg(id order by id) as ids from others')).toEqual([{ ids: [2, 3] }])
    })
  })

  describe('fails in words of its own:', () => {
    it('its connections to the server are all in use, for longer than query_wait_timeout', async () => {
      const pooler = await startPooler({ settings: { default_pool_size: 1, query_wait_timeout: 0.3 } })
      const database = open(pooler, { poolMax: 2 })
      const holds = database.query(statement('select pg_sleep(1) /* holds */'), limits)
      await untilRunning(schema, '/* holds */')
      expect(seen(await rejection(database.query(insert(1), limits)))).toEqual({
        says: 'query_wait_timeout',
        sqlState: '08P01',
        applied: 'unknown',
        class: 'saturated',
        connect: 'pooler',
      })
      await holds
      expect(await ids()).toEqual([])
      await database.query(insert(1), limits)
    })

    it('PAUSE: what waits is written on RESUME, and given up after query_wait_timeout', async () => {
      const pooler = await startPooler({ settings: { query_wait_timeout: 0.5 } })
      const database = open(pooler, { poolMax: 2 })
      await database.query(pid, limits)
      await pooler.command('pause')
      const waits = database.query(insert(1), limits)
      await vi.waitUntil(async () => (await pooler.command('show pools')).some((pool) => Number(pool['cl_waiting']) > 0), {
        timeout: 5_000,
      })
      await pooler.command('resume')
      await waits
      await pooler.command('pause')
      expect(seen(await rejection(database.query(insert(2), limits)))).toMatchObject({ says: 'query_wait_timeout', class: 'saturated' })
      await pooler.command('resume')
      expect(await ids()).toEqual([1])
      await database.query(insert(2), limits)
    })

    it('max_client_conn', async () => {
      const pooler = await startPooler({ settings: { max_client_conn: 1 } })
      await pidOf(open(pooler))
      expect(seen(await rejection(open(pooler).query(insert(1), limits)))).toEqual({
        says: 'no more connections allowed (max_client_conn)',
        sqlState: '08P01',
        applied: 'not-sent',
        class: 'saturated',
        connect: 'saturated',
      })
    })

    it('no server behind it', async () => {
      const nobody = new URL(databaseUrl())
      nobody.port = String(await freePort())
      const pooler = await startPooler({ users: [nobody.href], settings: { client_login_timeout: 0.3 } })
      const down = { sqlState: '08P01', applied: 'not-sent', class: 'unavailable', connect: 'pooler' }
      expect(seen(await rejection(open(pooler).query(insert(1), limits)))).toEqual({ ...down, says: 'client_login_timeout (server down)' })
    })

    it('a server that lets nobody in: its own words, under the code of the pooler', async () => {
      const role = `${schema.name}_role`
      await schema.sql(`create role ${role} login password 'right' connection limit 0`)
      const guest = new URL(databaseUrl())
      Object.assign(guest, { username: role, password: 'right' })
      const pooler = await startPooler({ users: [guest.href] })
      const database = openDatabase(schema.name, { url: pooler.url(guest.href) })
      expect(seen(await rejection(database.query(insert(1), limits)))).toMatchObject({
        says: `too many connections for role "${role}"`,
        sqlState: '08P01',
        class: 'saturated',
        connect: 'role-limit',
      })
      await schema.sql(`drop role ${role}`)
    })

    it('a wrong password, a user, a database and a parameter that it does not know', async () => {
      const attempt = async (change: (url: URL) => void) => seen(await rejection(open(usual(), {}, change).query(insert(1), limits)))
      const refused = { sqlState: '08P01', applied: 'not-sent', class: 'config' }
      expect(await attempt((url) => (url.password = 'wrong'))).toEqual({ ...refused, says: 'SASL authentication failed', connect: 'auth' })
      expect(await attempt((url) => (url.username = 'nobody'))).toEqual({ ...refused, says: 'SASL authentication failed', connect: 'auth' })
      expect(await attempt((url) => (url.pathname = '/nowhere'))).toEqual({
        ...refused,
        says: 'database "nowhere" does not exist',
        connect: 'no-database',
      })
      expect(await attempt((url) => url.searchParams.set('options', '-c work_mem=8MB'))).toEqual({
        ...refused,
        says: 'unsupported startup parameter: options',
        connect: 'settings',
      })
    })

    it('channel binding, which it does not have, is no obstacle', async () => {
      await open(usual(), {}, (url) => url.searchParams.set('channel_binding', 'require')).query(insert(1), limits)
      expect(await ids()).toEqual([1])
    })
  })

  it('is verified by its own certificate, and one that takes nothing but TLS says so', async () => {
    const certificate = createCertificate({ host: '127.0.0.1', untilMs: Date.UTC(2049, 0, 1) })
    const pooler = await startPooler({ settings: { client_tls_sslmode: 'require' }, certificate })
    const database = open(pooler, {}, (url) => url.searchParams.set('sslrootcert', certificate.cert))
    await database.query(insert(1), limits)
    expect(await ids()).toEqual([1])
    const plain = await rejection(open(pooler).query(insert(2), limits))
    expect(seen(plain)).toMatchObject({ says: 'SSL required', class: 'config', connect: 'tls' })
    expect((plain as Error).message).toContain('set sslmode=verify-full in the Postgres URL')
  })

  it('is restarted: the next write meets a connection that was lost while idle, and is written', async () => {
    const pooler = await startPooler()
    const database = open(pooler)
    await database.query(insert(1), limits)
    await pooler.kill()
    expect(seen(await rejection(database.query(insert(2), limits)))).toMatchObject({
      class: 'connection',
      connect: 'refused',
      applied: 'not-sent',
    })
    await pooler.restart()
    await database.query(insert(2), limits)
    expect(await ids()).toEqual([1, 2])
  })

  it('is killed in the middle of a write: an unknown outcome', async () => {
    const pooler = await startPooler()
    const failed = rejection(open(pooler).transaction([insert(1), statement('select pg_sleep(10) /* until killed */')], limits))
    await untilRunning(schema, '/* until killed */')
    await pooler.kill()
    expect(seen(await failed)).toMatchObject({ applied: 'unknown', class: 'connection', connect: 'reset' })
    await vi.waitUntil(
      async () =>
        (
          await schema.sql(
            `select 1 from pg_stat_activity where state = 'active' and query like '%until killed%' and pid <> pg_backend_pid()`,
          )
        ).length === 0,
      { timeout: 5_000, interval: 20 },
    )
    expect(await ids()).toEqual([])
  })

  it("loses an idle connection to the server: nobody notices, and the client's own is kept", async () => {
    const pooler = await startPooler({ settings: { default_pool_size: 1 } })
    const database = open(pooler)
    const before = await pidOf(database)
    await schema.sql('select pg_terminate_backend($1)', [before])
    await vi.waitUntil(async () => (await schema.sql('select from pg_stat_activity where pid = $1', [before])).length === 0, {
      timeout: 5_000,
    })
    await database.query(insert(1), limits)
    expect(await ids()).toEqual([1])
    expect(await pidOf(database)).not.toBe(before)
    expect(database.connections?.()).toMatchObject({ connected: 1, discarded: 0 })
  })

  it('loses the connection to the server in the middle of a write: an unknown outcome, and the next write goes through another one', async () => {
    const pooler = await startPooler({ settings: { default_pool_size: 1 } })
    const database = open(pooler)
    const failed = rejection(database.transaction([insert(1), statement('select pg_sleep(10) /* until ended */')], limits))
    await untilRunning(schema, '/* until ended */')
    await schema.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where query like '%/* until ended */%' and pid <> pg_backend_pid()`,
    )
    expect(seen(await failed)).toMatchObject({ sqlState: '57P01', applied: 'unknown', class: 'unavailable' })
    await database.query(insert(1), limits)
    expect(await ids()).toEqual([1])
  })

  it('an attempt that was given up does not commit a moment later', async () => {
    const database = open(usual())
    await database.query(pid, limits)
    const abandoned = statement('select pg_sleep(3) /* abandoned */')
    const failed = rejection(database.transaction([insert(1), abandoned], { ...limits, attemptForMs: 500 }))
    const { applied, class: found } = seen(await failed)
    // the server's transaction_timeout is as long, and may be first
    expect([applied, ['unanswered', 'slow'].includes(found)]).toEqual(['unknown', true])
    await vi.waitUntil(
      async () =>
        (await schema.sql(`select 1 from pg_stat_activity where state = 'active' and query like '%abandoned%' and pid <> pg_backend_pid()`))
          .length === 0,
      { timeout: 2_000, interval: 20 },
    )
    expect(await ids()).toEqual([])
    await database.query(insert(1), limits)
  })
})
