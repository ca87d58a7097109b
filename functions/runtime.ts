// The composition root of the functions: the only place here that reads the environment, and where every port gets its AWS implementation.
// Each part is made when it is first asked for and kept for the life of the container. Nothing connects before it is used.
// A function asks for what it needs by name, so that the bundler leaves the rest out of its bundle.

import { cloudwatchMetrics } from '../shared/aws/cloudwatch-metrics.ts'
import { createDynamodbStateTable } from '../shared/aws/dynamodb-state-table.ts'
import { lambdaInvoker } from '../shared/aws/function-invoker.ts'
import { snsNotifier } from '../shared/aws/sns-notifier.ts'
import { sqsParkedWrites } from '../shared/aws/sqs-parked-writes.ts'
import { ssmSecret } from '../shared/aws/ssm-secret.ts'
import { systemClock } from '../shared/clock.ts'
import type { CollectTools } from '../shared/collect/collect.ts'
import { parseSettings } from '../shared/config.ts'
import { createPgDatabase } from '../shared/db/pg-database.ts'
import { createResilientDatabase } from '../shared/db/resilient-database.ts'
import { createRotatingDatabase } from '../shared/db/rotating-database.ts'
import { ConfigError } from '../shared/errors.ts'
import { createGeckoClient } from '../shared/gecko/client.ts'
import { createGeckoGate } from '../shared/gecko/rate-limit.ts'
import type { HealthTools } from '../shared/health/check-health.ts'
import { consoleLog } from '../shared/log.ts'
import { stageNames, stateKeys } from '../shared/names.ts'
import { createResilientClient } from '../shared/resilient-client.ts'
import type { Transition } from '../shared/resilience/circuit-breaker.ts'
import { createBreaker, createStreamBreakers } from '../shared/state/breaker.ts'

const chance = { clock: systemClock, random: Math.random, log: consoleLog }

/** What stays of an invocation when its deadline has come: enough to park what a slow API gave last, and to record the run. */
const parkingForMs = 5_000

/** The instant at which fetching and writing have to end. */
export const deadlineAtMs = (context: { getRemainingTimeInMillis(): number }) =>
  systemClock.nowMs() + context.getRemainingTimeInMillis() - parkingForMs

export const settings = once(() => parseSettings(JSON.parse(environment('TOKAY_SETTINGS'))))
const names = once(() => stageNames(settings().stage))
const state = once(() => createDynamodbStateTable({ tableName: environment('STATE_TABLE') }))
const databaseUrl = once(() => ssmSecret({ name: environment('DATABASE_URL_PARAMETER') }))
const parked = once(() =>
  sqsParkedWrites({ queueUrl: environment('PARKED_QUEUE_URL'), deadLetterUrl: environment('DEAD_LETTERS_QUEUE_URL') }),
)

const database = once(() =>
  createRotatingDatabase({
    driver: 'pg',
    secret: databaseUrl(),
    // an instance runs one invocation at a time, and an invocation one transaction
    open: (url) => createPgDatabase({ ...settings().database, ...chance, url, schema: names().schema, poolMax: 1 }),
  }),
)

const databaseBreaker = once(() =>
  createBreaker({
    ...chance,
    scope: 'database',
    key: stateKeys.databaseBreaker,
    table: state(),
    rules: settings().breaker,
    onTransition: (transition) => announce(transition),
  }),
)

const resilientDatabase = once(() =>
  createResilientDatabase({
    ...chance,
    database: database(),
    breaker: databaseBreaker(),
    streamBreaker: createStreamBreakers({ ...chance, table: state(), rules: settings().breaker }),
    rules: settings().retry,
    limits: settings().database,
    slowMs: settings().breaker.slowMs,
  }),
)

/** For functions of one's own: the stage's database and state table, and the breakers that the collectors share. */
export const resilientClient = once(() =>
  createResilientClient({ ...chance, database: database(), breaker: databaseBreaker(), state: state(), settings: settings() }),
)

/**
 * Somebody has to be told at once. What is parked can be written at once when the circuit closes; when it opens, the one prober has to run, or
 * a database that is back is noticed at the next tick only. The ticks of both functions are the backstop.
 */
async function announce({ kind }: Transition): Promise<void> {
  // the replayer does not know its own name: it is running
  const replay = process.env['REPLAY_FUNCTION'] ? [process.env['REPLAY_FUNCTION']] : []
  const concerned = kind === 'opened' ? [environment('HEALTH_CHECK_FUNCTION'), ...replay] : kind === 'closed' ? replay : []
  const because = { because: `the database's circuit has ${kind}` }
  await Promise.all(concerned.map((name) => lambdaInvoker().invokeLater(name, because)))
}

/** For writing what was collected or parked. */
export const writeTools = once(() => ({
  ...chance,
  database: resilientDatabase(),
  parked: parked(),
  partitions: { seen: new Set<string>() },
  state: state(),
}))

export const collectTools = once((): CollectTools => {
  const table = state()
  const breaker = createBreaker({ ...chance, scope: 'gecko', key: stateKeys.geckoBreaker, table, rules: settings().breaker })
  const gate = createGeckoGate({ ...chance, table, breaker, limits: settings().gecko })
  return {
    ...writeTools(),
    settings: settings(),
    gecko: createGeckoClient({ ...settings().gecko, ...chance, gate }),
    random: chance.random,
  }
})

export const healthTools = once((): HealthTools => {
  const metrics = cloudwatchMetrics()
  return {
    ...chance,
    database: database(),
    state: state(),
    parked: parked(),
    notifier: snsNotifier({ topicArn: environment('ALERT_TOPIC_ARN') }),
    publishMetrics: (values) => metrics.publishMetrics(names().metricNamespace, values),
    system: names().stack,
  }
})

/** For `migrate`, which connects by itself. */
export async function migrationTarget() {
  return { url: await databaseUrl().read(), schema: names().schema, connectForMs: settings().database.wakeForMs }
}

function environment(name: string): string {
  const value = process.env[name]
  if (!value) throw new ConfigError([`the environment variable ${name} is missing; the stack sets it, so deploy again`])
  return value
}

// The note is for the bundler: what nobody asks for may be left out, with all that it imports.
/* @__NO_SIDE_EFFECTS__ */
function once<Made>(make: () => Made): () => Made {
  let made: Made | undefined
  return () => (made ??= make())
}
