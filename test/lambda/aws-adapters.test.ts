// The AWS adapters over HTTP: the real SDK against a strict fake. What is proven here is what the SDK sends, what it makes of answers, and how long it waits.

import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { cloudwatchMetrics } from '../../shared/aws/cloudwatch-metrics.ts'
import { lambdaInvoker } from '../../shared/aws/function-invoker.ts'
import { snsNotifier } from '../../shared/aws/sns-notifier.ts'
import { snsReceivers } from '../../shared/aws/sns-receivers.ts'
import { ssmSecret } from '../../shared/aws/ssm-secret.ts'
import { systemClock } from '../../shared/clock.ts'
import { parseSettings } from '../../shared/config.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { createRotatingDatabase } from '../../shared/db/rotating-database.ts'
import { type LogEvent, silentLog } from '../../shared/log.ts'
import { putMetricData } from '../support/fake-aws-services.ts'
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts'
import { databaseUrl } from '../support/postgres.ts'

let aws: FakeAws
let logged: LogEvent[]
const log = { info: () => {}, warn: (event: LogEvent) => logged.push(event), error: (event: LogEvent) => logged.push(event) }

beforeEach(async () => {
  aws = await startFakeAws()
  logged = []
})
afterEach(() => aws.close())

describe('alerts through SNS', () => {
  const topicArn = 'arn:aws:sns:us-east-1:123456789012:tokay-dev-alerts'
  const notifier = () => snsNotifier({ topicArn, aws: aws.target })
  const alert = {
    subject: '[CRITICAL] tokay-dev db: does not answer #a1f3',
    email: 'The database has not answered since 06:46.',
    sms: 'CRIT tokay-dev: DB DOWN',
    severity: 'critical',
  } as const

  it('one publish carries the mail, the text message and the severity that the phone filters on', async () => {
    await notifier().publish(alert)

    expect(aws.requests).toEqual(['sns Publish'])
    expect(aws.published).toEqual([
      {
        topicArn,
        subject: '[CRITICAL] tokay-dev db: does not answer #a1f3',
        message: {
          default: 'The database has not answered since 06:46.',
          email: 'The database has not answered since 06:46.',
          sms: 'CRIT tokay-dev: DB DOWN',
        },
        attributes: { severity: 'critical', 'AWS.SNS.SMS.SMSType': 'Transactional' },
      },
    ])
  })

  it('emoji, line breaks and length in a subject do not cost the alert', async () => {
    await notifier().publish({ ...alert, subject: `🔴 database\nunreachable — ${'x'.repeat(200)}`, sms: 'DB down — 3 min' })

    expect(aws.published[0]?.subject).toBe(`? database unreachable - ${'x'.repeat(71)}...`)
    expect(aws.published[0]?.message['sms']).toBe('DB down - 3 min')
  })

  it('a mail with 100,000 rows of evidence is cut to what SNS takes', async () => {
    await notifier().publish({ ...alert, email: '池\n'.repeat(100_000) })

    expect(aws.published[0]?.message['email']).toHaveLength(20_011)
  })

  it.each(['throttle', 'error-500'] as const)('one %s is tried again', async (failure) => {
    aws.failNext('sns', failure)
    await notifier().publish(alert)

    expect(aws.published).toHaveLength(1)
    expect(aws.requests).toHaveLength(2)
  })

  it('an SNS that refuses twice makes an error that names the alert and the topic', async () => {
    aws.failNext('sns', 'throttle', 2)

    await expect(notifier().publish(alert)).rejects.toThrow(
      `publishing the alert "${alert.subject}" to SNS topic ${topicArn} failed: Throttling: Rate exceeded`,
    )
  })

  it('an SNS that never answers costs seconds, not the invocation', async () => {
    aws.failNext('sns', 'hang', 2)
    const startedAtMs = performance.now()

    await expect(notifier().publish(alert)).rejects.toThrow('TimeoutError')
    expect(performance.now() - startedAtMs).toBeLessThan(5_000)
    expect(aws.requests).toHaveLength(2)
  })
})

describe('the receivers of alerts', () => {
  const topicArn = 'arn:aws:sns:us-east-1:123456789012:tokay-dev-alerts'

  it('are counted, those who have not clicked the link of their mail apart', async () => {
    aws.subscriptions.push(
      { endpoint: 'you@example.com', isConfirmed: true },
      { endpoint: 'new@example.com', isConfirmed: false },
      { endpoint: '+15555550100', isConfirmed: true },
    )

    expect(await snsReceivers({ topicArn, aws: aws.target })()).toEqual({ confirmed: 2, pending: 1 })
  })

  it('none is an answer; more than a page of them are counted whole', async () => {
    const receivers = snsReceivers({ topicArn, aws: aws.target })
    expect(await receivers()).toEqual({ confirmed: 0, pending: 0 })

    for (let i = 0; i < 205; i++) aws.subscriptions.push({ endpoint: `ops${i}@example.com`, isConfirmed: i % 2 === 0 })
    expect(await receivers()).toEqual({ confirmed: 103, pending: 102 })
    expect(aws.requests).toEqual(Array(4).fill('sns ListSubscriptionsByTopic'))
  })
})

