// The one path of every statement: nothing in this program talks to the database around it but the health check's probe and the migrations.
//
//   time left? --no--> DeadlineExceededError
//     | yes
//   admit (stream's breaker, database's breaker) --reject--> CircuitOpenError: nothing was sent
//     | pass or probe
//   attempt -> rows: recorded as success
//     | failure
//   classify -> record -> may it be tried again, in time? --yes--> back off -> time left?
//     | no
//   the failure itself goes up, untouched: whoever called bisects bad rows, makes partitions, or parks
//
// Each attempt is admitted and recorded for itself, so one exhausted operation can open the circuit. Contention heals by retrying: it counts
// against its stream once, when the retries are used up. A failed prober does not try again: its lease is spent.
// Statements must be idempotent: an attempt whose connection was lost may have been applied, and is made again.

import type { Clock, Random } from '../clock.ts'
import { CircuitOpenError, DeadlineExceededError } from '../errors.ts'
import type { Log } from '../log.ts'
import { classifyFailure, type Failure, type FailureClass } from '../resilience/classify-failure.ts'
import type { Admission, Outcome } from '../resilience/circuit-breaker.ts'
import { fullRetryBudget, refundSuccess, spendRetry } from '../resilience/retry-budget.ts'
import { decideRetry, reserveToParkMs, type RetryRules } from '../resilience/retry-policy.ts'
import type { Breaker } from '../state/breaker.ts'
import { DatabaseError, type AttemptLimits, type ConnectionCounters, type Database, type Rows, type Statement } from './database.ts'

export type CallOptions = {
  /** When the caller's time is up. Each attempt ends `reserveMs` earlier, so that a batch can still be parked. */
  readonly deadlineAtMs: number
  /** The table that contention counts against, where streams have breakers of their own. */
  readonly stream?: string
  /** True for the replayer: while the circuit is open it may take the lease of the one probe. Default false. */
  readonly mayProbe?: boolean
  /** Ends a back-off; no further attempt is made. */
  readonly signal?: AbortSignal
}

/** Since this instance was made. A call is one query or transaction, and has one attempt or more. */
export type ClientCounters = {
  readonly calls: number
  readonly succeeded: number
  /** Calls that a breaker refused before anything was sent. */
  readonly refused: number
  readonly attempts: number
  readonly retries: number
  /** Failed attempts by class. */
  readonly failures: Readonly<Partial<Record<FailureClass, number>>>
  /** Absent where the driver has no connections. */
  readonly connections?: ConnectionCounters
}

