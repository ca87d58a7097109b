// The gate in front of every API call: first the circuit breaker, then the shared budget; after the call, what came of it goes to both.
// While the breaker is open nothing waits for budget. Without the state table the instance goes on with a budget of its own.

import type { Clock, Random } from '../clock.ts'
import { GeckoApiError } from '../errors.ts'
import type { Log } from '../log.ts'
import { stateKeys } from '../names.ts'
import type { Admission, Outcome } from '../resilience/circuit-breaker.ts'
import { rateLimited, takeCall, type ApiBudget, type BudgetLimits } from '../state/api-budget.ts'
import type { Breaker } from '../state/breaker.ts'
import { updateItem, type Decision, type StateTable } from '../state/state-table.ts'

export type CallOutcome =
  /** Any answer, refusals included: a sign of life. */
  | { readonly kind: 'answered' }
  | { readonly kind: 'rate-limited'; readonly retryAfterMs: number }
  | { readonly kind: 'unavailable' }
  /** Given up by us, or an answer that makes no sense: says nothing about the API's availability. */
  | { readonly kind: 'inconclusive' }

/** Leave for one call; goes back with its outcome. */
export type Pass = { readonly admission: Admission }

export type CallBounds = { readonly deadlineAtMs?: number | undefined; readonly signal?: AbortSignal | undefined }

export type GeckoGate = {
  /**
   * Waits for the call's turn, if that comes before the deadline. `operation` is for the message.
   * @throws GeckoApiError `not-sent` when the breaker is open, or the budget's next call comes too late; the signal's reason when it aborts
   */
  admit(operation: string, bounds?: CallBounds): Promise<Pass>
  /** Never throws, so that it can't replace the call's own error. */
  record(pass: Pass, outcome: CallOutcome): Promise<void>
}

export function createGeckoGate(options: {
  table: StateTable
  breaker: Pick<Breaker, 'admit' | 'record'>
  limits: BudgetLimits
  clock: Clock
  random: Random
  log: Log
}): GeckoGate {
  const { table, breaker, limits, clock, random, log } = options
  /** As last seen in the table; this instance's own while the table is away. */
  let budget: ApiBudget | undefined
  let isShared = true

  async function change<Result>(decide: (data: ApiBudget | undefined) => Decision<ApiBudget, Result>): Promise<Result> {
    let seen: ApiBudget | undefined
    const remember = (data: ApiBudget | undefined) => {
      const decision = decide(data)
      seen = decision.data ?? data
      return decision
    }
    try {
      const result = await updateItem(table, stateKeys.geckoBudget, remember, { clock, random })
      if (!isShared) log.info({ event: 'gecko.budget_shared' })
      isShared = true
      budget = seen
      return result
    } catch (error) {
      if (isShared)
        log.warn({ event: 'gecko.budget_unshared', meaning: 'the state table is away; this instance keeps a budget of its own', error })
      isShared = false
      const { result } = remember(budget)
      budget = seen
      return result
    }
  }

  async function pastBreaker(operation: string): Promise<Admission> {
    // Nothing else looks after the API: whoever comes first when a probe is due is the probe.
    const admission = await breaker.admit({ mayProbe: true })
    if (admission.verdict !== 'reject') return admission
    throw notSent(operation, 'the circuit breaker of the API is open', admission.retryAfterMs)
  }

  async function turn(operation: string, { deadlineAtMs = Infinity, signal }: CallBounds): Promise<'taken' | 'waited'> {
    const nowMs = clock.nowMs()
    const verdict = await change((data) => takeCall(data, { nowMs, limits }))
    if (verdict.verdict === 'go') return 'taken'
    if (verdict.verdict === 'exhausted') {
      const until = new Date(verdict.untilMs).toISOString()
      throw notSent(
        operation,
        `the ${limits.requestsPerMonth} calls of this month (gecko.requestsPerMonth) are used up until ${until}`,
        verdict.untilMs - nowMs,
      )
    }
    if (nowMs + verdict.forMs >= deadlineAtMs) {
      const needed = `the budget's next call is in ${seconds(verdict.forMs)} s, the deadline in ${seconds(Math.max(0, deadlineAtMs - nowMs))} s`
      throw notSent(
        operation,
        `${needed} (gecko.requestsPerMinute ${limits.requestsPerMinute}; less for a while after a 429)`,
        verdict.forMs,
      )
    }
    await clock.sleep(verdict.forMs, signal)
    signal?.throwIfAborted()
    return 'waited'
  }

  async function record({ admission }: Pass, outcome: CallOutcome): Promise<void> {
    try {
      if (outcome.kind === 'rate-limited') {
        const { retryAfterMs } = outcome
        const nowMs = clock.nowMs()
        const { perMinute } = await change((data) => rateLimited(data, { nowMs, limits, retryAfterMs }))
        log.warn({ event: 'gecko.rate_limited', blockedForMs: retryAfterMs, perMinute })
      }
      await breaker.record(admission, breakerOutcome(outcome), outcome.kind)
    } catch (error) {
      log.error({ event: 'gecko.outcome_unrecorded', outcome: outcome.kind, error })
    }
  }

  return {
    async admit(operation, bounds = {}) {
      bounds.signal?.throwIfAborted()
      let admission = await pastBreaker(operation)
      try {
        while ((await turn(operation, bounds)) === 'waited') {
          // It may have opened meanwhile. A probe keeps its lease: asking again would be refused by it.
          if (admission.verdict === 'pass') admission = await pastBreaker(operation)
        }
        return { admission }
      } catch (error) {
        await record({ admission }, { kind: 'inconclusive' })
        throw error
      }
    },
    record,
  }
}

function breakerOutcome(outcome: CallOutcome): Outcome {
  switch (outcome.kind) {
    case 'answered':
    case 'rate-limited':
      return 'success'
    case 'unavailable':
      return 'failure'
    case 'inconclusive':
      return 'neutral'
    default:
      return outcome satisfies never
  }
}

const seconds = (ms: number) => (Math.ceil(ms / 100) / 10).toString()

function notSent(operation: string, why: string, retryAfterMs: number): GeckoApiError {
  return new GeckoApiError(`${operation} was not sent: ${why}; ask again in ${seconds(retryAfterMs)} s`, {
    failure: 'not-sent',
    retryAfterMs,
  })
}
