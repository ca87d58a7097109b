// `tokay export` and `tokay gaps` as they are typed: whole processes over a real Postgres, what comes out read back and compared with the rows.

import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exportTable } from '../../cli/export-command.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { type ExportTable, exportTables } from '../../shared/db/export-statements.ts'
import { tokay } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'

const schema = 'tokay_simulator'
const tokayFile = path.resolve(import.meta.dirname, '../../cli/tokay.ts')
const tradeCount = 20_000
/** More digits than any float has, as the API sends them. */
const price = '0.0000000000000000000000000000000000000000000000000000000000000000000123456789'
const amount = '123456789012345678901234.00'
const hostile = 'a,"b"\r\nc;\u00e9\ud83c\udf4d'

let database: Awaited<ReturnType<typeof createDatabase>>
let client: Client
let folder: string
beforeAll(async () => {
  database = await createDatabase()
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-export-'))
  await migrate({ url: database.url, schema, connectForMs: 10_000 })
  client = new Client({ connectionString: database.url })
  await client.connect()
  await client.query(`set search_path to ${schema}; set timezone to 'Asia/Kolkata'`)
  await client.query(`select ensure_days('trades', '{2025-08-28,2025-08-29,2025-08-30}'), ensure_days('pool_snapshots', '{2025-08-28}')`)
  await client.query(
    `insert into pools (network, address, name, first_seen_at, first_seen_via, observed_at, base_price_usd, extra) values
      ('solana', 'PoolA', $1, '2025-08-28 10:00:00.000001+00', 'trades', '2025-08-28 10:00+00', $2, '{"b": [1, 1e400], "a": "x\\ny"}'),
      ('polygon_pos', '0xPoolB', '', '2025-08-28 10:00+00', 'trades', '2025-08-28 10:00+00', null, null)`,
    [hostile, price],
  )
  // seven trades share an instant, so that pages end between rows of the same time
  await client.query(
    `insert into trades (block_at, trade_key, pool_sk, block_number, tx_hash, maker, kind, from_token, to_token, from_amount, to_amount, base_price_usd)
    select '2025-08-28 12:00+00'::timestamptz + (n / 7) * interval '50.000001 s', md5(n::text)::uuid, case when n % 3 = 0 then 2 else 1 end, n,
      'tx' || n, case n % 4 when 0 then null when 1 then '' when 2 then $1 else 'm' end, 'buy', 'f', 't', $2::numeric + n, $3::numeric,
      nullif(n, 9)::numeric / 7
    from generate_series(1, ${tradeCount}) n`,
    [hostile, amount, price],
  )
  await client.query(
    `insert into pool_snapshots (pool_sk, observed_at, source, base_price_usd, buys_h24) values
      (1, '2025-08-28 10:00+00', 'top-pools', $1, 7), (99, '2025-08-28 10:00:01+00', 'new-pools', null, null)`,
    [price],
  )
  await client.query(`insert into coverage_gaps (stream, from_at, to_at, reason, status, recorded_at) values
    ('trades:solana_PoolA', '2025-08-28 10:00+00', '2025-08-28 10:05+00', 'more than 300 trades', 'open', '2025-08-28 11:00+00'),
    ('pools:new:solana', '2025-08-28 12:00+00', '2025-08-28 15:05+00', 'the last page', 'closed', '2025-08-28 16:00+00'),
    ('trades:solana_PoolA', '2025-08-28 11:00+00', '2025-08-28 11:01:30+00', 'more than 300 trades', 'provisional', '2025-08-28 12:00+00')`)
}, 60_000)
afterAll(async () => {
  await client.end()
  await database.drop()
  await fs.rm(folder, { recursive: true })
})

const run = (command: string, env: Readonly<Record<string, string>> = { DATABASE_URL: database.url }) =>
  tokay([...command.split(' '), '--source', 'simulator', '--data-dir', folder], env)

/** Accepts what RFC 4180 allows, with LF, and nothing else. A cell is null when it is empty and not quoted. */
function readCsv(text: string): (string | null)[][] {
  const rows: (string | null)[][] = []
  let cells: (string | null)[] = []
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))([,\n])/gy
  while (cell.lastIndex < text.length) {
    const from = cell.lastIndex
    const found = cell.exec(text)
    if (found === null) throw new Error(`no CSV at ${from}: ${text.slice(from, from + 80)}`)
    cells.push(found[1]?.replaceAll('""', '"') ?? (found[2] || null))
    if (found[3] === ',') continue
    rows.push(cells)
    cells = []
  }
  if (cells.length > 0) throw new Error('the last line has no end')
  return rows
}

