// Every call to AWS that there is, with the real SDK over HTTP: what a service that throttles, fails, hangs or stops in mid-answer costs.

import { describe, expect, it } from 'vitest'
import { cloudwatchMetrics } from '../../shared/aws/cloudwatch-metrics.ts'
import { createDynamodbStateTable } from '../../shared/aws/dynamodb-state-table.ts'
import { lambdaInvoker } from '../../shared/aws/function-invoker.ts'
import { snsNotifier } from '../../shared/aws/sns-notifier.ts'
import { snsReceivers } from '../../shared/aws/sns-receivers.ts'
import { sqsParkedWrites } from '../../shared/aws/sqs-parked-writes.ts'
import { ssmSecret } from '../../shared/aws/ssm-secret.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import type { ParkedWrite } from '../../shared/collect/parked-writes.ts'
import { startDynamodb } from '../support/dynamodb.ts'
import { type Failure, type Service, startFakeAws } from '../support/fake-aws.ts'

const topicArn = 'arn:aws:sns:us-east-1:123456789012:tokay-dev-alerts'
const write: ParkedWrite = {
  id: 'w',
  schemaVersion: 1,
  collector: 'dexes',
  runId: '2025-09-15T06:46:00Z',
  parkedAtMs: Date.UTC(2025, 8, 15, 6, 46, 3),
  reason: 'connection',
  batch: emptyBatch,
}

type Call = { readonly service: Service | 'dynamodb'; readonly make: () => Promise<unknown> }

/** Every call, with what it needs in place: each succeeds when its service does. */
async function openCalls() {
  const [aws, dynamodb] = await Promise.all([startFakeAws(), startDynamodb()])
  const target = { aws: aws.target }
  const state = createDynamodbStateTable({ tableName: await dynamodb.createTable(), aws: dynamodb.target })
  const queueUrl = aws.addQueue('parked').url
  const parked = sqsParkedWrites({ queueUrl, deadLetterUrl: aws.addQueue('dead').url, ...target })
  await parked.park(write)
  await parked.park(write)
  await parked.park(write)
  const [removed, released] = await parked.receive(2)
  aws.functions.add('tokay-dev-health-check')
  aws.parameters.set('/tokay/dev/database-url', 'postgres://')
  const alert = { subject: 'a', email: 'b', sms: 'c', severity: 'critical' } as const
  const secret = ssmSecret({ name: '/tokay/dev/database-url', ...target })
  const calls: Readonly<Record<string, Call>> = {
    'publish an alert': { service: 'sns', make: () => snsNotifier({ topicArn, ...target }).publish(alert) },
    'count the receivers': { service: 'sns', make: snsReceivers({ topicArn, ...target }) },
    'publish metrics': {
      service: 'cloudwatch',
      make: () => cloudwatchMetrics(target).publishMetrics('Tokay/dev', [{ name: 'Heartbeat', value: 1, unit: 'Count' }]),
    },
    'invoke a function': { service: 'lambda', make: () => lambdaInvoker(target).invokeLater('tokay-dev-health-check', {}) },
    'read a secret': { service: 'ssm', make: () => secret.read() },
    'park a batch': { service: 'sqs', make: () => parked.park(write) },
    'count parked batches': { service: 'sqs', make: () => parked.depth() },
    'receive parked batches': { service: 'sqs', make: () => parked.receive(1) },
    'remove parked batches': { service: 'sqs', make: () => parked.remove([removed?.receipt ?? '']) },
    'release parked batches': { service: 'sqs', make: () => parked.release([released?.receipt ?? '']) },
    'read the state': { service: 'dynamodb', make: () => state.list() },
    'change the state': { service: 'dynamodb', make: () => state.compareAndSet('alerts', 0, {}) },
  }
  const before = aws.requests.length + dynamodb.requests.length
  return {
    calls: Object.entries(calls),
    requests: () => aws.requests.length + dynamodb.requests.length - before,
    fail: (service: Call['service'], failure: Failure, times: number) =>
      service === 'dynamodb' ? dynamodb.failNext(failure, times) : aws.failNext(service, failure, times),
    close: () => Promise.all([aws.close(), dynamodb.close()]),
  }
}

const services = ['sns', 'cloudwatch', 'lambda', 'ssm', 'sqs', 'dynamodb'] as const

describe('a call to AWS', () => {
  it.concurrent.each(['throttle', 'error-500'] as const)('goes on after one %s, whichever call it is', async (failure) => {
    const { calls, fail, requests, close } = await openCalls()
    const ofService = async (service: Call['service']) => {
      for (const [, call] of calls.filter(([, one]) => one.service === service)) {
        fail(service, failure, 1)
        await call.make()
      }
    }
    await Promise.all(services.map(ofService))

    expect(requests()).toBe(2 * calls.length)
    await close()
  })

  it.concurrent.each(['hang', 'stall', 'trickle'] as const)(
    'that meets a %s ends within 3.5 s and says what was tried',
    async (failure) => {
      const { calls, fail, requests, close } = await openCalls()
      // more than they can use up
      for (const service of services) fail(service, failure, 100)

      const ended = await Promise.all(
        calls.map(async ([name, { make }]) => {
          const startedAtMs = performance.now()
          const message = await make().then(
            () => 'succeeded',
            (error: Error) => error.message,
          )
          return { name, message, tookMs: performance.now() - startedAtMs }
        }),
      )
      for (const { name, message, tookMs } of ended) {
        expect(message, name).toMatch(/^[a-z].* failed: TimeoutError: /)
        // 3.4 s, and what a busy machine adds
        expect(tookMs, name).toBeLessThan(8_000)
      }
      // silence is given up early enough for a second attempt, bytes that drip are not
      expect(requests() > calls.length).toBe(failure !== 'trickle')
      await close()
    },
  )
})
