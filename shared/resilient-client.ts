// For users' own code: a script, a Lambda function, a collector of one's own. The same client as Tokay's collectors have, with defaults.
//
//   const client = openResilientClient({ url, schema: 'tokay' })
//   const rates = await client.withResilience('rates-api', ({ signal }) => getRates(signal))
//   const batchId = batchIdOf({ source: 'rates-api', atMs: rates.atMs, content: rates })
//   await client.exactlyOnce({ batchId, rows: 1 }, [{ name: 'add_rate', text: 'update ...', values: [...] }])
//   await client.end()
//
// Statements have a search_path of Tokay's schema only: name the schema of your own tables, as in `public.rates`.

import { systemClock, type Clock, type Random } from './clock.ts'
import { parseSettings, type Settings } from './config.ts'
import type { Database, Rows, Statement } from './db/database.ts'
import type { LedgerEntry } from './db/ledger.ts'
import { openDatabase } from './db/open-database.ts'
import { createResilientDatabase, type CallOptions, type Once, type ResilientDatabase } from './db/resilient-database.ts'
import { consoleLog, type Log } from './log.ts'
import { stateKeys } from './names.ts'
import { createBreaker, type Breaker } from './state/breaker.ts'
import { createMemoryStateTable } from './state/memory-state-table.ts'
import type { StateTable } from './state/state-table.ts'
import { createWithResilience, type WithResilience } from './with-resilience.ts'

export { batchIdOf } from './db/ledger.ts'
export type { LedgerEntry } from './db/ledger.ts'
export type { Once } from './db/resilient-database.ts'

/** `deadlineAtMs` is 30 s from now when it is left out. */
export type OwnCallOptions = Omit<CallOptions, 'deadlineAtMs'> & { readonly deadlineAtMs?: number }

export interface ResilientClient extends Pick<ResilientDatabase, 'isOpen' | 'counters' | 'metrics'> {
  /** Say `repeat: 'idempotent'` for what only reads, or changes nothing when it is made twice. See ResilientDatabase. */
  query(statement: Statement, options?: OwnCallOptions): Promise<Rows>
  transaction(statements: readonly Statement[], options?: OwnCallOptions): Promise<readonly Rows[]>
  exactlyOnce(entry: LedgerEntry, statements: readonly Statement[], options?: Omit<OwnCallOptions, 'repeat'>): Promise<Once>
  readonly withResilience: WithResilience
  /** Closes the connections. Idempotent. */
  end(): Promise<void>
}

const defaultForMs = 30_000

type Chance = { readonly clock: Clock; readonly random: Random; readonly log: Log }

/** Over parts that are there already. `breaker` is the database's own, shared with the collectors where they share its state table. */
export function createResilientClient(
  parts: Chance & { readonly database: Database; readonly breaker: Breaker; readonly state: StateTable; readonly settings: Settings },
): ResilientClient {
  const { database, state, settings, clock, random, log } = parts
  // nothing has to be parked here: an attempt may take all the time there is
  const resilient = createResilientDatabase({
    ...parts,
    rules: settings.retry,
    limits: settings.database,
    slowMs: settings.breaker.slowMs,
    reserveMs: 0,
  })
  // while the circuit is open one call in a lease is the probe: without parked writes nobody else would
  const filled = <Options extends OwnCallOptions>(options: Options | undefined) => ({
    mayProbe: true,
    ...(options as Options),
    deadlineAtMs: options?.deadlineAtMs ?? clock.nowMs() + defaultForMs,
  })
  return {
    query: (statement, options) => resilient.query(statement, filled(options)),
    transaction: (statements, options) => resilient.transaction(statements, filled(options)),
    exactlyOnce: (entry, statements, options) => resilient.exactlyOnce(entry, statements, filled(options)),
    withResilience: createWithResilience({
      rules: settings.retry,
      breakerOf: (scope) =>
        createBreaker({ scope, key: stateKeys.ownBreaker(scope), table: state, rules: settings.breaker, clock, random, log }),
      clock,
      random,
      log,
    }),
    isOpen: resilient.isOpen,
    counters: resilient.counters,
    metrics: resilient.metrics,
    end: () => database.end(),
  }
}

/**
 * A client of its own for a script: connects when it is first used. Without `state` the breakers live in this process.
 * @throws ConfigError when the URL or a setting is wrong
 */
export function openResilientClient(
  options: { readonly url: string; readonly schema: string; readonly settings?: object; readonly state?: StateTable } & Partial<Chance>,
): ResilientClient {
  const settings = parseSettings(options.settings ?? {})
  const chance = { clock: options.clock ?? systemClock, random: options.random ?? Math.random, log: options.log ?? consoleLog }
  const state = options.state ?? createMemoryStateTable()
  const { url, schema } = options
  let isCircuitClosed = true
  const sizedByLoad = { isCircuitClosed: () => isCircuitClosed }
  return createResilientClient({
    ...chance,
    state,
    settings,
    database: openDatabase({ ...settings.database, ...chance, url, schema, sizedByLoad }),
    breaker: createBreaker({
      ...chance,
      scope: 'database',
      key: stateKeys.databaseBreaker,
      table: state,
      rules: settings.breaker,
      onTransition: ({ kind }) => void (isCircuitClosed = kind === 'closed'),
    }),
  })
}
