// What the health check can see: whether the database answers, what the breaker says, how much is parked, how the collectors did.
// The database is asked directly, not through the breaker: an open circuit must not hide that it is back.

import type { Clock } from '../clock.ts'
import type { Database, Statement } from '../db/database.ts'
import type { ParkedWrites } from '../collect/parked-writes.ts'
import { type CollectorName, collectorNames, stateKeys } from '../names.ts'
import type { BreakerState } from '../resilience/circuit-breaker.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import type { CollectorState } from '../state/claim.ts'
import type { Refusals } from '../state/refusals.ts'
import type { StateTable } from '../state/state-table.ts'

export type Observation = {
  readonly atMs: number
  readonly database:
    { readonly answers: true; readonly latencyMs: number } | { readonly answers: false; readonly failure: string; readonly message: string }
  readonly breaker: BreakerState | undefined
  /** By table: since when its own circuit is open, where it is. */
  readonly lockedSinceMs: Readonly<Record<string, number>>
  /** Parked batches; undefined when the queue could not be asked. */
  readonly parked: number | undefined
  /** Without it `breaker` and `collectors` are empty because nobody can say. */
  readonly stateAnswers: boolean
  readonly collectors: Readonly<Partial<Record<CollectorName, CollectorState>>>
  /** Streams whose parked batches the database refuses, as the last replay met it. */
  readonly refusals?: Refusals | undefined
}

const ping: Statement = { name: 'ping', text: 'select 1 as ok', values: [] }
const limits = { attemptForMs: 3_000, lockForMs: 1_500, statementForMs: 2_000 }

/** Never throws for what it looks at: a part that can't be seen is part of the answer. */
export async function probe(tools: { database: Database; state: StateTable; parked: ParkedWrites; clock: Clock }): Promise<Observation> {
  const [database, parked, items] = await Promise.all([
    pingDatabase(tools.database, tools.clock),
    tools.parked.depth().catch(() => undefined), // undefined is reported as "could not be asked"
    tools.state.list().catch(() => undefined), // likewise; the database's own answer still decides
  ])
  const item = (key: string) => items?.find((i) => i.key === key)?.data
  return {
    atMs: tools.clock.nowMs(),
    database,
    breaker: item(stateKeys.databaseBreaker) as BreakerState | undefined,
    lockedSinceMs: Object.fromEntries(
      (items ?? []).flatMap(({ key, data }) => {
        const breaker = data as BreakerState
        const prefix = stateKeys.streamBreaker('')
        return key.startsWith(prefix) && breaker.state === 'open' ? [[key.slice(prefix.length), breaker.openedAtMs]] : []
      }),
    ),
    parked,
    stateAnswers: items !== undefined,
    refusals: item(stateKeys.refusals) as Refusals | undefined,
    collectors: Object.fromEntries(
      collectorNames.flatMap((name) => {
        const data = item(stateKeys.collector(name))
        return data === undefined ? [] : [[name, data as CollectorState]]
      }),
    ),
  }
}

async function pingDatabase(database: Database, clock: Clock): Promise<Observation['database']> {
  const startedAtMs = clock.nowMs()
  try {
    await database.query(ping, limits)
    return { answers: true, latencyMs: clock.nowMs() - startedAtMs }
  } catch (error) {
    return { answers: false, failure: classifyFailure(error).class, message: error instanceof Error ? error.message : String(error) }
  }
}
