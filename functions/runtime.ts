// The composition root of the functions: the only place here that reads the environment, and where every port gets its AWS implementation.
// Each part is made when it is first asked for and kept for the life of the container. Nothing connects before it is used.
// A function asks for what it needs by name, so that the bundler leaves the rest out of its bundle.

import { cloudwatchMetrics } from '../shared/aws/cloudwatch-metrics.ts'
import { createDynamodbStateTable } from '../shared/aws/dynamodb-state-table.ts'
import { lambdaInvoker } from '../shared/aws/function-invoker.ts'
import { snsNotifier } from '../shared/aws/sns-notifier.ts'
import { snsReceivers } from '../shared/aws/sns-receivers.ts'
import { sqsParkedWrites } from '../shared/aws/sqs-parked-writes.ts'
import { ssmSecret } from '../shared/aws/ssm-secret.ts'
import { systemClock } from '../shared/clock.ts'
import type { CollectTools } from '../shared/collect/collect.ts'
import { isHealthAlone, parseSettings } from '../shared/config.ts'
import { openDatabase } from '../shared/db/open-database.ts'
import { createResilientDatabase } from '../shared/db/resilient-database.ts'
import { createRotatingDatabase } from '../shared/db/rotating-database.ts'
import { ConfigError } from '../shared/errors.ts'
import { createGeckoClient } from '../shared/gecko/client.ts'
import { createGeckoGate } from '../shared/gecko/rate-limit.ts'
import type { HealthTools } from '../shared/health/check-health.ts'
import { storeHealth } from '../shared/health/history.ts'
import { openHealthDatabase } from '../shared/health/open-health-database.ts'
import { consoleLog } from '../shared/log.ts'
import { parkingForMs, stageNames, stateKeys } from '../shared/names.ts'
import { createResilientClient } from '../shared/resilient-client.ts'
import type { Transition } from '../shared/resilience/circuit-breaker.ts'
import { createBreaker, createStreamBreakers, type Breaker } from '../shared/state/breaker.ts'

const chance = { clock: systemClock, random: Math.random, log: consoleLog }

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
    secret: databaseUrl(),
    // an instance runs one invocation at a time, and an invocation one transaction
    open: (url) => openDatabase({ ...settings().database, ...chance, url, schema: names().schema, poolMax: 1 }),
  }),
)

const breakerThatTells = (told: { onTransition?: (transition: Transition) => Promise<void> }) =>
  createBreaker({ ...chance, ...told, scope: 'database', key: stateKeys.databaseBreaker, table: state(), rules: settings().breaker })

const databaseBreaker = once(() => breakerThatTells({ onTransition: announce }))

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
  const named = (variable: string) => process.env[variable] ?? []
  const replay = [named('REPLAY_FUNCTION')].flat()
  const concerned = kind === 'opened' ? [named('HEALTH_CHECK_FUNCTION'), ...replay].flat() : kind === 'closed' ? replay : []
  const because = { because: `the database's circuit has ${kind}` }
  await Promise.all(concerned.map((name) => lambdaInvoker().invokeLater(name, because)))
}

const writeToolsBehind = (breaker: Breaker) => ({
  ...chance,
  database: createResilientDatabase({
    ...chance,
    database: database(),
    breaker,
    streamBreaker: createStreamBreakers({ ...chance, table: state(), rules: settings().breaker }),
    rules: settings().retry,
    limits: settings().database,
    slowMs: settings().breaker.slowMs,
  }),
  parked: parked(),
  partitions: { seen: new Set<string>() },
  state: state(),
})

/** For writing what was collected or parked. */
export const writeTools = once(() => writeToolsBehind(databaseBreaker()))

/** The health check invokes nobody: it may not, and its bundle has no client for it. */
const healthWriteTools = once(() => writeToolsBehind(breakerThatTells({})))

const geckoGate = once(() => {
  const table = state()
  const breaker = createBreaker({ ...chance, scope: 'gecko', key: stateKeys.geckoBreaker, table, rules: settings().breaker })
  return createGeckoGate({ ...chance, table, breaker, limits: settings().gecko })
})

/** Only where the stack names one: without it the API is asked without a key. */
const geckoApiKey = once(() => {
  const name = process.env['GECKO_API_KEY_PARAMETER']
  return name ? ssmSecret({ name }) : undefined
})

/** Read again after this time, so that a replaced key needs no deploy. */
const keepApiKeyForMs = 300_000
let apiKey: { readonly value: string; readonly readAtMs: number } | undefined

/** A key that is known already outlives an SSM that is away. */
async function readApiKey(): Promise<string | undefined> {
  const secret = geckoApiKey()
  if (!secret) return undefined
  const nowMs = systemClock.nowMs()
  if (apiKey && nowMs - apiKey.readAtMs < keepApiKeyForMs) return apiKey.value
  secret.forget()
  try {
    apiKey = { value: await secret.read(), readAtMs: nowMs }
  } catch (error) {
    if (!apiKey) throw error
    consoleLog.warn({ event: 'gecko.key_not_read', error })
  }
  return apiKey.value
}

/** For one run. Throws when the API key can't be read: asking without it would spend the budget of an address that others share. */
export async function collectTools(): Promise<CollectTools> {
  const tools = { ...writeTools(), settings: settings(), random: chance.random }
  const gecko = createGeckoClient({ ...settings().gecko, ...chance, gate: geckoGate(), apiKey: await readApiKey() })
  return { ...tools, gecko }
}

export const healthTools = once((): HealthTools => {
  const metrics = cloudwatchMetrics()
  const topicArn = environment('ALERT_TOPIC_ARN')
  return {
    ...chance,
    openDatabase: ({ connectForMs }) =>
      createRotatingDatabase({
        secret: databaseUrl(),
        open: (url) => openHealthDatabase({ ...settings().database, ...chance, url, schema: names().schema, connectForMs }),
      }),
    state: state(),
    receivers: snsReceivers({ topicArn }),
    wakeForMs: settings().database.wakeForMs,
    settings: settings(),
    notifier: snsNotifier({ topicArn }),
    publishMetrics: (values) => metrics.publishMetrics(names().metricNamespace, values),
    ...(isHealthAlone(settings()) ? {} : { parked: parked(), store: (rows) => storeHealth(rows, healthWriteTools()) }),
    system: names().stack,
    commandOptions: `--stage ${settings().stage}`,
    kept: {},
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
