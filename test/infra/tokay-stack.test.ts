// The template, read as a reviewer would: what would be silent, replayed, leaked or too mighty on AWS although it deploys.

import { describe, expect, it } from 'vitest'
import { functionMemoryMb } from '../../shared/monthly-cost.ts'
import { every } from '../../infra/tick.ts'
import { synthesise, targetOf, type Resource } from './synth.ts'

const stack = synthesise({ alertEmail: 'you@example.com', alertPhone: '+15555550100' })

/** The trigger's own function is made by the construct library: it runs once a deploy and its properties are not ours to choose. */
const functions = stack.ofType('AWS::Lambda::Function').filter(([id]) => !id.startsWith('AWSCDKTriggerCustomResourceProvider'))
const roles = stack.ofType('AWS::IAM::Role').filter(([id]) => !id.startsWith('AWSCDKTrigger'))
const nameOf = (fn: Resource) => fn.Properties['FunctionName'] as string
const functionNamed = (name: string) => functions.find(([, fn]) => nameOf(fn) === name) as [string, Resource]

function minutesOf(expression: string): number {
  const [, minutes = '', hours = '', rate] = /^cron\((\S+) (\S+) |^rate\((\d+) minutes?\)/.exec(expression) ?? []
  if (rate !== undefined) return Number(rate)
  const [minuteStep, hourStep] = [minutes.split('/')[1], hours.split('/')[1]]
  return Number(minuteStep ?? 60 * Number(hourStep ?? (hours === '*' ? 1 : 24)))
}

describe('ticks', () => {
  const schedules = stack.ofType('AWS::Scheduler::Schedule').map(([, s]) => s.Properties)
  it('each enabled collector, the replay, the health check and the upkeep have one', () => {
    expect(
      schedules.map((s) => [
        nameOf(stack.resources[targetOf(s['Target'].Arn) as string] as Resource),
        JSON.parse(s['Target'].Input).collector,
        s['ScheduleExpression'],
      ]),
    ).toEqual([
      ['tokay-dev-health-check', undefined, 'cron(0/1 * * * ? *)'],
      ['tokay-dev-collect', 'dexes', 'cron(0 * * * ? *)'],
      ['tokay-dev-collect', 'top-pools', 'cron(1/5 * * * ? *)'],
      ['tokay-dev-collect', 'new-pools', 'cron(2/5 * * * ? *)'],
      ['tokay-dev-collect', 'trades', 'cron(3/5 * * * ? *)'],
      ['tokay-dev-replay-parked', undefined, 'cron(0/1 * * * ? *)'],
      ['tokay-dev-maintain', undefined, 'cron(30 * * * ? *)'],
    ])
  })

  it('none is ever repeated, is older than a minute, or gets lost unseen; each says when it was meant to run', () => {
    expect(schedules.length).toBeGreaterThan(0)
    for (const schedule of schedules) {
      const { RetryPolicy, DeadLetterConfig, Input } = schedule['Target']
      expect(RetryPolicy).toEqual({ MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 })
      expect(targetOf(DeadLetterConfig.Arn)).toMatch(/^LostEvents/)
      expect(JSON.parse(Input).scheduledAt).toBe('<aws.scheduler.scheduled-time>')
      expect(schedule['FlexibleTimeWindow']).toEqual({ Mode: 'OFF' })
    }
  })

  it('a function is over before its next tick, but for the replayer: the next one has begun to look for the database before it ends', () => {
    const beyondTickS = schedules.map((schedule) => {
      const fn = stack.resources[targetOf(schedule['Target'].Arn) as string] as Resource
      return { name: nameOf(fn), seconds: fn.Properties['Timeout'] - minutesOf(schedule['ScheduleExpression']) * 60 }
    })
    const outlasting = beyondTickS.filter(({ seconds }) => seconds >= 0)
    expect(outlasting.map(({ name }) => name)).toEqual(['tokay-dev-replay-parked'])
    expect(outlasting[0]?.seconds).toBeGreaterThan(10)
  })

  it('a collector that ticks every minute shortens the function that runs it', () => {
    const fast = synthesise({ alertEmail: 'you@example.com', tokay: { collectors: { trades: { everyMinutes: 1 } } } })

    const collect = fast.ofType('AWS::Lambda::Function').find(([, fn]) => nameOf(fn) === 'tokay-dev-collect')
    expect(collect?.[1].Properties['Timeout']).toBe(55)
  })

  it('a collector that is switched off has none', () => {
    const less = synthesise({ alertEmail: 'you@example.com', tokay: { collectors: { dexes: { enabled: false } } } })

    expect(less.ofType('AWS::Scheduler::Schedule').map(([, s]) => JSON.parse(s.Properties['Target'].Input).collector)).not.toContain(
      'dexes',
    )
  })

  it.each([
    [1, 0, 'cron(0/1 * * * ? *)'],
    [5, 3, 'cron(3/5 * * * ? *)'],
    [15, 17, 'cron(2/15 * * * ? *)'],
    [60, 30, 'cron(30 * * * ? *)'],
    [120, 1, 'cron(1 0/2 * * ? *)'],
    [1440, 61, 'cron(1 1 * * ? *)'],
    [7, 3, 'rate(7 minutes)'],
    [90, 3, 'rate(90 minutes)'],
  ])('every %i minutes, offset %i, is %s', (minutes, offset, expression) => {
    expect(every(minutes, offset).expressionString).toBe(expression)
  })
})

describe('functions', () => {
  it('run on the tested runtime and on ARM, have a timeout and the memory that the estimate of the cost is made with, log JSON, and have a log group that expires', () => {
    expect(functions.map(([, fn]) => nameOf(fn)).toSorted()).toEqual([
      'tokay-dev-collect',
      'tokay-dev-health-check',
      'tokay-dev-maintain',
      'tokay-dev-migrate',
      'tokay-dev-replay-parked',
    ])
    for (const [, fn] of functions) {
      const { Runtime, Architectures, LoggingConfig, Timeout, MemorySize } = fn.Properties
      expect(Timeout).toBeGreaterThanOrEqual(30)
      expect(MemorySize).toBe(functionMemoryMb)
      expect([Runtime, Architectures, LoggingConfig.LogFormat]).toEqual(['nodejs24.x', ['arm64'], 'JSON'])
      expect(stack.resources[targetOf(LoggingConfig.LogGroup) as string]?.Properties).toEqual({
        LogGroupName: `/aws/lambda/${nameOf(fn)}`,
        RetentionInDays: 14,
      })
    }
  })

  it('an asynchronous event is never run again over newer ones, and a lost one is kept as evidence', () => {
    const configs = stack.ofType('AWS::Lambda::EventInvokeConfig').map(([, c]) => c.Properties)
    for (const [id, fn] of functions.filter(([, f]) => nameOf(f) !== 'tokay-dev-migrate')) {
      const config = configs.find((c) => targetOf(c['FunctionName']) === id)
      expect([nameOf(fn), config?.['MaximumRetryAttempts'], config?.['MaximumEventAgeInSeconds']]).toEqual([nameOf(fn), 0, 60])
      expect(targetOf(config?.['DestinationConfig'].OnFailure.Destination)).toMatch(/^LostEvents/)
    }
  })

  it('a deploy starts the migration without waiting for it, and the version that it starts tries again', () => {
    const [migrateId] = functionNamed('tokay-dev-migrate')
    const [[, trigger] = []] = stack.ofType('Custom::Trigger')
    const version = targetOf(trigger?.Properties['HandlerArn']) as string
    expect(trigger?.Properties['InvocationType']).toBe('Event')
    expect(targetOf(stack.resources[version]?.Properties['FunctionName'])).toBe(migrateId)

    const ofVersion = stack
      .ofType('AWS::Lambda::EventInvokeConfig')
      .map(([, c]) => c.Properties)
      .filter((c) => targetOf(c['FunctionName']) === migrateId)
    expect(ofVersion.map((c) => targetOf(c['Qualifier']?.['Fn::GetAtt'] ? c['Qualifier'] : {}) ?? c['Qualifier']).toSorted()).toEqual(
      ['$LATEST', version].toSorted(),
    )
    for (const c of ofVersion) expect([c['MaximumRetryAttempts'], c['MaximumEventAgeInSeconds']]).toEqual([2, 3_600])
  })

  it('who opens or closes a circuit knows whom to start, and may', () => {
    const told = (name: string) => {
      const { Variables } = functionNamed(name)[1].Properties['Environment']
      const others = ['HEALTH_CHECK_FUNCTION', 'REPLAY_FUNCTION'].map((variable) => targetOf(Variables[variable]))
      return others.flatMap((id) => (id ? [nameOf(stack.resources[id] as Resource)] : []))
    }
    expect(told('tokay-dev-collect')).toEqual(['tokay-dev-health-check', 'tokay-dev-replay-parked'])
    expect(told('tokay-dev-replay-parked')).toEqual(['tokay-dev-health-check'])
    for (const name of ['tokay-dev-collect', 'tokay-dev-replay-parked'])
      for (const other of told(name)) expect(allowedOn(`${functionNamed(other)[0].slice(0, -8)}`, name)).toContain('lambda:InvokeFunction')
  })

  it('no environment holds a database URL: only the name of the secret', () => {
    for (const [, fn] of functions) {
      const variables = fn.Properties['Environment'].Variables as Record<string, unknown>
      expect(Object.keys(variables)).not.toContain('DATABASE_URL')
      expect(variables['DATABASE_URL_PARAMETER']).toBe('/tokay/dev/database-url')
    }
    expect(JSON.stringify(stack.resources)).not.toMatch(/postgres(ql)?:\/\//)
    expect(JSON.stringify(stack.resources)).not.toContain('resolve:')
  })
})

const statements = (id: string) =>
  stack
    .ofType('AWS::IAM::Policy')
    .filter(([, p]) => p.Properties['Roles'].some((r: unknown) => targetOf(r) === id))
    .flatMap(([, p]) => p.Properties['PolicyDocument'].Statement as { Action: string | string[]; Resource: unknown; Condition?: object }[])
/** On the resource whose logical id is the construct's with a hash behind it. */
const allowedOn = (construct: string, name: string) => {
  const [, fn] = functionNamed(name)
  const isIt = (resource: unknown) => new RegExp(`^${construct}[0-9A-F]{8}$`).test(targetOf(resource) ?? '')
  return statements(targetOf(fn.Properties['Role']) as string)
    .filter((s) => [s.Resource].flat().some(isIt))
    .flatMap((s) => s.Action)
    .toSorted()
}
const actionsOf = (name: string) => {
  const [, fn] = functionNamed(name)
  return statements(targetOf(fn.Properties['Role']) as string).flatMap((s) => s.Action)
}

describe('permissions', () => {
  it('no role has a wildcard, but for publishing metrics, which knows no resource and is held to the namespace', () => {
    const all = roles.flatMap(([id]) => statements(id))
    expect(all.length).toBeGreaterThan(10)
    const wild = all.filter((s) => JSON.stringify([s.Action, s.Resource]).includes('*'))
    expect(wild).toEqual([
      {
        Effect: 'Allow',
        Action: 'cloudwatch:PutMetricData',
        Resource: '*',
        Condition: { StringEquals: { 'cloudwatch:namespace': 'Tokay/dev' } },
      },
    ])
    for (const [, role] of roles) expect(role.Properties).not.toHaveProperty('ManagedPolicyArns')
  })

  it('collecting may put into the parked queue and not take from it; replaying takes, and sets aside; the health check counts, and parks', () => {
    expect(allowedOn('ParkedWrites', 'tokay-dev-collect')).toEqual(['sqs:GetQueueAttributes', 'sqs:SendMessage'])
    expect(allowedOn('ParkedWrites', 'tokay-dev-replay-parked')).toEqual([
      'sqs:ChangeMessageVisibility',
      'sqs:DeleteMessage',
      'sqs:GetQueueAttributes',
      'sqs:ReceiveMessage',
    ])
    expect(allowedOn('ParkedWritesDeadLetters', 'tokay-dev-replay-parked')).toEqual(['sqs:SendMessage'])
    expect(allowedOn('ParkedWrites', 'tokay-dev-health-check')).toEqual(['sqs:GetQueueAttributes', 'sqs:SendMessage'])
    for (const name of ['tokay-dev-collect', 'tokay-dev-health-check', 'tokay-dev-migrate', 'tokay-dev-maintain'])
      expect(allowedOn('ParkedWritesDeadLetters', name)).toEqual([])
  })

  it('only the health check may publish alerts and metrics', () => {
    const publishers = functions.map(([, fn]) => nameOf(fn)).filter((name) => actionsOf(name).some((a) => /^(sns|cloudwatch):/.test(a)))

    expect(publishers).toEqual(['tokay-dev-health-check'])
  })
})

describe('what is kept', () => {
  it('queues are encrypted, keep what they hold for two weeks, and no queue drops a message by the number of times it was received', () => {
    const queues = stack.ofType('AWS::SQS::Queue').map(([, q]) => q.Properties)

    expect(queues.map((q) => q['QueueName'])).toEqual([
      'tokay-dev-lost-events',
      'tokay-dev-parked-writes',
      'tokay-dev-parked-writes-dead-letters',
    ])
    for (const { QueueName: _, ...queue } of queues)
      expect(queue).toEqual({ SqsManagedSseEnabled: true, MessageRetentionPeriod: 1_209_600 })
  })

  it('the state table is paid by request and keyed as the adapter reads it', () => {
    const [[, table] = []] = stack.ofType('AWS::DynamoDB::Table')

    expect(table?.Properties).toEqual({
      TableName: 'tokay-dev-state',
      BillingMode: 'PAY_PER_REQUEST',
      KeySchema: [{ AttributeName: 'key', KeyType: 'HASH' }],
      AttributeDefinitions: [{ AttributeName: 'key', AttributeType: 'S' }],
    })
  })
})
