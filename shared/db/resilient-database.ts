// The one path of every statement: nothing in this program talks to the database around it but the health check's probe and the migrations.
// The loop of admission, attempts, retries and deadline stands in resilient-call.ts; here is what it means for statements.
//
// An attempt whose connection was lost may have been applied. What happens then depends on what the statements are:
//   idempotent     made again: a second time they change nothing. All of Tokay's own are
//   exactlyOnce    made again: the ledger stops the second time
//   anything else  AmbiguousOutcomeError at once. COMMIT is held until every answer is in, so that only a lost COMMIT ends like this;
//                  failures that certainly changed nothing are tried again like any other

import type { Clock, Random } from '../clock.ts'
import { AmbiguousOutcomeError } from '../errors.ts'
import type { Log } from '../log.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import type { ClientCounts, ClientMetrics } from '../resilience/client-metrics.ts'
import { reserveToParkMs, type RetryRules } from '../resilience/retry-policy.ts'
import { createResilientCalls, type ResilientCall } from '../resilient-call.ts'
import type { Breaker } from '../state/breaker.ts'
import {
  DatabaseError,
  type AttemptLimits,
  type AttemptOptions,
  type ConnectionCounters,
  type Database,
  type Rows,
  type Statement,
} from './database.ts'
import { assertEntry, enterLedger, isAlreadyApplied, type LedgerEntry } from './ledger.ts'

export type CallOptions = ResilientCall & {
  /** The table that contention counts against, where streams have breakers of their own. */
  readonly stream?: string
  /**
   * `idempotent`: made a second time they change nothing, so they may be made again whatever happened, and take one round trip.
   * Default `if-unapplied`: made again only after a failure that certainly changed nothing.
   */
  readonly repeat?: 'idempotent' | 'if-unapplied'
}

/** Since this instance was made. */
export type ClientCounters = ClientCounts & {
  /** Absent where the driver has no connections. */
  readonly connections?: ConnectionCounters
}

export type Once =
  | { readonly applied: 'now'; readonly answers: readonly Rows[] }
  /** The batch is in, from an earlier call or an earlier attempt of this one. Nothing was changed now. */
  | { readonly applied: 'already' }

export interface ResilientDatabase {
  /**
   * Throws DatabaseError (the last attempt's failure; `classifyFailure` says what it means), CircuitOpenError (nothing was sent),
   * DeadlineExceededError (`cause`: the last failure, if there was an attempt), AmbiguousOutcomeError (not idempotent, and its COMMIT was lost),
   * TypeError (not sendable: a bug).
   */
  query(statement: Statement, options: CallOptions): Promise<Rows>
  /** All or nothing; answers one list of rows for each statement. Throws like `query`. */
  transaction(statements: readonly Statement[], options: CallOptions): Promise<readonly Rows[]>
  /**
   * Any statements, applied once for this entry, however often it is called and whatever is lost: the ledger is the transaction's first
   * statement and refuses an entry that it has. Never throws AmbiguousOutcomeError; after any failure the same call may be made again.
   */
  exactlyOnce(entry: LedgerEntry, statements: readonly Statement[], options: Omit<CallOptions, 'repeat'>): Promise<Once>
  /** Whether the database's circuit is open, as this instance last saw it. */
  isOpen(): Promise<boolean>
  counters(): ClientCounters
  metrics(): ClientMetrics
}

/** Less than this is no fair chance: a healthy database far away would miss it, and its breaker would count it. */
const leastAttemptMs = 2_000

export function createResilientDatabase(options: {
  database: Database
  breaker: Breaker
  /** Contention counts here, by table. Without it, contention counts nowhere. */
  streamBreaker?: (table: string) => Breaker
  rules: RetryRules
  limits: AttemptLimits
  reserveMs?: number
  /** A success slower than this counts against the circuit. Absent: none does. */
  slowMs?: number
  clock: Clock
  random: Random
  log: Log
}): ResilientDatabase {
  const { database, breaker, streamBreaker, rules, limits, reserveMs = reserveToParkMs, slowMs, clock, random, log } = options
  const calls = createResilientCalls({
    rules,
    reserveMs,
    leastAttemptMs: Math.min(leastAttemptMs, limits.attemptForMs),
    slowMs,
    event: 'database.attempt-failed',
    told,
    connections: database.connections,
    clock,
    random,
    log,
  })

  const guarded = (name: string, { stream }: CallOptions) => ({
    name,
    breaker,
    judge: classifyFailure,
    streamBreaker: stream === undefined ? undefined : streamBreaker?.(stream),
  })

  function run<Answer>(name: string, call: CallOptions, send: (options: AttemptOptions) => Promise<Answer>): Promise<Answer> {
    if (call.repeat === 'idempotent')
      return calls.run(call, { ...guarded(name, call), attempt: (withinMs) => send(shrunk(limits, withinMs)) })
    return calls.run(call, {
      ...guarded(name, call),
      attempt: (withinMs) => send({ ...shrunk(limits, withinMs), holdCommit: true }),
      isFinal: (error) =>
        error instanceof DatabaseError && error.applied === 'unknown' ? new AmbiguousOutcomeError(name, error) : undefined,
    })
  }

  return {
    query: (statement, call) => run(statement.name, call, (within) => database.query(statement, within)),
    transaction: (statements, call) => run(nameOf(statements), call, (within) => database.transaction(statements, within)),
    async exactlyOnce(entry, statements, call) {
      assertEntry(entry, statements)
      return calls.run(call, {
        ...guarded(nameOf(statements), call),
        attempt: async (withinMs): Promise<Once> => {
          try {
            const held = { ...shrunk(limits, withinMs), holdCommit: true }
            const [, ...answers] = await database.transaction([enterLedger(entry), ...statements], held)
            return { applied: 'now', answers }
          } catch (error) {
            // an answer, and no failure: an earlier attempt was committed although its own answer was lost
            if (isAlreadyApplied(error)) return { applied: 'already' }
            throw error
          }
        },
      })
    },
    async isOpen() {
      const { state, override } = await breaker.view()
      return override && override.untilMs > clock.nowMs() ? override.forced === 'open' : state === 'open'
    },
    counters: () => ({ ...calls.counts(), ...(database.connections ? { connections: database.connections() } : {}) }),
    metrics: calls.metrics,
  }
}

/** The limits, within the time left; the server still gives up before the client does. */
function shrunk(limits: AttemptLimits, withinMs: number): AttemptLimits {
  if (withinMs >= limits.attemptForMs) return limits
  const share = withinMs / limits.attemptForMs
  return {
    attemptForMs: withinMs,
    statementForMs: Math.max(1, Math.floor(limits.statementForMs * share)),
    lockForMs: Math.max(1, Math.floor(Math.min(limits.lockForMs, limits.statementForMs * share))),
  }
}

const nameOf = (statements: readonly Statement[]) => statements.map((statement) => statement.name).join(', ')

/** What a log may hold of it. */
function told(error: unknown) {
  if (!(error instanceof DatabaseError)) return { message: String(error) }
  return { statement: error.statement, sqlState: error.sqlState, errno: error.errno, message: error.message }
}
