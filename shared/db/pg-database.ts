// The database port over node-postgres: begin, settings, statements and commit leave in one tick and are one round trip.
//
//   checkout -> send all -> all answers (or one timer destroys the socket) -> judge -> keep or discard -> rows, or the first failure
//
// A connection is kept only behind a fulfilled COMMIT with status I: the status is the server's last answer, and a connection that died
// unanswered still says I. Discarded on: any failure without SQLSTATE, 57P0x, 08xxx, FATAL. 25006 and 57P01 condemn every connection of the
// pool (by generation): after a failover they all lead to the old host, and a new one resolves the name again.
// Never pool.query: it destroys the connection on any error, and hands an open transaction to the next user.

import type { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { Client, Pool, type PoolClient, type QueryConfig } from 'pg'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { DatabaseError, type AttemptLimits, type Database, type Rows, type Statement } from './database.ts'
import { failureOf, isFatal, judgePipeline, ownErrno, type Answer } from './pg-failure.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import { assertSendable } from './sendable.ts'

export type PgDatabaseOptions = {
  /** postgres://user:password@host:5432/database. Wrong: ConfigError, without its value. */
  readonly url: string
  /** The stage's own schema: the search_path of every transaction. */
  readonly schema: string
  readonly poolMax: number
  /** Waiting for a free connection, or making one. */
  readonly connectForMs: number
  /** The same, once, when nothing was heard for long: a database that scales to zero needs to wake. Bounded by the attempt's own limit. */
  readonly wakeForMs: number
  /** A connection unused for longer, by wall time, is replaced: while a container is frozen no timer runs and no FIN is read. */
  readonly idleForMs: number
  /** A connection is replaced at this age. */
  readonly lifetimeMs: number
  readonly clock: Clock
  readonly log: Log
  /** Replaces what the URL asks for, such as { ca } for RDS. */
  readonly ssl?: false | ConnectionOptions
}

/** Below the 5 min after which Neon suspends by default. */
const longIdleMs = 240_000

/** How long end() waits for transactions in flight before it destroys their sockets. */
const endForMs = 2_000

/**
 * All transaction-local, so that a pooler's next client inherits nothing: poolers refuse timeouts as startup parameters.
 * The server has to let go of what we have given up, or it commits seconds later, or holds its locks for hours:
 * - we hung up: client_connection_check_interval. Servers on Windows refuse to set it.
 * - the network swallowed the COMMIT: idle_in_transaction_session_timeout.
 * - it swallowed half a message: transaction_timeout; before PostgreSQL 17 nothing but keepalives ends that, by default after 2 h.
 * tokay.in_transaction is gone when BEGIN failed alone, so that a guarded statement can tell.
 */
const settingsText = `select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true),
  set_config('idle_in_transaction_session_timeout', $3, true),
  case when current_setting('server_version_num') >= '170000' then set_config('transaction_timeout', $3, true) end,
  set_config('tcp_keepalives_idle', '10', true), set_config('tcp_keepalives_interval', '5', true),
  case when version() not like all ('{%windows%,%Visual C%,%mingw%}') then set_config('client_connection_check_interval', '250', true) end,
  set_config('search_path', $4, true), set_config('timezone', 'UTC', true), set_config('tokay.in_transaction', 'yes', true)`

/** Opens no connection. @throws ConfigError when the URL is wrong */
export function createPgDatabase(options: PgDatabaseOptions): Database {
  const { schema, poolMax, connectForMs, wakeForMs, idleForMs, lifetimeMs, clock, log } = options
  const { applicationName, ...address } = parsePostgresUrl(options.url)
  const searchPath = `"${schema.replaceAll('"', '""')}"`

  const live = new Set<TokayClient>()
  const waiting = new Set<(why: DatabaseError) => void>()
  const counters = { connected: 0, discarded: 0, poolResets: 0 }
  let inUse = 0
  let generation = 0
  let heardAtMs: number | undefined
  let wakingUntilMs: number | undefined
  let ending: Promise<void> | undefined

  class TokayClient extends Client {
    readonly generation = generation
    readonly bornAtMs = clock.nowMs()
    usedAtMs = clock.nowMs()
    constructor() {
      super({
        ...address,
        ...(options.ssl === undefined ? {} : { ssl: options.ssl }),
        ...(applicationName === undefined ? {} : { application_name: applicationName }),
        fallback_application_name: 'tokay',
        connectionTimeoutMillis: connectBudgetMs(),
        keepAlive: true,
        pipeline: true,
      })
      live.add(this)
      // For its whole life: pg emits 'error' beside rejecting, and without a listener that ends the process.
      this.on('error', (error: Error & { code?: string }) => {
        if (error.code === '57P01') condemnAll(this, '57P01')
      })
      this.on('end', () => live.delete(this))
    }
  }

  const pool = new Pool({ max: poolMax, idleTimeoutMillis: idleForMs, allowExitOnIdle: true, Client: TokayClient })
  pool.on('connect', () => {
    counters.connected++
    heard()
  })
  // An idle connection that was lost: the pool has dropped it already, and nobody was waiting for it.
  pool.on('error', (error) => {
    counters.discarded++
    log.info({ event: 'database.idle-connection-lost', code: (error as Error & { code?: string }).code })
  })

  function heard(): void {
    heardAtMs = clock.nowMs()
    wakingUntilMs = undefined
  }

  /** The long budget belongs to a moment, not to a connection: all that connect while the database wakes share it, and it comes once. */
  function connectBudgetMs(): number {
    const nowMs = clock.nowMs()
    if (heardAtMs === undefined || nowMs - heardAtMs > longIdleMs) wakingUntilMs ??= nowMs + wakeForMs
    const wakingMs = wakingUntilMs === undefined ? 0 : Math.min(wakeForMs, wakingUntilMs - nowMs)
    return Math.max(connectForMs, wakingMs)
  }

  function condemnAll(witness: TokayClient, sqlState: string): void {
    // its siblings of the same generation tell the same story
    if (witness.generation !== generation) return
    generation++
    counters.poolResets++
    log.warn({ event: 'database.pool-condemned', sqlState })
  }

  function isStale(client: TokayClient): boolean {
    const nowMs = clock.nowMs()
    return client.generation !== generation || nowMs - client.usedAtMs > idleForMs || nowMs - client.bornAtMs > lifetimeMs
  }

  async function checkout(withinMs: number): Promise<TokayClient & PoolClient> {
    for (;;) {
      const client = await connectWithin(withinMs)
      inUse++
      if (!isStale(client) && client.getTransactionStatus() === 'I') return client
      checkIn(client, false)
    }
  }

  /** pool.connect() can't be aborted: a connection that comes too late goes back to the pool. */
  function connectWithin(withinMs: number): Promise<TokayClient & PoolClient> {
    return new Promise((resolve, reject) => {
      let late = false
      const giveUp = (why: DatabaseError) => {
        late = true
        clearTimeout(timer)
        waiting.delete(giveUp)
        reject(why)
      }
      const timer = setTimeout(() => giveUp(noConnection(withinMs)), withinMs)
      waiting.add(giveUp)
      pool.connect((error, client) => {
        clearTimeout(timer)
        waiting.delete(giveUp)
        if (!client) reject(failureOf('connect', error, 'not-sent'))
        else if (late) client.release()
        else resolve(client as TokayClient & PoolClient)
      })
    })
  }

  function noConnection(withinMs: number): DatabaseError {
    const exhausted = inUse >= poolMax
    return new DatabaseError(
      exhausted
        ? `connect: all ${poolMax} connections of the pool were in use for ${withinMs} ms; raise database.poolMax or run less at once`
        : `connect: no connection to the database within ${withinMs} ms`,
      { statement: 'connect', applied: 'not-sent', errno: exhausted ? ownErrno.poolExhausted : ownErrno.connectTimeout },
    )
  }

  function checkIn(client: TokayClient & PoolClient, keep: boolean): void {
    inUse--
    client.usedAtMs = clock.nowMs()
    if (keep && !isStale(client)) return client.release()
    counters.discarded++
    client.release(true)
    // release() says goodbye and waits for the other side's FIN: a half-open socket would hold the process for minutes
    socketOf(client).destroySoon()
  }

  async function transaction(statements: readonly Statement[], limits: AttemptLimits): Promise<readonly Rows[]> {
    statements.forEach(assertSendable)
    const startedMs = performance.now()
    const attemptForMs = Math.ceil(limits.attemptForMs)
    const client = await checkout(Math.min(attemptForMs, connectBudgetMs()))
    let keep = false
    let expired = false
    const leftMs = attemptForMs - (performance.now() - startedMs)
    // every answer of the pipeline: a black hole has no FIN, and the server's own timeouts don't reach us through it
    const timer = setTimeout(() => {
      expired = true
      socketOf(client).destroy()
    }, leftMs)
    try {
      const names = ['begin', 'settings', ...statements.map((statement) => statement.name), 'commit']
      const settings = { text: settingsText, values: [...settingsOf(limits), searchPath] }
      // allSettled marks every promise as handled, and waits until the connection is quiet
      const answers = (await Promise.allSettled(send(client, [settings, ...statements]))) as Answer[]
      const verdict = judgePipeline(names, answers, expired ? attemptForMs : undefined)
      if (answers.some((answer) => answer.status === 'fulfilled')) heard()
      keep = verdict.quiet && !expired && client.getTransactionStatus() === 'I'
      if (verdict.kind === 'committed') return verdict.rows
      keep &&= !endsConnection(verdict.error)
      if (condemnsPool(verdict.error)) condemnAll(client, verdict.error.sqlState ?? '')
      throw verdict.error
    } finally {
      clearTimeout(timer)
      checkIn(client, keep)
    }
  }

  async function end(): Promise<void> {
    // in flight or still connecting: destroyed, so that whoever waits for an answer hears of it
    const timer = setTimeout(() => live.forEach((client) => socketOf(client).destroy()), endForMs)
    const ended = pool.end()
    // the pool forgets who still waits for a connection
    const closed = new DatabaseError('connect: the pool was closed', { statement: 'connect', applied: 'not-sent' })
    for (const giveUp of waiting) giveUp(closed)
    await ended
    clearTimeout(timer)
    // what is left has been said goodbye to
    for (const client of live) socketOf(client).destroySoon()
  }

  return {
    driver: 'pg',
    connections: () => ({ ...counters }),
    transaction,
    query: async (statement, limits) => (await transaction([statement], limits))[0] ?? [],
    end: () => (ending ??= end()),
  }
}

/** Begin, the statements, commit: corked, so that the whole pipeline is one write. The promises must be awaited in the same tick. */
function send(client: Client, statements: readonly { readonly text: string; readonly values: readonly unknown[] }[]): Promise<unknown>[] {
  const { stream } = client.connection
  stream.cork()
  try {
    return [
      client.query('begin'),
      // the extended protocol, also without values: it refuses a second statement in the text
      ...statements.map(({ text, values }) => client.query({ text, values: [...values], queryMode: 'extended' } as QueryConfig)),
      client.query('commit'),
    ]
  } finally {
    stream.uncork()
  }
}

/** Milliseconds as text. 0 would switch a timeout off. */
function settingsOf(limits: AttemptLimits): string[] {
  return [limits.lockForMs, limits.statementForMs, limits.attemptForMs].map((ms) => String(Math.max(1, Math.ceil(ms))))
}

const socketOf = (client: Client) => client.connection.stream as Socket

const endsConnection = (error: DatabaseError) =>
  error.sqlState === undefined || isFatal(error) || /^(?:57P0|08)/.test(error.sqlState) || condemnsPool(error)

const condemnsPool = (error: DatabaseError) =>
  error.sqlState === '25006' || error.sqlState === '57P01' || (error.sqlState === '0A000' && /recovery/.test(error.message))
