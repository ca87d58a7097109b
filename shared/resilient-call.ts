// The loop around everything that may fail for a while: the database's statements, and any operation of users' own code.
//
//   time left? --no--> DeadlineExceededError
//     | yes
//   admit (the breakers) --reject--> CircuitOpenError: nothing was sent
//     | pass or probe
//   attempt -> answer: recorded as success
//     | failure
//   classify -> record -> may it be tried again, in time? --yes--> back off -> time left?
//     | no
//   the failure itself goes up, untouched: whoever called knows what to do with it
//
// Each attempt is admitted and recorded for itself, so one exhausted operation can open the circuit. Contention heals by retrying: it counts
// against its stream once, when the retries are used up. A failed prober does not try again: its lease is spent.
// The healthy path waits for nothing but the attempt itself, and reads the clock once before it and once after.

import type { Clock, Random } from './clock.ts'
import type { ConnectionCounters } from './db/database.ts'
import { CircuitOpenError, DeadlineExceededError } from './errors.ts'
import type { Log } from './log.ts'
import type { Admission, Outcome, Transition } from './resilience/circuit-breaker.ts'
import type { Failure } from './resilience/classify-failure.ts'
import {
  createMetricsRing,
  newTally,
  type ClientCounts,
  type ClientMetrics,
  type ClientTally,
  type CountField,
} from './resilience/client-metrics.ts'
import { bucketOf } from './resilience/histogram.ts'
import { fullRetryBudget, refundSuccess, spendRetry } from './resilience/retry-budget.ts'
import { decideRetry, type RetryRules } from './resilience/retry-policy.ts'
import type { Awaitable, Breaker } from './state/breaker.ts'

export type ResilientCall = {
  /** When the caller's time is up. Each attempt ends `reserveMs` earlier, so that a batch can still be parked. */
  readonly deadlineAtMs: number
  /** While the circuit is open it may take the lease of the one probe. Default false. */
  readonly mayProbe?: boolean
  /** Goes through an open circuit, too. What it sees is still recorded. Default false. */
  readonly ignoreCircuit?: boolean
  /** Ends a back-off; no further attempt is made. */
  readonly signal?: AbortSignal
  /** Counts this call as well, such as one run's own. */
  readonly tally?: ClientTally
}

/** What a failure means here. `counts: 'database'` is the first breaker of the two. */
export type Judgement = Pick<Failure, 'retry' | 'counts' | 'signOfLife' | 'applied'> & { readonly class: string }

export type Attempted<Answer> = {
  readonly name: string
  readonly breaker: Breaker
  /** For contention, where it counts at all. */
  readonly streamBreaker?: Breaker | undefined
  /** Makes one attempt, in at most so long. */
  readonly attempt: (withinMs: number) => Promise<Answer>
  readonly judge: (error: unknown) => Judgement
  /** In place of the client's own. */
  readonly rules?: RetryRules
  /** The error to end with at once, whatever the rules say. */
  readonly isFinal?: (error: unknown) => Error | undefined
}

export interface ResilientCalls {
  /** Throws what the last attempt threw, CircuitOpenError (nothing was sent), DeadlineExceededError (`cause`: the last failure). */
  run<Answer>(call: ResilientCall, attempted: Attempted<Answer>): Promise<Answer>
  /** Since this was made. */
  counts(): ClientCounts
  metrics(): ClientMetrics
}

