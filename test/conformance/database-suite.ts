// What the port `Database` promises, over any driver: one suite, run over each adapter on a real server.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AttemptOptions, Database, DatabaseError, Statement } from '../../shared/db/database.ts'
import { createSchema, type TestSchema } from '../support/postgres.ts'

const statement = (name: string, text: string, values: Statement['values'] = []): Statement => ({ name, text, values })
const insert = (id: number) => statement('insert', 'insert into items (id) values ($1::int)', [id])
const one = statement('one', 'select 1 as one')
const divideByZero = statement('divide', 'select 1 / $1::int', [0])

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error as DatabaseError,
  )

/** `open` makes a database whose transactions have this schema as their search_path, and opens no connection yet. */
export function databaseSuite(driver: string, open: (schema: string) => Database): void {
  let schema: TestSchema
  let database: Database

  beforeEach(async () => {
    schema = await createSchema('port')
    await schema.sql('create table items (id int primary key deferrable initially deferred)')
    database = open(schema.name)
  })
  afterEach(async () => {
    await database.end()
    await schema.drop()
  })

  const ids = async () => (await schema.sql<{ id: number }>('select id from items order by id')).map((row) => row.id)

  describe.each([
    ['in one round trip', {}],
    ['with its commit held', { holdCommit: true }],
  ])(`a transaction over ${driver}, %s`, (_how, how) => {
    const limits: AttemptOptions = { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500, ...how }

    it('answers one list of rows for each statement, with int8 and numeric as text and timestamptz as a Date', async () => {
      const answers = await database.transaction(
        [
          insert(1),
          statement('types', `select 9007199254740993::int8 as big, 0.10::numeric as exact, timestamptz '2026-01-01 00:00+00' as at`),
          statement('columns', 'select * from unnest($1::int[], $2::text[]) as t(a, b)', [
            [1, 2],
            ['x', null],
          ]),
        ],
        limits,
      )
      expect(answers).toEqual([
        [],
        [{ big: '9007199254740993', exact: '0.10', at: new Date('2026-01-01T00:00:00Z') }],
        [
          { a: 1, b: 'x' },
          { a: 2, b: null },
        ],
      ])
      expect(await ids()).toEqual([1])
    })

    it("has the attempt's timeouts, the schema and UTC in force, and says that it is a transaction", async () => {
      const settings = ['lock_timeout', 'statement_timeout', 'search_path', 'timezone', 'tokay.in_transaction']
      const text = `select ${settings.map((setting) => `current_setting('${setting}') as "${setting}"`).join(', ')}`
      const [row] = await database.query(statement('settings', text), { ...limits, statementForMs: 5_000, lockForMs: 700 })
      expect(row).toEqual({
        lock_timeout: '700ms',
        statement_timeout: '5s',
        search_path: `"${schema.name}"`,
        timezone: 'UTC',
        'tokay.in_transaction': 'yes',
      })
    })

    it('sends nothing of a list with a value that could not be encoded', async () => {
      const circular: unknown[] = []
      circular.push(circular)
      const bad = statement('bad', 'insert into items (id) values ($1)', circular as Statement['values'])
      await expect(database.transaction([insert(1), bad, insert(2)], limits)).rejects.toThrow(TypeError)
      expect(database.connections?.().connected ?? 0).toBe(0)
      expect(await ids()).toEqual([])
    })

    it('sends nothing of a list with a commit in it, and the server refuses one hidden behind another statement', async () => {
      await expect(database.transaction([insert(1), statement('split', 'commit'), divideByZero], limits)).rejects.toThrow(TypeError)
      const hidden = await failureOf(database.transaction([insert(1), statement('split', 'select 1; commit'), divideByZero], limits))
      expect(hidden).toMatchObject({ sqlState: '42601', applied: 'refused' })
      expect(await ids()).toEqual([])
    })

    it.each([
      ['a failing statement', divideByZero, '22012'],
      ['a syntax error', statement('typo', 'selekt 1'), '42601'],
      ['a missing table', statement('read', 'select from nowhere'), '42P01'],
      ['a lock that is held', statement('lock', 'lock table items in access exclusive mode'), '55P03'],
      ['a statement that takes too long', statement('sleep', 'select pg_sleep(10)'), '57014'],
      ['a violated constraint at the commit', insert(2), '23505'],
    ])('with %s is refused as a whole, and what comes next finds nothing of it', async (_what, failing, sqlState) => {
      const [isLock, isSlow] = [sqlState === '55P03', sqlState === '57014']
      if (isLock) await schema.sql('begin; lock table items in share mode')
      const tight = { ...limits, ...(isSlow ? { statementForMs: 600 } : {}), ...(isLock || isSlow ? { lockForMs: 300 } : {}) }
      const error = await failureOf(database.transaction([insert(2), failing, one], tight))
      if (isLock) await schema.sql('rollback')
      expect(error).toMatchObject({ name: 'DatabaseError', sqlState, severity: 'ERROR', applied: 'refused', errno: undefined })
      expect(await ids()).toEqual([])
      // neither an aborted transaction (25P02) nor an open one reaches the next user, nor any of its settings
      const text = `select pg_current_xact_id_if_assigned() is null as fresh, current_setting('statement_timeout') as statement`
      expect(await database.query(statement('next', text), { ...limits, statementForMs: 5_000 })).toEqual([
        { fresh: true, statement: '5s' },
      ])
      await database.query(insert(3), limits)
      expect(await ids()).toEqual([3])
    })

    it('does not quote a refused value in its message', async () => {
      const error = await failureOf(database.query(statement('cast', 'select $1::int', ['0xsecret']), limits))
      expect(error.message).toContain('the server refused a value (22P02)')
      expect(JSON.stringify(error)).not.toContain('0xsecret')
    })

    it('that meets a missing partition keeps the routine that tells it from a failed check', async () => {
      await schema.sql('create table days (at date) partition by range (at)')
      const error = await failureOf(database.query(statement('write', `insert into days values ('2026-01-01')`), limits))
      expect(error).toMatchObject({ sqlState: '23514', routine: 'ExecFindPartition' })
    })

    it('of several at once sees and is seen as one', async () => {
      const writers = Array.from({ length: 10 }, (_, n) => database.transaction([insert(2 * n), insert(2 * n + 1)], limits))
      await Promise.all(writers)
      expect(await ids()).toEqual(Array.from({ length: 20 }, (_, n) => n))
    })
  })

  it(`${driver} ends twice without harm, and refuses calls afterwards as never sent`, async () => {
    const limits = { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500 }
    await database.query(one, limits)
    await Promise.all([database.end(), database.end()])
    expect(await failureOf(database.query(one, limits))).toMatchObject({ name: 'DatabaseError', applied: 'not-sent' })
  })
}
