// The database port over node-postgres: begin, settings, statements and commit leave in one tick and are one round trip.
//
//   checkout -> send all -> all answers (or one timer destroys the socket) -> judge -> keep or discard -> rows, or the first failure
//
// With holdCommit in three steps, each behind the good answers of the one before: begin and settings, the statements, COMMIT (or ROLLBACK).
//
// A connection that was idle for a moment is asked for a sign of life before it is used: while a container is frozen no FIN is read, and the first
// statement of an invocation would meet a dead socket, with an unknown outcome. One that was idle for long is replaced unasked.
//
// A connection is kept only behind a fulfilled COMMIT with status I: the status is the server's last answer, and a connection that died
// unanswered still says I. Discarded on: any failure without SQLSTATE, 57P0x, 08xxx, FATAL. 25006 and 57P01 condemn every connection of the
// pool (by generation): after a failover they all lead to the old host, and a new one resolves the name again.
// A pool that is sized by its load never drops a connection that works: when there are too many, the next one that comes back is closed.
// Never pool.query: it destroys the connection on any error, and hands an open transaction to the next user.

import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { Client, Pool, type PoolClient, type QueryConfig } from 'pg'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { poolRules } from '../resilience/pool-size.ts'
import { arrayLiteral } from './array-literal.ts'
import { DatabaseError, type AttemptOptions, type Database, type Rows, type Statement } from './database.ts'
import { guardAnswers } from './guard-answers.ts'
import { failureOf, isFatal, judgePipeline, ownErrno, type Answer } from './pg-failure.ts'
import { fixedSize, sizeByLoad } from './pool-sizer.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import { assertSendable } from './sendable.ts'
import { transactionSettings } from './transaction-settings.ts'

export type PgDatabaseOptions = {
  /** postgres://user:password@host:5432/database. Wrong: ConfigError, without its value. */
  readonly url: string
  /** The stage's own schema: the search_path of every transaction. */
  readonly schema: string
  /** How the server's lists of sessions name it. Default: what the URL says, else `tokay`. */
  readonly applicationName?: string
  /** Most connections at once. */
  readonly poolMax: number
  /** Sizes the pool by its load, from 2 to `poolMax`. While the database's circuit is not closed the size stays as it is. */
  readonly sizedByLoad?: { readonly isCircuitClosed: () => boolean }
  /** Waiting for a free connection, or making one. */
  readonly connectForMs: number
  /** The same, once, when nothing was heard for long: a database that scales to zero needs to wake. Bounded by the attempt's own limit. */
  readonly wakeForMs: number
  /** A connection unused for longer, by wall time, is replaced: while a container is frozen no timer runs and no FIN is read. */
  readonly idleForMs: number
  /** A connection unused for longer is asked for a sign of life first: one round trip. Default 500. */
  readonly validateAfterMs?: number
  /**
   * Has each connection parse and plan a statement once. Only where every transaction of a connection meets the same session: see the setting.
   * Where one does not, that attempt fails as refused, a warning is logged, and nothing is prepared any more.
   */
  readonly prepareStatements?: boolean
  /** A connection is replaced at this age. */
  readonly lifetimeMs: number
  readonly clock: Clock
  readonly log: Log
  /** Replaces what the URL asks for, such as { ca } for RDS. */
  readonly ssl?: false | ConnectionOptions
}

/** Below the 5 min after which Neon suspends by default. */
const longIdleMs = 240_000

/** A sign of life takes one round trip: without an answer in this time a new connection is the better bet. */
const validateForMs = 1_000

/** Tokay's own statements are about fifteen. */
const maxPrepared = 50

/** How long end() waits for transactions in flight before it destroys their sockets. */
const endForMs = 2_000