const readJsonl = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe('tokay export', () => {
  it('knows every column of its tables, and pools by network and address', async () => {
    const { rows } = await client.query<{ table: string; column: string }>(
      `select table_name as table, column_name as column from information_schema.columns where table_schema = '${schema}'`,
    )
    for (const [name, { columns }] of Object.entries<ExportTable>(exportTables)) {
      const own = rows.filter(({ table }) => table === name).flatMap(({ column }) => (column === 'pool_sk' ? [] : [column]))
      const added = columns.flatMap(([column, , expression]) => (expression?.startsWith('p.') ? [] : [column]))
      expect(added.toSorted(), name).toEqual(own.toSorted())
    }
  })

  it('streams 20,000 trades in the order of their key, each value unchanged, as CSV and as JSON lines', async () => {
    const file = path.join(folder, 'trades.jsonl')
    const [csv, jsonl] = await Promise.all([
      // decoded as a whole: a chunk of a pipe may end inside a character
      promisify(execFile)(process.execPath, [tokayFile, 'export', 'trades', '--source', 'simulator', '--data-dir', folder], {
        env: { ...process.env, DATABASE_URL: database.url },
        maxBuffer: 100_000_000,
      }),
      run(`export trades --format jsonl --out ${file}`).finished,
    ])
    expect([jsonl.code, jsonl.stdout], csv.stderr + jsonl.stderr).toEqual([0, ''])
    expect(jsonl.stderr).toMatch(/20,000 rows of trades in .*trades\.jsonl\n$/)
    const [header, ...rows] = readCsv(csv.stdout)
    const { rows: expected } = await client.query<{ row: (string | null)[] }>(`
      select array[p.network, p.address, to_char(block_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), trade_key::text,
        block_number::text, tx_hash, maker, kind, from_token, to_token, from_amount::text, to_amount::text, price_from_usd::text,
        price_to_usd::text, t.base_price_usd::text, volume_usd::text,
        to_char(ingested_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')] as row
      from trades t join pools p using (pool_sk) order by block_at, trade_key`)
    expect(rows.length).toBe(tradeCount)
    // one comparison: a matcher for each of 20,000 rows takes longer than the export
    const wrong = rows.findIndex((row, i) => JSON.stringify(row) !== JSON.stringify(expected[i]?.row))
    expect(rows[wrong]).toEqual(expected[wrong]?.row)
    expect(rows.find((row) => row[4] === '2')).toMatchObject({
      0: 'solana',
      1: 'PoolA',
      6: hostile,
      10: '123456789012345678901236.00',
      11: price,
    })
    const lines = readJsonl(await fs.readFile(file, 'utf8'))
    expect(Object.keys(lines[0] ?? {})).toEqual(header)
    const asText = (value: unknown) => (typeof value === 'number' ? String(value) : value)
    expect(lines.findIndex((line, i) => JSON.stringify(Object.values(line).map(asText)) !== JSON.stringify(rows[i]))).toBe(-1)
    expect(lines.length).toBe(tradeCount)
  }, 60_000)

  it('keeps NULL apart from an empty text, JSON as it is, and a snapshot whose pool is unknown', async () => {
    const [pools, poolLines, snapshots, gaps] = await Promise.all([
      run('export pools').finished,
      run('export pools --format jsonl --network solana').finished,
      run('export pool_snapshots --format jsonl').finished,
      run('export coverage_gaps --from 2025-08-28T10:02Z --to 2025-08-28T17:30:00.5+05:30').finished,
    ])
    const [header = [], ...rows] = readCsv(pools.stdout)
    const cells = rows.map((row) => Object.fromEntries(header.map((name, i) => [name, row[i]])))
    expect(cells).toMatchObject([
      { address: '0xPoolB', name: '', dex: null, base_price_usd: null, extra: null },
      { address: 'PoolA', name: hostile, first_seen_at: '2025-08-28T10:00:00.000001Z', base_price_usd: price },
    ])
    expect(pools.stdout).toContain(',polygon_pos,0xPoolB,,"",'.slice(1))
    expect(poolLines.stdout).toContain('"extra":{"a": "x\\ny", "b": [1, 1000')
    expect(readJsonl(poolLines.stdout)).toMatchObject([{ address: 'PoolA', name: hostile, dex: null, base_price_usd: price }])
    expect(readJsonl(snapshots.stdout)).toMatchObject([
      { network: 'solana', pool: 'PoolA', observed_at: '2025-08-28T10:00:00.000000Z', base_price_usd: price, buys_h24: 7 },
      { network: null, pool: null, source: 'new-pools', buys_h24: null },
    ])
    // half a second into the third one; the first had not ended
    expect(readCsv(gaps.stdout).map((row) => row[4])).toEqual(['status', 'closed', 'open', 'provisional'])
  }, 60_000)

  it('days that follow each other share no trade and leave none out, network by network', async () => {
    const days = ['--to 2025-08-29', '--from 2025-08-29']
    const parts = await Promise.all(days.map((day) => run(`export trades --format jsonl --network polygon_pos ${day}`).finished))
    const found = parts.map(({ stdout }) => readJsonl(stdout))
    expect(found.map((rows) => rows.length > 0)).toEqual([true, true])
    const all = found.flat()
    expect(new Set(all.map((row) => row['trade_key'])).size).toBe(all.length)
    expect([all.length, new Set(all.map((row) => row['pool']))]).toEqual([Math.floor(tradeCount / 3), new Set(['0xPoolB'])])
  }, 60_000)

  it('ends quietly with 0 when the reader has had enough', async () => {
    const { stdout, stderr } = await promisify(execFile)(
      'bash',
      [
        '-c',
        `"$0" "$1" export trades --source simulator --data-dir "$2" | head -n 2; echo "\${PIPESTATUS[0]}"`,
        process.execPath,
        tokayFile,
        folder,
      ],
      { env: { ...process.env, DATABASE_URL: database.url } },
    )
    const lines = stdout.trimEnd().split('\n')
    expect([lines.length, lines[0]?.slice(0, 13), lines[2]]).toEqual([3, 'network,pool,', '0'])
    expect(stderr).toMatch(/^Postgres at \S+ \(DATABASE_URL\), data of simulator\n$/)
  }, 60_000)

  it.concurrent(
    'Ctrl-C leaves the file that was there, and no half one: 130',
    async () => {
      const file = path.join(folder, 'runs.csv')
      await fs.writeFile(file, 'of yesterday')
      await client.query('begin; lock table runs in access exclusive mode')
      const exporting = run(`export runs --out ${file}`)
      const waiting = `select from pg_locks where not granted and relation = 'runs'::regclass`
      await expect.poll(async () => (await client.query(waiting)).rowCount, { timeout: 20_000 }).toBe(1)
      expect(await fs.readdir(folder)).toContain('runs.csv.part')
      exporting.kill('SIGINT')
      const { code, stdout, stderr } = await exporting.finished
      await client.query('rollback')
      expect([code, stdout], stderr).toEqual([130, ''])
      expect(await fs.readFile(file, 'utf8')).toBe('of yesterday')
      expect(await fs.readdir(folder)).not.toContain('runs.csv.part')
      const again = await run(`export runs --out ${file}`).finished
      expect([again.code, (await fs.readFile(file, 'utf8')).slice(0, 17)]).toEqual([0, 'run_id,collector,'])
    },
    60_000,
  )

  it('refuses what can have no rows before it looks for a database', async () => {
    const { signal } = new AbortController()
    const none = { format: 'csv', dataDir: folder } as const
    await expect(exportTable('runs', { ...none, network: 'solana' }, signal)).rejects.toThrow('rows of runs belong to no single network')
    const empty = { ...none, from: '2025-08-28T00:00Z', to: '2025-08-28T02:00+02:00' }
    await expect(exportTable('trades', empty, signal)).rejects.toThrow('--from must be before --to')
  })

  const dead = { DATABASE_URL: 'postgres://someone:s3cret@127.0.0.1:1/x' }
  it.concurrent.each([
    ['export trades --from 2025-02-30', dead, 2, 'It must be a time such as 2025-08-28'],
    ['export runs --out /nowhere/runs.csv', undefined, 2, "--out: /nowhere/runs.csv can't be written"],
    ['export runs --out /dev/null', undefined, 2, 'there is something that is no plain file'],
    ['export runs', {}, 2, 'there is no database to read: set DATABASE_URL'],
    ['export runs', dead, 1, 'ECONNREFUSED'],
    ['export runs --source replay', undefined, 2, 'schema tokay_replay lacks its tables'],
  ])('%s with %j ends with %i and says why', async (command, env, expected, message) => {
    const args = command.includes('--source') ? command.split(' ') : [...command.split(' '), '--source', 'simulator']
    const { code, stdout, stderr } = await tokay([...args, '--data-dir', folder], env ?? { DATABASE_URL: database.url }).finished
    expect([code, stdout], stderr).toEqual([expected, ''])
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('s3cret')
  })
})

