// The resilient client over tables in memory: it tells new rows from known and changed ones, as the real statements do.
// Rows are kept by the key that each statement is idempotent by; a transaction that fails changes nothing.

import type { Rows, Statement } from '../../shared/db/database.ts'
import { enterLedger } from '../../shared/db/ledger.ts'
import type { CallOptions, ResilientDatabase } from '../../shared/db/resilient-database.ts'
import { createMetricsRing, newTally } from '../../shared/resilience/client-metrics.ts'

/** By statement: which columns are the key, and which say nothing about whether a row has changed. */
const keys: Readonly<Record<string, { key: readonly number[]; times?: readonly number[] }>> = {
  upsert_dexes: { key: [0, 1], times: [3] },
  upsert_tokens: { key: [0, 1], times: [6] },
  upsert_pools: { key: [0, 1], times: [2, 3, 4] },
  insert_snapshots: { key: [0, 1, 2, 3] },
  insert_trades: { key: [2] },
  insert_gaps: { key: [0, 1] },
  insert_runs: { key: [0, 1] },
}

export type FakeResilientDatabase = ResilientDatabase & {
  /** One for each call to come: what it throws, or undefined for one that is done. After the last one all are done. */
  readonly script: (Error | undefined)[]
  /** While it is set, every call throws it. */
  away: Error | undefined
  /** What each call was asked, queries too, the failed ones included. */
  readonly calls: readonly { readonly names: readonly string[]; readonly statements: readonly Statement[]; readonly options: CallOptions }[]
  /** Answers of queries by the statement's name. */
  readonly answers: Record<string, Rows>
  /** The rows that a statement has stored, each as its values in the order of its columns. */
  stored(statement: string): readonly (readonly unknown[])[]
}

export function createFakeResilientDatabase(): FakeResilientDatabase {
  const tables = new Map<string, Map<string, readonly unknown[]>>()
  const script: (Error | undefined)[] = []
  const entered = new Set<string>()
  const calls: { names: string[]; statements: readonly Statement[]; options: CallOptions }[] = []

  function take(statements: readonly Statement[], options: CallOptions): void {
    calls.push({ names: statements.map((s) => s.name), statements, options })
    const error = script.shift() ?? fake.away
    if (error) throw error
  }

  function store({ name, values }: Statement): Rows {
    const columns = keys[name]
    if (!columns) return []
    const table = tables.get(name) ?? new Map<string, readonly unknown[]>()
    tables.set(name, table)
    const lists = values as readonly (readonly unknown[])[]
    const shown = (row: readonly unknown[]) => JSON.stringify(row.filter((_, i) => !columns.times?.includes(i)))
    let [inserted, updated] = [0, 0]
    for (let i = 0; i < (lists[0]?.length ?? 0); i++) {
      const row = lists.map((list) => list[i])
      const key = JSON.stringify(columns.key.map((k) => row[k]))
      const known = table.get(key)
      if (known === undefined) inserted++
      else if (name.startsWith('upsert_') && shown(known) !== shown(row)) updated++
      else continue
      table.set(key, row)
    }
    return [{ inserted, updated }]
  }

  const fake: FakeResilientDatabase = {
    script,
    away: undefined,
    calls,
    answers: {},
    stored: (statement) => [...(tables.get(statement)?.values() ?? [])],
    async query(statement, options) {
      take([statement], options)
      return fake.answers[statement.name] ?? []
    },
    async transaction(statements, options) {
      take(statements, options)
      return statements.map(store)
    },
    async exactlyOnce(entry, statements, options) {
      take([enterLedger(entry), ...statements], options)
      const key = `${entry.batchId} ${entry.chunk ?? 0}`
      if (entered.has(key)) return { applied: 'already' }
      entered.add(key)
      return { applied: 'now', answers: statements.map(store) }
    },
    isOpen: async () => false,
    counters: () => ({ ...newTally(), calls: calls.length, attempts: calls.length }),
    metrics: () => createMetricsRing().metrics(0),
  }
  return fake
}
