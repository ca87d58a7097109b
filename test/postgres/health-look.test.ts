// What one look sees of a server that answers, each fault provoked on a server of this file's own.

import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { withAdminSession, type AdminSession } from '../../cli/local/admin-session.ts'
import type { FragilePostgres } from '../../cli/local/fragile-postgres.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { migrationNames } from '../../shared/db/migration-names.ts'
import { fingerprintOf } from '../../shared/health/check.ts'
import type { Observation, Vitals } from '../../shared/health/observation.ts'
import {
  answerOf,
  assessmentOf,
  foundIn,
  later,
  lookAt,
  openHealth,
  session,
  shown,
  startOwnServer,
  vitalsOf,
  waits,
} from '../support/health-look.ts'
import { checkOf, minuteMs } from '../support/observed.ts'

let server: FragilePostgres
let remove: () => Promise<void>
beforeAll(async () => {
  ;({ server, remove } = await startOwnServer())
  await withAdminSession(server.url, async (admin) => {
    await admin.sql(`alter system set shared_preload_libraries = 'pg_stat_statements'`)
    await admin.sql('alter system set max_prepared_transactions = 5')
    await admin.sql(`create role plain login password 'plain'`)
  })
  await server.shutDown('fast')
  await server.restart()
})
afterAll(() => remove())

/** A database of the test's own, as the superuser and as a role without any right. */
async function ownDatabase(): Promise<{
  url: string
  plainUrl: string
  admin: AdminSession
  withDatabase: (sql: string) => Promise<void>
}> {
  const name = `d${Math.random().toString(36).slice(2, 10)}`
  await withAdminSession(server.url, async (operator) => void (await operator.sql(`create database ${name}`)))
  const url = new URL(server.url)
  url.pathname = `/${name}`
  const plain = new URL(url)
  plain.username = 'plain'
  plain.password = 'plain'
  const admin = await session(url.href)
  return {
    url: url.href,
    plainUrl: plain.href,
    admin,
    withDatabase: (sql) => withAdminSession(url.href, async (s) => void (await s.sql(sql))),
  }
}

/** Whom the way out of a wait for a lock says to end. */
const endsAtRoot = (observation: Observation) =>
  [...(checkOf(assessmentOf(observation), 'lock-wait').action ?? '').matchAll(/pg_terminate_backend\((\d+)\)/g)].map(([, pid]) =>
    Number(pid),
  )

/** No look at a server that answers takes longer, whatever goes on there. */
const withinMs = 5_000

