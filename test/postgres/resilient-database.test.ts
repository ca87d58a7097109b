import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startFaultProxy, type CutHow, type Direction, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { systemClock, type Clock } from '../../shared/clock.ts'
import type { Database, Statement } from '../../shared/db/database.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { CircuitOpenError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createSchema, databaseUrl, postgresAddress, type TestSchema } from '../support/postgres.ts'
import { pgOptions } from '../support/pg-options.ts'

const limits = { attemptForMs: 5_000, statementForMs: 4_000, lockForMs: 1_500 }

/** Idempotent by its key. `changes` gets a row each time that one comes in; the answer has it, too, if it was this attempt's doing. */
const upsert = (id: number): Statement => ({
  name: 'upsert',
  text: `with w as (insert into items (id) values ($1::int) on conflict do nothing returning id) insert into changes select id from w returning id`,
  values: [id],
})

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error,
  )

let schema: TestSchema
let proxy: FaultProxy
let database: Database

function resilient(clock: Clock = systemClock) {
  const random = () => 0
  const breaker = createBreaker({
    scope: 'database',
    key: 'breaker:database',
    table: createMemoryStateTable(),
    rules: { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 },
    clock,
    random,
    log: silentLog,
    viewForMs: 0,
  })
  const rules = { attempts: 3, baseMs: 500, capMs: 5_000 }
  const client = createResilientDatabase({ database, breaker, rules, limits, clock, random, log: silentLog })
  const write = (id: number, mayProbe = false) =>
    client.transaction([upsert(id)], { deadlineAtMs: clock.nowMs() + 55_000, mayProbe, repeat: 'idempotent' })
  return { client, breaker, write }
}

/** Ids that came in, one for each time. */
const changes = async () => (await schema.sql<{ id: number }>('select id from changes order by id')).map((row) => row.id)

beforeEach(async () => {
  schema = await createSchema('resilient')
  await schema.sql('create table items (id int primary key); create table changes (id int)')
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

describe('the resilient database on a real server', () => {
  it('opens the circuit when the server is down, opens no socket while it is open, and closes it with one probe', async () => {
    const clock = createFakeClock()
    const { client, write, breaker } = resilient(clock)
    await write(1)
    await proxy.mode({ kind: 'refuse' })
    expect(await failureOf(write(2))).toMatchObject({ errno: expect.stringMatching(/ECONNREFUSED|ECONNRESET/) as string })
    expect((await breaker.view()).state).toBe('open')
    // the server is back, and nobody goes there
    await proxy.mode({ kind: 'pass' })
    const accepted = proxy.accepted
    for (let id = 2; id < 12; id++) expect(await failureOf(write(id))).toBeInstanceOf(CircuitOpenError)
    expect(proxy.accepted).toBe(accepted)
    // each by itself: a probe is due, one of ten who may gets it
    clock.advance(5_000)
    const probes = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => write(20 + i, true)))
    expect(probes.filter((p) => p.status === 'fulfilled')).toHaveLength(1)
    expect(proxy.accepted).toBe(accepted + 1)
    expect((await breaker.view()).state).toBe('closed')
    await write(3)
    expect(client.counters()).toMatchObject({ calls: 23, succeeded: 3, refused: 19, failures: { connection: 3 } })
  })

  it('a row that the server refuses reaches the caller once, and the others are not retried', async () => {
    const { client } = resilient()
    const bad: Statement = { name: 'bad', text: 'insert into items select * from unnest($1::int[])', values: [[1, 2, 1]] }
    const error = await failureOf(client.transaction([bad], { deadlineAtMs: Date.now() + 55_000 }))
    expect(error).toMatchObject({ name: 'DatabaseError', statement: 'bad', sqlState: '23505', applied: 'refused' })
    expect(client.counters()).toMatchObject({ attempts: 1, retries: 0, failures: { data: 1 } })
  })

  it('a commit whose answer was lost is made again and changes nothing', async () => {
    const { client, write } = resilient()
    await write(1)
    await proxy.mode({ kind: 'drop-answer', containing: 'COMMIT', how: 'rst' })
    await write(2)
    expect(proxy.cuts).toBe(1)
    expect(client.counters()).toMatchObject({ calls: 2, attempts: 3, retries: 1 })
    expect(await changes()).toEqual([1, 2])
  })

  it('cut anywhere in either direction, by FIN or RST, one retry of an idempotent write leaves it in exactly once', async () => {
    // a prime, so that the cuts fall into every kind of message
    const everyBytes = 47
    let id = 0
    let appliedUnknown = 0
    for (const direction of ['to-server', 'to-client'] satisfies Direction[]) {
      for (const how of ['fin', 'rst'] satisfies CutHow[]) {
        for (let afterBytes = 0; ; afterBytes += everyBytes) {
          // each cut its own breaker and budget; a warm connection, so that the cut falls into the pipeline
          const { client, write } = resilient()
          await write(id++)
          const cuts = proxy.cuts
          await proxy.mode({ kind: 'cut', direction, afterBytes, how })
          const [cameIn] = await write(id)
          await proxy.mode({ kind: 'pass' })
          if (proxy.cuts === cuts) break
          expect([direction, how, afterBytes, client.counters().retries]).toEqual([direction, how, afterBytes, 1])
          if (cameIn?.length === 0) appliedUnknown++
          id++
        }
        id++
      }
    }
    const all = await changes()
    expect(proxy.cuts).toBeGreaterThan(60)
    expect(all).toEqual([...new Set(all)])
    expect(all.length).toBe(id)
    // else the sweep has not met the case it is for: committed, and the client could not know
    expect(appliedUnknown).toBeGreaterThan(0)
  })
})