/** Opens no connection. @throws ConfigError when the URL is wrong */
export function createPgDatabase(options: PgDatabaseOptions): Database {
  const {
    schema,
    poolMax,
    connectForMs,
    wakeForMs,
    idleForMs,
    lifetimeMs,
    validateAfterMs = 500,
    prepareStatements = false,
    clock,
    log,
  } = options
  const { applicationName: ofUrl, ...address } = parsePostgresUrl(options.url)
  const applicationName = options.applicationName ?? ofUrl
  let preparedAs: (text: string) => string | undefined = prepareStatements ? createStatementNames() : () => undefined

  const live = new Set<TokayClient>()
  const waiting = new Set<(why: DatabaseError) => void>()
  const counters = { connected: 0, discarded: 0, lost: 0, poolResets: 0 }
  let inUse = 0
  let generation = 0
  let suspicions = 0
  let heardAtMs: number | undefined
  let wakingUntilMs: number | undefined
  let pooled: { pooled?: true } = {}
  let ending: Promise<void> | undefined

  class TokayClient extends Client {
    readonly generation = generation
    readonly bornAtMs = clock.nowMs()
    usedAtMs = clock.nowMs()
    /** How many suspicions there were when it last worked. */
    clearedOf = suspicions
    isDiscarded = false
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
      guardAnswers(this.connection)
      // For its whole life: pg emits 'error' beside rejecting, and without a listener that ends the process.
      this.on('error', (error: Error & { code?: string }) => {
        if (error.code === '57P01') condemnAll(this, '57P01')
      })
      this.on('end', () => live.delete(this))
    }
  }

  const { sizedByLoad } = options
  const sizer = sizedByLoad ? sizeByLoad({ most: poolMax, ...sizedByLoad, clock, log }) : fixedSize(poolMax)
  const pool = new Pool({ max: sizer.size(), idleTimeoutMillis: idleForMs, allowExitOnIdle: true, Client: TokayClient })
  pool.on('connect', (client) => {
    counters.connected++
    worked(client as TokayClient & PoolClient)
  })
  // An idle connection that was lost: the pool has dropped it already, and nobody was waiting for it. One that was discarded may say so, too.
  pool.on('error', (error, client) => {
    if ((client as TokayClient & PoolClient).isDiscarded) return
    counters.discarded++
    counters.lost++
    log.info({ event: 'database.idle-connection-lost', code: (error as Error & { code?: string }).code })
  })

  function worked(client: TokayClient): void {
    client.usedAtMs = clock.nowMs()
    client.clearedOf = suspicions
    heard()
  }

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

  /** Another session than the one that knows our statements: a pooler stands between. */
  function stopPreparing({ sqlState, message }: DatabaseError): void {
    preparedAs = () => undefined
    log.warn({
      event: 'database.prepared-statements-lost',
      sqlState,
      message,
      action: 'switch database.prepareStatements off: a transaction pooler stands before the server, and it is older than PgBouncer 1.21',
    })
  }

  /** Too old, or idle for too long. */
  function isOutdated(client: TokayClient): boolean {
    const nowMs = clock.nowMs()
    return nowMs - client.usedAtMs > idleForMs || nowMs - client.bornAtMs > lifetimeMs
  }

  /** What has struck another one may have struck it. */
  const isSuspect = (client: TokayClient) => client.generation !== generation || client.clearedOf !== suspicions

  async function checkout(attemptForMs: number): Promise<TokayClient & PoolClient> {
    const startedMs = performance.now()
    const within = (forMs: number) => Math.max(1, Math.ceil(Math.min(forMs, attemptForMs - (performance.now() - startedMs))))
    for (;;) {
      const client = await connectWithin(within(connectBudgetMs()))
      inUse++
      if (isSuspect(client) || client.getTransactionStatus() !== 'I') checkIn(client, 'lost')
      else if (isOutdated(client)) checkIn(client, 'outdated')
      else if (clock.nowMs() - client.usedAtMs <= validateAfterMs || (await isAlive(client, within(validateForMs)))) return client
      else {
        // whatever has cut this one off may have done it to all that were idle: no other is waited for
        suspicions++
        log.info({ event: 'database.idle-connection-lost', foundAt: 'checkout' })
        checkIn(client, 'lost')
      }
    }
  }

  /** Nothing has been sent yet, so its failure is nobody's: the next connection is tried. */
  async function isAlive(client: TokayClient, withinMs: number): Promise<boolean> {
    const timer = setTimeout(() => socketOf(client).destroy(), withinMs)
    try {
      await client.query('select 1')
      heard()
      return client.getTransactionStatus() === 'I'
    } catch {
      return false
    } finally {
      clearTimeout(timer)
    }
  }

  /** pool.connect() can't be aborted: a connection that comes too late goes back to the pool. */
  function connectWithin(withinMs: number): Promise<TokayClient & PoolClient> {
    return new Promise((resolve, reject) => {
      let late = false
      const giveUp = (why: DatabaseError) => {
        late = true
        settled()
        reject(why)
      }
      const settled = () => {
        clearTimeout(timer)
        clearInterval(owed)
        waiting.delete(giveUp)
      }
      const owed = sizedByLoad && isFull() ? setInterval(addOne, poolRules.waitForMs) : undefined
      const timer = setTimeout(() => giveUp(noConnection(withinMs)), withinMs)
      waiting.add(giveUp)
      pool.connect((error, client) => {
        settled()
        if (!client) reject(failureOf('connect', error, 'not-sent'))
        else if (late) client.release()
        else resolve(client as TokayClient & PoolClient)
      })
    })
  }

  const isFull = () => pool.idleCount === 0 && pool.totalCount >= sizer.size()

  /** For whoever waits: the pool hands on a connection that was opened and given back at once. */
  function addOne(): void {
    if (!isFull() || !sizer.waited()) return
    pool.options.max = sizer.size()
    // one that can't be opened is met by the next caller as well, who hears why
    pool.connect((_error, client) => client?.release())
  }

  function noConnection(withinMs: number): DatabaseError {
    const size = sizer.size()
    const exhausted = inUse >= size
    return new DatabaseError(
      exhausted
        ? `connect: all ${size} connections of the pool were in use for ${withinMs} ms; ${size < poolMax ? '' : 'raise database.poolMax or '}run less at once`
        : `connect: no connection to the database within ${withinMs} ms`,
      { statement: 'connect', applied: 'not-sent', errno: exhausted ? ownErrno.poolExhausted : ownErrno.connectTimeout },
    )
  }

  function checkIn(client: TokayClient & PoolClient, as: 'kept' | 'outdated' | 'lost'): void {
    inUse--
    if (as === 'kept') {
      worked(client)
      const isOneTooMany = pool.totalCount > pool.options.max && pool.waitingCount === 0
      // condemned, or come of age, while it was in use
      if (client.generation === generation && !isOutdated(client) && !isOneTooMany) return client.release()
    }
    client.isDiscarded = true
    counters.discarded++
    if (as === 'lost' || client.generation !== generation) counters.lost++
    client.release(true)
    // release() says goodbye and waits for the other side's FIN: a half-open socket would hold the process for minutes
    socketOf(client).destroySoon()
  }

  async function transaction(statements: readonly Statement[], limits: AttemptOptions): Promise<readonly Rows[]> {
    statements.forEach(assertSendable)
    const startedMs = performance.now()
    const attemptForMs = Math.ceil(limits.attemptForMs)
    sizer.arrived()
    pool.options.max = sizer.size()
    const client = await checkout(attemptForMs)
    let keep = false
    let expired = false
    let failure: DatabaseError | undefined
    const heldFromMs = performance.now()
    const leftMs = attemptForMs - (heldFromMs - startedMs)
    // every answer of the pipeline: a black hole has no FIN, and the server's own timeouts don't reach us through it
    const timer = setTimeout(() => {
      expired = true
      socketOf(client).destroy()
    }, leftMs)
    try {
      const names = ['begin', 'settings', ...statements.map((statement) => statement.name), 'commit']
      const [first, ...rest] = [transactionSettings(limits, schema), ...statements].map(({ text, values }) => ({
        text,
        values,
        preparedAs: preparedAs(text),
      }))
      const { answers, commitSent } = await (limits.holdCommit ? inSteps : atOnce)(client, first as Sendable, rest)
      if (isServedByAnother(client, answers[1])) pooled = { pooled: true }
      const verdict = judgePipeline(names, answers, { ...(expired ? { expiredAfterMs: attemptForMs } : {}), commitSent })
      if (answers.some((answer) => answer.status === 'fulfilled')) heard()
      keep = verdict.quiet && !expired && client.getTransactionStatus() === 'I'
      if (verdict.kind === 'committed') return verdict.rows
      failure = verdict.error
      keep &&= !endsConnection(verdict.error)
      if (first?.preparedAs && isPreparedLost(verdict.error)) stopPreparing(verdict.error)
      if (condemnsPool(verdict.error)) condemnAll(client, verdict.error.sqlState ?? '')
      throw verdict.error
    } finally {
      clearTimeout(timer)
      sizer.ended(performance.now() - heldFromMs, failure)
      checkIn(client, keep ? 'kept' : 'lost')
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
    connections: () => ({ ...counters, ...(sizedByLoad ? { size: sizer.size() } : {}), ...pooled }),
    transaction,
    query: async (statement, limits) => (await transaction([statement], limits))[0] ?? [],
    end: () => (ending ??= end()),
  }
}

