// The resilient client over Neon's HTTPS, where nobody but the tables can say what became of a lost answer.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startFaultProxy, type CutHow, type Direction, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { startNeonServer, type NeonServer } from '../../cli/local/neon-server.ts'
import type { Clock } from '../../shared/clock.ts'
import { systemClock } from '../../shared/clock.ts'
import type { AttemptLimits, Database, Statement } from '../../shared/db/database.ts'
import { batchIdOf } from '../../shared/db/ledger.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createNeonDatabase } from '../../shared/db/neon-database.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { AmbiguousOutcomeError, CircuitOpenError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { pgOptions } from '../support/pg-options.ts'
import { createSchema, databaseUrl, postgresAddress, type TestSchema } from '../support/postgres.ts'
import { rejection } from '../support/provoke.ts'

const limits: AttemptLimits = { attemptForMs: 5_000, statementForMs: 4_000, lockForMs: 1_500 }
const countUp: Statement = { name: 'count_up', text: 'update counter set n = n + 1 returning n', values: [] }
const batch = (n: number) => ({ batchId: batchIdOf({ source: 'test', atMs: 0, content: n }), rows: 1 })

let schema: TestSchema
let server: NeonServer
let proxy: FaultProxy
let database: Database

/** With a breaker and a retry budget of its own; `random` 0: no back-off. */
function client(clock: Clock = systemClock) {
  const chance = { clock, random: () => 0, log: silentLog }
  const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
  const breaker = createBreaker({ ...chance, scope: 'database', key: 'b', table: createMemoryStateTable(), rules, viewForMs: 0 })
  const retry = { attempts: 3, baseMs: 500, capMs: 5_000 }
  const resilient = createResilientDatabase({ ...chance, database, breaker, rules: retry, limits, reserveMs: 0 })
  const deadline = () => ({ deadlineAtMs: clock.nowMs() + 30_000 })
  return {
    resilient,
    breaker,
    once: (n: number) => resilient.exactlyOnce(batch(n), [countUp], deadline()),
    unguarded: () => resilient.transaction([countUp], deadline()),
    read: (mayProbe = false) =>
      resilient.query({ name: 'read', text: 'select n from counter', values: [] }, { ...deadline(), repeat: 'idempotent', mayProbe }),
  }
}

const counted = async () => (await schema.sql<{ n: number }>('select n from counter'))[0]?.n ?? Number.NaN
/** Opens the connection, so that a cut falls into the request. */
const warm = () => database.query({ name: 'warm', text: 'select 1', values: [] }, limits)

beforeAll(async () => {
  server = await startNeonServer({ target: postgresAddress() })
})
afterAll(() => server.close())
beforeEach(async () => {
  schema = await createSchema('neon_once')
  await migrate({ url: databaseUrl(), schema: schema.name, connectForMs: 10_000 })
  await schema.sql('create table counter (n int not null); insert into counter values (0)')
  proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } })
  database = createNeonDatabase({ ...pgOptions, url: proxy.url(databaseUrl()), schema: schema.name })
})
afterEach(async () => {
  await proxy.mode({ kind: 'reset' })
  await database.end()
  await proxy.close()
  await schema.drop()
})

describe("over Neon's HTTPS", () => {
  it('of ten calls at once for one batch one applies it', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => client().once(1)))
    expect(all.map(({ applied }) => applied).toSorted()).toEqual([...Array.from({ length: 9 }, () => 'already'), 'now'])
    expect(await counted()).toBe(1)
  })

  it('a batch whose answer was lost is found in the ledger, and the counter has not moved twice', async () => {
    const { once, resilient } = client()
    await warm()
    await proxy.mode({ kind: 'drop-answer', containing: 'HTTP/1.1 200', how: 'rst' })
    expect(await once(1)).toEqual({ applied: 'already' })
    expect(await counted()).toBe(1)
    expect(resilient.counters()).toMatchObject({ calls: 1, succeeded: 1, attempts: 2, failures: { connection: 1 } })
    expect(resilient.counters().connections).toMatchObject({ connected: 2, discarded: 1, lost: 1 })
  })

  it('a transaction that nobody calls idempotent is not made again when its answer was lost', async () => {
    const { unguarded, resilient } = client()
    await warm()
    await proxy.mode({ kind: 'drop-answer', containing: 'HTTP/1.1 200', how: 'rst' })
    const error = await rejection(unguarded())
    expect(error).toBeInstanceOf(AmbiguousOutcomeError)
    expect(error).toMatchObject({ statement: 'count_up', cause: { name: 'DatabaseError', applied: 'unknown' } })
    expect(resilient.counters()).toMatchObject({ attempts: 1, retries: 0 })
    expect(await counted()).toBe(1)
  })

  it.each([
    ['a batch is applied exactly once', 'once', ['now, applied 1', 'already, applied 1']],
    [
      'a transaction that nobody calls idempotent is never applied twice',
      'unguarded',
      ['now, applied 1', 'ambiguous, applied 1', 'ambiguous, applied 0'],
    ],
  ] as const)('cut anywhere in either direction, by FIN or RST, %s', async (_what, call, possible) => {
    const found: { at: string; verdict: string }[] = []
    let n = 0
    for (const direction of ['to-server', 'to-client'] satisfies Direction[]) {
      for (const how of ['fin', 'rst'] satisfies CutHow[]) {
        for (let afterBytes = 0; ; afterBytes += direction === 'to-server' ? 211 : 89) {
          const { once, unguarded } = client()
          await warm()
          const [cuts, before] = [proxy.cuts, await counted()]
          await proxy.mode({ kind: 'cut', direction, afterBytes, how })
          const run = call === 'once' ? once(++n).then(({ applied }) => applied) : unguarded().then(() => 'now')
          const said = await run.catch((error: unknown) => (error instanceof AmbiguousOutcomeError ? 'ambiguous' : String(error)))
          await proxy.mode({ kind: 'pass' })
          found.push({ at: `${direction} ${how} ${afterBytes}`, verdict: `${said}, applied ${(await counted()) - before}` })
          if (proxy.cuts === cuts) break
        }
      }
    }
    expect(found.filter(({ verdict }) => !possible.some((one) => one === verdict))).toEqual([])
    // else the sweep has not met the case it is for: committed, and the client could not know
    for (const verdict of possible) expect([verdict, found.filter((one) => one.verdict === verdict).length > 2]).toEqual([verdict, true])
  })

  it('the circuit opens when nobody is there, nothing is sent while it is open, and one request closes it', async () => {
    const clock = createFakeClock()
    const { read, breaker } = client(clock)
    await read()
    await proxy.mode({ kind: 'refuse' })
    await rejection(read())
    expect((await breaker.view()).state).toBe('open')
    await proxy.mode({ kind: 'pass' })
    const before = server.requests
    for (let i = 0; i < 5; i++) expect(await rejection(read())).toBeInstanceOf(CircuitOpenError)
    expect(server.requests).toBe(before)
    clock.advance(5_000)
    const probes = await Promise.allSettled(Array.from({ length: 5 }, () => read(true)))
    expect(probes.filter((probe) => probe.status === 'fulfilled')).toHaveLength(1)
    expect(server.requests).toBe(before + 1)
    expect((await breaker.view()).state).toBe('closed')
  })
})
