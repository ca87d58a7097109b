// Any operation of users' own code under the same rules as a statement: a deadline, a circuit breaker of its own, retries with full jitter.
//
// The operation must be safe to repeat: a failed attempt may have done its work (`attempts: 1` where it is not). It is handed a signal that fires
// when its attempt has taken long enough; one that doesn't listen is left behind, and its late answer is dropped.

import type { Clock, Random } from './clock.ts'
import { DatabaseError } from './db/database.ts'
import { AmbiguousOutcomeError, CircuitOpenError, DeadlineExceededError } from './errors.ts'
import type { Log } from './log.ts'
import type { ClientMetrics } from './resilience/client-metrics.ts'
import type { RetryRules } from './resilience/retry-policy.ts'
import { createResilientCalls, type Judgement, type ResilientCalls } from './resilient-call.ts'
import type { Breaker } from './state/breaker.ts'

export type OperationOptions = {
  /** When the caller's time is up; the last attempt ends before it. Default: 30 s from now. */
  readonly deadlineAtMs?: number
  /** One attempt. Default 10 s. */
  readonly attemptForMs?: number
  /** The first one included. Default: the setting `retry.attempts`. */
  readonly attempts?: number
  /**
   * False for what is the other side's answer, such as "not found": it is thrown at once and shows that the other side is there. True for
   * trouble: it counts against the breaker and is tried again. Default: everything is trouble but the mistakes of a program (TypeError and
   * the like; not fetch's, which is how a connection that failed looks).
   */
  readonly isTrouble?: (error: unknown) => boolean
  /** Ends a back-off; no further attempt is made. */
  readonly signal?: AbortSignal
}

/** `signal` fires when the attempt's time is up. */
export type Operation<Answer> = (attempt: { readonly signal: AbortSignal }) => Promise<Answer>

export interface WithResilience {
  /**
   * `scope` names what the operation talks to: operations of one scope share a breaker, in all instances that share a state table.
   * Throws what the last attempt threw, CircuitOpenError (nothing was tried), DeadlineExceededError.
   */
  <Answer>(scope: string, operation: Operation<Answer>, options?: OperationOptions): Promise<Answer>
  /** Undefined for a scope that was never used here. */
  metrics(scope: string): ClientMetrics | undefined
}

const defaultForMs = 30_000
const defaultAttemptForMs = 10_000

export function createWithResilience(tools: {
  breakerOf: (scope: string) => Breaker
  rules: RetryRules
  clock: Clock
  random: Random
  log: Log
}): WithResilience {
  const { breakerOf, rules, clock, random, log } = tools
  type Scope = { readonly breaker: Breaker; readonly calls: ResilientCalls }
  const scopes = new Map<string, Scope>()

  function scopeOf(name: string): Scope {
    const known = scopes.get(name)
    if (known) return known
    const calls = createResilientCalls({
      rules,
      reserveMs: 0,
      leastAttemptMs: 1,
      event: 'operation.attempt-failed',
      told: (error) => ({ scope: name, message: error instanceof Error ? error.message : String(error) }),
      clock,
      random,
      log,
    })
    const scope = { breaker: breakerOf(name), calls }
    scopes.set(name, scope)
    return scope
  }

  async function withResilience<Answer>(name: string, operation: Operation<Answer>, options: OperationOptions = {}): Promise<Answer> {
    const { attemptForMs = defaultAttemptForMs, attempts = rules.attempts, isTrouble, signal } = options
    const { breaker, calls } = scopeOf(name)
    const call = { deadlineAtMs: options.deadlineAtMs ?? clock.nowMs() + defaultForMs, ...(signal ? { signal } : {}) }
    return calls.run(
      // nobody else probes for this scope: whoever comes when a probe is due is the one
      { ...call, mayProbe: true },
      {
        name,
        breaker,
        rules: { ...rules, attempts },
        judge: (error) => judge(error, isTrouble),
        attempt: (withinMs) => inTime(name, operation, Math.min(attemptForMs, withinMs)),
      },
    )
  }
  return Object.assign(withResilience, { metrics: (scope: string) => scopes.get(scope)?.calls.metrics() })
}

/** What a failure means: tried again and counted, thrown as the other side's answer, or thrown as a mistake of this side. */
function judge(error: unknown, isTrouble: OperationOptions['isTrouble']): Judgement {
  const unknown = { applied: 'unknown' } as const
  const trouble = { ...unknown, class: 'trouble', retry: 'transient', counts: 'database', signOfLife: false } as const
  if (isTimeout(error)) return { ...trouble, class: 'unanswered' }
  if (isSettled(error)) return { ...unknown, class: 'passed-on', retry: 'never', counts: 'none', signOfLife: false }
  if (isTrouble === undefined)
    return isMistake(error) ? { ...unknown, class: 'bug', retry: 'never', counts: 'none', signOfLife: false } : trouble
  return isTrouble(error) ? trouble : { ...unknown, class: 'answered', retry: 'never', counts: 'none', signOfLife: true }
}

const isTimeout = (error: unknown) => error instanceof DOMException && error.name === 'TimeoutError'

/** A client of ours inside the operation has done all that may be done: retries at two layers multiply, and an unknown outcome must not be repeated. */
const isSettled = (error: unknown) =>
  error instanceof DatabaseError ||
  error instanceof AmbiguousOutcomeError ||
  error instanceof CircuitOpenError ||
  error instanceof DeadlineExceededError

/** fetch throws a TypeError as well when it could not connect: that one has a cause. */
const isMistake = (error: unknown) =>
  (error instanceof TypeError && error.cause === undefined) || error instanceof RangeError || error instanceof ReferenceError

async function inTime<Answer>(name: string, operation: Operation<Answer>, forMs: number): Promise<Answer> {
  const attempt = new AbortController()
  const { promise: tooLong, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const why = new DOMException(`${name}: no answer within ${forMs} ms`, 'TimeoutError')
    attempt.abort(why)
    reject(why)
  }, forMs)
  try {
    return await Promise.race([operation({ signal: attempt.signal }), tooLong])
  } finally {
    clearTimeout(timer)
  }
}