describe('a look at a healthy server', () => {
  it('sees the whole of it in one round trip on a connection of its own, and leaves nothing behind', async () => {
    const { url, admin } = await ownDatabase()
    const observation = await lookAt(url, { structure: true })
    const { database, connections, server: seen, ...vitals } = { ...vitalsOf(observation), database: answerOf(observation) }
    expect(database.connectMs).toBeGreaterThan(0)
    expect(database.queryMs).toBeGreaterThanOrEqual(vitals.serverMs)
    expect(Math.abs(database.clockSkewMs ?? Infinity)).toBeLessThan(1_000)
    expect(seen).toMatchObject({ role: 'tokay', flavor: 'pg', isInRecovery: false, isReadOnly: false, seesOthers: true })
    expect(Math.floor(seen.version / 10_000)).toBe(18)
    expect(seen.tls).toEqual({ isOn: false, version: null })
    expect(foundIn(observation)).toEqual([])
    // the operator's session, and the look's own
    expect(connections).toMatchObject({
      max: 60,
      reserved: 3,
      databaseUsed: 2,
      databaseLimit: -1,
      roleLimit: -1,
      applications: { operator: 1 },
    })
    expect(vitals).toMatchObject({ blocked: [], blockedCount: 0, blockers: [], replicas: [], slots: [], replicaLagMs: null })
    expect(vitals.activity).toMatchObject({ idleInTransaction: 0, idleInTransactionMs: null, aborted: 0, xminAge: null })
    // what others get, and not the bounds of the look itself
    expect(vitals.settings).toMatchObject({
      statement_timeout: '0',
      lock_timeout: '0',
      autovacuum: 'on',
      deadlock_timeout: '1s',
      'neon.max_cluster_size': null,
    })
    expect(vitals.databaseBytes).toBeGreaterThan(1_000_000)
    expect(vitals.wraparound.freezeMaxAge).toBe(200_000_000)
    expect(observation).toMatchObject({ structure: { tables: [], withoutPrimaryKey: [] }, sequences: [] })
    // the server needs a moment to notice that it is gone
    const left = async () => (await admin.sql(`select 1 from pg_stat_activity where application_name = 'tokay-health'`)).length
    await vi.waitUntil(async () => (await left()) === 0, { timeout: 5_000, interval: 10 })
  })

  it('takes at most twenty times as long for the vitals as a fresh connection and its first answer', async () => {
    const { url } = await ownDatabase()
    const ratios: number[] = []
    for (let n = 0; n < 7; n++) {
      const client = new Client({ connectionString: url })
      const startedMs = performance.now()
      await client.connect()
      await client.query('select 1')
      const freshMs = performance.now() - startedMs
      await client.end()
      ratios.push(answerOf(await lookAt(url)).queryMs / freshMs)
    }
    expect(ratios.toSorted((a, b) => a - b)[3]).toBeLessThan(20)
  })

  it('can not change anything, whatever it asks', async () => {
    const { url, admin } = await ownDatabase()
    await admin.sql('create sequence counter')
    const database = openHealth(url)({ connectForMs: 3_000 })
    onTestFinished(() => database.end())
    const { lookOnly } = await import('../../shared/health/sql/vitals.ts')
    const asked = database.transaction([lookOnly, { name: 'write', text: `select nextval('counter')`, values: [] }], {
      attemptForMs: 3_000,
      statementForMs: 2_000,
      lockForMs: 300,
    })
    await expect(asked).rejects.toMatchObject({ sqlState: '25006' })
  })
})

