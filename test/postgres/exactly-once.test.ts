// Users' own statements that are not idempotent, on a real server: a counter goes up by one for each batch, whatever is cut.

import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startFaultProxy, type CutHow, type Direction, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { systemClock } from '../../shared/clock.ts'
import type { AttemptLimits, Database, DatabaseError, Statement } from '../../shared/db/database.ts'
import { batchIdOf, enterLedger } from '../../shared/db/ledger.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { AmbiguousOutcomeError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { createSchema, databaseUrl, postgresAddress, type TestSchema } from '../support/postgres.ts'
import { pgOptions } from '../support/pg-options.ts'

const limits: AttemptLimits = { attemptForMs: 5_000, statementForMs: 4_000, lockForMs: 1_500 }
const countUp: Statement = { name: 'count_up', text: 'update counter set n = n + 1 returning n', values: [] }
const note = (id: number): Statement => ({ name: 'note', text: 'insert into notes values ($1::int)', values: [id] })
const batch = (n: number) => ({ batchId: batchIdOf({ source: 'test', atMs: 0, content: n }), rows: 1 })

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error as DatabaseError,
  )

let schema: TestSchema
let proxy: FaultProxy
let database: Database

/** With a breaker and a retry budget of its own; `random` 0: no back-off. */
function client(more: { limits?: AttemptLimits; attempts?: number } = {}) {
  const chance = { clock: systemClock, random: () => 0, log: silentLog }
  const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
  const breaker = createBreaker({ ...chance, scope: 'database', key: 'b', table: createMemoryStateTable(), rules, viewForMs: 0 })
  const retry = { attempts: more.attempts ?? 3, baseMs: 500, capMs: 5_000 }
  const resilient = createResilientDatabase({ ...chance, database, breaker, rules: retry, limits: more.limits ?? limits, reserveMs: 0 })
  const deadline = () => ({ deadlineAtMs: Date.now() + 30_000 })
  return {
    resilient,
    breaker,
    once: (n: number, statements: readonly Statement[] = [countUp]) => resilient.exactlyOnce(batch(n), statements, deadline()),
    unguarded: (statements: readonly Statement[] = [countUp]) => resilient.transaction(statements, deadline()),
  }
}

const counted = async () => (await schema.sql<{ n: number }>('select n from counter'))[0]?.n
const entries = async () => (await schema.sql<{ n: number }>('select count(*)::int as n from ledger'))[0]?.n
/** Opens the connection, so that a cut falls into the transaction. */
const warm = () => database.query({ name: 'warm', text: 'select 1', values: [] }, limits)

beforeEach(async () => {
  schema = await createSchema('once')
  await migrate({ url: databaseUrl(), schema: schema.name, connectForMs: 10_000 })
  await schema.sql('create table counter (n int not null); insert into counter values (0); create table notes (id int primary key)')
  proxy = await startFaultProxy({ target: postgresAddress() })
  database = createPgDatabase({
    url: proxy.url(databaseUrl()),
    schema: schema.name,
    ...pgOptions,
  })
})
afterEach(async () => {
  await proxy.mode({ kind: 'reset' })
  await database.end()
  await proxy.close()
  await schema.drop()
})

