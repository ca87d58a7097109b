// The functions as Lambda calls them, on real SDK clients: DynamoDB is dynalite, SNS, SQS, SSM, CloudWatch and Lambda are the strict fake,
// Postgres is real behind a fault proxy, the API is the simulator. Each test is a stage of its own, in a container of its own.

import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type FaultProxy, startFaultProxy } from '../../cli/local/fault-proxy.ts'
import { type GeckoSimulator, startGeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { systemClock } from '../../shared/clock.ts'
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
  aws.parameters.set(stageNames(stage).databaseUrlParameter, proxy.url(databaseUrl()))
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
    DATABASE_URL_PARAMETER: stageNames(stage).databaseUrlParameter,
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

  it('an outage: rows are parked, the health check is called, one alert and one recovery go out, and every row is stored', async () => {
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

    expect(await health()).toMatchObject({ status: 'critical', parked: 2 })
    await health()
    expect(aws.published.map((p) => [p.subject, p.attributes['severity']])).toEqual([
      [`[CRITICAL] tokay-${stage}: database unreachable`, 'critical'],
    ])
    expect(aws.metrics).toEqual([
      { namespace: `Tokay/${stage}`, name: 'DatabaseAvailable', value: 0, unit: 'Count' },
      { namespace: `Tokay/${stage}`, name: 'DatabaseAvailable', value: 0, unit: 'Count' },
    ])

    await proxy.mode({ kind: 'pass' })
    expect(await replay({}, context)).toMatchObject({ replayed: 2, setAside: 0, left: 0 })
    expect(await storedPools()).toEqual(servedPools())
    expect(await health()).toMatchObject({ status: 'healthy', parked: 0 })
    expect(aws.published[1]?.subject).toMatch(/^\[RECOVERED\]/)
    expect(aws.published).toHaveLength(2)
  })

  it('a secret that was never stored is told of, with the command that stores it', async () => {
    aws.parameters.clear()
    const { health } = await container()

    expect(await health()).toMatchObject({ status: 'critical', databaseMs: null })
    expect(aws.published[0]?.message['email']).toContain(`aws ssm put-parameter --type SecureString --name /tokay/${stage}/database-url`)
  })

  it('the heartbeat alarm listens to the metric that the health check publishes', async () => {
    const { health } = await container()
    await health()
    const [[, alarm] = []] = synthesise({ alertEmail: 'you@example.com', stage }).ofType('AWS::CloudWatch::Alarm')
    const runs = alarm?.Properties['Metrics'].find((m: { Id: string }) => m.Id === 'runs')

    expect(aws.metrics).toMatchObject([{ namespace: runs.MetricStat.Metric.Namespace, name: runs.MetricStat.Metric.MetricName }])
  })

  it('an event that names no collector is refused before anything is fetched', async () => {
    const { collect } = await container()

    await expect(collect({ collector: 'pools' }, context)).rejects.toThrow('collector')
    expect(gecko.served.requests()).toEqual({})
  })
})
