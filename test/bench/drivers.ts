// What a batch of 300 trades takes over each driver, near and about 3 ms away: the same statements, rows and server. Rounds alternate; a ratio is
// of one round. Neon's own proxy is played by a server in Node on this machine, whose work is in the figures too.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { Client } from 'pg'
import { systemClock } from '../../shared/clock.ts'
import { mergeBatches } from '../../shared/collect/batch.ts'
import type { Database } from '../../shared/db/database.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { openDatabase } from '../../shared/db/open-database.ts'
import { ensureDays } from '../../shared/db/partitions.ts'
import { writeBatch } from '../../shared/db/statements.ts'
import { silentLog } from '../../shared/log.ts'
import type { Requirement } from './report.ts'
import { distancesTo, startServer, type Cleanup } from './server.ts'
import { median, quantile } from './statistics.ts'
import { createTrades, day } from './trades.ts'

const rowsABatch = 300
const names = ['pg', 'pg, prepared', 'neon'] as const
type Name = (typeof names)[number]
type Cell = {
  readonly distance: string
  readonly queryMs: number
  readonly rounds: readonly Readonly<Record<Name, { ms: number; cpuMs: number }>>[]
}

export type DriverFigures = { readonly cells: readonly Cell[] }

const limits = { attemptForMs: 10_000, lockForMs: 1_500, statementForMs: 8_000 }

export async function measureDrivers(effort: { rounds: number; batches: number }, cleanup: Cleanup): Promise<DriverFigures> {
  const url = await startServer(cleanup)
  const { hostname, port } = new URL(url)
  const neon = fork(path.join(import.meta.dirname, 'neon-server.ts'), [hostname, port || '5432'])
  cleanup(async () => void neon.kill())
  const [neonPort] = (await once(neon, 'message')) as [number]
  const neonUrl = new URL(url)
  neonUrl.host = `127.0.0.1:${neonPort}`
  const admin = new Client({ connectionString: url })
  await admin.connect()
  cleanup(() => admin.end())
  const schema = `tokay_bench_${process.pid}`
  cleanup(async () => void (await admin.query(`drop schema if exists ${schema} cascade`)))
  await migrate({ url, schema, connectForMs: 10_000 })
  const { text, values } = ensureDays('trades', [day])
  await admin.query(`set search_path to ${schema}`)
  await admin.query(text, [...values])

  const [overPg, overNeon] = [await distancesTo(url, cleanup), await distancesTo(url, cleanup, neonUrl.href)]
  const trades = createTrades()
  const cells: Cell[] = []
  for (const [i, distance] of overPg.entries()) {
    const fixed = { schema, poolMax: 1, connectForMs: 3_000, wakeForMs: 12_000, idleForMs: 15_000, lifetimeMs: 600_000 }
    const usual = { ...fixed, url: distance.url, driver: 'pg' as const, clock: systemClock, log: silentLog }
    const databases: Readonly<Record<Name, Database>> = {
      pg: openDatabase(usual),
      'pg, prepared': openDatabase({ ...usual, prepareStatements: true }),
      neon: openDatabase({ ...usual, driver: 'neon', url: overNeon[i]?.url ?? '' }),
    }
    const rounds: Cell['rounds'][number][] = []
    for (let round = -2; round < effort.rounds; round++) {
      const measured: Partial<Record<Name, { ms: number; cpuMs: number }>> = {}
      for (let turn = 0; turn < names.length; turn++) {
        const name = names[(turn + round + 2) % names.length] ?? 'pg'
        measured[name] = await measure(databases[name], trades, effort.batches)
      }
      if (round >= 0) rounds.push(measured as Cell['rounds'][number])
    }
    for (const database of Object.values(databases)) await database.end()
    cells.push({ distance: distance.name, queryMs: distance.queryMs, rounds })
  }
  return { cells }
}

/** Of one batch. */
async function measure(
  database: Database,
  trades: ReturnType<typeof createTrades>,
  batches: number,
): Promise<{ ms: number; cpuMs: number }> {
  const all = Array.from({ length: batches }, () => trades(rowsABatch))
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  for (const rows of all) await database.transaction(writeBatch(mergeBatches([{ trades: rows }]), { late: false }), limits)
  const ms = (performance.now() - startedMs) / batches
  const { user, system } = process.cpuUsage(cpuBefore)
  return { ms, cpuMs: (user + system) / 1_000 / batches }
}

const timesPg = ({ rounds }: Cell, name: Name) => rounds.map((round) => round[name].ms / round.pg.ms)

export function driversTable({ cells }: DriverFigures): string {
  const lines = cells.flatMap((cell) => [
    `${cell.distance} (a query takes ${cell.queryMs.toFixed(2)} ms): a batch of ${rowsABatch} trades`,
    `${''.padEnd(16)}${'median ms'.padStart(10)}${'client CPU ms'.padStart(15)}${'x pg'.padStart(8)}${'quartiles'.padStart(14)}`,
    ...names.map((name) => {
      const of = (field: 'ms' | 'cpuMs') => median(cell.rounds.map((round) => round[name][field])).toFixed(2)
      const ratios = timesPg(cell, name)
      const quartiles = `${quantile(ratios, 0.25).toFixed(2)}-${quantile(ratios, 0.75).toFixed(2)}`
      return `${name.padEnd(16)}${of('ms').padStart(10)}${of('cpuMs').padStart(15)}${median(ratios).toFixed(2).padStart(8)}${quartiles.padStart(14)}`
    }),
    '',
  ])
  return lines.join('\n').trimEnd()
}

export function driversRequirements({ cells }: DriverFigures): readonly Requirement[] {
  // loopback only: away from it the round trip hides the difference
  return cells
    .filter((cell) => cell.distance === 'near')
    .map((cell) => {
      const figure = median(timesPg(cell, 'neon'))
      return { text: `times pg's time: Neon's path, near, batches of ${rowsABatch}`, figure, limit: 1.8, met: figure <= 1.8 }
    })
}
