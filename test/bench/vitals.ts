// What a look of the health check costs, against the smallest thing that anybody can ask of a server: a fresh connection and its `select 1`.
// Rounds alternate, so that what disturbs the machine for a second disturbs all of them; a ratio is of one round.

import { Client } from 'pg'
import { systemClock } from '../../shared/clock.ts'
import { openHealthDatabase } from '../../shared/health/open-health-database.ts'
import { isUnseen } from '../../shared/health/observation.ts'
import { probe, type ProbeTools } from '../../shared/health/probe.ts'
import { silentLog } from '../../shared/log.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { Requirement } from './report.ts'
import { startServer, type Cleanup } from './server.ts'
import { median } from './statistics.ts'

type Round = {
  readonly freshMs: number
  readonly vitalsMs: number
  readonly serverMs: number
  readonly lookMs: number
  readonly wholeLookMs: number
}

export type VitalsFigures = { readonly rounds: readonly Round[] }

export async function measureVitals(effort: { rounds: number }, cleanup: Cleanup): Promise<VitalsFigures> {
  const url = await startServer(cleanup)
  const fixed = {
    driver: 'auto' as const,
    url,
    schema: 'public',
    idleForMs: 15_000,
    lifetimeMs: 600_000,
    clock: systemClock,
    log: silentLog,
  }
  const tools: ProbeTools = {
    openDatabase: (options) => openHealthDatabase({ ...fixed, ...options }),
    state: createMemoryStateTable(),
    clock: systemClock,
    wakeForMs: 12_000,
  }
  const rounds: Round[] = []
  // the rounds before the first are for the compiler, and the server's caches
  for (let round = -5; round < effort.rounds; round++) {
    const [freshMs] = await timed(() => askFresh(url))
    const [lookMs, { database }] = await timed(() => probe(tools, { mode: 'active', structure: false }))
    const [wholeLookMs] = await timed(() => probe(tools, { mode: 'active', structure: true }))
    if (database.kind !== 'answers' || isUnseen(database.vitals)) throw new Error(`the vitals are unseen: ${JSON.stringify(database)}`)
    if (round >= 0) rounds.push({ freshMs, vitalsMs: database.queryMs, serverMs: database.vitals.serverMs, lookMs, wholeLookMs })
  }
  return { rounds }
}

async function askFresh(url: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query('select 1')
  await client.end()
}

async function timed<Result>(work: () => Promise<Result>): Promise<[number, Result]> {
  const startedMs = performance.now()
  const result = await work()
  return [performance.now() - startedMs, result]
}

const what: Readonly<Record<keyof Round, string>> = {
  freshMs: 'a fresh connection and its select 1',
  vitalsMs: 'the vitals, first statement of a connection',
  serverMs: 'of it in the server',
  lookMs: 'a look: connection, select 1, vitals, goodbye',
  wholeLookMs: 'a look with structure, sequences, statements',
}

const timesFresh = ({ rounds }: VitalsFigures, measure: keyof Round) => median(rounds.map((round) => round[measure] / round.freshMs))

export function vitalsTable(figures: VitalsFigures): string {
  const head = `${''.padEnd(48)}${'median ms'.padStart(10)}${'least ms'.padStart(10)}${'x fresh'.padStart(9)}`
  const lines = (Object.keys(what) as (keyof Round)[]).map((measure) => {
    const all = figures.rounds.map((round) => round[measure])
    const cells = [
      median(all).toFixed(1).padStart(10),
      Math.min(...all)
        .toFixed(1)
        .padStart(10),
    ]
    return `${what[measure].padEnd(48)}${cells.join('')}${timesFresh(figures, measure).toFixed(2).padStart(9)}`
  })
  return [head, ...lines].join('\n')
}

export function vitalsRequirements(figures: VitalsFigures): readonly Requirement[] {
  return (['vitalsMs', 'lookMs'] as const).map((measure) => {
    const figure = timesFresh(figures, measure)
    return { text: `times a fresh connection's select 1: ${what[measure]}`, figure, limit: 10, met: figure <= 10 }
  })
}
