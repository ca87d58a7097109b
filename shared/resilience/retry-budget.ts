// A token bucket that keeps retries a small share of all calls: each retry costs a token, each success gives a fifth of one back.
// Small on purpose. Every Lambda instance has a bucket of its own and there are most instances exactly when there is trouble,
// so the 500 tokens that are usual for a long-lived client would bound nothing.

export type RetryBudget = { readonly tokens: number }

const maxTokens = 10
/** In the long run at most one retry for five successes. Finagle and Google's SRE book use 0.1 to 0.2. */
const tokensPerSuccess = 0.2

export const fullRetryBudget: RetryBudget = { tokens: maxTokens }

export function canRetry(budget: RetryBudget): boolean {
  return budget.tokens >= 1
}

/** After a retry was started. */
export function spendRetry(budget: RetryBudget): RetryBudget {
  return { tokens: Math.max(0, budget.tokens - 1) }
}

/** After an attempt succeeded, the first or a later one. */
export function refundSuccess(budget: RetryBudget): RetryBudget {
  return budget.tokens >= maxTokens ? budget : { tokens: Math.min(maxTokens, budget.tokens + tokensPerSuccess) }
}
