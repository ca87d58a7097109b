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
import { type Driver, driverFor } from '../shared/db/neon-host.ts'
import { openDatabase } from '../shared/db/open-database.ts'
import { parsePostgresUrl } from '../shared/db/postgres-url.ts'
import { createResilientDatabase, type ResilientDatabase } from '../shared/db/resilient-database.ts'
import { ConfigError } from '../shared/errors.ts'
import { createGeckoClient } from '../shared/gecko/client.ts'
import { createGeckoGate } from '../shared/gecko/rate-limit.ts'
import type { Log } from '../shared/log.ts'
import { stageNames, stateKeys } from '../shared/names.ts'
import type { Transition } from '../shared/resilience/circuit-breaker.ts'
import { type Breaker, createBreaker, createStreamBreakers } from '../shared/state/breaker.ts'
import { defaultDataDir, startPostgres, urlOfRunning } from './local/embedded-postgres.ts'
import { openFileParkedWrites } from './local/file-parked-writes.ts'
import { createSqliteStateTable } from './local/sqlite-state-table.ts'

export const projectDir = path.resolve(import.meta.dirname, '..')

export const sourceNames = ['live', 'simulator', 'replay'] as const
export type SourceName = (typeof sourceNames)[number]

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

/** What is there to be looked at: DATABASE_URL, else the embedded server where it runs. Starts none: undefined when there is none. */
export async function findPostgres(dataDir: string): Promise<Omit<PostgresServer, 'stop'> | undefined> {
  const given = process.env['DATABASE_URL']
  const url = given || (await urlOfRunning(path.join(dataDir, 'postgres')))
  return url ? { url, address: addressOf(url), embedded: !given } : undefined
}

/** A Postgres that is not at Neon is asked over pg, whatever the setting says: nothing stands before it that speaks Neon's protocol. */
export const driverHere = ({ database }: Settings, url: string): Driver =>
  driverFor(database.driver === 'pg' ? 'pg' : 'auto', parsePostgresUrl(url).host)

export type WayToDatabase = {
  readonly driver: Driver
  /** What the driver connects to. */
  readonly url: string
  /** Such as `driver pg`. */
  readonly says: string
  close(): Promise<void>
}

/** Where Neon's driver is asked for, a Postgres that is not at Neon gets a server before it that speaks Neon's protocol. */
export async function openDriver(options: { settings: Settings; url: string; asked: Driver | undefined }): Promise<WayToDatabase> {
  const { settings, url, asked } = options
  const usual = driverHere(settings, url)
  const driver = asked ?? (settings.database.driver === 'neon' ? 'neon' : usual)
  if (driver === 'pg' || usual === 'neon') return { driver, url, says: `driver ${driver}`, close: async () => {} }
  const { startNeonServer } = await import('./local/neon-server.ts')
  const { host, port } = parsePostgresUrl(url)
  const server = await startNeonServer({ target: { host, port } })
  const says = `driver neon, over a server on port ${server.port} that speaks Neon's protocol`
  return { driver, url: server.url(url), says, close: () => server.close() }
}

/** @throws ConfigError without the value: it holds a password. */
function addressOf(url: string): string {
  const { host, port } = parsePostgresUrl(url)
  return `${host}:${port}`
}

export const stateFile = (dataDir: string, source: SourceName) => path.join(dataDir, source, 'state.db')

/** The state of one source: claims, circuits, budget, alerts. Other processes may have it open as well. */
export const openState = (dataDir: string, source: SourceName) => createSqliteStateTable(stateFile(dataDir, source))

/** The Postgres schema of a source. */
export const schemaOf = (settings: Settings, source: SourceName) => stageNames(source === 'live' ? settings.stage : source).schema

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
  /** Default: as for any command on this machine. */
  driver?: Driver
  dataDir: string
  log: Log
  clock?: Clock
  /** No pooler stands between: statements may be prepared. */
  isDirect?: boolean
  onTransition?: (transition: Transition) => void
}): Promise<LocalTools> {
  const { source, log, clock = systemClock } = options
  const driver = options.driver ?? driverHere(options.settings, options.databaseUrl)
  const settings = { ...options.settings, database: { ...options.settings.database, driver } }
  const random = Math.random
  const schema = schemaOf(settings, source.name)
  const folder = path.join(options.dataDir, source.name)
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  const state = openState(options.dataDir, source.name)
  const parked = await openFileParkedWrites(path.join(folder, 'parked'), log)

  let isCircuitClosed = true
  const directDatabase = openDatabase({
    ...settings.database,
    sizedByLoad: { isCircuitClosed: () => isCircuitClosed },
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
      isCircuitClosed = transition.kind === 'closed'
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