export function createResilientCalls(options: {
  rules: RetryRules
  /** Kept free before the deadline. */
  reserveMs: number
  /** With less than this left, no attempt starts. */
  leastAttemptMs: number
  /** A success that took longer counts as a failed attempt of the first breaker: its caller has it, but the next ones should not queue up. */
  slowMs?: number | undefined
  /** The log's event for each failed attempt, with what `told` says of it. */
  event: string
  told: (error: unknown) => Readonly<Record<string, unknown>>
  connections?: (() => ConnectionCounters) | undefined
  clock: Clock
  random: Random
  log: Log
}): ResilientCalls {
  const { rules, reserveMs, leastAttemptMs: leastMs, slowMs, event, told, connections, clock, random, log } = options
  const total = newTally()
  const ring = createMetricsRing()
  let budget = fullRetryBudget
  let connectionsBefore = { lost: 0, poolResets: 0 }

  function count(call: ResilientCall, nowMs: number, field: CountField, by = 1): void {
    total[field] += by
    ring.at(nowMs)[field] += by
    if (call.tally) call.tally[field] += by
  }

  /** The last attempt of a call, and the call. `tookMs` undefined: its time says nothing of how the other side answers. */
  function countSuccess({ tally }: ResilientCall, nowMs: number, tookMs: number | undefined): void {
    const bucket = tookMs === undefined || tookMs < 0 ? undefined : bucketOf(tookMs)
    succeedIn(total, bucket)
    succeedIn(ring.at(nowMs), bucket)
    if (tally) succeedIn(tally, bucket)
  }

  function countFailure(call: ResilientCall, nowMs: number, { class: reason, applied }: Judgement): void {
    for (const { failures } of [total, ring.at(nowMs), ...(call.tally ? [call.tally] : [])]) failures[reason] = (failures[reason] ?? 0) + 1
    count(call, nowMs, 'attempts')
    if (applied === 'refused') count(call, nowMs, 'rollbacks')
  }

  /**
   * The driver's own counters, as far as they have moved since anybody looked: each loss is counted once, by whoever sees it first.
   * Answers how many connections were ever made.
   */
  function countConnections(call: ResilientCall, nowMs: number): number | undefined {
    if (!connections) return undefined
    const { connected, lost, poolResets } = connections()
    const before = connectionsBefore
    connectionsBefore = { lost, poolResets }
    if (lost > before.lost) count(call, nowMs, 'reconnections', lost - before.lost)
    if (poolResets > before.poolResets) count(call, nowMs, 'poolResets', poolResets - before.poolResets)
    return connected
  }

  async function run<Answer>(call: ResilientCall, attempted: Attempted<Answer>): Promise<Answer> {
    const { name, attempt, judge, isFinal } = attempted
    let nowMs = clock.nowMs()
    let last: unknown
    try {
      for (let attempts = 1; ; attempts++) {
        // what an attempt that starts now may take
        let withinMs = call.deadlineAtMs - reserveMs - nowMs
        if (withinMs < leastMs) throw tooLate(name, last)
        const asked = admit(attempted, call, nowMs)
        const admitted = asked instanceof Promise ? await asked : asked
        if (admitted.kind === 'rejected') {
          // opened meanwhile, by others: the attempt that was made is what the caller has to know about
          if (last !== undefined) throw last
          count(call, nowMs, 'refused')
          throw new CircuitOpenError(admitted.scope, admitted.retryAfterMs)
        }
        if (asked instanceof Promise) {
          // it may have asked the state table
          nowMs = clock.nowMs()
          withinMs = call.deadlineAtMs - reserveMs - nowMs
          if (withinMs < leastMs) {
            await record(attempted, admitted, { database: 'neutral', stream: 'neutral' })
            throw tooLate(name, last)
          }
        }
        let failed: { readonly error: unknown }
        try {
          const connectedBefore = connections?.().connected
          const answer = await attempt(withinMs)
          const tookMs = clock.nowMs() - nowMs
          nowMs += tookMs
          // a connection that is made says more of the way there, and of a database that wakes, than of how it answers
          const hadToConnect = countConnections(call, nowMs) !== connectedBefore
          const isSlow = slowMs !== undefined && tookMs > slowMs && !hadToConnect
          if (isSlow) log.warn({ event: `${event.split('.')[0]}.attempt-slow`, name, tookMs })
          const database = isSlow ? 'failure' : 'success'
          const recorded = record(attempted, admitted, { database, stream: 'success', reason: isSlow ? 'slow' : undefined })
          if (recorded instanceof Promise) await recorded
          budget = refundSuccess(budget)
          countSuccess(call, nowMs, hadToConnect ? undefined : tookMs)
          return answer
        } catch (error) {
          failed = { error }
        }
        const { error } = failed
        const failure = judge(error)
        nowMs = clock.nowMs()
        countConnections(call, nowMs)
        countFailure(call, nowMs, failure)
        const final = isFinal?.(error)
        const decision = decideRetry({
          rule: failure.retry,
          attempt: attempts,
          remainingMs: call.deadlineAtMs - nowMs,
          attemptForMs: leastMs,
          reserveMs,
          rules: attempted.rules ?? rules,
          budget,
          random,
        })
        const mayAgain = decision.retry && final === undefined && !call.signal?.aborted && !isSpent(admitted, failure)
        const onStream = failure.counts === 'stream' && !mayAgain ? 'failure' : 'neutral'
        const opened = await record(attempted, admitted, { database: outcomeOf(failure), stream: onStream, reason: failure.class })
        const again = mayAgain && (!opened || call.ignoreCircuit === true)
        log.warn({ event, attempt: attempts, class: failure.class, applied: failure.applied, again, ...told(error) })
        if (final !== undefined) throw final
        if (!decision.retry && decision.why === 'deadline') throw tooLate(name, error)
        if (!again || !decision.retry) throw error
        last = error
        budget = spendRetry(budget)
        count(call, nowMs, 'retries')
        await clock.sleep(decision.afterMs, call.signal)
        nowMs = clock.nowMs()
        if (call.signal?.aborted) throw error
      }
    } catch (error) {
      count(call, nowMs, 'calls')
      throw error
    }
  }

  function tooLate(name: string, last: unknown): DeadlineExceededError {
    const before = last === undefined ? 'nothing was sent' : 'the last attempt failed'
    const kept = reserveMs === 0 ? '' : `, with ${reserveMs} ms kept to park the rows`
    return new DeadlineExceededError(
      `${name}: less than ${leastMs} ms were left for an attempt${kept}; ${before}`,
      last === undefined ? undefined : { cause: last },
    )
  }

  return {
    run,
    counts: () => ({ ...total, failures: { ...total.failures }, latency: { ...total.latency } }),
    metrics: () => ring.metrics(clock.nowMs()),
  }
}