type Sendable = { readonly text: string; readonly values?: readonly unknown[]; readonly preparedAs?: string | undefined }
/**
 * Names for texts, made from the text: behind a pooler a name may meet a statement that another process has prepared on the same session, and it
 * must never be another statement. Bounded: a server keeps what it has prepared, and users' own texts may be without number.
 */
function createStatementNames(): (text: string) => string | undefined {
  const names = new Map<string, string>()
  return (text) => {
    if (!names.has(text) && names.size < maxPrepared)
      names.set(text, `tokay_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`)
    return names.get(text)
  }
}

/** 26000: this session does not know the statement. 42P05: it knows it from somebody else. PgBouncer from 1.21 on has words of its own. */
const isPreparedLost = ({ sqlState, message }: DatabaseError) =>
  sqlState === '26000' ||
  sqlState === '42P05' ||
  (sqlState === '08P01' && /prepared statement (?:did not exist|name is already in use)/.test(message))

type Answered = { readonly answers: readonly Answer[]; readonly commitSent: boolean }

/**
 * Not corked: each leaves as soon as it is encoded, so the server works on one while the next is made. allSettled marks every promise as handled,
 * and waits until the connection is quiet.
 */
async function send(client: Client, statements: readonly Sendable[]): Promise<readonly Answer[]> {
  const sent = statements.map(({ text, values, preparedAs }) =>
    // the extended protocol, also without values: it refuses a second statement in the text
    values === undefined
      ? client.query(text)
      : client.query({
          text,
          values: values.map(encoded),
          queryMode: 'extended',
          ...(preparedAs ? { name: preparedAs } : {}),
        } as QueryConfig),
  )
  return (await Promise.allSettled(sent)) as Answer[]
}