describe('sessions', () => {
  it('that wait in a chain of five are all seen, with the one at its root, and without their data', async () => {
    const { url, plainUrl, admin } = await ownDatabase()
    await admin.sql(`create table t (id int primary key, v text); insert into t values (1, 'a')`)
    const sessions = await Promise.all(['root', 'row', 'tuple', 'alter', 'reader'].map((name) => session(url, name)))
    const [root, row, tuple, alter, reader] = sessions as [AdminSession, AdminSession, AdminSession, AdminSession, AdminSession]
    const update = `update t set v = 'confidential' where id = 1`
    await root.sql(`begin; ${update}`)
    await waits(row, update, admin, 1)
    await waits(tuple, update, admin, 2)
    await waits(alter, 'alter table t add column w int', admin, 3)
    await waits(reader, 'select * from t', admin, 4)

    const observation = await lookAt(url, { structure: true })
    const { blocked, blockedCount, blockers, activity } = vitalsOf(observation)
    expect(observation.tookMs).toBeLessThan(withinMs)
    expect(blockedCount).toBe(4)
    expect(activity).toMatchObject({ lockWaiters: 4, idleInTransaction: 1 })
    expect(blocked.map(({ application, lockType, relation, blockedBy }) => [application, lockType, relation, blockedBy])).toEqual([
      ['row', 'transactionid', null, [root.pid]],
      ['tuple', 'tuple', 't', [row.pid]],
      ['alter', 'relation', 't', expect.arrayContaining([root.pid])],
      ['reader', 'relation', 't', expect.arrayContaining([alter.pid])],
    ])
    expect(blockers.filter((b) => b.isRoot)).toMatchObject([{ pid: root.pid, application: 'root', state: 'idle in transaction' }])
    expect(blocked[0]).toMatchObject({ query: 'update t set v = ? where id = ?', mode: 'ShareLock' })
    expect(blocked[0]?.waitMs).toBeGreaterThanOrEqual(blocked[3]?.waitMs ?? 0)
    expect(JSON.stringify(observation)).not.toContain('confidential')
    // told as one finding, whose way out is at the root of the tree
    const waiting = later(observation, 60_000)
    expect(foundIn(waiting)).toEqual(['critical lock-wait'])
    expect(endsAtRoot(waiting)).toEqual([root.pid])
    // catalogs only: what waits for the table is not what looks at it
    expect(shown(observation.structure).tables.map((t) => t.name)).toEqual(['public.t'])

    // a role without any right sees who blocks whom, but not what they do
    const plain = vitalsOf(await lookAt(plainUrl))
    expect(plain.server.seesOthers).toBe(false)
    expect(plain.blocked.map((b) => [b.pid, b.query])).toEqual(blocked.map((b) => [b.pid, null]))
    expect(plain.blockers.filter((b) => b.isRoot)).toMatchObject([{ pid: root.pid, state: null, query: null }])
  })

  it('that idle in a transaction, aborted or not, are told apart, and hold back vacuum', async () => {
    const { url, admin } = await ownDatabase()
    const idle = await session(url, 'idle')
    await idle.sql('begin isolation level repeatable read; select 1')
    await admin.sql('create table t (v int)')
    const observation = await lookAt(url)
    expect(vitalsOf(observation).activity).toMatchObject({ idleInTransaction: 1, aborted: 0, abortedMs: null, xminAge: expect.any(Number) })
    expect(vitalsOf(observation).connections.states).toMatchObject({ 'idle in transaction': 1 })
    expect(foundIn(observation)).toEqual([])
    expect(foundIn(later(observation, 6 * minuteMs))).toEqual(['critical idle-transaction'])

    await idle.sql('select 1 / 0').catch(() => {}) // what is wanted
    const aborted = await lookAt(url)
    const { activity, connections } = vitalsOf(aborted)
    expect(activity).toMatchObject({ idleInTransaction: 1, aborted: 1, idleInTransactionMs: activity.abortedMs })
    expect(connections.states).toMatchObject({ 'idle in transaction (aborted)': 1 })
    expect(foundIn(later(aborted, 20_000))).toEqual(['warning aborted-transaction'])
  })

  it('blocked by a transaction that was prepared and forgotten have that at their root', async () => {
    const { url, admin } = await ownDatabase()
    await admin.sql('create table t (v int)')
    await admin.sql(`begin; lock table t; prepare transaction 'forgotten'`)
    onTestFinished(() => withAdminSession(url, async (last) => void (await last.sql(`rollback prepared 'forgotten'`))))
    await waits(await session(url), 'select * from t', admin, 1)
    const observation = await lookAt(url)
    const { blockers, prepared } = vitalsOf(observation)
    expect(blockers).toMatchObject([{ pid: 0, state: 'prepared transaction', isRoot: true }])
    expect(prepared).toMatchObject({ count: 1, oldestMs: expect.any(Number) })
    const waiting = later(observation, 6 * minuteMs)
    expect(foundIn(waiting)).toEqual(['critical lock-wait'])
    const { action, evidence } = checkOf(assessmentOf(waiting), 'lock-wait')
    expect(action).toContain("rollback prepared '<gid>'; (select gid from pg_prepared_xacts)")
    expect(evidence?.[0]).toMatch(/^a prepared transaction holds it/)
  })

  it('with 9,000 locks and 25 waiters among them do not keep the look waiting', async () => {
    const { url, admin } = await ownDatabase()
    await admin.sql('create table hot (v int)')
    const holders = await Promise.all(Array.from({ length: 18 }, () => session(url, 'holder')))
    const tables = 500
    await admin.sql(`do $$ begin for n in 1..${tables} loop execute format('create table t%s (v int)', n); end loop; end $$`)
    await Promise.all(
      holders.map((holder) =>
        holder.sql(
          `begin; do $$ begin for n in 1..${tables} loop execute format('lock table t%s in access share mode', n); end loop; end $$`,
        ),
      ),
    )
    await admin.sql('begin; lock table hot')
    const watch = await session(url)
    for (let n = 1; n <= 25; n++) await waits(await session(url, 'waiter'), 'select * from hot', watch, n)
    const observation = await lookAt(url)
    const { blocked, blockedCount, blockers } = vitalsOf(observation)
    expect((await watch.sql<{ n: number }>(`select count(*)::int as n from pg_locks where granted`))[0]?.n).toBeGreaterThan(9_000)
    expect(observation.tookMs).toBeLessThan(withinMs)
    expect([blocked.length, blockedCount]).toEqual([20, 25])
    expect(blockers).toMatchObject([{ pid: admin.pid, isRoot: true }])
    const waiting = later(observation, 6 * minuteMs)
    // nor do they hide who it is that holds all of them up
    expect(foundIn(waiting)).toEqual(['critical lock-wait', 'warning connections'])
    expect(endsAtRoot(waiting)).toEqual([admin.pid])
  })
})