export interface ResilientDatabase {
  /**
   * Throws DatabaseError (the last attempt's failure; `classifyFailure` says what it means), CircuitOpenError (nothing was sent),
   * DeadlineExceededError (`cause`: the last failure, if there was an attempt), TypeError (not sendable: a bug).
   */
  query(statement: Statement, options: CallOptions): Promise<Rows>
  /** All or nothing; answers one list of rows for each statement. Throws like `query`. */
  transaction(statements: readonly Statement[], options: CallOptions): Promise<readonly Rows[]>
  /** Whether the database's circuit is open, as this instance last saw it. */
  isOpen(): Promise<boolean>
  counters(): ClientCounters
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
  clock: Clock
  random: Random
  log: Log
}): ResilientDatabase {
  const { database, breaker, streamBreaker, rules, limits, reserveMs = reserveToParkMs, clock, random, log } = options
  const leastMs = Math.min(leastAttemptMs, limits.attemptForMs)
  const counters = { calls: 0, succeeded: 0, refused: 0, attempts: 0, retries: 0 }
  const failures: Partial<Record<FailureClass, number>> = {}
  let budget = fullRetryBudget

  /** What an attempt that starts now may take. */
  const timeFor = (call: CallOptions) => call.deadlineAtMs - reserveMs - clock.nowMs()

  async function run<Answer>(name: string, call: CallOptions, send: (limits: AttemptLimits) => Promise<Answer>): Promise<Answer> {
    counters.calls++
    const guard = guardOf(breaker, call.stream === undefined ? undefined : streamBreaker?.(call.stream))
    let last: unknown
    for (let attempt = 1; ; attempt++) {
      if (timeFor(call) < leastMs) throw tooLate(name, last)
      const admitted = await guard.admit(call.mayProbe ?? false)
      if (admitted.kind === 'rejected') {
        // opened meanwhile, by others: the attempt that was made is what the caller has to know about
        if (last !== undefined) throw last
        counters.refused++
        throw new CircuitOpenError(admitted.scope, admitted.retryAfterMs)
      }
      // admission may have asked the state table
      const withinMs = timeFor(call)
      if (withinMs < leastMs) {
        await admitted.record('neutral', 'neutral')
        throw tooLate(name, last)
      }
      counters.attempts++
      try {
        const answer = await send(shrunk(limits, withinMs))
        await admitted.record('success', 'success')
        budget = refundSuccess(budget)
        counters.succeeded++
        return answer
      } catch (error) {
        const failure = classifyFailure(error)
        failures[failure.class] = (failures[failure.class] ?? 0) + 1
        const decision = decideRetry({
          rule: failure.retry,
          attempt,
          remainingMs: call.deadlineAtMs - clock.nowMs(),
          attemptForMs: leastMs,
          reserveMs,
          rules,
          budget,
          random,
        })
        const again = decision.retry && !call.signal?.aborted && !admitted.isSpentBy(failure)
        const opened = await admitted.record(
          outcomeOf(failure),
          failure.counts === 'stream' && !again ? 'failure' : 'neutral',
          failure.class,
        )
        log.warn({
          event: 'database.attempt-failed',
          attempt,
          class: failure.class,
          applied: failure.applied,
          again: again && !opened,
          ...told(error),
        })
        if (!decision.retry && decision.why === 'deadline') throw tooLate(name, error)
        if (!again || opened) throw error
        last = error
        budget = spendRetry(budget)
        counters.retries++
        await clock.sleep(decision.afterMs, call.signal)
        if (call.signal?.aborted) throw error
      }
    }
  }

  function tooLate(name: string, last: unknown): DeadlineExceededError {
    const before = last === undefined ? 'nothing was sent' : 'the last attempt failed'
    return new DeadlineExceededError(
      `${name}: less than ${leastMs} ms were left for an attempt, with ${reserveMs} ms kept to park the rows; ${before}`,
      last === undefined ? undefined : { cause: last },
    )
  }

  return {
    query: (statement, call) => run(statement.name, call, (within) => database.query(statement, within)),
    transaction: (statements, call) => run(nameOf(statements), call, (within) => database.transaction(statements, within)),
    async isOpen() {
      const { state, override } = await breaker.view()
      return override && override.untilMs > clock.nowMs() ? override.forced === 'open' : state === 'open'
    },
    counters: () => ({
      ...counters,
      failures: { ...failures },
      ...(database.connections ? { connections: database.connections() } : {}),
    }),
  }
}

type Admitted = {
  readonly kind: 'admitted'
  /** Another attempt would need a lease that this failure has used up. */
  isSpentBy(failure: Failure): boolean
  /** True when this opened, or reopened, a circuit. */
  record(database: Outcome, stream: Outcome, reason?: FailureClass): Promise<boolean>
}
type Rejected = { readonly kind: 'rejected'; readonly scope: string; readonly retryAfterMs: number }

/** Both breakers as one. A locked table has no prober of its own: the next writer to it is the probe. */
function guardOf(database: Breaker, stream: Breaker | undefined) {
  return {
    async admit(mayProbe: boolean): Promise<Admitted | Rejected> {
      const ofStream = await stream?.admit({ mayProbe: true })
      if (stream && ofStream?.verdict === 'reject') return { kind: 'rejected', scope: stream.scope, retryAfterMs: ofStream.retryAfterMs }
      const ofDatabase = await database.admit({ mayProbe })
      if (ofDatabase.verdict === 'reject') {
        // a lease that leads nowhere is given back
        if (stream && ofStream) await stream.record(ofStream, 'neutral')
        return { kind: 'rejected', scope: database.scope, retryAfterMs: ofDatabase.retryAfterMs }
      }
      return {
        kind: 'admitted',
        isSpentBy: ({ counts }) => isProbe(counts === 'stream' ? ofStream : ofDatabase) && counts !== 'none',
        async record(databaseOutcome, streamOutcome, reason) {
          const transitions = [await database.record(ofDatabase, databaseOutcome, reason)]
          if (stream && ofStream) transitions.push(await stream.record(ofStream, streamOutcome, reason))
          return transitions.some(({ kind }) => kind === 'opened' || kind === 'reopened')
        },
      }
    },
  }
}

const isProbe = (admission: Admission | undefined) => admission?.verdict === 'probe'

/** For the database's breaker: every answer that is not about availability shows that the server is there. */
function outcomeOf(failure: Failure): Outcome {
  if (failure.counts === 'database') return 'failure'
  return failure.signOfLife ? 'success' : 'neutral'
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
