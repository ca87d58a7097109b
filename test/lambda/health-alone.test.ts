// The health check of a stack without collectors, on a Postgres that knows nothing of Tokay: there is no queue, and no environment names one.

import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { metricNames } from '../../shared/names.ts'
import { synthesise } from '../infra/synth.ts'
import { startDynamodb } from '../support/dynamodb.ts'
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts'
import { databaseUrl } from '../support/postgres.ts'

let dynamodb: Awaited<ReturnType<typeof startDynamodb>>
let aws: FakeAws
let stage: string

beforeEach(async () => {
  for (const level of ['info', 'warn', 'error'] as const) vi.spyOn(console, level).mockImplementation(() => {})
  dynamodb = await startDynamodb()
  aws = await startFakeAws()
  stage = `t${randomBytes(4).toString('hex')}`
  aws.parameters.set(`/tokay/${stage}/database-url`, databaseUrl())
  const [[, fn] = []] = synthesise({ alertEmail: 'you@example.com', collectors: 'none', stage }).ofType('AWS::Lambda::Function')
  const environment = {
    ...fn?.Properties['Environment'].Variables,
    STATE_TABLE: await dynamodb.createTable(),
    ALERT_TOPIC_ARN: 'arn:aws:sns:us-east-1:123456789012:tokay-alerts',
    AWS_ENDPOINT_URL: aws.target.endpoint,
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb.target.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
  }
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value as string)
  vi.resetModules()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  await aws.close()
  await dynamodb.close()
})

it('looks, publishes what it sees, and asks for no queue', { timeout: 60_000 }, async () => {
  const { handler } = await import('../../functions/health-check.ts')
  const report = await handler()

  expect(report.status).not.toBe('CRITICAL')
  const published = new Set(aws.metrics.map((metric) => metric.name))
  expect(metricNames.filter((name) => published.has(name))).toEqual(expect.arrayContaining(['Heartbeat', 'HealthStatus', 'QueryLatency']))
  expect(aws.published).toEqual([])
  expect(aws.requests.filter((request) => request.startsWith('sqs '))).toEqual([])
})