function succeedIn(tally: ClientTally, bucket: number | undefined): void {
  tally.calls++
  tally.attempts++
  tally.succeeded++
  if (bucket !== undefined) tally.latency[bucket] = (tally.latency[bucket] ?? 0) + 1
}

/** What both breakers said. */
type Admitted = { readonly kind: 'admitted'; readonly ofDatabase: Admission; readonly ofStream: Admission | undefined }
type Rejected = { readonly kind: 'rejected'; readonly scope: string; readonly retryAfterMs: number }
type Breakers = { readonly breaker: Breaker; readonly streamBreaker?: Breaker | undefined }

/** Goes on at once with what is there, and waits only for a promise. */
const whenKnown = <Known, Next>(known: Awaitable<Known>, goOn: (known: Known) => Awaitable<Next>): Awaitable<Next> =>
  known instanceof Promise ? known.then(goOn) : goOn(known)

/** A locked table has no prober of its own: the next writer to it is the probe. */
function admit(
  { breaker, streamBreaker }: Breakers,
  { mayProbe = false, ignoreCircuit = false }: ResilientCall,
  nowMs: number,
): Awaitable<Admitted | Rejected> {
  if (!streamBreaker) return whenKnown(breaker.admit({ mayProbe, nowMs }), (ofDatabase) => ofBoth(ofDatabase, undefined))
  return whenKnown(streamBreaker.admit({ mayProbe: true, nowMs }), (ofStream) => {
    if (ofStream.verdict === 'reject' && !ignoreCircuit) return rejectedBy(streamBreaker, ofStream)
    return whenKnown(breaker.admit({ mayProbe, nowMs }), (ofDatabase) => ofBoth(ofDatabase, ofStream))
  })

  function ofBoth(ofDatabase: Admission, ofStream: Admission | undefined): Awaitable<Admitted | Rejected> {
    if (ofDatabase.verdict !== 'reject' || ignoreCircuit) return { kind: 'admitted', ofDatabase, ofStream }
    const rejected = rejectedBy(breaker, ofDatabase)
    // a lease that leads nowhere is given back
    return whenKnown(ofStream && streamBreaker?.record(ofStream, 'neutral'), () => rejected)
  }
}

const rejectedBy = ({ scope }: Breaker, { retryAfterMs }: Admission & { verdict: 'reject' }): Rejected => ({
  kind: 'rejected',
  scope,
  retryAfterMs,
})

/** True when this opened, or reopened, a circuit. */
function record(
  { breaker, streamBreaker }: Breakers,
  { ofDatabase, ofStream }: Admitted,
  seen: { database: Outcome; stream: Outcome; reason?: string | undefined },
): Awaitable<boolean> {
  const first = breaker.record(ofDatabase, seen.database, seen.reason)
  if (!streamBreaker || !ofStream) return whenKnown(first, hasOpened)
  return whenKnown(first, (one) =>
    whenKnown(streamBreaker.record(ofStream, seen.stream, seen.reason), (other) => hasOpened(one) || hasOpened(other)),
  )
}

/** Another attempt would need a lease that this failure has used up. */
const isSpent = ({ ofDatabase, ofStream }: Admitted, { counts }: Judgement) =>
  counts !== 'none' && (counts === 'stream' ? ofStream : ofDatabase)?.verdict === 'probe'

const hasOpened = ({ kind }: Transition) => kind === 'opened' || kind === 'reopened'

/** Every answer that is not about availability shows that the other side is there. */
function outcomeOf(failure: Judgement): Outcome {
  if (failure.counts === 'database') return 'failure'
  return failure.signOfLife ? 'success' : 'neutral'
}
