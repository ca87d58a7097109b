// What an operator types: quarantine, breaker, explain. Whole processes, real exit codes, pure JSON on stdout.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openState } from '../../cli/runtime.ts'
import { createDynamodbStateTable } from '../../shared/aws/dynamodb-state-table.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import { systemClock } from '../../shared/clock.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { insertQuarantine, quarantined, type QuarantineEntry } from '../../shared/db/quarantine.ts'
import { silentLog } from '../../shared/log.ts'
import type { Batch } from '../../shared/model.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { tokay } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'
import { startDynamodb } from '../support/dynamodb.ts'
import { dex, token } from '../support/rows.ts'

const schema = 'tokay_simulator'
const unknownId = '00000000-0000-0000-0000-000000000000'

describe('tokay quarantine', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>
  let client: Client
  let dataDir: string
  beforeAll(async () => {
    database = await createDatabase()
    dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-quarantine-'))
    await migrate({ url: database.url, schema, connectForMs: 10_000 })
    client = new Client({ connectionString: database.url })
    await client.connect()
  })
  afterAll(async () => {
    await client.end()
    await database.drop()
    await fs.rm(dataDir, { recursive: true })
  })

  const quarantine = (...args: readonly string[]) =>
    tokay(['quarantine', ...args, '--source', 'simulator', '--data-dir', dataDir], { DATABASE_URL: database.url }).finished
  const hold = (rows: Partial<Batch>) =>
    quarantined(
      { ...emptyBatch, ...rows },
      {
        class: 'data',
        sqlState: '22003',
        message: 'upsert: refused (22003)',
        collector: 'dexes',
        runId: 'r',
        seenAtMs: Date.parse('2025-08-28T10:00:00Z'),
      },
    )

  it('list, retry and drop: the mended row is written, the other stays until it is dropped', async () => {
    const good = hold({ dexes: [dex({ dex: 'mended' })] })
    const bad = hold({ tokens: [token({ decimals: 3_000_000_000 })] })
    const writer = createPgDatabase({
      url: database.url,
      schema,
      poolMax: 2,
      connectForMs: 5_000,
      wakeForMs: 5_000,
      idleForMs: 15_000,
      lifetimeMs: 60_000,
      clock: systemClock,
      log: silentLog,
    })
    await writer.query(insertQuarantine([good, bad]), { attemptForMs: 10_000, statementForMs: 9_000, lockForMs: 1_000 })
    await writer.end()

    const listed = await quarantine('list', '--json')
    expect(listed.code, listed.stderr).toBe(0)
    const entries = JSON.parse(listed.stdout) as QuarantineEntry[]
    expect(entries.map(({ id, table, sqlState, status }) => [id, table, sqlState, status]).toSorted()).toEqual(
      [
        [good.id, 'dexes', '22003', 'held'],
        [bad.id, 'tokens', '22003', 'held'],
      ].toSorted(),
    )

    const retried = await quarantine('retry', '--all', '--json')
    expect(retried.code, retried.stderr).toBe(1)
    expect(JSON.parse(retried.stdout)).toEqual({ retried: [good.id], held: 1 })
    expect((await client.query(`select dex from ${schema}.dexes`)).rows).toEqual([{ dex: 'mended' }])

    const left = await quarantine('list')
    expect(left.stdout).toContain(`${bad.id}  tokens of dexes, since 2025-08-28T10:00:00.000Z: data: `)
    expect(left.stdout).not.toContain(good.id)
    // not the row's values: they come from an API that anybody can write to
    expect(left.stdout).not.toContain('3000000000')

    const dropped = await quarantine('drop', '--id', bad.id, '--json')
    expect([dropped.code, JSON.parse(dropped.stdout)]).toEqual([0, { dropped: 1 }])
    const empty = await quarantine('list')
    expect([empty.code, empty.stdout]).toEqual([0, 'no row is held in the quarantine\n'])
    expect((await client.query(`select status from ${schema}.quarantine`)).rows).toEqual([{ status: 'retried' }])
  }, 60_000)

  it.each([['retry'], ['drop']])('%s wants to know which rows, and changes nothing else', async (command) => {
    const { code, stdout, stderr } = await quarantine(command)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('say which rows: --id <id>, or --all')
  })

  it('an id that is not there ends with 1, one that is no id with 2', async () => {
    const missing = await quarantine('drop', '--id', unknownId, '--json')
    expect([missing.code, missing.stdout]).toEqual([1, '{"dropped":0}\n'])
    const listed = await quarantine('list', '--id', unknownId, '--json')
    expect([listed.code, listed.stdout]).toEqual([1, '[]\n'])
    expect(listed.stderr).toContain(unknownId)
    expect((await quarantine('list', '--id', '17')).code).toBe(2)
    expect((await quarantine('drop', '--id', unknownId, '--all')).code).toBe(2)
  }, 30_000)
})