const [begin, commit, rollback]: readonly [Sendable, Sendable, Sendable] = [{ text: 'begin' }, { text: 'commit' }, { text: 'rollback' }]

async function atOnce(client: Client, settings: Sendable, statements: readonly Sendable[]): Promise<Answered> {
  return { answers: await send(client, [begin, settings, ...statements, commit]), commitSent: true }
}

/** A BEGIN that fails alone would let the statements behind it commit one by one: they wait for its answer as COMMIT does for theirs. */
async function inSteps(client: Client, settings: Sendable, statements: readonly Sendable[]): Promise<Answered> {
  const answers: Answer[] = []
  for (const step of [[begin, settings], statements, [commit]]) {
    const hasFailed = answers.some((answer) => answer.status === 'rejected')
    if (hasFailed) return { answers: [...answers, ...(await send(client, [rollback]))], commitSent: false }
    answers.push(...(await send(client, step)))
  }
  return { answers, commitSent: true }
}

const encoded = (value: unknown) => (Array.isArray(value) ? arrayLiteral(value) : value)

/** Than the process that the server's greeting named, by the answer to the settings. */
const isServedByAnother = (client: Client, settings: Answer | undefined) =>
  settings?.status === 'fulfilled' && settings.value.rows[0]?.['pid'] !== (client as Client & { processID: number | null }).processID

const socketOf = (client: Client) => client.connection.stream as Socket

const endsConnection = (error: DatabaseError) =>
  error.sqlState === undefined || isFatal(error) || /^(?:57P0|08)/.test(error.sqlState) || condemnsPool(error)

const condemnsPool = (error: DatabaseError) =>
  error.sqlState === '25006' || error.sqlState === '57P01' || (error.sqlState === '0A000' && /recovery/.test(error.message))