describe('locks', () => {
  it('on a table, a sequence, or a catalog leave the rest to be seen, and are told with who is at the root', async () => {
    const { url, admin } = await ownDatabase()
    await admin.sql('create table t (id serial primary key); create sequence counter')
    const watch = await session(url)
    /** With one who waits, and how it is told when that has lasted for a minute. */
    const lookBehind = async (lock: string, wanted: string) => {
      const holder = await session(url, 'holder')
      await holder.sql(`begin; ${lock}`)
      await waits(await session(url), wanted, watch, 1)
      const look = await lookAt(url, { structure: true })
      await holder.end()
      expect(look.tookMs).toBeLessThan(withinMs)
      const waiting = later(look, minuteMs)
      expect(foundIn(waiting)).toEqual(['critical lock-wait'])
      expect(endsAtRoot(waiting)).toEqual([holder.pid])
      return look
    }
    const lockedOut =
      /^another session has locked what it reads for longer than 300 ms: \w+: canceling statement due to lock timeout \(55P03\)$/
    const behindTable = await lookBehind('lock table t in access exclusive mode', 'select * from t')
    expect(shown(behindTable.structure).tables).toMatchObject([{ name: 'public.t' }])
    expect(vitalsOf(behindTable).databaseBytes).toBeGreaterThan(0)

    const behindSequence = await lookBehind('alter sequence counter increment 2', `select nextval('counter')`)
    expect(shown(behindSequence.structure).tables).toMatchObject([{ name: 'public.t' }])
    expect(behindSequence.sequences).toMatchObject({ unseen: expect.stringMatching(lockedOut) })

    const behindCatalog = await lookBehind('lock table pg_depend in access exclusive mode', 'create table another ()')
    expect(behindCatalog.structure).toMatchObject({ unseen: expect.stringMatching(lockedOut) })
    expect(vitalsOf(behindCatalog).activity.idleInTransaction).toBe(1)
  })

  it('on a catalog that the vitals read are told by the look itself, with who holds them', async () => {
    const { url, plainUrl, admin } = await ownDatabase()
    // of no interest here: no look reads it
    await admin.sql('create table t (v int); begin; lock table t')
    const holder = await session(url, 'holder')
    await holder.sql('begin; lock table pg_extension in access exclusive mode')
    const blind = await lookAt(url, { structure: true })
    expect(blind.tookMs).toBeLessThan(withinMs)
    expect(answerOf(blind).vitals).toEqual({
      unseen: 'another session has locked what it reads for longer than 300 ms: vitals: canceling statement due to lock timeout (55P03)',
      lockedBy: [
        {
          pid: holder.pid,
          state: 'idle in transaction',
          application: 'holder',
          query: 'begin; lock table pg_extension in access exclusive mode',
          transactionMs: expect.any(Number),
          isRoot: true,
        },
      ],
    })
    expect(foundIn(blind)).toEqual(['warning lock-wait'])
    expect(foundIn(later(blind, minuteMs))).toEqual(['critical lock-wait'])
    expect(endsAtRoot(blind)).toEqual([holder.pid])

    // a role without any right sees who it is, but not since when
    const plain = await lookAt(plainUrl)
    expect(foundIn(plain)).toEqual(['warning lock-wait'])
    expect(endsAtRoot(plain)).toEqual([holder.pid])
  })
})

