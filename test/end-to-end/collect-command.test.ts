// `tokay collect <collector>` as a user meets it: the whole process, a real Postgres, the simulator.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSqliteStateTable } from '../../cli/local/sqlite-state-table.ts'
import { tokay } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'

const schema = 'tokay_simulator'

describe('collect', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>
  let dataDir: string
  beforeEach(async () => {
    database = await createDatabase()
    dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-collect-'))
  })
  afterEach(async () => {
    await database.drop()
    await fs.rm(dataDir, { recursive: true, force: true })
  })

  const collect = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    tokay([...args, '--source', 'simulator', '--data-dir', dataDir], { DATABASE_URL: database.url, ...env }).finished

  async function sql<Row>(text: string): Promise<Row[]> {
    const client = new Client({ connectionString: database.url })
    await client.connect()
    const { rows } = await client.query(text)
    await client.end()
    return rows as Row[]
  }
  const count = async (table: string) => (await sql<{ n: number }>(`select count(*)::int as n from ${schema}.${table}`))[0]?.n
  const schemas = async () =>
    (await sql<{ name: string }>(`select nspname as name from pg_namespace where nspname like 'tokay%'`)).map((row) => row.name)
  const parkedFiles = async () => (await fs.readdir(path.join(dataDir, 'simulator', 'parked'))).filter((name) => name.endsWith('.json'))

  it('--json prints the result as one JSON object on stdout, and the rows are in the tables', async () => {
    const { code, stdout, stderr } = await collect(['collect', 'new-pools', '--json'])
    expect(code, stderr).toBe(0)
    const result = JSON.parse(stdout) as { counts: Record<string, number> }
    expect(result).toMatchObject({
      source: 'simulator',
      collector: 'new-pools',
      dryRun: false,
      kind: 'ran',
      outcome: 'complete',
      problem: null,
    })
    const { fetched = 0, inserted = 0, updated = 0, unchanged = 0, rejected = 0, parked = 0 } = result.counts
    expect(inserted).toBeGreaterThan(0)
    expect(fetched).toBe(inserted + updated + unchanged + rejected + parked)
    expect(await count('pools')).toBe(inserted)
    expect(await sql(`select collector, outcome, fetched, inserted from ${schema}.runs`)).toEqual([
      { collector: 'new-pools', outcome: 'complete', fetched, inserted },
    ])
    expect(stderr).toContain('source: the built-in simulator')
  })

  it('in words it is one line, under its other name as well; it runs again though it is not due', async () => {
    const first = await collect(['run-collector', 'dexes'])
    expect(first.code, first.stderr).toBe(0)
    expect(first.stdout).toMatch(/^dexes: complete, (\d+) fetched, \1 inserted, 0 updated, 0 unchanged, 0 rejected, 0 parked\n$/)
    const second = await collect(['collect', 'dexes'])
    expect(second.stdout).toMatch(/^dexes: complete, (\d+) fetched, 0 inserted, 0 updated, \1 unchanged, 0 rejected, 0 parked\n$/)
  })

  it('--dry-run fetches and reads everything, and writes nothing: no schema, no claim, no cursor, nothing parked', async () => {
    const { code, stdout, stderr } = await collect(['collect', 'new-pools', '--dry-run', '--json'])
    expect(code, stderr).toBe(0)
    const result = JSON.parse(stdout) as { counts: Record<string, number> }
    expect(result).toMatchObject({ dryRun: true, kind: 'ran', outcome: 'complete', counts: { inserted: 0, updated: 0, parked: 0 } })
    expect(result.counts['fetched']).toBeGreaterThan(0)
    expect(await schemas()).toEqual([])
    expect(await parkedFiles()).toEqual([])

    const after = await collect(['collect', 'new-pools', '--json'])
    expect(JSON.parse(after.stdout)).toMatchObject({ outcome: 'complete', counts: { updated: 0 } })
  })

  it('--dry-run of trades, which asks the database what to watch, says that it could not and goes on', async () => {
    const { code, stdout, stderr } = await collect(['collect', 'trades', '--dry-run', '--json'])
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ outcome: 'complete', counts: { fetched: 0, apiCalls: 0 } })
    expect(stderr).toContain('watched-pools.unread')
    expect(await schemas()).toEqual([])
  })

  it('--dry-run leaves the rows that are there alone', async () => {
    await collect(['collect', 'new-pools'])
    const before = await count('pools')
    const { stdout } = await collect(['collect', 'top-pools', '--dry-run'])
    expect(stdout).toMatch(/^top-pools: complete, \d+ fetched, \d+ could be stored, \d+ not; nothing was written\n$/)
    expect(await count('pools')).toBe(before)
    expect(await count('runs')).toBe(1)
  })

  it('--dry-run needs no database', async () => {
    const { code, stdout } = await collect(['collect', 'dexes', '--dry-run', '--json'], {
      DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
    })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ outcome: 'complete', dryRun: true })
  })

  it('with the database away it parks what it fetched, says so, and ends with 0: nothing is lost', async () => {
    const { code, stdout, stderr } = await collect(['collect', 'dexes', '--json'], {
      DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing',
    })
    expect(code, stderr).toBe(0)
    const { counts } = JSON.parse(stdout) as { counts: Record<string, number> }
    expect(counts['parked']).toBe(counts['fetched'])
    expect(stderr).toContain('batch.parked collector=dexes')
    expect(await parkedFiles()).toHaveLength(2)
  }, 40_000)

  it('ends with 1 when another run has the collector, and says until when', async () => {
    await collect(['collect', 'dexes'])
    const claimed = await claimForAMinute(path.join(dataDir, 'simulator', 'state.db'))
    const { code, stdout } = await collect(['collect', 'dexes'])
    expect(code).toBe(1)
    expect(stdout).toBe(`dexes: not run, another run has claimed it until ${claimed}\n`)
  })

  it('ends with 2 without a collector, and names those there are', async () => {
    const { code, stderr } = await collect(['collect'])
    expect(code).toBe(2)
    expect(stderr).toContain("missing required argument 'collector'")
  })
})

/** As a run that has just begun leaves it. Answers until when. */
async function claimForAMinute(file: string): Promise<string> {
  const table = createSqliteStateTable(file)
  const item = (await table.list()).find((i) => i.key === 'collector:dexes')
  const untilMs = Date.now() + 60_000
  await table.compareAndSet('collector:dexes', item?.version ?? 0, { ...(item?.data as object), lease: { runId: 'other', untilMs } })
  await table.close()
  return new Date(untilMs).toISOString()
}
