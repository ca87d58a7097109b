// A database whose URL is a secret that may change: read when first needed, and again once the server has refused its password.
// A secret that can't be read is a database that can't be reached: the collectors go on and park, and the health check says why.

import { DatabaseError, type ConnectionCounters, type Database } from './database.ts'

/** 28P01 invalid_password, 28000 invalid_authorization_specification: nothing of the attempt was run. */
const refusals = new Set(['28P01', '28000'])

/** A pooler refuses a password under the code of everything that it refuses. */
const isPasswordRefused = ({ sqlState = '', message }: DatabaseError) =>
  refusals.has(sqlState) || (sqlState === '08P01' && /authentication failed|auth failed/.test(message))

const none: ConnectionCounters = { connected: 0, discarded: 0, lost: 0, poolResets: 0 }

type Opened = { readonly url: string; readonly database: Database }

/** `open` must not connect by itself; what it throws about the URL is passed on without it. */
export function createRotatingDatabase(options: {
  secret: { read(): Promise<string>; forget(): void }
  open: (url: string) => Database
}): Database {
  const { secret, open } = options
  let opened: Opened | undefined
  let ofEarlier = none

  async function current(): Promise<Opened> {
    try {
      const url = await secret.read()
      if (opened?.url === url) return opened
      const before = opened
      opened = { url, database: open(url) }
      if (before) {
        await before.database.end()
        ofEarlier = sum(ofEarlier, before.database.connections?.())
      }
      return opened
    } catch (cause) {
      // the next attempt asks for a corrected one
      secret.forget()
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new DatabaseError(`no URL to connect to: ${why}`, { statement: 'connect', applied: 'not-sent', cause })
    }
  }

  async function run<Answer>(use: (database: Database) => Promise<Answer>): Promise<Answer> {
    const first = await current()
    try {
      return await use(first.database)
    } catch (error) {
      if (!(error instanceof DatabaseError) || !isPasswordRefused(error)) throw error
      secret.forget()
      const second = await current()
      if (second.url === first.url) throw error
      return use(second.database)
    }
  }

  return {
    /** Until the URL is known, the one for any Postgres. */
    get driver() {
      return opened?.database.driver ?? 'pg'
    },
    connections: () => sum(ofEarlier, opened?.database.connections?.()),
    query: (statement, limits) => run((database) => database.query(statement, limits)),
    transaction: (statements, limits) => run((database) => database.transaction(statements, limits)),
    async end() {
      await opened?.database.end()
    },
  }
}

const sum = (a: ConnectionCounters, b = none): ConnectionCounters => ({
  connected: a.connected + b.connected,
  discarded: a.discarded + b.discarded,
  lost: a.lost + b.lost,
  poolResets: a.poolResets + b.poolResets,
  ...((a.pooled ?? b.pooled) ? { pooled: true } : {}),
})