describe('the structure', () => {
  it('shows what is wrong with tables, indexes, keys and sequences, and what vacuum has left lying', async () => {
    const { url, plainUrl, admin } = await ownDatabase()
    await admin.sql(`
      create table parent (id int primary key);
      create table child (id int primary key, parent_id int references parent, v int);
      create index child_v on child (v);
      create index child_v_again on child (v);
      create table "No Key" (v int);
      insert into "No Key" values (1), (1);
      create table small (id smallint generated always as identity primary key);
      select setval(pg_get_serial_sequence('small', 'id'), 30000);
      create table parts (day date not null, v int, primary key (day)) partition by range (day);
      create table parts_1 partition of parts for values from ('2025-09-15') to ('2025-09-16');
      create table dead (id int primary key, v int) with (autovacuum_enabled = off)`)
    await admin.sql(`create unique index concurrently broken on "No Key" (v)`).catch(() => {}) // two rows are equal: what is wanted
    // a session tells the statistics when it ends
    await withAdminSession(url, async (s) => {
      await s.sql('insert into dead select n, 0 from generate_series(1, 5000) n')
      await s.sql('update dead set v = 1')
    })
    const dead = async () => shown((await lookAt(url, { structure: true })).structure).vacuumOverdue
    await vi.waitUntil(async () => (await dead()).length === 1, { timeout: 5_000, interval: 50 })

    const observation = await lookAt(url, { structure: true })
    const structure = shown(observation.structure)
    expect(structure).toMatchObject({
      vacuumOverdue: [{ table: 'public.dead', deadRows: 5_000, vacuumAgeMs: null }],
      invalidIndexes: ['public.broken'],
      duplicateIndexes: [{ table: 'public.child', indexes: ['public.child_v', 'public.child_v_again'], bytes: 8_192 }],
      foreignKeysWithoutIndex: [{ constraint: 'child_parent_id_fkey', table: 'public.child', columns: ['parent_id'] }],
      withoutPrimaryKey: ['public."No Key"'],
      unusedIndexes: [],
      oldestXidTables: [],
    })
    expect(structure.tables.map((t) => t.name)).toContain('public.parts')
    expect(structure.tables.map((t) => t.name)).not.toContain('public.parts_1')
    expect(structure.statsAgeMs).toBeGreaterThan(0)
    expect(observation.sequences).toEqual([{ sequence: 'public.small_id_seq', used: 0.9156, lastValue: 30_000 }])

    expect(foundIn(observation)).toEqual(['critical sequences:public.small_id_seq', 'warning invalid-index:public.broken'])
    const { checks } = assessmentOf(observation)
    expect(checks.filter((check) => check.severity === 'info').map(fingerprintOf)).toEqual(
      expect.arrayContaining([
        'duplicate-index:public.child_v',
        'foreign-key-without-index:public.child.child_parent_id_fkey',
        'no-primary-key:public."No Key"',
        'vacuum-overdue:public.dead',
      ]),
    )

    // whom the sequences are closed to is not told that all is well with them
    const plain = await lookAt(plainUrl, { structure: true })
    expect(plain.sequences).toEqual({
      unseen: '1 of 1 sequences may not be read; grant select on all sequences in schema <schema> to <role>',
    })
    expect(shown(plain.structure)).toMatchObject({ invalidIndexes: ['public.broken'], vacuumOverdue: [{ table: 'public.dead' }] })
  })

  it('shows the statements that took longest, without their data', async () => {
    const { url, plainUrl, admin } = await ownDatabase()
    expect((await lookAt(url, { structure: true })).statements).toEqual({
      unseen: 'pg_stat_statements is not installed: create extension pg_stat_statements',
    })
    await admin.sql(
      `create schema "the stats"; create extension pg_stat_statements schema "the stats"; grant usage on schema "the stats" to plain`,
    )
    await admin.sql(`select pg_sleep(0.3), 'confidential'`)
    const [slowest] = shown((await lookAt(url, { structure: true })).statements)
    expect(slowest).toMatchObject({ query: 'select pg_sleep($1), $2', calls: 1 })
    expect(slowest?.meanMs).toBeGreaterThan(300)
    expect(slowest?.share).toBeGreaterThan(0.3)
    const [hidden] = shown((await lookAt(plainUrl, { structure: true })).statements)
    expect(hidden).toMatchObject({ id: 'hidden', query: null })
  })

  it("shows how Tokay's own tables stand, before, between and after the migrations", async () => {
    const { url, admin } = await ownDatabase()
    const look = async () => shown((await lookAt(url, { structure: true, schema: 'own' })).app)
    const empty = { quarantined: 0, openGaps: 0, dailyBytes: [] }
    expect(await look()).toEqual({ ...empty, migrationsPending: migrationNames })
    // the list is the folder's
    expect(await migrate({ url, schema: 'own', connectForMs: 3_000 })).toEqual(migrationNames)
    expect(await look()).toEqual({ ...empty, migrationsPending: [] })
    await admin.sql(`
      set search_path to own;
      insert into coverage_gaps values ('trades', now() - interval '1 h', now(), 'full page', 'open'), ('pools', now(), now(), 'x', 'provisional');
      insert into quarantine (id, table_name, row, class, message, collector, run_id, first_seen_at, last_seen_at, status)
        values (gen_random_uuid(), 'trades', '{}', 'data', 'x', 'trades', 'r', now(), now(), 'held'),
          (gen_random_uuid(), 'trades', '{}', 'data', 'x', 'trades', 'r', now(), now(), 'retried');
      insert into health_hours (hour, known_minutes, up_minutes, breaker_open_minutes, calls, failed, latency, connect_latency, database_bytes)
        select day + hour * interval '1 hour', 60, 60, 0, 0, 0, '{}', '{}', bytes
        from (values (0, 100), (12, 200), (23, null)) h(hour, bytes), (values (date_trunc('day', now(), 'UTC') - interval '2 days')) d(day);
      delete from migrations where name = '0002_exactly-once-and-quarantine'`)
    const [{ day } = { day: '' }] = await admin.sql<{ day: string }>(`select ((now() at time zone 'UTC')::date - 2)::text as day`)
    expect(await look()).toEqual({
      migrationsPending: ['0002_exactly-once-and-quarantine'],
      quarantined: 1,
      openGaps: 1,
      dailyBytes: [{ day, bytes: 200 }],
    })
  })
})

describe('the numbers of the server', () => {
  it('grow with what happens in the database', async () => {
    const { url, withDatabase } = await ownDatabase()
    const counters = async (): Promise<Vitals['counters']> => vitalsOf(await lookAt(url)).counters
    const before = await counters()
    await withDatabase('begin; rollback; begin; rollback')
    await vi.waitUntil(async () => (await counters()).rollbacks >= before.rollbacks + 2, { timeout: 5_000, interval: 50 })
    expect(before).toMatchObject({ deadlocks: 0, statsResetAtMs: null, sessionsAbandoned: 0 })
    expect((await counters()).commits).toBeGreaterThan(before.commits)
  })
})
