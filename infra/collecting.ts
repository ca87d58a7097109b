// The collecting half of a stage: the collectors, the replayer, the migrations and the upkeep, each with its tick and no right that it does not use.

import { Duration } from 'aws-cdk-lib'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import { InvocationType, Trigger } from 'aws-cdk-lib/triggers'
import type { Construct } from 'constructs'
import { enabledCollectors, type Settings } from '../shared/config.ts'
import { timeouts } from './limits.ts'
import { Tick, type TickProps } from './tick.ts'
import type { TokayFunction } from './tokay-function.ts'
import type { MakeFunction } from './tokay-stack.ts'

export type CollectingProps = {
  readonly settings: Settings
  readonly makeFunction: MakeFunction
  readonly healthCheck: TokayFunction
  readonly parked: { readonly queue: IQueue; readonly deadLetters: IQueue }
  readonly ticks: Pick<TickProps, 'lostEvents' | 'role'>
  readonly geckoApiKeyParameter: string | undefined
}

export function addCollecting(scope: Construct, props: CollectingProps): void {
  const { settings, makeFunction, healthCheck, parked, ticks, geckoApiKeyParameter } = props
  const seconds = timeouts(settings)
  const callsHealthCheck = { HEALTH_CHECK_FUNCTION: healthCheck.fn.functionName }

  const replay = makeFunction('ReplayParked', 'replay-parked', {
    description: 'Writes parked batches into the database; the only prober of an open circuit',
    timeoutS: seconds.replayParked,
    environment: callsHealthCheck,
  })
  replay.allow(['sqs:GetQueueAttributes', 'sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:ChangeMessageVisibility'], parked.queue.queueArn)
  replay.allow(['sqs:SendMessage'], parked.deadLetters.queueArn)
  replay.allow(['lambda:InvokeFunction'], healthCheck.fn.functionArn)

  // One function for all collectors: one bundle, and a container that one collector has warmed serves the next.
  // They don't wait for each other: Lambda runs an event beside another in a container of its own, and each has its own claim in the state table.
  const collect = makeFunction('Collect', 'collect', {
    description: 'Runs the collector that its event names',
    timeoutS: seconds.collect,
    reservedConcurrency: settings.aws.reservedConcurrency,
    environment: {
      ...callsHealthCheck,
      REPLAY_FUNCTION: replay.fn.functionName,
      ...(geckoApiKeyParameter && { GECKO_API_KEY_PARAMETER: geckoApiKeyParameter }),
    },
  })
  collect.allow(['sqs:SendMessage', 'sqs:GetQueueAttributes'], parked.queue.queueArn)
  collect.allow(['lambda:InvokeFunction'], healthCheck.fn.functionArn)
  collect.allow(['lambda:InvokeFunction'], replay.fn.functionArn)
  if (geckoApiKeyParameter) collect.allowParameter(geckoApiKeyParameter)

  const migrate = makeFunction('Migrate', 'migrate', {
    description: 'Brings the database to the schema of this version',
    timeoutS: seconds.migrate,
    withMigrations: true,
    // A deploy starts it once. Idempotent, so two more tries are safe; after that maintain tries every hour.
    retries: { attempts: 2, maxEventAge: Duration.hours(1) },
  })
  // EVENT: `cdk deploy` does not wait for it, so a database that is away neither holds a deploy nor rolls it back.
  new Trigger(scope, 'MigrateOnDeploy', { handler: migrate.fn, invocationType: InvocationType.EVENT })

  const maintain = makeFunction('Maintain', 'maintain', {
    description: 'Hourly upkeep: migrates what a deploy could not',
    timeoutS: seconds.maintain,
    withMigrations: true,
  })

  for (const [i, name] of enabledCollectors(settings).entries()) {
    const { everyMinutes } = settings.collectors[name]
    new Tick(scope, `Tick-${name}`, { ...ticks, function: collect, everyMinutes, offsetMinutes: i, input: { collector: name } })
  }
  new Tick(scope, 'Tick-replay-parked', { ...ticks, function: replay, everyMinutes: 1 })
  new Tick(scope, 'Tick-maintain', { ...ticks, function: maintain, everyMinutes: 60, offsetMinutes: 30 })
}