const metrics = () => cloudwatchMetrics({ aws: aws.target, log })

describe('metrics on CloudWatch', () => {
  it('all metrics of a run go out in one call', async () => {
    await metrics().publishMetrics('Tokay/dev', [
      { name: 'Heartbeat', value: 1, unit: 'Count' },
      { name: 'ConnectLatency', value: 4.5, unit: 'Milliseconds' },
    ])

    expect(aws.requests).toEqual(['cloudwatch PutMetricData'])
    expect(aws.metrics).toEqual([
      { namespace: 'Tokay/dev', name: 'Heartbeat', value: 1, unit: 'Count' },
      { namespace: 'Tokay/dev', name: 'ConnectLatency', value: 4.5, unit: 'Milliseconds' },
    ])
  })

  it('a distribution goes out as its values and how often each was', async () => {
    const distribution = [
      { value: 3.2, count: 40 },
      { value: 812, count: 1 },
    ]
    await metrics().publishMetrics('Tokay/dev', [{ name: 'QueryLatency', distribution, unit: 'Milliseconds' }])

    expect(aws.metrics).toEqual([
      { namespace: 'Tokay/dev', name: 'QueryLatency', values: [3.2, 812], counts: [40, 1], unit: 'Milliseconds' },
    ])
  })

  it('a distribution of more than 150 values goes out in parts, in the same call', async () => {
    const distribution = Array.from({ length: 301 }, (_, n) => ({ value: n, count: n + 1 }))
    await metrics().publishMetrics('Tokay/dev', [{ name: 'QueryLatency', distribution, unit: 'Milliseconds' }])

    expect(aws.requests).toEqual(['cloudwatch PutMetricData'])
    const sent = aws.metrics.flatMap((put) => ('values' in put ? put.values.map((value, n) => ({ value, count: put.counts[n] })) : []))
    expect(sent).toEqual(distribution)
    expect(aws.metrics.map((put) => ('values' in put ? put.values.length : 0))).toEqual([150, 150, 1])
  })

  it.each([
    ['a NaN', [{ name: 'ErrorRate', value: 0 / 0, unit: 'Percent' }]],
    ['an infinity', [{ name: 'ErrorRate', value: -Infinity, unit: 'Percent' }]],
    ['a value beyond 2^360', [{ name: 'ErrorRate', value: 1e200, unit: 'Percent' }]],
    ['a distribution of nothing but a NaN', [{ name: 'ErrorRate', distribution: [{ value: Number.NaN, count: 1 }], unit: 'Percent' }]],
    ['a value that was never', [{ name: 'ErrorRate', distribution: [{ value: 1, count: 0 }], unit: 'Percent' }]],
  ] as const)('%s is left out and named, and does not cost the other metrics', async (_, bad) => {
    await metrics().publishMetrics('Tokay/dev', [...bad, { name: 'Heartbeat', value: 1, unit: 'Count' }])

    expect(aws.metrics.map((m) => m.name)).toEqual(['Heartbeat'])
    expect(logged).toEqual([{ event: 'metrics.left_out', names: ['ErrorRate'] }])
  })

  it('of a distribution only what can not be sent is left out', async () => {
    const distribution = [
      { value: 1, count: 2 },
      { value: Infinity, count: 1 },
      { value: 3, count: Number.NaN },
    ]
    await metrics().publishMetrics('Tokay/dev', [{ name: 'QueryLatency', distribution, unit: 'Milliseconds' }])

    expect(aws.metrics).toMatchObject([{ values: [1], counts: [2] }])
    expect(logged).toEqual([{ event: 'metrics.left_out', names: ['QueryLatency'] }])
  })

  it('an empty distribution is not sent', async () => {
    await metrics().publishMetrics('Tokay/dev', [{ name: 'QueryLatency', distribution: [], unit: 'Milliseconds' }])

    expect([aws.requests, logged]).toEqual([[], []])
  })

  it('nothing to say makes no call', async () => {
    await metrics().publishMetrics('Tokay/dev', [])

    expect(aws.requests).toEqual([])
  })

  it('a body that the SDK compresses arrives whole', async () => {
    const many = Array.from({ length: 300 }, (_, i) => ({ name: 'HealthStatus', value: i, unit: 'None' }) as const)
    await metrics().publishMetrics('Tokay/dev', many)

    expect(aws.metrics).toHaveLength(300)
  })
})

