// The composition root of the local run: the only place here that reads the environment, and where every port gets its local implementation.
// What belongs to one source of data (live, simulator, a replay) is kept apart from the others: its own Postgres schema, state and parked writes,
// so that simulated rows can never stand among real ones.

import { readFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { type Clock, systemClock } from '../shared/clock.ts'
import type { CollectTools } from '../shared/collect/collect.ts'
import { parseSettings, type Settings } from '../shared/config.ts'
import type { Database } from '../shared/db/database.ts'
import { createPgDatabase } from '../shared/db/pg-database.ts'
import { parsePostgresUrl } from '../shared/db/postgres-url.ts'
import { createResilientDatabase, type ResilientDatabase } from '../shared/db/resilient-database.ts'
import { ConfigError } from '../shared/errors.ts'
import { createGeckoClient } from '../shared/gecko/client.ts'
import { createGeckoGate } from '../shared/gecko/rate-limit.ts'
import type { Log } from '../shared/log.ts'
import { stageNames, stateKeys } from '../shared/names.ts'
import type { Transition } from '../shared/resilience/circuit-breaker.ts'
import { type Breaker, createBreaker, createStreamBreakers } from '../shared/state/breaker.ts'
import { defaultDataDir, startPostgres } from './local/embedded-postgres.ts'
import { openFileParkedWrites } from './local/file-parked-writes.ts'
import { createSqliteStateTable } from './local/sqlite-state-table.ts'

export const projectDir = path.resolve(import.meta.dirname, '..')

export type SourceName = 'live' | 'simulator' | 'replay'

/** Where the API's answers come from. Bodies of a replay are judged by their own time. */
export type Source = { readonly name: SourceName; readonly baseUrl: string; close(): Promise<void> }

/**
 * The object under `tokay` in cdk.json, parsed.
 * @throws ConfigError naming the file, or every wrong setting.
 */
export function readSettings(overrides: Readonly<Record<string, unknown>> = {}): Settings {
  const file = path.join(projectDir, 'cdk.json')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError([`the settings file ${file} could not be read: ${(cause as Error).message}`], { cause })
  }
  let parsed: { context?: { tokay?: object } }
  try {
    parsed = JSON.parse(text) as typeof parsed
  } catch (cause) {
    throw new ConfigError([`the settings file ${file} is not valid JSON: ${(cause as Error).message}`], { cause })
  }
  return parseSettings({ ...parsed.context?.tokay, ...overrides })
}

/** `--data-dir`, or the project's own place. */
export const dataDirOf = (given: string | undefined) => (given ? path.resolve(given) : defaultDataDir(projectDir))

export type PostgresServer = {
  readonly url: string
  /** `127.0.0.1:5432`: what may be shown. */
  readonly address: string
  readonly embedded: boolean
  stop(): Promise<void>
}

/** DATABASE_URL when it is set, else an embedded server in the data folder. */
export async function openPostgres(options: { dataDir: string; port?: number; log: Log }): Promise<PostgresServer> {
  const given = process.env['DATABASE_URL']
  if (given) return { url: given, address: addressOf(given), embedded: false, stop: async () => {} }
  const { dataDir, port, log } = options
  const server = await startPostgres({ baseDir: path.join(dataDir, 'postgres'), log, ...(port === undefined ? {} : { port }) })
  return { url: server.url, address: addressOf(server.url), embedded: true, stop: () => server.stop() }
}

/** @throws ConfigError without the value: it holds a password. */
function addressOf(url: string): string {
  const { host, port } = parsePostgresUrl(url)
  return `${host}:${port}`
}

/** The state of one source: claims, circuits, budget, alerts. Other processes may have it open as well. */
export const openState = (dataDir: string, source: SourceName) => createSqliteStateTable(path.join(dataDir, source, 'state.db'))

export type LocalTools = CollectTools & {
  readonly database: ResilientDatabase
  /** Unguarded: for the health check. */
  readonly directDatabase: Database
  readonly breaker: Breaker
  readonly schema: string
  close(): Promise<void>
}

/** Everything that a run needs over one source. `onTransition` hears of the database's circuit opening and closing in this process. */
export async function openTools(options: {
  settings: Settings
  source: Source
  databaseUrl: string
  dataDir: string
  log: Log
  clock?: Clock
  /** No pooler stands between: statements may be prepared. */
  isDirect?: boolean
  onTransition?: (transition: Transition) => void
}): Promise<LocalTools> {
  const { settings, source, log, clock = systemClock } = options
  const random = Math.random
  const schema = stageNames(source.name === 'live' ? settings.stage : source.name).schema
  const folder = path.join(options.dataDir, source.name)
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  const state = openState(options.dataDir, source.name)
  const parked = await openFileParkedWrites(path.join(folder, 'parked'), log)

  const directDatabase = createPgDatabase({
    ...settings.database,
    prepareStatements: settings.database.prepareStatements || (options.isDirect ?? false),
    url: options.databaseUrl,
    schema,
    clock,
    log,
  })
  const breaker = createBreaker({
    scope: 'database',
    key: stateKeys.databaseBreaker,
    table: state,
    rules: settings.breaker,
    clock,
    random,
    log,
    onTransition: (transition) => {
      // a failed probe changes nothing that anybody has to look at, and each look is one connection more to a database that is away
      if (transition.kind !== 'reopened') options.onTransition?.(transition)
    },
  })
  const database = createResilientDatabase({
    database: directDatabase,
    breaker,
    streamBreaker: createStreamBreakers({ table: state, rules: settings.breaker, clock, random, log }),
    rules: settings.retry,
    limits: settings.database,
    slowMs: settings.breaker.slowMs,
    clock,
    random,
    log,
  })

  const geckoBreaker = createBreaker({
    scope: 'gecko',
    key: stateKeys.geckoBreaker,
    table: state,
    rules: settings.breaker,
    clock,
    random,
    log,
  })
  const gate = createGeckoGate({ table: state, breaker: geckoBreaker, limits: settings.gecko, clock, random, log })
  const apiKey = process.env['GECKO_API_KEY']
  const gecko = createGeckoClient({
    ...settings.gecko,
    baseUrl: source.baseUrl,
    ...(apiKey && source.name === 'live' ? { apiKey } : {}),
    ...(source.name === 'replay' ? { observedAt: 'response-date' } : {}),
    gate,
    clock,
    random,
    log,
  })
  return {
    settings,
    state,
    parked,
    partitions: { seen: new Set() },
    directDatabase,
    database,
    breaker,
    gecko,
    schema,
    clock,
    random,
    log,
    async close() {
      await directDatabase.end()
      await state.close()
    },
  }
}
