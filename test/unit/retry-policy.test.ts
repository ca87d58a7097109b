import { describe, expect, it } from 'vitest'
import { canRetry, fullRetryBudget, refundSuccess, spendRetry } from '../../shared/resilience/retry-budget.ts'
import { decideRetry, type RetryDecision, type RetryRule } from '../../shared/resilience/retry-policy.ts'

const failed = (fields: Partial<Parameters<typeof decideRetry>[0]>): RetryDecision =>
  decideRetry({
    rule: 'transient',
    attempt: 1,
    remainingMs: 60_000,
    attemptForMs: 10_000,
    rules: { attempts: 3, baseMs: 500, capMs: 5_000 },
    budget: fullRetryBudget,
    random: () => 0.5,
    ...fields,
  })

/** Waits after each attempt until the policy stops, and why it stopped. */
function course(rule: RetryRule, random: number) {
  const waits: number[] = []
  for (let attempt = 1; ; attempt++) {
    const decision = failed({ rule, attempt, random: () => random })
    if (!decision.retry) return [...waits, decision.why]
    waits.push(Math.round(decision.afterMs))
  }
}

describe('retry policy', () => {
  it.each([
    ['transient', 0.999_999, [500, 1000, 'attempts']],
    ['transient', 0, [0, 0, 'attempts']],
    ['contention', 0, [20, 20, 20, 20, 'attempts']],
    ['contention', 0.999_999, [80, 140, 260, 500, 'attempts']],
    ['lock', 0.999_999, [500, 'attempts']],
    ['once', 0.999_999, [500, 'attempts']],
    ['never', 0.999_999, ['permanent']],
  ] as const)('a failure of rule %s, random %d, waits and ends as %j', (rule, random, expected) => {
    expect(course(rule, random)).toEqual(expected)
  })

  it('with one attempt allowed only contention is tried again', () => {
    const rules = { attempts: 1, baseMs: 500, capMs: 5_000 }
    const retried = (['transient', 'contention', 'lock', 'once', 'never'] as const).filter((rule) => failed({ rule, rules }).retry)
    expect(retried).toEqual(['contention'])
  })

  it('an attempt must leave 5 s to park: wait, attempt and reserve fit exactly, a millisecond less does not', () => {
    expect(failed({ remainingMs: 250 + 10_000 + 5_000 })).toEqual({ retry: true, afterMs: 250 })
    expect(failed({ remainingMs: 250 + 10_000 + 5_000 - 1 })).toEqual({ retry: false, why: 'deadline' })
  })

  it('another reserve than 5 s can be asked for', () => {
    expect(failed({ remainingMs: 250 + 10_000, reserveMs: 0 })).toEqual({ retry: true, afterMs: 250 })
    expect(failed({ remainingMs: 40_000, reserveMs: 30_000 })).toEqual({ retry: false, why: 'deadline' })
  })

  it('a spent budget refuses a retry that attempts and time would allow', () => {
    expect(failed({ budget: { tokens: 0.9 } })).toEqual({ retry: false, why: 'budget' })
    expect(failed({ budget: { tokens: 1 } })).toEqual({ retry: true, afterMs: 250 })
  })

  it('says permanent rather than out of time, when both hold', () => {
    expect(failed({ rule: 'never', remainingMs: 0, budget: { tokens: 0 } })).toEqual({ retry: false, why: 'permanent' })
  })
})

describe('retry budget', () => {
  it('ten retries empty a full budget', () => {
    let budget = fullRetryBudget
    let retries = 0
    while (canRetry(budget)) {
      budget = spendRetry(budget)
      retries++
    }
    expect(retries).toBe(10)
  })

  it('five successes pay for one retry, and no success fills it above the start', () => {
    let budget = { tokens: 0 }
    for (let i = 0; i < 4; i++) budget = refundSuccess(budget)
    expect(canRetry(budget)).toBe(false)
    budget = refundSuccess(budget)
    expect(canRetry(budget)).toBe(true)
    for (let i = 0; i < 1000; i++) budget = refundSuccess(budget)
    expect(budget).toEqual(fullRetryBudget)
  })

  it('a full one stays the same, without a new object for each success', () => {
    expect(refundSuccess(fullRetryBudget)).toBe(fullRetryBudget)
  })

  it('while every other call fails, retries stay at a fifth of the successes, beyond the first ten', () => {
    let budget = fullRetryBudget
    let retries = 0
    for (let call = 0; call < 10_000; call++) {
      // every other call fails once and would like a retry
      if (call % 2 === 0) budget = refundSuccess(budget)
      else if (canRetry(budget)) {
        budget = spendRetry(budget)
        retries++
      }
    }
    expect(retries).toBeLessThanOrEqual(10 + 5_000 * 0.2)
    expect(retries).toBeGreaterThan(900)
  })
})
