// Measures the writing of trades: every contestant, batch size, distance, fresh rows and rows that are there.
// A round runs all contestants of a cell one after the other on the same rows, and the next round starts with the next one: what disturbs the
// machine for a second disturbs all. Ratios are of one round, figures and ratios are medians over the rounds.

import { Client } from 'pg'
import { migrate } from '../../shared/db/migrate.ts'
import { ensureDays } from '../../shared/db/partitions.ts'
import { copy, copyBare, loop, tokay, values } from './by-hand.ts'
import type { Contestant, Writer } from './contestant.ts'
import { drizzleOrm, kysely, postgresJs, postgresJsTold, typeOrm } from './peers.ts'
import { distancesTo, startServer, type Cleanup, type Distance } from './server.ts'
import { createTrades, day, tradedPools } from './trades.ts'

export const contestants: readonly Contestant[] = [
  tokay,
  copy,
  copyBare,
  postgresJsTold,
  postgresJs,
  values,
  kysely,
  drizzleOrm,
  typeOrm,
  loop,
]
export const sizes = [50, 200, 1_000, 5_000] as const

export type Kind = 'fresh' | 'duplicate'

/** What one contestant did in one round. */
export type Round = { readonly rowsPerS: number; readonly cpuUsPerRow: number; readonly walBytesPerRow: number }

export type Cell = {
  readonly distance: Distance
  readonly kind: Kind
  readonly size: number
  readonly rounds: Readonly<Record<string, readonly Round[]>>
}

export type Effort = {
  readonly rounds: number
  /** Rows that a contestant writes in a round, in batches of the size. */
  readonly rowsPerRound: number
  /** Rows of a contestant that writes them one by one. */
  readonly sampleRows: { readonly near: number; readonly far: number }
}

type Entrant = { readonly contestant: Contestant; readonly writer: Writer; readonly schema: string }

export async function measureWrites(effort: Effort, progress: (line: string) => void, cleanup: Cleanup): Promise<readonly Cell[]> {
  const url = await startServer(cleanup)
  const admin = new Client({ connectionString: url })
  await admin.connect()
  cleanup(() => admin.end())
  const distances = await distancesTo(url, cleanup)
  const schemas = contestants.map((_, n) => `tokay_bench_${process.pid}_${n}`)
  cleanup(async () => void (await admin.query(`drop schema if exists ${schemas.join(', ')} cascade`)))
  const pools = await makeTables(admin, url, schemas)
  const trades = createTrades()
  const cells: Cell[] = []
  for (const distance of distances) {
    progress(`${distance.name}: a query takes ${distance.queryMs.toFixed(2)} ms`)
    const entrants = await Promise.all(
      contestants.map(async (contestant, n): Promise<Entrant> => {
        const schema = schemas[n] ?? ''
        return { contestant, schema, writer: await contestant.open({ url: distance.url, schema, pools }) }
      }),
    )
    // before the server stops, also when the run is broken off
    cleanup(() => end(entrants))
    for (const kind of ['fresh', 'duplicate'] as const) {
      for (const size of sizes) {
        progress(`${distance.name}, ${kind} rows, batches of ${size}`)
        cells.push({ distance, kind, size, rounds: await measureCell({ admin, distance, kind, size, trades, effort, entrants }) })
      }
    }
  }
  return cells
}

async function end(entrants: readonly Entrant[]): Promise<void> {
  for (const { writer } of entrants) await writer.end()
}

/** The project's tables in every schema, with as many pools as a few networks have. Answers pool_sk by address: the same in all of them. */
async function makeTables(admin: Client, url: string, schemas: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { text, values: days } = ensureDays('trades', [day])
  for (const schema of schemas) {
    await migrate({ url, schema, connectForMs: 10_000 })
    await admin.query(`set search_path to ${schema}`)
    await admin.query(text, [...days])
    await admin.query(`insert into pools (network, address, first_seen_at, first_seen_via, observed_at)
      select 'solana', 'pool-' || n, now(), 'bench', now() from generate_series(0, 1999) n; analyze pools`)
  }
  const { rows } = await admin.query<{ address: string; pool_sk: number }>('select address, pool_sk from pools')
  return new Map(rows.filter(({ address }) => tradedPools.includes(address)).map(({ address, pool_sk }) => [address, pool_sk]))
}

async function measureCell(cell: {
  admin: Client
  distance: Distance
  kind: Kind
  size: number
  trades: ReturnType<typeof createTrades>
  effort: Effort
  entrants: readonly Entrant[]
}): Promise<Cell['rounds']> {
  const { admin, distance, kind, size, trades, effort } = cell
  const entrants = cell.entrants.filter(({ contestant }) => kind === 'fresh' || !contestant.freshOnly)
  for (const { schema } of cell.entrants) await admin.query(`truncate ${schema}.trades`)
  const batchesARound = Math.max(1, Math.round(effort.rowsPerRound / size))
  const make = () => Array.from({ length: batchesARound }, () => trades(size))
  const known = make()
  const rounds: Record<string, Round[]> = Object.fromEntries(entrants.map(({ contestant }) => [contestant.name, []]))
  // the round before the first warms up, and is where duplicates are written for the first time
  for (let round = -1; round < effort.rounds; round++) {
    const batches = kind === 'duplicate' ? known : make()
    for (let turn = 0; turn < entrants.length; turn++) {
      const entrant = entrants[(turn + round + 1) % entrants.length]
      if (!entrant) continue
      const { contestant, writer } = entrant
      const written = contestant.sampled ? [batches.flat().slice(0, effort.sampleRows[distance.name])] : batches
      const measured = await measure(admin, writer, written)
      if (round >= 0) rounds[contestant.name]?.push(measured)
    }
  }
  await assertWritten(admin, entrants, size * batchesARound * (kind === 'duplicate' ? 1 : effort.rounds + 1))
  return rounds
}

async function measure(admin: Client, writer: Writer, batches: Parameters<Writer['write']>[0][]): Promise<Round> {
  const rows = batches.flat().length
  const walBefore = await walBytes(admin)
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  for (const batch of batches) await writer.write(batch)
  const forMs = performance.now() - startedMs
  const cpu = process.cpuUsage(cpuBefore)
  const walAfter = await walBytes(admin)
  return { rowsPerS: (rows / forMs) * 1_000, cpuUsPerRow: (cpu.user + cpu.system) / rows, walBytesPerRow: (walAfter - walBefore) / rows }
}

async function walBytes(admin: Client): Promise<number> {
  const { rows } = await admin.query<{ bytes: string }>(`select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') as bytes`)
  return Number(rows[0]?.bytes)
}

/** A contestant that is fast because it loses rows has not won. */
async function assertWritten(admin: Client, entrants: readonly Entrant[], expected: number): Promise<void> {
  for (const { contestant, schema } of entrants.filter((entrant) => !entrant.contestant.sampled)) {
    const table = contestant === copyBare ? 'bare' : 'trades'
    const { rows } = await admin.query<{ count: number }>(`select count(*)::int from ${schema}.${table}`)
    if (rows[0]?.count !== expected) throw new Error(`${contestant.name} was given ${expected} rows and has stored ${rows[0]?.count}`)
    if (contestant === copyBare) await admin.query(`truncate ${schema}.bare`)
  }
}
