// A deployed stage on this machine: the bundled functions in the local Lambda, DynamoDB as dynalite, the other services as the strict fake, the
// API as the simulator, and the run's Postgres behind a fault proxy. Everything that a function knows of it comes through its environment.

import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { compareServed, type Comparison } from '../../cli/local/compare-served.ts'
import { startFaultProxy } from '../../cli/local/fault-proxy.ts'
import { startGeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { createDynamodbStateTable } from '../../shared/aws/dynamodb-state-table.ts'
import { systemClock } from '../../shared/clock.ts'
import { stageNames, stateKeys, type CollectorName } from '../../shared/names.ts'
import type { CollectorState } from '../../shared/state/claim.ts'
import type { Bundles, FunctionName } from './bundles.ts'
import { startDynamodb } from './dynamodb.ts'
import { startFakeAws } from './fake-aws.ts'
import { createLocalFunction, type LocalFunction } from './local-lambda.ts'

export type LocalStageOptions = {
  readonly bundles: Bundles
  readonly databaseUrl: string
  /** Over settings that make failures short: two attempts a write, each of 1.5 s, and circuits that open for 0.5 s. */
  readonly settings?: object
  /** Of each function. Default 40 s. */
  readonly timeoutMs?: Partial<Record<FunctionName, number>>
  /** The database's URL as it is in SSM, from the one that works. Default: that one. */
  readonly secret?: (url: string) => string
}

/** Must show up nowhere. */
const awsSecret = 'the-secret-key-of-aws'

export async function startLocalStage({ bundles, databaseUrl, settings, timeoutMs = {}, secret = (url) => url }: LocalStageOptions) {
  const stage = `t${randomBytes(4).toString('hex')}`
  const names = stageNames(stage)
  const { hostname, port } = new URL(databaseUrl)
  const [dynamodb, aws, gecko, proxy] = await Promise.all([
    startDynamodb(),
    startFakeAws(),
    startGeckoSimulator({ clock: systemClock, networks: ['solana'], limitPerMinute: 1_000 }),
    startFaultProxy({ target: { host: hostname, port: Number(port) } }),
  ])
  // the connections are known by the stage's name: other tests use the same server
  const url = secret(withParameter(proxy.url(databaseUrl), 'application_name', names.stack))
  const databaseUrlParameter = `/${names.stack}/database-url`
  aws.parameters.set(databaseUrlParameter, url)
  const called = { HEALTH_CHECK_FUNCTION: `${names.stack}-health-check`, REPLAY_FUNCTION: `${names.stack}-replay-parked` }
  for (const name of Object.values(called)) aws.functions.add(name)
  const parked = aws.addQueue('parked')
  const tableName = await dynamodb.createTable()
  const state = createDynamodbStateTable({ tableName, aws: dynamodb.target })
  const environment = {
    AWS_ENDPOINT_URL: aws.target.endpoint,
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb.target.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: awsSecret,
    TOKAY_SETTINGS: JSON.stringify({
      stage,
      networks: ['solana'],
      gecko: { baseUrl: gecko.baseUrl, requestsPerMinute: 1_000 },
      // a freeze is short here: any connection that has waited is asked for a sign of life
      database: { connectForMs: 500, wakeForMs: 1_000, lockForMs: 300, statementForMs: 800, attemptForMs: 1_500, validateAfterMs: 0 },
      retry: { attempts: 2, baseMs: 1, capMs: 1 },
      breaker: { failures: 2, openForMs: 500, maxOpenForMs: 500, leaseForMs: 2_000 },
      ...settings,
    }),
    STATE_TABLE: tableName,
    DATABASE_URL_PARAMETER: databaseUrlParameter,
    PARKED_QUEUE_URL: parked.url,
    DEAD_LETTERS_QUEUE_URL: aws.addQueue('dead-letters').url,
    ALERT_TOPIC_ARN: `arn:aws:sns:us-east-1:123456789012:${names.stack}-alerts`,
    ...called,
  }
  const functionOf = (name: FunctionName): LocalFunction =>
    createLocalFunction({ runtime: bundles.runtime.file, bundle: bundles[name].file, environment, timeoutMs: timeoutMs[name] ?? 40_000 })
  const functions = {
    collect: functionOf('collect'),
    replay: functionOf('replay-parked'),
    health: functionOf('health-check'),
    migrate: functionOf('migrate'),
    maintain: functionOf('maintain'),
  }
  const postgres = new Client({ connectionString: databaseUrl })
  await postgres.connect()
  await postgres.query(`set search_path to ${names.schema}`)

  /** @throws when a secret can be read in the logs, in an answer or failure, or in an alert */
  function assertNoSecretTold(): void {
    const told = [...Object.values(functions).flatMap((fn) => [...fn.logs, ...fn.answers]), JSON.stringify(aws.published)]
    const { password } = URL.canParse(url) ? new URL(url) : { password: url }
    const telling = told.filter((text) => [awsSecret, url, password].some((hidden) => hidden !== '' && text.includes(hidden)))
    if (telling.length > 0) throw new Error(`a secret was told:\n${telling.join('\n')}`)
  }

  return {
    names,
    aws,
    gecko,
    proxy,
    parked: parked.queue,
    functions,
    state,
    /** Ends every session that the functions have on the server. Resolves when they are gone. */
    async terminateSessions(): Promise<void> {
      await postgres.query('select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = $1', [names.stack])
    },
    sql: async (text: string, values: readonly unknown[] = []) => (await postgres.query(text, [...values])).rows,
    /** Everything that was served, against everything that is stored. */
    compare: (): Promise<Comparison> =>
      compareServed(gecko.served, async ({ text, values }) => (await postgres.query({ text, values: [...values] })).rows),
    /** As if so much time had passed that a dead run's claim has ended. */
    async endClaim(collector: CollectorName): Promise<void> {
      const item = (await state.list()).find(({ key }) => key === stateKeys.collector(collector))
      const { lease, ...data } = (item?.data ?? {}) as CollectorState
      if (!item || !lease) throw new Error(`${collector} has no claim to end`)
      await state.compareAndSet(item.key, item.version, {
        ...data,
        lease: { ...lease, untilMs: Date.now() - 1 },
      })
    },
    /** What the functions logged under this name. */
    events: (name: string) =>
      Object.values(functions)
        .flatMap((fn) => fn.logs)
        .map((line) => (JSON.parse(line) as { message?: Record<string, unknown> }).message)
        .filter((message) => message?.['event'] === name)
        .map((message) => message ?? {}),
    /** @throws when a secret was told, after everything is closed */
    async close(): Promise<void> {
      await Promise.all(Object.values(functions).map((fn) => fn.kill()))
      await state.close()
      await postgres.query(`set client_min_messages to warning; drop schema if exists ${names.schema} cascade`)
      await Promise.all([postgres.end(), proxy.close(), gecko.close(), aws.close(), dynamodb.close()])
      assertNoSecretTold()
    },
  }
}

function withParameter(url: string, name: string, value: string): string {
  const changed = new URL(url)
  changed.searchParams.set(name, value)
  return changed.href
}

export type LocalStage = Awaited<ReturnType<typeof startLocalStage>>
