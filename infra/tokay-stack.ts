// One stage of Tokay: who runs when, what each may touch, and what is kept where.
//
//   ticks -> collect -> database; what can't be written -> parked queue <- replay-parked <- tick, or collect when a circuit closes
//   tick, or whoever sees a circuit open -> health-check -> metrics, topic -> email, phone          alarms -> topic
//   deploy -> migrate, without waiting for it; maintain -> migrate again when the database was away
//
// Without collectors all but the second line is left out: a health check for any Postgres.

import { CfnOutput, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib'
import { AttributeType, BillingMode, Table } from 'aws-cdk-lib/aws-dynamodb'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs'
import type { Construct } from 'constructs'
import { isHealthAlone } from '../shared/config.ts'
import { stageNames } from '../shared/names.ts'
import { Alarms } from './alarms.ts'
import { AlertTopic } from './alert-topic.ts'
import { addCollecting } from './collecting.ts'
import { Dashboard } from './dashboard.ts'
import { timeouts } from './limits.ts'
import { Network } from './network.ts'
import type { StackSettings } from './settings-from-context.ts'
import { Tick, TickRole } from './tick.ts'
import { TokayFunction, type TokayFunctionProps } from './tokay-function.ts'

/** SQS's longest. A database that is away for two weeks is a decision, not an outage. */
const queueRetention = Duration.days(14)

/** What differs between the stack's functions. */
export type FunctionDifferences = Pick<TokayFunctionProps, 'description' | 'retries' | 'withMigrations' | 'reservedConcurrency'> & {
  readonly timeoutS: number
  readonly environment?: Readonly<Record<string, string>>
}

/** Makes a function with what all of them have: settings, the state table, the database's secret. */
export type MakeFunction = (functionId: string, name: string, differences: FunctionDifferences) => TokayFunction

export class TokayStack extends Stack {
  constructor(scope: Construct, id: string, { settings, input }: StackSettings) {
    const alone = isHealthAlone(settings)
    const what = alone ? 'health check of a Postgres' : 'DEX pools and trades from GeckoTerminal into Postgres'
    super(scope, id, { description: `Tokay ${settings.stage}: ${what}` })
    const names = stageNames(settings.stage)
    const { aws } = settings
    const inStage = (parameter: string) => parameter.replaceAll('<stage>', settings.stage)
    const databaseUrlParameter = inStage(aws.databaseUrlParameter)

    // Asked to be kept, they outlive the stack, but not a creation that failed: the next one would find the names taken.
    const kept = { removalPolicy: aws.keepState ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY }
    // Loss of it costs a repeated fetch: cursors start anew and rows are idempotent. So by default it goes with the stack.
    const state = new Table(this, 'State', {
      tableName: names.stateTable,
      partitionKey: { name: 'key', type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      ...kept,
    })
    const queue = { encryption: QueueEncryption.SQS_MANAGED, enforceSSL: true, retentionPeriod: queueRetention }
    const lostEvents = new Queue(this, 'LostEvents', { ...queue, queueName: names.lostEventsQueue })
    // No redrive policy: a message is received as often as an outage is long. Only its class of error moves it to the dead letters.
    const parked = alone
      ? undefined
      : {
          queue: new Queue(this, 'ParkedWrites', { ...queue, ...kept, queueName: names.parkedQueue }),
          deadLetters: new Queue(this, 'ParkedWritesDeadLetters', { ...queue, ...kept, queueName: names.deadLettersQueue }),
        }
    const alerts = new AlertTopic(this, 'Alerts', { stackName: names.stack, ...settings.alerts })
    const network =
      aws.vpc.id && aws.vpc.subnetIds ? new Network(this, 'Network', { vpcId: aws.vpc.id, subnetIds: aws.vpc.subnetIds }) : undefined

    const functions: TokayFunction[] = []
    const makeFunction: MakeFunction = (functionId, name, { timeoutS, environment, ...differences }) => {
      const made = new TokayFunction(this, functionId, {
        ...differences,
        stackName: names.stack,
        name,
        timeout: Duration.seconds(timeoutS),
        lostEvents,
        logDays: aws.logDays,
        network,
        environment: {
          TOKAY_SETTINGS: input,
          STATE_TABLE: state.tableName,
          DATABASE_URL_PARAMETER: databaseUrlParameter,
          ...(parked && { PARKED_QUEUE_URL: parked.queue.queueUrl, DEAD_LETTERS_QUEUE_URL: parked.deadLetters.queueUrl }),
          ...environment,
        },
      })
      made.allow(['dynamodb:Scan', 'dynamodb:GetItem', 'dynamodb:PutItem'], state.tableArn)
      made.allowParameter(databaseUrlParameter)
      functions.push(made)
      return made
    }

    const healthCheck = makeFunction('HealthCheck', 'health-check', {
      description: 'Probes the database, publishes metrics, sends alerts',
      timeoutS: timeouts(settings).healthCheck,
      environment: { ALERT_TOPIC_ARN: alerts.topic.topicArn },
    })
    // It parks samples that it can't write, as collectors park rows.
    if (parked) healthCheck.allow(['sqs:GetQueueAttributes', 'sqs:SendMessage'], parked.queue.queueArn)
    healthCheck.allow(['sns:Publish', 'sns:ListSubscriptionsByTopic'], alerts.topic.topicArn)
    healthCheck.fn.addToRolePolicy(
      new PolicyStatement({
        // The one action here that has no resource: the namespace limits it instead.
        actions: ['cloudwatch:PutMetricData'],
        resources: ['*'],
        conditions: { StringEquals: { 'cloudwatch:namespace': names.metricNamespace } },
      }),
    )

    const ticks = { lostEvents, role: new TickRole(this, 'TickRole', { lostEvents }) }
    new Tick(this, 'Tick-health-check', { ...ticks, function: healthCheck, everyMinutes: settings.health.everyMinutes })
    if (parked) {
      const geckoApiKeyParameter = aws.geckoApiKeyParameter === 'none' ? undefined : inStage(aws.geckoApiKeyParameter)
      addCollecting(this, { settings, makeFunction, healthCheck, parked, ticks, geckoApiKeyParameter })
    }

    const alarms = new Alarms(this, 'Alarms', { settings, functions, lostEvents, parked, alerts })
    if (aws.dashboard) new Dashboard(this, 'Dashboard', { settings, functions, parked, alarms: alarms.all })

    const output = (outputId: string, value: string, description: string) => new CfnOutput(this, outputId, { value, description })
    output('DatabaseUrlParameter', databaseUrlParameter, 'Put the Postgres URL here, as a SecureString')
    output('AlertTopicArn', alerts.topic.topicArn, 'Its email subscription works once the link in the mail was clicked')
    if (parked) output('ParkedWritesQueue', parked.queue.queueUrl, 'Empty before `cdk destroy`, or what waits in it is gone')
    if (network) output('SecurityGroupId', network.securityGroup.securityGroupId, 'Let it in at the port of the database')
  }
}
