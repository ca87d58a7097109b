// The bundles as Lambda runs them: processes that start cold, stay warm, run beside each other, and say no secret.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { bundleAll, type Bundles } from '../support/bundles.ts'
import { outageOfMany } from '../support/local-outage.ts'
import { startLocalStage, type LocalStage, type LocalStageOptions } from '../support/local-stage.ts'
import { databaseUrl } from '../support/postgres.ts'

let bundles: Bundles
let stage: LocalStage

beforeAll(async () => {
  bundles = await bundleAll()
})
// fails when a function has told a secret
afterEach(() => stage.close())
afterAll(() => bundles.remove())

async function deploy(options: Omit<LocalStageOptions, 'bundles' | 'databaseUrl'> = {}): Promise<LocalStage> {
  stage = await startLocalStage({ bundles, databaseUrl: databaseUrl(), ...options })
  return stage
}
const tick = (collector: string, hour = 6) => ({ collector, scheduledAt: `2025-09-15T0${hour}:45:00Z` })

describe('the functions in the local Lambda', () => {
  it('each one starts cold and works, and the next event finds it warm', async () => {
    const { functions, compare } = await deploy()
    const { collect, replay, health, migrate, maintain } = functions

    const migrated = await migrate.invoke()
    expect(migrated).toMatchObject({ initMs: expect.any(Number), payload: { applied: expect.arrayContaining([expect.any(String)]) } })
    expect(await maintain.invoke()).toMatchObject({ initMs: expect.any(Number), payload: expect.any(Object) })

    const cold = await collect.invoke(tick('top-pools'))
    expect(cold).toMatchObject({
      initMs: expect.any(Number),
      payload: { kind: 'ran', outcome: 'complete', counts: { fetched: 20, parked: 0 } },
    })
    const warm = await collect.invoke(tick('trades'))
    expect(warm).toMatchObject({ pid: cold.pid, initMs: undefined, payload: { kind: 'ran', outcome: 'complete' } })

    expect(await replay.invoke()).toMatchObject({ payload: { replayed: 0, left: 0 } })
    expect(await health.invoke()).toMatchObject({ payload: { status: expect.any(String) } })
    const { served, stored, differences } = await compare()
    expect(differences).toEqual([])
    expect(stored).toBe(served)
    expect(served).toBeGreaterThan(500)
  })

  it('a tick that is delivered to four instances at once runs in one of them', async () => {
    const { functions, gecko } = await deploy()
    await functions.migrate.invoke()
    const outcomes = await Promise.all([1, 2, 3, 4].map(async (n) => functions.collect.invoke(tick('new-pools', n))))

    expect(new Set(outcomes.map(({ pid }) => pid)).size).toBe(4)
    expect(outcomes.map((outcome) => ('payload' in outcome ? (outcome.payload as { kind: string }).kind : 'failed')).toSorted()).toEqual([
      'ran',
      'skipped',
      'skipped',
      'skipped',
    ])
    expect(gecko.served.pools().size).toBeLessThanOrEqual(200)
  })

  it.each([
    ['a password that the database refuses', (url: string) => changedUrl(url, { password: 'wr0ng-and-secret' })],
    ['a database that is not there', (url: string) => changedUrl(url, { pathname: '/nowhere' })],
    ['a server that is not there', (url: string) => changedUrl(url, { port: '1', password: 'pass-and-secret' })],
    ['something that is no URL', () => 'host=db.example.com password=wr0ng-and-secret'],
    ['a server that has no TLS', (url: string) => `${url}&sslmode=require`],
  ])('with %s nothing is lost, the migration says what is wrong, and the secret is nowhere', async (_name, secret) => {
    const { functions } = await deploy({ secret })
    const [collected, migrated] = await Promise.all([functions.collect.invoke(tick('top-pools')), functions.migrate.invoke()])

    expect(collected).toMatchObject({ payload: { kind: 'ran', counts: { fetched: 20, parked: 20 } } })
    expect(migrated).toMatchObject({
      failed: { errorType: expect.stringMatching(/^(DatabaseError|ConfigError)$/), errorMessage: expect.any(String) },
    })
  })

  it('a health check that can not log in tells of it without the secret', async () => {
    const { functions, aws } = await deploy({ secret: (url) => changedUrl(url, { password: 'wr0ng-and-secret' }) })

    expect(await functions.health.invoke()).toMatchObject({ payload: { status: 'CRITICAL' } })
    expect(aws.published).toHaveLength(1)
  })

  it('six instances without a database: one connection a lease, everything is parked, and afterwards every row is stored once', async () => {
    const { functions, compare } = await deploy({ timeoutMs: { 'replay-parked': 9_000 } })
    await functions.migrate.invoke()
    const outage = await outageOfMany(stage, { collects: 6, replays: 3 })

    expect(outage).toMatchObject({ ticked: { ran: 4, skipped: 2 }, circuitsOpened: 1, failed: [] })
    expect(outage.probes).toBeGreaterThan(1)
    expect(outage.connections).toBe(outage.probes)
    expect(outage.waiting).toBeGreaterThan(0)
    expect(outage.replayed).toBe(outage.waiting)
    const { served, stored, differences } = await compare()
    expect(differences).toEqual([])
    expect(stored).toBe(served)
  })

  it('an event that names no collector is refused by name, and the instance lives on', async () => {
    const { functions } = await deploy()
    const refused = await functions.collect.invoke({ collector: 'pools' })

    expect(refused).toMatchObject({ failed: { errorMessage: expect.stringContaining('top-pools') } })
    expect(await functions.collect.invoke({ collector: 'top-pools', dryRun: true })).toMatchObject({
      pid: refused.pid,
      payload: { kind: 'ran' },
    })
  })
})

const changedUrl = (url: string, parts: Partial<Pick<URL, 'password' | 'port' | 'pathname'>>) => Object.assign(new URL(url), parts).href
