// The life of a stack, with the real CDK command against an AWS emulator and a real Postgres: deployed by the README's one command, deployed again,
// changed while the database is away, and destroyed. What the emulator lacks is said where it matters: it runs no schedule and evaluates no alarm.

import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type FaultProxy, startFaultProxy } from '../../cli/local/fault-proxy.ts'
import { cloudwatchMetrics } from '../../shared/aws/cloudwatch-metrics.ts'
import { createDynamodbStateTable } from '../../shared/aws/dynamodb-state-table.ts'
import { snsNotifier } from '../../shared/aws/sns-notifier.ts'
import { snsReceivers } from '../../shared/aws/sns-receivers.ts'
import { sqsParkedWrites } from '../../shared/aws/sqs-parked-writes.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import { stageNames } from '../../shared/names.ts'
import { createDatabase } from '../support/database.ts'
import { type Account, openAccount } from './account.ts'
import { runDeployed } from './deployed-function.ts'
import { type Emulator, emulatorFolder, root, startEmulator } from './emulator.ts'
import { readTemplate } from './template.ts'

/** What `npx cdk` runs in the project's folder. */
const cdkCommand = path.join(root, 'node_modules/.bin/cdk')
const names = stageNames('dev')
const found = emulatorFolder()
const why = 'missing' in found ? ` (skipped: ${found.missing})` : ''
const migrations = readdirSync(path.join(root, 'shared/db/migrations')).map((file) => file.replace(/\.sql$/, ''))