describe('tokay breaker', () => {
  let dataDir: string
  beforeAll(async () => void (dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-breaker-'))))
  afterAll(async () => fs.rm(dataDir, { recursive: true }))
  const breaker = (...args: readonly string[]) => tokay(['breaker', ...args, '--source', 'simulator', '--data-dir', dataDir]).finished

  it('open refuses everything in a process that runs, for so long and no longer; 0s takes it back', async () => {
    const state = openState(dataDir, 'simulator')
    let nowMs = Date.now()
    const running = createBreaker({
      scope: 'stream:trades',
      key: 'breaker:stream:trades',
      table: state,
      rules: { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 9_000, leaseForMs: 15_000 },
      clock: { nowMs: () => nowMs, sleep: async () => {} },
      random: Math.random,
      log: silentLog,
    })
    expect((await running.admit()).verdict).toBe('pass')

    const forced = await breaker('open', 'stream:trades', '--for', '30m', '--json')
    expect(forced.code, forced.stderr).toBe(0)
    const { forcedUntil, ...shown } = JSON.parse(forced.stdout) as { forcedUntil: string }
    expect(shown).toMatchObject({ scope: 'stream:trades', state: 'closed', forced: 'open' })
    expect(Math.abs(Date.parse(forcedUntil) - Date.now() - 30 * 60_000)).toBeLessThan(30_000)

    nowMs += 5_000
    expect((await running.admit({ mayProbe: true })).verdict).toBe('reject')
    nowMs += 31 * 60_000
    expect((await running.admit()).verdict).toBe('pass')

    nowMs = Date.now() + 40 * 60_000
    expect(JSON.parse((await breaker('open', 'stream:trades', '--for', '0s', '--json')).stdout)).toMatchObject({ forced: null })
    await state.close()
  }, 30_000)

  it('close is for the database when no scope is said; list shows what is forced, and one scope', async () => {
    expect((await breaker('close', '--for', '5m')).stdout).toMatch(/^database: forced closed until \S+; by itself closed\n$/)
    const listed = await breaker('list', '--json')
    expect(JSON.parse(listed.stdout)).toMatchObject([
      { scope: 'database', state: 'closed', failures: 0, forced: 'closed', reason: null },
      { scope: 'stream:trades', state: 'closed', forced: null },
    ])
    expect(JSON.parse((await breaker('list', 'gecko', '--json')).stdout)).toEqual([])
    expect((await breaker('list', 'gecko')).stdout).toBe('gecko: closed; it has not met a failure\n')
  }, 30_000)

  it.each([
    [['open', '--for', '2d'], 'It must be a time such as 30s, 5m or 2h'],
    [['open', '--for', '25h'], 'at most 24h'],
    [['close', 'trades'], 'It must be database, gecko, stream:dexes'],
    [['toggle'], "unknown command 'toggle'"],
  ])('%j ends with 2 and says what is wrong', async (args, message) => {
    const { code, stdout, stderr } = await tokay(['breaker', ...args]).finished
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
  })
})

describe('tokay breaker --aws', () => {
  let dynamodb: Awaited<ReturnType<typeof startDynamodb>>
  beforeAll(async () => void (dynamodb = await startDynamodb()))
  afterAll(() => dynamodb.close())
  /** Nothing of the caller's own AWS settings. */
  const nothing = {
    AWS_CONFIG_FILE: os.devNull,
    AWS_SHARED_CREDENTIALS_FILE: os.devNull,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_PROFILE: '',
    AWS_REGION: '',
    AWS_ACCESS_KEY_ID: '',
  }
  const account = () => ({
    ...nothing,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb.target.endpoint,
  })
  const breaker = (args: string, env: Readonly<Record<string, string>>) => tokay(['breaker', ...args.split(' ')], env).finished

  it("an operator's word reaches the functions of the stage, and of no other", async () => {
    const table = createDynamodbStateTable({ tableName: await dynamodb.createTable('tokay-prod-state'), aws: dynamodb.target })
    await dynamodb.createTable('tokay-dev-state')
    const forced = await breaker('open --for 30m --stage prod --json', account())

    expect(forced.code, forced.stderr).toBe(0)
    expect(JSON.parse(forced.stdout)).toMatchObject({ scope: 'database', state: 'closed', forced: 'open' })
    expect(await table.list()).toMatchObject([{ key: 'breaker:database', version: 1, data: { override: { forced: 'open' } } }])
    await table.close()
    expect(JSON.parse((await breaker('list --aws --stage prod --json', account())).stdout)).toMatchObject([{ forced: 'open' }])
    expect(JSON.parse((await breaker('list --aws --json', account())).stdout)).toEqual([])
  }, 30_000)

  it.each([
    ['list --aws --stage qa', () => account(), 'there is no table tokay-qa-state: stage "qa" is not deployed'],
    ['list --aws', () => ({ ...account(), AWS_REGION: '' }), 'no AWS region is set: set AWS_REGION'],
    ['list --aws', () => ({ ...nothing, AWS_REGION: 'us-east-1' }), 'no AWS credentials were found: set AWS_PROFILE'],
    ['list --aws --stage Prod', () => account(), 'stage: must be 1-20 lower-case letters'],
    ['list --aws --source simulator', () => account(), "option '--aws' cannot be used with option '--source <source>'"],
  ])('%s ends with 2 and says what is missing', async (args, env, message) => {
    const { code, stdout, stderr } = await breaker(args, env())
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
  })
})

describe('tokay explain', () => {
  it('says what a code is, what Tokay does, what to do', async () => {
    const { code, stdout } = await tokay(['explain', '25006']).finished
    expect(code).toBe(0)
    expect(stdout).toMatch(/^25006 is read-only\n {2}This server takes no writes/)
    expect(stdout).toContain('What Tokay does:')
    expect(stdout).toContain('What to do:')
  })

  it('as JSON with every meaning that a code can have', async () => {
    const { stdout } = await tokay(['explain', '57014', '--json']).finished
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'known', code: '57014', explanations: [{ class: 'cancelled' }, { class: 'slow' }] })
  })

  it('ends with 2 for what nobody knows, and with what was probably meant', async () => {
    const { code, stdout, stderr } = await tokay(['explain', 'lock-timout']).finished
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Did you mean lock-timeout?')
  })
})