describe('exactlyOnce', () => {
  it('applies a batch, answers its rows, and a second call for the same batch changes nothing and says so', async () => {
    const { once, resilient } = client()
    expect(await once(1, [countUp, note(1)])).toEqual({ applied: 'now', answers: [[{ n: 1 }], []] })
    expect(await once(1, [countUp, note(1)])).toEqual({ applied: 'already' })
    expect(await counted()).toBe(1)
    // the second call was answered: neither a failure nor a retry
    expect(resilient.counters()).toMatchObject({ calls: 2, succeeded: 2, attempts: 2, retries: 0, failures: {} })
  })

  it('takes each chunk of a batch for itself', async () => {
    const { resilient } = client()
    const options = { deadlineAtMs: Date.now() + 30_000 }
    const chunk = (n: number) => resilient.exactlyOnce({ ...batch(1), chunk: n }, [countUp], options)
    expect([(await chunk(0)).applied, (await chunk(1)).applied, (await chunk(0)).applied]).toEqual(['now', 'now', 'already'])
    expect(await counted()).toBe(2)
  })

  it('enters nothing for a batch with a refused statement: it may come again, corrected', async () => {
    const { once } = client()
    await once(1, [note(7)])
    expect(await failureOf(once(2, [countUp, note(7)]))).toMatchObject({ statement: 'note', sqlState: '23505', applied: 'refused' })
    expect([await counted(), await entries()]).toEqual([0, 1])
    expect(await once(2, [countUp, note(8)])).toMatchObject({ applied: 'now' })
  })

  it('of ten calls at once for one batch one applies it', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => client().once(1)))
    expect(all.map(({ applied }) => applied).toSorted()).toEqual([...Array.from({ length: 9 }, () => 'already'), 'now'])
    expect(await counted()).toBe(1)
  })

  it('a commit whose answer was lost is found in the ledger, and the counter has not moved twice', async () => {
    const { once, resilient } = client()
    await warm()
    await proxy.mode({ kind: 'drop-answer', containing: 'COMMIT', how: 'rst' })
    expect(await once(1)).toEqual({ applied: 'already' })
    expect(proxy.cuts).toBe(1)
    expect(await counted()).toBe(1)
    expect(resilient.counters()).toMatchObject({ calls: 1, succeeded: 1, attempts: 2, failures: { connection: 1 } })
  })

  it('cut anywhere in either direction, by FIN or RST, it is applied exactly once', async () => {
    const seen = { now: 0, already: 0 }
    let id = 0
    for (const direction of ['to-server', 'to-client'] satisfies Direction[]) {
      for (const how of ['fin', 'rst'] satisfies CutHow[]) {
        for (let afterBytes = 0; ; afterBytes += 37) {
          const { once } = client()
          await warm()
          const cuts = proxy.cuts
          await proxy.mode({ kind: 'cut', direction, afterBytes, how })
          seen[(await once(++id)).applied]++
          await proxy.mode({ kind: 'pass' })
          expect([direction, how, afterBytes, await counted()]).toEqual([direction, how, afterBytes, id])
          if (proxy.cuts === cuts) break
        }
      }
    }
    expect(await entries()).toBe(id)
    expect(seen.now).toBeGreaterThan(60)
    // else the sweep has not met the case it is for: committed, and the client could not know
    expect(seen.already).toBeGreaterThan(0)
  }, 60_000)

  it.each([
    ['commits', 'commit', { applied: 'already' }],
    ['is rolled back', 'rollback', { applied: 'now', answers: [[{ n: 1 }]] }],
  ])(
    'waits for its own earlier attempt that still runs, until that %s: no contention, and no breaker counts it',
    async (_what, end, outcome) => {
      await schema.sql(
        `begin; set local tokay.in_transaction = 'yes'; select enter_ledger('${batch(1).batchId}', 0, 1); update counter set n = n + 1`,
      )
      const { once, resilient, breaker } = client({ limits: { ...limits, lockForMs: 150 } })
      const running = once(1)
      await vi.waitUntil(() => resilient.counters().failures['earlier-attempt'] === 2, { timeout: 10_000 })
      await schema.sql(end)
      expect(await running).toEqual(outcome)
      expect(await counted()).toBe(1)
      expect(resilient.counters()).toMatchObject({ calls: 1, succeeded: 1, failures: { 'earlier-attempt': 2 } })
      expect((await breaker.view()).state).toBe('closed')
    },
  )

  it('enters nothing outside a transaction: a BEGIN that failed alone would leave the entry, and keep the rows out for ever', async () => {
    const { text, values } = enterLedger(batch(1))
    await expect(schema.sql(text, values as unknown[])).rejects.toMatchObject({ code: '25P01' })
    expect(await entries()).toBe(0)
  })

  it('keeps the transaction that entered a batch, for whoever has to look', async () => {
    await client().once(1)
    expect(await schema.sql('select chunk, rows, pg_xact_status(applied_in) as status from ledger')).toEqual([
      { chunk: 0, rows: 1, status: 'committed' },
    ])
  })

  it('of a schema that is behind says what is missing, and nothing is applied', async () => {
    await schema.sql('drop function enter_ledger')
    expect(await failureOf(client().once(1))).toMatchObject({ statement: 'enter_ledger', sqlState: '42883', applied: 'refused' })
    expect(await counted()).toBe(0)
  })
})