describe.skipIf('missing' in found)(`a stack's life${why}`, () => {
  let emulator: Emulator
  let account: Account
  let database: Awaited<ReturnType<typeof createDatabase>>
  let proxy: FaultProxy
  let before: Record<string, string[]>
  const assembly = () => path.join(emulator.scratch, 'cdk.out')
  const template = () => readTemplate(assembly(), names.stack)

  /** Everything that the command printed. No terminal is attached. Rejects when it does not end with 0. */
  async function cdk(command: string, cwd = root): Promise<string> {
    const env = { ...emulator.environment, CDK_OUTPUT: assembly() }
    const { stdout, stderr } = await promisify(execFile)(cdkCommand, command.split(' '), { cwd, env, maxBuffer: 16 * 1024 * 1024 })
    return stdout + stderr
  }

  /** Behind the proxy. */
  async function sql(text: string): Promise<Record<string, unknown>[]> {
    const client = new Client({ connectionString: database.url })
    await client.connect()
    try {
      return (await client.query(text)).rows
    } finally {
      await client.end()
    }
  }
  /** As the README has a user do it, once. */
  const storeUrl = (Name: string) =>
    new SSMClient(emulator.target).send(new PutParameterCommand({ Name, Type: 'SecureString', Value: proxy.url(database.url) }))
  const appliedMigrations = async () => (await sql(`select name from ${names.schema}.migrations order by name`)).map((row) => row['name'])

  beforeAll(async () => {
    if (!('folder' in found)) return
    emulator = await startEmulator(found.folder)
    account = openAccount(emulator.target)
    database = await createDatabase()
    const { hostname, port } = new URL(database.url)
    proxy = await startFaultProxy({ target: { host: hostname, port: Number(port) } })
    await storeUrl('/tokay/dev/database-url')
    await cdk('bootstrap -c alertEmail=you@example.com')
    before = await account.inventory()
  })
  afterAll(async () => {
    await proxy?.close()
    await database?.drop()
    await emulator?.stop()
  })

  it('one command deploys it, asking for nothing: each resource of the template is there', async () => {
    await cdk('deploy -c alertEmail=you@example.com --method=direct')
    const { 'AWS::CloudFormation::Stack': stacks, ...after } = await account.inventory()

    expect(stacks).toContain(names.stack)
    const added = Object.entries(after).map(([type, all]) => [type, all.length - (before[type]?.length ?? 0)])
    expect(added).toEqual(Object.keys(after).map((type) => [type, template().ofType(type).length]))
    for (const type of ['AWS::Lambda::Function', 'AWS::DynamoDB::Table', 'AWS::SQS::Queue']) expect(added).not.toContainEqual([type, 0])
  })

  it('every alarm publishes to the topic, whose policy lets CloudWatch publish for alarms of that name', async () => {
    const alarms = await account.alarms()
    const topics = (await account.inventory())['AWS::SNS::Topic']
    expect(alarms.length).toBeGreaterThan(0)
    for (const { AlarmName, AlarmActions = [], OKActions = [] } of alarms) {
      expect(AlarmActions.length).toBeGreaterThan(0)
      for (const action of [...AlarmActions, ...OKActions]) expect(topics).toContain(action)
      expect(AlarmName).toMatch(new RegExp(`^${names.stack}-`))
    }
    // the emulator goes on showing a topic's default policy, so it is read from what was deployed
    const allowing = template()
      .ofType('AWS::SNS::TopicPolicy')
      .flatMap((policy) => policy.Properties['PolicyDocument'].Statement)
      .filter((s) => s.Effect === 'Allow' && s.Principal.Service === 'cloudwatch.amazonaws.com' && s.Action === 'sns:Publish')
    expect(allowing).toHaveLength(topics?.length ?? 0)
    for (const statement of allowing) expect(JSON.stringify(statement.Condition)).toContain(`:alarm:${names.stack}-*`)
  })

  it('every schedule starts a function that is there, and the mail goes to whom the command named', async () => {
    const functions = (await account.inventory())['AWS::Lambda::Function']
    for (const { Target } of await account.schedules()) expect(functions).toContain(Target.Arn.split(':').at(-1))
    expect((await account.subscriptions()).map((s) => [s.Protocol, s.Endpoint])).toEqual([['email', 'you@example.com']])
  })

  it('the adapters work on what was deployed: state, parked writes, an alert, its receivers, a metric', async () => {
    const health = await account.environment(`${names.stack}-health-check`)
    const aws = emulator.target
    const state = createDynamodbStateTable({ tableName: health['STATE_TABLE'] ?? '', aws })
    expect(await state.compareAndSet('proof', 0, { of: 'deploy' })).toBe(true)
    expect(await state.compareAndSet('proof', 0, { of: 'deploy' })).toBe(false)
    expect(await state.list()).toEqual([{ key: 'proof', version: 1, data: { of: 'deploy' } }])

    const { PARKED_QUEUE_URL = '', DEAD_LETTERS_QUEUE_URL = '' } = await account.environment(`${names.stack}-replay-parked`)
    const parked = sqsParkedWrites({ queueUrl: PARKED_QUEUE_URL, deadLetterUrl: DEAD_LETTERS_QUEUE_URL, aws })
    const write = { id: 'w', schemaVersion: 1, collector: 'dexes', runId: 'r', parkedAtMs: 1, reason: 'proof', batch: emptyBatch } as const
    await parked.park(write)
    expect(await parked.depth()).toBe(1)
    const [received] = await parked.receive(10)
    expect(received?.write).toEqual(write)
    await parked.remove([received?.receipt ?? ''])
    expect(await parked.depth()).toBe(0)

    const topicArn = health['ALERT_TOPIC_ARN'] ?? ''
    await snsNotifier({ topicArn, aws }).publish({ subject: 'proof', email: 'of a deploy', sms: 'proof', severity: 'critical' })
    const { confirmed, pending } = await snsReceivers({ topicArn, aws })()
    expect(confirmed + pending).toBe(1)
    await cloudwatchMetrics({ aws }).publishMetrics(names.metricNamespace, [{ name: 'Heartbeat', value: 1, unit: 'Count' }])
  })

  it('the deploy has run the migration: the schema is in the database', async () => {
    expect(emulator.takeFunctionLog()).toContain('schema.migrated')
    expect(await appliedMigrations()).toEqual(migrations)
  })

  it('the same command again changes nothing and runs nothing', async () => {
    const inventory = await account.inventory()

    expect(await cdk('deploy -c alertEmail=you@example.com --method=direct')).toContain(`${names.stack} (no changes)`)
    expect(await account.inventory()).toEqual(inventory)
    expect(emulator.takeFunctionLog()).toBe('')
  })

  it('a changed setting and a phone are deployed while the database is away, and the log says what becomes of the migration', async () => {
    const folder = path.join(emulator.scratch, 'changed')
    await fs.mkdir(folder)
    const { context, ...rest } = JSON.parse(await fs.readFile(path.join(root, 'cdk.json'), 'utf8'))
    const tokay = { ...context.tokay, health: { everyMinutes: 5 } }
    const changed = { ...rest, app: `node ${path.join(root, 'infra/app.ts')}`, context: { ...context, tokay } }
    await fs.writeFile(path.join(folder, 'cdk.json'), JSON.stringify(changed))
    await sql(`drop schema ${names.schema} cascade`)
    await proxy.mode({ kind: 'refuse' })
    await cdk('deploy -c alertEmail=you@example.com -c alertPhone=+15555550100 --method=direct', folder)

    const health = (await account.schedules()).find(({ Target }) => Target.Arn.endsWith('-health-check'))
    expect(health?.ScheduleExpression).toMatch(/^cron\(\d+\/5 /)
    const { ALERT_TOPIC_ARN: topic } = await account.environment(`${names.stack}-health-check`)
    const receivers = (await account.subscriptions()).filter((s) => s.TopicArn === topic)
    expect(receivers.map((s) => s.Endpoint).toSorted()).toEqual(['+15555550100', 'you@example.com'])
    // the emulator takes no filter of a subscription, so it is read from what was deployed
    const filters = template()
      .ofType('AWS::SNS::Subscription')
      .map((s) => [s.Properties['Endpoint'], s.Properties['FilterPolicy']?.severity])
    expect(filters).toContainEqual(['+15555550100', ['critical']])
    const log = emulator.takeFunctionLog()
    expect(log).toContain('schema.not-migrated')
    expect(log).toContain('ECONNREFUSED')
  })

  it('once the database is back, the upkeep brings the schema that the deploy could not', async () => {
    await proxy.mode({ kind: 'pass' })
    await runDeployed(`${names.stack}-maintain`, {}, { emulator, account, template: template() })
    expect(await appliedMigrations()).toEqual(migrations)
  })

  it('a health check alone stands beside it, runs no migration, and reports on the database from its deployed bundle', async () => {
    const alone = '-c collectors=none -c stage=watch -c alertEmail=you@example.com'
    await storeUrl('/tokay/watch/database-url')
    emulator.takeFunctionLog()
    await cdk(`deploy ${alone} --method=direct`)
    const functions = (await account.inventory())['AWS::Lambda::Function']?.filter((name) => name.startsWith('tokay-watch-'))

    expect(functions).toContain('tokay-watch-health-check')
    expect(functions).not.toContain('tokay-watch-collect')
    expect(emulator.takeFunctionLog()).toBe('')
    const on = { emulator, account, template: readTemplate(assembly(), 'tokay-watch') }
    expect(await runDeployed('tokay-watch-health-check', { tests: ['connectivity'] }, on)).toMatchObject({ status: 'HEALTHY' })
    await cdk(`destroy --force ${alone}`)
  })

  it('destroy leaves nothing of it behind', async () => {
    await cdk('destroy --force -c alertEmail=you@example.com')

    expect(await account.inventory()).toEqual(before)
  })
})