describe('tokay gaps', () => {
  it('shows open ones first, how long each is and why, and sums them up', async () => {
    const [shown, json] = await Promise.all([run('gaps').finished, run('gaps --json').finished])
    expect([shown.code, json.code], shown.stderr + json.stderr).toEqual([0, 0])
    expect(shown.stdout.split('\n')).toEqual([
      'open         trades:solana_PoolA  2025-08-28T10:00:00.000000Z to 2025-08-28T10:05:00.000000Z, 5 min: more than 300 trades',
      'provisional  trades:solana_PoolA  2025-08-28T11:00:00.000000Z to 2025-08-28T11:01:30.000000Z, 90 s: more than 300 trades',
      'closed       pools:new:solana  2025-08-28T12:00:00.000000Z to 2025-08-28T15:05:00.000000Z, 3 h 5 min: the last page',
      '1 open (5 min), 1 provisional (90 s), 1 closed (3 h 5 min)',
      '',
    ])
    expect(JSON.parse(json.stdout)).toMatchObject({
      open: { gaps: 1, seconds: 300 },
      provisional: { gaps: 1, seconds: 90 },
      closed: { gaps: 1, seconds: 11_100 },
      list: [{ stream: 'trades:solana_PoolA', status: 'open', from: '2025-08-28T10:00:00.000000Z', seconds: 300 }, {}, {}],
    })
  }, 30_000)
})
