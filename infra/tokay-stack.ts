// One stage of Tokay: who runs when, what each may touch, and what is kept where.
//
//   ticks -> collect -> database; what can't be written -> parked queue <- replay-parked <- tick, or collect when a circuit closes
//   tick, or whoever sees a circuit open -> health-check -> metrics, topic -> email, phone          heartbeat alarm -> topic
//   deploy -> migrate, without waiting for it; maintain -> migrate again when the database was away

import { CfnOutput, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib'
import { AttributeType, BillingMode, Table } from 'aws-cdk-lib/aws-dynamodb'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs'
import { InvocationType, Trigger } from 'aws-cdk-lib/triggers'
import type { Construct } from 'constructs'
import { collectorNames, stageNames } from '../shared/names.ts'
import { AlertTopic } from './alert-topic.ts'
import { HeartbeatAlarm } from './heartbeat-alarm.ts'
import type { StackSettings } from './settings-from-context.ts'
import { Tick, TickRole } from './tick.ts'
import { TokayFunction, type TokayFunctionProps } from './tokay-function.ts'

/** SQS's longest. A database that is away for two weeks is a decision, not an outage. */
const queueRetention = Duration.days(14)

/** A run must be over before the next tick of its kind. Most of it is waiting for the API's budget. */
const collectFor = (everyMinutes: readonly number[]) => Duration.seconds(Math.min(...everyMinutes, 2) * 60 - 5)

export class TokayStack extends Stack {
  constructor(scope: Construct, id: string, { settings, input }: StackSettings) {
    super(scope, id, { description: `Tokay ${settings.stage}: DEX pools and trades from GeckoTerminal into Postgres` })
    const names = stageNames(settings.stage)

    // Loss of it costs a repeated fetch: cursors start anew and rows are idempotent. So it goes with the stack.
    const state = new Table(this, 'State', {
      partitionKey: { name: 'key', type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      removalPolicy: RemovalPolicy.DESTROY,
    })
    const queue = (queueId: string) =>
      new Queue(this, queueId, { encryption: QueueEncryption.SQS_MANAGED, enforceSSL: true, retentionPeriod: queueRetention })
    // No redrive policy: a message is received as often as an outage is long. Only its class of error moves it to the dead letters.
    const parked = queue('ParkedWrites')
    const deadLetters = queue('ParkedWritesDeadLetters')
    const lostEvents = queue('LostEvents')
    const alerts = new AlertTopic(this, 'Alerts', { stackName: names.stack, ...settings.alerts })

    const makeFunction = (
      functionId: string,
      name: string,
      props: Pick<TokayFunctionProps, 'description' | 'timeout' | 'retries' | 'withMigrations'> & { environment?: Record<string, string> },
    ) => {
      const made = new TokayFunction(this, functionId, {
        ...props,
        functionName: `${names.stack}-${name}`,
        entry: `${name}.ts`,
        lostEvents,
        environment: {
          TOKAY_SETTINGS: input,
          STATE_TABLE: state.tableName,
          DATABASE_URL_PARAMETER: names.databaseUrlParameter,
          ...props.environment,
        },
      })
      made.allow(['dynamodb:Scan', 'dynamodb:GetItem', 'dynamodb:PutItem'], state.tableArn)
      made.allow(['ssm:GetParameter'], this.formatArn({ service: 'ssm', resource: `parameter${names.databaseUrlParameter}` }))
      return made
    }
    const queueEnvironment = { PARKED_QUEUE_URL: parked.queueUrl, DEAD_LETTERS_QUEUE_URL: deadLetters.queueUrl }

    const healthCheck = makeFunction('HealthCheck', 'health-check', {
      description: 'Probes the database, publishes metrics, sends alerts',
      timeout: Duration.seconds(50),
      environment: { ...queueEnvironment, ALERT_TOPIC_ARN: alerts.topic.topicArn },
    })
    healthCheck.allow(['sqs:GetQueueAttributes'], parked.queueArn)
    healthCheck.allow(['sns:Publish'], alerts.topic.topicArn)
    healthCheck.fn.addToRolePolicy(
      new PolicyStatement({
        // The one action here that has no resource: the namespace limits it instead.
        actions: ['cloudwatch:PutMetricData'],
        resources: ['*'],
        conditions: { StringEquals: { 'cloudwatch:namespace': names.metricNamespace } },
      }),
    )

    const replay = makeFunction('ReplayParked', 'replay-parked', {
      description: 'Writes parked batches into the database; the only prober of an open circuit',
      // Beyond the next tick: between two runs nobody would look for a database that is back. Two at once are safe, the lease lets one probe.
      timeout: Duration.seconds(75),
      environment: { ...queueEnvironment, HEALTH_CHECK_FUNCTION: healthCheck.fn.functionName },
    })
    replay.allow(['sqs:GetQueueAttributes', 'sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility'], parked.queueArn)
    replay.allow(['sqs:SendMessage'], deadLetters.queueArn)
    replay.allow(['lambda:InvokeFunction'], healthCheck.fn.functionArn)

    // One function for all collectors: one bundle, and a container that one collector has warmed serves the next.
    // They don't wait for each other: Lambda runs an event beside another in a container of its own, and each has its own claim in the state table.
    const enabled = collectorNames.filter((name) => settings.collectors[name].enabled)
    const collect = makeFunction('Collect', 'collect', {
      description: 'Runs the collector that its event names',
      timeout: collectFor(enabled.map((name) => settings.collectors[name].everyMinutes)),
      environment: { ...queueEnvironment, HEALTH_CHECK_FUNCTION: healthCheck.fn.functionName, REPLAY_FUNCTION: replay.fn.functionName },
    })
    collect.allow(['sqs:SendMessage', 'sqs:GetQueueAttributes'], parked.queueArn)
    collect.allow(['lambda:InvokeFunction'], healthCheck.fn.functionArn)
    collect.allow(['lambda:InvokeFunction'], replay.fn.functionArn)

    const migrate = makeFunction('Migrate', 'migrate', {
      description: 'Brings the database to the schema of this version',
      timeout: Duration.minutes(5),
      withMigrations: true,
      retries: { attempts: 2, maxEventAge: Duration.hours(1) },
    })
    // EVENT: `cdk deploy` does not wait for it, so a database that is away neither holds a deploy nor rolls it back.
    new Trigger(this, 'MigrateOnDeploy', { handler: migrate.fn, invocationType: InvocationType.EVENT })

    const maintain = makeFunction('Maintain', 'maintain', {
      description: 'Hourly upkeep: migrates what a deploy could not',
      timeout: Duration.minutes(5),
      withMigrations: true,
    })

    const tickRole = new TickRole(this, 'TickRole', { lostEvents })
    const tick = { lostEvents, role: tickRole }
    for (const [i, name] of enabled.entries()) {
      const { everyMinutes } = settings.collectors[name]
      new Tick(this, `Tick-${name}`, { ...tick, function: collect, everyMinutes, offsetMinutes: i, input: { collector: name } })
    }
    new Tick(this, 'Tick-replay-parked', { ...tick, function: replay, everyMinutes: 1 })
    new Tick(this, 'Tick-health-check', { ...tick, function: healthCheck, everyMinutes: settings.health.everyMinutes })
    new Tick(this, 'Tick-maintain', { ...tick, function: maintain, everyMinutes: 60, offsetMinutes: 30 })

    new HeartbeatAlarm(this, 'Heartbeat', {
      stackName: names.stack,
      namespace: names.metricNamespace,
      everyMinutes: settings.health.everyMinutes,
      topic: alerts.topic,
    })

    new CfnOutput(this, 'DatabaseUrlParameter', {
      value: names.databaseUrlParameter,
      description: 'Put the Postgres URL here, as a SecureString',
    })
    new CfnOutput(this, 'ParkedWritesQueue', {
      value: parked.queueUrl,
      description: 'Empty before `cdk destroy`, or what waits in it is gone',
    })
    new CfnOutput(this, 'AlertTopicArn', {
      value: alerts.topic.topicArn,
      description: 'Its email subscription works once the link in the mail was clicked',
    })
  }
}
