// `npm start` as a user meets it: the whole process, a real Postgres, the simulator.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tokay } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'

describe('start', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>
  let dataDir: string
  beforeAll(async () => {
    database = await createDatabase()
    dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-start-'))
  })
  afterAll(async () => {
    await database.drop()
    await fs.rm(dataDir, { recursive: true, force: true })
  })
  const env = () => ({ DATABASE_URL: database.url })
  const once = () => ['start', '--source', 'simulator', '--once', '--json', '--data-dir', dataDir]

  it('--once --json prints one JSON object on stdout, and it agrees with the tables', async () => {
    const { code, stdout, stderr } = await tokay(once(), env()).finished
    expect(code, stderr).toBe(0)
    const summary = JSON.parse(stdout) as {
      source: string
      collectors: Record<string, Record<string, number>>
      tables: Record<string, { rows: number }>
    }
    expect(summary.source).toBe('simulator')
    expect(Object.keys(summary.collectors)).toEqual(['dexes', 'top-pools', 'new-pools', 'trades'])
    for (const counts of Object.values(summary.collectors)) {
      expect(Object.keys(counts)).toEqual(['fetched', 'inserted', 'updated', 'unchanged', 'rejected', 'parked', 'apiCalls'])
      expect(counts['fetched']).toBeGreaterThan(0)
      expect(counts['fetched']).toBe(
        ['inserted', 'updated', 'unchanged', 'rejected', 'parked'].reduce((sum, key) => sum + (counts[key] ?? 0), 0),
      )
    }
    const client = new Client({ connectionString: database.url })
    await client.connect()
    for (const [table, { rows }] of Object.entries(summary.tables)) {
      const { rows: counted } = await client.query<{ n: number }>(`select count(*)::int as n from tokay_simulator.${table}`)
      expect({ table, rows }).toEqual({ table, rows: counted[0]?.n })
    }
    await client.end()
    expect(summary.tables['trades']?.rows).toBe(summary.collectors['trades']?.['inserted'])
    expect(stderr).toContain('source: the built-in simulator')
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('%s ends it cleanly within 5 s', async (signal) => {
    const running = tokay(['start', '--source', 'simulator', '--data-dir', dataDir], env())
    await running.shows('collector.ran')
    const askedAtMs = performance.now()
    running.kill(signal)
    const { code, stdout, stderr } = await running.finished
    expect(code, stdout + stderr).toBe(0)
    expect(performance.now() - askedAtMs).toBeLessThan(5_000)
    expect(stdout).toContain('run.stopping')
  })

  it('--duration ends it by itself', async () => {
    const { code, stdout } = await tokay(['start', '--source', 'simulator', '--duration', '1', '--json', '--data-dir', dataDir], env())
      .finished
    expect(code).toBe(0)
    expect(Object.keys(JSON.parse(stdout))).toEqual(['source', 'collectors', 'tables'])
  })

  it('a database that is away at the start loses nothing: what was fetched is parked, and the next start writes it', async () => {
    const fresh = await createDatabase()
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-away-'))
    const args = ['start', '--source', 'simulator', '--once', '--json', '--data-dir', folder]
    const away = new URL(fresh.url)
    away.port = '1'
    const first = await tokay(args, { DATABASE_URL: away.href }).finished
    expect(first.code).toBe(1)
    expect(first.stderr).toContain('database.away address=127.0.0.1:1')
    expect(first.stderr).toContain('batches are parked, and written at the next start that reaches the database')
    const parked = JSON.parse(first.stdout) as { collectors: Record<string, { fetched: number; parked: number }> }
    expect(parked.collectors['top-pools']?.parked).toBe(parked.collectors['top-pools']?.fetched)

    const second = await tokay(['start', '--source', 'simulator', '--duration', '12', '--json', '--data-dir', folder], {
      DATABASE_URL: fresh.url,
    }).finished
    expect(second.code, second.stderr).toBe(0)
    expect(second.stderr).toContain('parked-writes.replayed')
    expect(await fs.readdir(path.join(folder, 'simulator', 'parked'))).toEqual([])
    await fresh.drop()
    await fs.rm(folder, { recursive: true })
  }, 60_000)
})

describe('wrong use', () => {
  const secret = 'correct-horse-battery'

  it.each([
    ['no URL at all', secret],
    ['another protocol', `mysql://user:${secret}@127.0.0.1/db`],
    ['no database', `postgres://user:${secret}@127.0.0.1`],
  ])('a DATABASE_URL that is %s ends with 2, says what it should look like, and is never shown', async (_, url) => {
    const { code, stdout, stderr } = await tokay(['start', '--source', 'simulator', '--once'], { DATABASE_URL: url }).finished
    expect(code).toBe(2)
    expect(stderr).toContain('DATABASE_URL')
    expect(stderr).toContain('postgres://user:password@host:5432/database')
    expect(stdout + stderr).not.toContain(secret)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })

  it('a wrong password ends with one message that does not hold it', async () => {
    const database = await createDatabase()
    const url = new URL(database.url)
    url.password = secret
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-auth-'))
    const { code, stderr } = await tokay(['start', '--source', 'simulator', '--once', '--data-dir', folder], { DATABASE_URL: url.href })
      .finished
    expect(code).toBe(1)
    expect(stderr).toContain('password authentication failed')
    expect(stderr).not.toContain(secret)
    await database.drop()
    await fs.rm(folder, { recursive: true })
  })

  it.each([
    [['start', '--source', 'nowhere'], 'Allowed choices are live, simulator'],
    [['start', '--duration', 'soon'], 'It must be a whole number'],
    [['start', '--sauce', 'live'], "unknown option '--sauce'"],
    [['collect', 'everything'], 'Allowed choices are dexes, top-pools, new-pools, trades'],
    [['start', '--replay', '/nowhere/at/all', '--once'], '/nowhere/at/all'],
  ])('%j ends with 2 and says what is wrong', async (args, message) => {
    const { code, stderr } = await tokay(args).finished
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})