describe('a transaction that nobody calls idempotent', () => {
  it('sends COMMIT only behind good answers: behind a refused statement it sends ROLLBACK', async () => {
    const sent = spyOnTexts()
    await expect(client().unguarded([countUp, note(1), { ...note(2), text: 'select $1::int / 0' }])).rejects.toMatchObject({
      sqlState: '22012',
      applied: 'refused',
    })
    expect(sent().filter((text) => /^(?:begin|commit|rollback)$/.test(text))).toEqual(['begin', 'rollback'])
    expect(await counted()).toBe(0)
  })

  it('keeps its connection after a refused statement, and nothing of the transaction stays on it', async () => {
    const { unguarded } = client()
    await failureOf(unguarded([countUp, { ...note(1), text: 'select $1::int / 0' }]))
    await unguarded()
    expect(await counted()).toBe(1)
    expect(database.connections?.()).toMatchObject({ connected: 1, discarded: 0 })
  })

  it('sends no statement behind a BEGIN that failed', async () => {
    const { unguarded } = client({ attempts: 1 })
    await warm()
    const query = Client.prototype.query as (...args: unknown[]) => Promise<unknown>
    const texts: unknown[] = []
    const spy = vi.spyOn(Client.prototype, 'query').mockImplementation(function (this: Client, ...args: unknown[]) {
      const [config] = args as [string | { text: string }]
      texts.push(typeof config === 'string' ? config : config.text)
      return query.apply(this, config === 'begin' ? ['begin isolation level nonsense'] : args)
    } as never)
    expect(await failureOf(unguarded())).toMatchObject({ statement: 'begin', sqlState: '42601', applied: 'refused' })
    spy.mockRestore()
    expect(texts).not.toContain(countUp.text)
    expect(await counted()).toBe(0)
  })

  it('whose COMMIT was lost is applied or not, and is not made again', async () => {
    const { unguarded, resilient } = client()
    await warm()
    await proxy.mode({ kind: 'drop-answer', containing: 'COMMIT', how: 'rst' })
    const error = await failureOf(unguarded())
    expect(error).toBeInstanceOf(AmbiguousOutcomeError)
    expect(error).toMatchObject({ statement: 'count_up', cause: { name: 'DatabaseError', applied: 'unknown' } })
    expect(resilient.counters()).toMatchObject({ attempts: 1, retries: 0 })
    expect(await counted()).toBe(1)
  })

  it('cut anywhere: never applied twice, and ambiguous only behind its COMMIT', async () => {
    const found: { at: string; verdict: string }[] = []
    for (const direction of ['to-server', 'to-client'] satisfies Direction[]) {
      for (const how of ['fin', 'rst'] satisfies CutHow[]) {
        for (let afterBytes = 0; ; afterBytes += 37) {
          const { unguarded } = client()
          await warm()
          const before = (await counted()) ?? 0
          const [cuts, sent] = [proxy.cuts, spyOnTexts()]
          await proxy.mode({ kind: 'cut', direction, afterBytes, how })
          const error = await failureOf(unguarded())
          await proxy.mode({ kind: 'pass' })
          const last = sent().at(-1)
          const times = ((await counted()) ?? 0) - before
          const said = error instanceof AmbiguousOutcomeError ? `ambiguous behind ${last}` : error.message
          found.push({ at: `${direction} ${how} ${afterBytes}`, verdict: `${said}, applied ${times} times` })
          if (proxy.cuts === cuts) break
        }
      }
    }
    const [sure, lost, lostBefore] = [
      'it succeeded, applied 1',
      'ambiguous behind commit, applied 1',
      'ambiguous behind commit, applied 0',
    ].map((verdict) => `${verdict} times`)
    expect(found.filter(({ verdict }) => ![sure, lost, lostBefore].includes(verdict))).toEqual([])
    expect(found.filter(({ verdict }) => verdict === sure).length).toBeGreaterThan(60)
    expect(found.filter(({ verdict }) => verdict === lost).length).toBeGreaterThan(0)
  }, 60_000)
})

/** The texts that are sent from now on; calling it ends the watch. */
function spyOnTexts(): () => string[] {
  const spy = vi.spyOn(Client.prototype, 'query')
  return () => {
    const texts = spy.mock.calls.map(([config]) => (typeof config === 'string' ? config : (config as unknown as { text: string }).text))
    spy.mockRestore()
    return texts
  }
}
