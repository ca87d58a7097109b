// The functions as Lambda calls them, on real SDK clients: DynamoDB is dynalite, SNS, SQS, SSM, CloudWatch and Lambda are the strict fake,
// Postgres is real behind a fault proxy, the API is the simulator. Each test is a stage of its own, in a container of its own.

import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type FaultProxy, startFaultProxy } from '../../cli/local/fault-proxy.ts'
import { type GeckoSimulator, startGeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { startNeonServer } from '../../cli/local/neon-server.ts'
import { systemClock } from '../../shared/clock.ts'
import { migrate as migrateSchema } from '../../shared/db/migrate.ts'
import { stageNames } from '../../shared/names.ts'
import { synthesise } from '../infra/synth.ts'
import { startDynamodb } from '../support/dynamodb.ts'
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts'
import { databaseUrl } from '../support/postgres.ts'

const context = { getRemainingTimeInMillis: () => 40_000 } as never
const silence = ['info', 'warn', 'error'] as const

let dynamodb: Awaited<ReturnType<typeof startDynamodb>>
let aws: FakeAws
let gecko: GeckoSimulator
let proxy: FaultProxy
let postgres: Client
let stage: string

beforeAll(async () => {
  dynamodb = await startDynamodb()
  postgres = new Client({ connectionString: databaseUrl() })
  await postgres.connect()
})
afterAll(async () => {
  await postgres.end()
  await dynamodb.close()
})

beforeEach(async () => {
  for (const level of silence) vi.spyOn(console, level).mockImplementation(() => {})
  aws = await startFakeAws()
  gecko = await startGeckoSimulator({ clock: systemClock, networks: ['solana'], limitPerMinute: 1_000 })
  const { hostname, port } = new URL(databaseUrl())
  proxy = await startFaultProxy({ target: { host: hostname, port: Number(port) } })
  stage = `t${randomBytes(4).toString('hex')}`
  aws.parameters.set(`/tokay/${stage}/database-url`, proxy.url(databaseUrl()))
  aws.subscriptions.push({ endpoint: 'ops@example.com', isConfirmed: true })
  for (const name of ['health-check', 'replay-parked']) aws.functions.add(`tokay-${stage}-${name}`)
  const settings = {
    stage,
    networks: ['solana'],
    gecko: { baseUrl: gecko.baseUrl, requestsPerMinute: 1_000 },
    retry: { baseMs: 1, capMs: 1 },
    breaker: { openForMs: 100, maxOpenForMs: 100 },
  }
  const environment = {
    AWS_ENDPOINT_URL: aws.target.endpoint,
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb.target.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
    TOKAY_SETTINGS: JSON.stringify(settings),
    STATE_TABLE: await dynamodb.createTable(),
    DATABASE_URL_PARAMETER: `/tokay/${stage}/database-url`,
    PARKED_QUEUE_URL: aws.addQueue('parked').url,
    DEAD_LETTERS_QUEUE_URL: aws.addQueue('dead-letters').url,
    ALERT_TOPIC_ARN: 'arn:aws:sns:us-east-1:123456789012:tokay-alerts',
    HEALTH_CHECK_FUNCTION: `tokay-${stage}-health-check`,
    REPLAY_FUNCTION: `tokay-${stage}-replay-parked`,
  }
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  vi.resetModules()
})
afterEach(async () => {
  await proxy.close()
  await gecko.close()
  await aws.close()
  await postgres.query(`set client_min_messages to warning; drop schema if exists ${stageNames(stage).schema} cascade`)
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

/** What a cold start loads. One test is one container: the modules are the same until the next test. */
async function container() {
  const [collect, replay, health, migrate, maintain] = await Promise.all([
    import('../../functions/collect.ts'),
    import('../../functions/replay-parked.ts'),
    import('../../functions/health-check.ts'),
    import('../../functions/migrate.ts'),
    import('../../functions/maintain.ts'),
  ])
  return { collect: collect.handler, replay: replay.handler, health: health.handler, migrate: migrate.handler, maintain: maintain.handler }
}

const storedPools = async () =>
  (await postgres.query(`select address from ${stageNames(stage).schema}.pools order by address collate "C"`)).rows.map((r) => r.address)
const servedPools = () => [...gecko.served.pools().values()].map((pool) => pool.address).toSorted()

describe('the functions', () => {
  it('a deploy migrates once, and the upkeep finds nothing left to do', async () => {
    const { migrate, maintain } = await container()

    expect((await migrate()).applied.length).toBeGreaterThan(0)
    expect(await maintain()).toEqual({ applied: [] })
  })

  it('a tick collects into Postgres, and the same tick delivered again does nothing', async () => {
    const { migrate, collect } = await container()
    await migrate()
    const tick = { collector: 'top-pools', scheduledAt: '2025-09-15T06:45:00Z' }

    expect(await collect(tick, context)).toMatchObject({ kind: 'ran', outcome: 'complete' })
    expect(await storedPools()).toEqual(servedPools())
    expect(await collect(tick, context)).toMatchObject({ kind: 'skipped' })
  })

  it('an outage: rows are parked, the health check is called and tells it once, and every row is stored', async () => {
    const { migrate, collect, replay, health } = await container()
    await migrate()
    await proxy.mode({ kind: 'refuse' })

    const outage = await collect({ collector: 'top-pools', scheduledAt: '2025-09-15T06:45:00Z' }, context)
    expect(outage).toMatchObject({ kind: 'ran', outcome: 'complete', counts: { fetched: 20, parked: 20 } })
    // somebody has to be told, and to look for the database's return
    const because = "the database's circuit has opened"
    expect(aws.invoked.toSorted((a, b) => a.functionName.localeCompare(b.functionName))).toEqual([
      { functionName: `tokay-${stage}-health-check`, event: { because } },
      { functionName: `tokay-${stage}-replay-parked`, event: { because } },
    ])

    expect(await health()).toMatchObject({ status: 'CRITICAL', metrics: { parked_batches: 2 } })
    await health()
    expect(aws.published.map((p) => [p.subject, p.attributes['severity']])).toEqual([
      [`[CRITICAL] tokay-${stage}: database unreachable`, 'critical'],
    ])
    expect(aws.metrics).toContainEqual({ namespace: `Tokay/${stage}`, name: 'Heartbeat', value: 1, unit: 'Count' })

    await proxy.mode({ kind: 'pass' })
    // with what the health check saw: its samples wait for the database as any other row does
    expect(await replay({}, context)).toMatchObject({ replayed: 4, setAside: 0, left: 0 })
    expect(await storedPools()).toEqual(servedPools())
    // five clear looks, 3 s apart, and the recovery is told
    const after = await health()
    expect(after.metrics).toMatchObject({ parked_batches: 0 })
    // a machine under load may be slow, which is a warning
    expect(after.checks.filter(({ severity }) => severity === 'critical')).toEqual([])
    expect(aws.published.slice(1).map((p) => p.subject)).toEqual([
      expect.stringMatching(/^\[RECOVERED\] tokay-\w+: database unreachable, over after \d+ s$/),
    ])
  })

  it("over Neon's driver rows are parked while its compute is away, the health check says what is wrong, and every row is stored", async () => {
    const neon = await startNeonServer({ target: { host: '127.0.0.1', port: proxy.port } })
    onTestFinished(() => neon.close())
    const settings = JSON.parse(process.env['TOKAY_SETTINGS'] ?? '') as object
    vi.stubEnv('TOKAY_SETTINGS', JSON.stringify({ ...settings, database: { driver: 'neon' } }))
    aws.parameters.set(`/tokay/${stage}/database-url`, neon.url(databaseUrl()))
    await migrateSchema({ url: databaseUrl(), schema: stageNames(stage).schema, connectForMs: 10_000 })
    const { collect, replay, health } = await container()
    await proxy.mode({ kind: 'refuse' })

    const outage = await collect({ collector: 'top-pools', scheduledAt: '2025-09-15T06:45:00Z' }, context)
    expect(outage).toMatchObject({ kind: 'ran', outcome: 'complete', counts: { fetched: 20, parked: 20 } })
    expect(await health()).toMatchObject({ status: 'CRITICAL', metrics: { parked_batches: 2 } })

    await proxy.mode({ kind: 'pass' })
    expect(await replay({}, context)).toMatchObject({ replayed: 3, setAside: 0, left: 0 })
    expect(await storedPools()).toEqual(servedPools())
  })

  it('a Lambda service that hangs as the circuit opens, and a queue that hangs once, do not cost the batch', async () => {
    const { migrate, collect } = await container()
    await migrate()
    await proxy.mode({ kind: 'refuse' })
    aws.failNext('lambda', 'hang', 4)
    aws.failNext('sqs', 'hang')
    const startedAtMs = performance.now()

    const outage = await collect({ collector: 'top-pools', scheduledAt: '2025-09-15T06:45:00Z' }, context)
    // 3.1 s and 1.5 s: within what an invocation keeps for parking
    expect(performance.now() - startedAtMs).toBeLessThan(15_000)
    expect(outage).toMatchObject({ kind: 'ran', outcome: 'complete', counts: { fetched: 20, parked: 20 } })
    expect(aws.invoked).toEqual([])
  })

  it('a secret that was never stored is told of, with the command that stores it', async () => {
    aws.parameters.clear()
    const { health } = await container()

    expect(await health()).toMatchObject({ status: 'CRITICAL', metrics: { connect_ms: null } })
    expect(aws.published[0]?.message['email']).toContain(`aws ssm put-parameter --type SecureString --name /tokay/${stage}/database-url`)
  })

  it('every own metric that an alarm reads is published by the health check, in the same namespace', async () => {
    const { migrate, health } = await container()
    await migrate()
    await health()
    const alarms = synthesise({ alertEmail: 'you@example.com', stage })
      .ofType('AWS::CloudWatch::Alarm')
      .map(([, a]) => a.Properties)
    const read = alarms.flatMap((a) =>
      a['MetricName'] ? [a] : a['Metrics'].flatMap((m: any) => (m.MetricStat ? [m.MetricStat.Metric] : [])),
    )
    const own = read.filter((m) => !m.Namespace.startsWith('AWS/'))

    expect(own.length).toBeGreaterThan(1)
    for (const { Namespace: namespace, MetricName: name } of own)
      expect(aws.metrics).toContainEqual(expect.objectContaining({ namespace, name }))
  })

  it('a report that is asked for publishes nothing and tells nobody; an event that asks for something else is refused in one sentence', async () => {
    await proxy.mode({ kind: 'refuse' })
    const { health } = await container()

    expect(await health({ tests: ['connectivity', 'performance'] })).toMatchObject({ status: 'CRITICAL' })
    expect([aws.published, aws.metrics]).toEqual([[], []])
    await expect(health({ tests: ['speed'] })).rejects.toThrow(
      /^the health check can't read its event \(tests\.0: .*\); send \{\} or \{"tests": \["connectivity", "performance"\]\}$/,
    )
    await expect(health({ test: [] })).rejects.toThrow("the health check can't read its event")
  })

  it('an event that names no collector is refused before anything is fetched', async () => {
    const { collect } = await container()

    await expect(collect({ collector: 'pools' }, context)).rejects.toThrow('collector')
    expect(gecko.served.requests()).toEqual({})
  })
})
