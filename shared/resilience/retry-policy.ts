// Whether a failed attempt is made again, and when. The one place that decides it: retries at two layers multiply.
// What a failure is stands in classify-failure; here only its retry rule matters.
//
//   transient   the server or the way to it is in trouble: few attempts, slow, so that trouble isn't made worse
//   contention  40001, 40P01: another transaction won; quick and a little more often, the conflict is over in milliseconds
//   lock        55P03: the wait itself took lock_timeout already, so one more try
//   once        a second try has what the first lacked, such as a fresh plan or connection; a third has nothing new
//   never       settings, privileges, bad rows: the same call gives the same answer

import { backoffMs } from './backoff.ts'
import type { BackoffRules } from './backoff.ts'
import { canRetry } from './retry-budget.ts'
import type { RetryBudget } from './retry-budget.ts'

export type RetryRule = 'transient' | 'contention' | 'lock' | 'once' | 'never'

/** The settings `retry`: attempts of one operation, the first included, and their back-off. */
export type RetryRules = BackoffRules & { readonly attempts: number }

/** `permanent`: the rule is never. `attempts`: all are used. `deadline`: an attempt would not leave time to park. `budget`: too many retries lately. */
export type RetryRefusal = 'permanent' | 'attempts' | 'deadline' | 'budget'

export type RetryDecision = { readonly retry: true; readonly afterMs: number } | { readonly retry: false; readonly why: RetryRefusal }

/** What an invocation keeps free to park a batch that could not be written: two SDK requests of 1.5 s, and slack. */
export const reserveToParkMs = 5_000

const contentionAttempts = 5
/** Waits of 20 ms to 80, 140, 260, 500 ms. The floor lets the winner commit. */
const contentionFloorMs = 20
const contentionBackoff: BackoffRules = { baseMs: 60, capMs: 480 }

/**
 * Decides after attempt number `attempt` (from 1, of any kind) has failed with a failure of `rule`.
 * When it says retry, the caller takes one token from the budget (`spendRetry`).
 * @param failed.remainingMs time to the deadline
 * @param failed.attemptForMs what the next attempt may take; the time left must hold the wait, this and `reserveMs`
 */
export function decideRetry(failed: {
  rule: RetryRule
  attempt: number
  remainingMs: number
  attemptForMs: number
  reserveMs?: number
  rules: RetryRules
  budget: RetryBudget
  random: () => number
}): RetryDecision {
  const { rule, attempt, remainingMs, attemptForMs, reserveMs = reserveToParkMs, rules, budget, random } = failed
  const attempts = attemptsOf(rule, rules)
  if (attempts === 0) return { retry: false, why: 'permanent' }
  if (attempt >= attempts) return { retry: false, why: 'attempts' }
  const afterMs =
    rule === 'contention' ? contentionFloorMs + backoffMs(attempt, contentionBackoff, random) : backoffMs(attempt, rules, random)
  if (afterMs + attemptForMs + reserveMs > remainingMs) return { retry: false, why: 'deadline' }
  if (!canRetry(budget)) return { retry: false, why: 'budget' }
  return { retry: true, afterMs }
}

/** Attempts in all, the first included. The setting bounds every rule but contention: attempts 1 means no retry of slow failures. */
function attemptsOf(rule: RetryRule, rules: RetryRules): number {
  switch (rule) {
    case 'transient':
      return rules.attempts
    case 'contention':
      return contentionAttempts
    case 'lock':
    case 'once':
      return Math.min(2, rules.attempts)
    case 'never':
      return 0
    default:
      return rule satisfies never
  }
}
