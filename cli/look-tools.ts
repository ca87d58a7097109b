// What `tokay db-health` and `tokay db-monitor` look through: the database that is there, never one that they have started, and the state of a
// source on this machine. Looking makes nothing and changes nothing.

import { systemClock } from '../shared/clock.ts'
import { parsePostgresUrl } from '../shared/db/postgres-url.ts'
import type { LookTools } from '../shared/health/check-health.ts'
import { openHealthDatabase } from '../shared/health/open-health-database.ts'
import { silentLog } from '../shared/log.ts'
import type { StateTable } from '../shared/state/state-table.ts'
import { openParkedToRead, openStateToRead, sourceInUse } from './chosen-state.ts'
import { dataDirOf, driverHere, findPostgres, readSettings, schemaOf, type SourceName } from './runtime.ts'

export type LookChoice = { readonly source?: SourceName; readonly dataDir?: string }

export type OpenLook = {
  readonly tools: LookTools
  /** Such as `Postgres at 127.0.0.1:5433 (embedded), driver pg`. */
  readonly place: string
  readonly source: SourceName
  /** An embedded server that was started again has another port. False when none runs any more: then the old one is asked. */
  findAgain(): Promise<boolean>
  close(): Promise<void>
}

export const nothingToLookAt =
  'tokay: there is no database to look at: set DATABASE_URL, or start the embedded Postgres with `npm start` (--data-dir says where, if not in the usual place)'

/** Undefined when there is no database to look at. `wakeForMs`: how long one that may be asleep is waited for. */
export async function openLook(choice: LookChoice, options: { wakeForMs: number }): Promise<OpenLook | undefined> {
  const settings = readSettings()
  const dataDir = dataDirOf(choice.dataDir)
  let postgres = await findPostgres(dataDir)
  if (postgres === undefined) return undefined
  const source = sourceInUse(choice.source, dataDir)
  const schema = schemaOf(settings, source)
  const state = openStateOrSay(() => openStateToRead(dataDir, source))
  const parked = await openParkedToRead(dataDir, source, silentLog)
  const tools: LookTools = {
    openDatabase: ({ connectForMs }) =>
      openHealthDatabase({
        ...settings.database,
        driver: driverHere(settings, (postgres as NonNullable<typeof postgres>).url),
        url: (postgres as NonNullable<typeof postgres>).url,
        schema,
        clock: systemClock,
        log: silentLog,
        connectForMs,
      }),
    state,
    ...(parked ? { parked } : {}),
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    settings,
    wakeForMs: Math.min(settings.database.wakeForMs, options.wakeForMs),
  }
  const driver = driverHere(settings, postgres.url)
  const pooler = postgres.embedded ? undefined : poolerOf(parsePostgresUrl(postgres.url).host)
  return {
    tools,
    place: `Postgres at ${postgres.address} (${postgres.embedded ? 'embedded' : 'DATABASE_URL'}), driver ${driver}${pooler ? `, ${pooler}` : ''}`,
    source,
    async findAgain() {
      const found = await findPostgres(dataDir)
      if (found) postgres = found
      return found !== undefined
    },
    close: () => state.close(),
  }
}

/** A damaged state file must not hide how the database is: the report says that the state can't be read, stderr says why. */
function openStateOrSay(open: () => StateTable): StateTable {
  try {
    return open()
  } catch (error) {
    console.error(`tokay: ${(error as Error).message}`)
    const refuse = () => Promise.reject(error as Error)
    return { list: refuse, compareAndSet: refuse, close: async () => {} }
  }
}

/** By the host's name, as the two that are common give it. Others can't be told without asking them, which not all of them survive. */
function poolerOf(host: string): string | undefined {
  if (/-pooler\.[a-z0-9.-]+\.neon\.tech$/.test(host)) return "through Neon's pooler"
  return host.endsWith('.pooler.supabase.com') ? "through Supabase's pooler" : undefined
}
