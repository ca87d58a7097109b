// What a healthy call costs beside the work itself: retry, breaker, classification and counting, without any I/O.
// A round runs every contestant one after the other, and the next round starts with the next one: what disturbs the machine for a second
// disturbs all. Figures are medians over the rounds; a ratio is of one round, and of what is above the bare call.

import { ConsecutiveBreaker, ExponentialBackoff, circuitBreaker, handleAll, retry, wrap } from 'cockatiel'
import CircuitBreaker from 'opossum'
import pRetry from 'p-retry'
import { systemClock } from '../../shared/clock.ts'
import type { Database, Rows } from '../../shared/db/database.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { silentLog } from '../../shared/log.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'
import { createResilientCalls } from '../../shared/resilient-call.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { Requirement } from './report.ts'
import { median } from './statistics.ts'

const rows: Rows = []
const work = async () => rows

type Contestant = { readonly name: string; readonly is: string; readonly call: () => Promise<unknown>; readonly end?: () => void }

/** With the settings' defaults, over a state table in memory. */
function tokay(): readonly Contestant[] {
  const tools = { clock: systemClock, random: Math.random, log: silentLog }
  const retryRules = { attempts: 3, baseMs: 500, capMs: 5_000 }
  const breakerRules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
  const table = createMemoryStateTable()
  const breaker = createBreaker({ ...tools, scope: 'database', key: 'breaker:database', table, rules: breakerRules })
  const calls = createResilientCalls({
    ...tools,
    rules: retryRules,
    reserveMs: 0,
    leastAttemptMs: 1,
    event: 'attempt-failed',
    told: () => ({}),
  })
  const invocation = { deadlineAtMs: Date.now() + 3_600_000 }
  const attempted = { name: 'work', breaker, attempt: work, judge: classifyFailure }
  const database: Database = { driver: 'pg', query: work, transaction: async () => [rows], end: async () => {} }
  const limits = { attemptForMs: 10_000, statementForMs: 8_000, lockForMs: 1_500 }
  const resilient = createResilientDatabase({ ...tools, database, breaker, rules: retryRules, limits })
  const statement = { name: 'work', text: 'select 1', values: [] }
  return [
    {
      name: 'Tokay',
      is: 'retry (3, full jitter, budget), shared breaker, classification, counters',
      call: () => calls.run(invocation, attempted),
    },
    {
      name: 'Tokay, whole client',
      is: 'the same for a statement: deadline, timeouts shrunk to it, idempotence',
      call: () => resilient.query(statement, { ...invocation, repeat: 'idempotent' }),
    },
  ]
}

function peers(): readonly Contestant[] {
  const backoff = new ExponentialBackoff({ initialDelay: 500, maxDelay: 5_000 })
  const retrying = retry(handleAll, { maxAttempts: 3, backoff })
  const breaking = circuitBreaker(handleAll, { halfOpenAfter: 5_000, breaker: new ConsecutiveBreaker(3) })
  const both = wrap(retrying, breaking)
  const plain = new CircuitBreaker(work, { timeout: false, volumeThreshold: 3, rollingPercentilesEnabled: false })
  const usual = new CircuitBreaker(work)
  return [
    { name: 'cockatiel', is: 'wrap(retry(3, exponential), circuitBreaker(consecutive 3))', call: () => both.execute(work) },
    { name: 'opossum', is: 'breaker only, no timeout, no percentiles', call: () => plain.fire(), end: () => plain.shutdown() },
    { name: 'opossum, defaults', is: 'breaker and timeout of 10 s', call: () => usual.fire(), end: () => usual.shutdown() },
    { name: 'p-retry', is: 'retry only', call: () => pRetry(work, { retries: 2 }) },
  ]
}

const bare: Contestant = { name: 'bare', is: 'await work()', call: work }

export type OverheadEffort = { readonly rounds: number; readonly callsARound: number }

export type Overhead = {
  readonly contestants: readonly Contestant[]
  /** Nanoseconds a call, one figure for each round. */
  readonly nsByName: Readonly<Record<string, readonly number[]>>
}

export async function measureOverhead({ rounds, callsARound }: OverheadEffort): Promise<Overhead> {
  const contestants = [bare, ...tokay(), ...peers()]
  const nsByName: Record<string, number[]> = Object.fromEntries(contestants.map(({ name }) => [name, []]))
  // the rounds before the first are for the compiler
  for (let round = -4; round < rounds; round++) {
    for (let turn = 0; turn < contestants.length; turn++) {
      const { name, call } = contestants[(turn + round + contestants.length) % contestants.length] ?? bare
      const startedMs = performance.now()
      for (let n = 0; n < callsARound; n++) await call()
      if (round >= 0) nsByName[name]?.push(((performance.now() - startedMs) * 1e6) / callsARound)
    }
  }
  for (const { end } of contestants) end?.()
  return { contestants, nsByName }
}

const of = ({ nsByName }: Overhead, name: string) => nsByName[name] ?? []

/** What it costs beside the work, round by round. */
const added = (overhead: Overhead, name: string) =>
  of(overhead, name).map((ns, round) => ns - (of(overhead, bare.name)[round] ?? Number.NaN))

/** What the one adds, as a share of what the other adds in the same round. */
function share(overhead: Overhead, name: string, peer: string): number {
  const ofPeer = added(overhead, peer)
  return median(added(overhead, name).map((ns, round) => ns / (ofPeer[round] ?? Number.NaN)))
}

export function overheadTable(overhead: Overhead): string {
  const head = `${'ns a call'.padEnd(22)}${'median'.padStart(8)}${'least'.padStart(8)}${'added'.padStart(8)}${'x cockatiel'.padStart(13)}`
  const lines = overhead.contestants.map(({ name, is }) => {
    const figures = [median(of(overhead, name)), Math.min(...of(overhead, name)), median(added(overhead, name))]
    const ratio = name === bare.name ? '' : share(overhead, name, 'cockatiel').toFixed(2)
    return `${name.padEnd(22)}${figures.map((ns) => ns.toFixed(0).padStart(8)).join('')}${ratio.padStart(13)}  ${is}`
  })
  return [head, ...lines].join('\n')
}

export function overheadRequirements(overhead: Overhead): readonly Requirement[] {
  return ['Tokay', 'Tokay, whole client'].map((name) => {
    const figure = share(overhead, name, 'cockatiel')
    return { text: `times what cockatiel's retry and breaker add to a call: ${name}`, figure, limit: 1, met: figure <= 1 }
  })
}
