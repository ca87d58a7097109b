// The AWS adapters over HTTP: the real SDK against a strict fake. What is proven here is what the SDK sends, what it makes of answers, and how long it waits.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cloudwatchMetrics } from '../../shared/aws/cloudwatch-metrics.ts'
import { lambdaInvoker } from '../../shared/aws/function-invoker.ts'
import { snsNotifier } from '../../shared/aws/sns-notifier.ts'
import { ssmSecret } from '../../shared/aws/ssm-secret.ts'
import type { LogEvent } from '../../shared/log.ts'
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts'

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

const metrics = () => cloudwatchMetrics({ aws: aws.target, log })

describe('metrics on CloudWatch', () => {
  it('all metrics of a run go out in one call', async () => {
    await metrics().publishMetrics('Tokay/dev', [
      { name: 'HealthCheckRuns', value: 1, unit: 'Count' },
      { name: 'DatabaseLatency', value: 4.5, unit: 'Milliseconds' },
    ])

    expect(aws.requests).toEqual(['cloudwatch PutMetricData'])
    expect(aws.metrics).toEqual([
      { namespace: 'Tokay/dev', name: 'HealthCheckRuns', value: 1, unit: 'Count' },
      { namespace: 'Tokay/dev', name: 'DatabaseLatency', value: 4.5, unit: 'Milliseconds' },
    ])
  })

  it('a NaN is left out and named, and does not cost the other metrics', async () => {
    await metrics().publishMetrics('Tokay/dev', [
      { name: 'ErrorRate', value: 0 / 0, unit: 'Percent' },
      { name: 'HealthCheckRuns', value: 1, unit: 'Count' },
    ])

    expect(aws.metrics.map((m) => m.name)).toEqual(['HealthCheckRuns'])
    expect(logged).toEqual([{ event: 'metrics.left_out', names: ['ErrorRate'] }])
  })

  it('nothing to say makes no call', async () => {
    await metrics().publishMetrics('Tokay/dev', [])

    expect(aws.requests).toEqual([])
  })

  it('a body that the SDK compresses arrives whole', async () => {
    const many = Array.from({ length: 300 }, (_, i) => ({ name: `Metric${i}`, value: i, unit: 'None' as const }))
    await metrics().publishMetrics('Tokay/dev', many)

    expect(aws.metrics).toHaveLength(300)
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