describe('CloudWatch refuses', () => {
  const datum = { MetricName: 'QueryLatency', Unit: 'Milliseconds' }
  it.each([
    ['a NaN', { ...datum, Value: 'NaN' }, 'The value NaN for parameter Value is invalid.'],
    ['a value and a distribution', { ...datum, Value: 1, Values: [1], Counts: [1] }, 'Exactly one of'],
    ['neither', datum, 'Exactly one of'],
    ['151 values', { ...datum, Values: Array.from({ length: 151 }, (_, n) => n), Counts: Array(151).fill(1) }, 'a size of 1 to 150'],
    ['no value', { ...datum, Values: [], Counts: [] }, 'a size of 1 to 150'],
    ['values without their counts', { ...datum, Values: [1, 2], Counts: [1] }, 'of the same size'],
    ['a value twice', { ...datum, Values: [1, 1], Counts: [1, 1] }, 'once'],
    ['a count of 0', { ...datum, Values: [1], Counts: [0] }, 'The value 0 for parameter Counts is invalid.'],
  ])('%s, and so does the fake', (_, bad, why) => {
    expect(() => putMetricData({ Namespace: 'Tokay/dev', MetricData: [bad] })).toThrow(why)
  })
})

describe('invoking a function', () => {
  it('the event is queued for the named function', async () => {
    aws.functions.add('tokay-dev-health-check')
    await lambdaInvoker({ aws: aws.target }).invokeLater('tokay-dev-health-check', { because: 'breaker:database opened' })

    expect(aws.invoked).toEqual([{ functionName: 'tokay-dev-health-check', event: { because: 'breaker:database opened' } }])
  })

  it('a function that does not exist is named', async () => {
    await expect(lambdaInvoker({ aws: aws.target }).invokeLater('tokay-dev-replay', {})).rejects.toThrow(
      'invoking function tokay-dev-replay failed: ResourceNotFoundException',
    )
  })
})

describe('a secret in SSM', () => {
  const name = '/tokay/dev/database-url'
  const secret = () => ssmSecret({ name, aws: aws.target })

  it('is read once, decrypted, however many ask at once', async () => {
    aws.parameters.set(name, 'postgres://first')
    const url = secret()

    expect(await Promise.all([url.read(), url.read(), url.read()])).toEqual(['postgres://first', 'postgres://first', 'postgres://first'])
    expect(aws.requests).toEqual(['ssm GetParameter'])
  })

  it('is read again after a rotation', async () => {
    aws.parameters.set(name, 'postgres://first')
    const url = secret()
    await url.read()
    aws.parameters.set(name, 'postgres://second')
    url.forget()

    expect(await url.read()).toBe('postgres://second')
  })

  it('a missing parameter says how to store it, and the next read asks again', async () => {
    const url = secret()

    await expect(url.read()).rejects.toThrow(`aws ssm put-parameter --type SecureString --name ${name}`)
    aws.parameters.set(name, 'postgres://first')
    expect(await url.read()).toBe('postgres://first')
  })
})

describe('a database whose password is rotated', () => {
  const name = '/tokay/dev/database-url'
  const limits = { attemptForMs: 10_000, lockForMs: 1_000, statementForMs: 9_000 }
  const whoAmI = { name: 'who_am_i', text: 'select current_user as role', values: [] }
  let role: string
  let admin: Client
  beforeEach(async () => {
    role = `rotated_${randomBytes(4).toString('hex')}`
    admin = new Client({ connectionString: databaseUrl() })
    await admin.connect()
    await admin.query(`create role ${role} login password 'first'`)
  })
  afterEach(async () => {
    await admin.query(`drop role ${role}`)
    await admin.end()
  })

  const urlWith = (password: string) => Object.assign(new URL(databaseUrl()), { username: role, password }).href
  const open = () =>
    createRotatingDatabase({
      secret: ssmSecret({ name, aws: aws.target }),
      open: (url) =>
        createPgDatabase({ ...parseSettings({}).database, url, schema: 'public', poolMax: 1, clock: systemClock, log: silentLog }),
    })

  it('is reached in the same attempt with the new one, read once from SSM', async () => {
    aws.parameters.set(name, urlWith('first'))
    const database = open()
    expect(await database.query(whoAmI, limits)).toEqual([{ role }])

    await admin.query(`alter role ${role} password 'second'`)
    await admin.query(`select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '${role}'`)
    await vi.waitFor(() => expect(database.connections?.().lost).toBe(1), { timeout: 5_000 })
    aws.parameters.set(name, urlWith('second'))
    expect(await database.query(whoAmI, limits)).toEqual([{ role }])
    expect(aws.requests).toEqual(['ssm GetParameter', 'ssm GetParameter'])
    await database.end()
  })

  it('and whose secret was not is refused once, after one more look into SSM', async () => {
    aws.parameters.set(name, urlWith('wrong'))
    const database = open()

    await expect(database.query(whoAmI, limits)).rejects.toMatchObject({ name: 'DatabaseError', sqlState: '28P01' })
    expect(aws.requests).toEqual(['ssm GetParameter', 'ssm GetParameter'])
    expect(database.connections?.().connected).toBe(0)
    await database.end()
  })
})
