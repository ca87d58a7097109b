// One budget of API calls for all collectors and hosts: a token bucket in one item of the state table. Pure; time is an argument.
//
//   takeCall     takes a token, or says how long until there is one; raises the rate by 1 a minute for each clean minute
//   rateLimited  after a 429: empties the bucket, blocks until the API's own time is up, halves the rate (floor 1 a minute)
//
// However calls are spread, no 60 s see more than `perMinute` of them: the burst is paid for by a slower refill.

import type { Decision } from './state-table.ts'

/** As in the settings under `gecko`. */
export type BudgetLimits = {
  /** The highest rate that is ever used. */
  readonly requestsPerMinute: number
  /** In a calendar month (UTC). 0: no limit. */
  readonly requestsPerMonth: number
}

export type ApiBudget = {
  /** The rate that is used now; below the limit after a 429. */
  readonly perMinute: number
  /** The limit at that time: when the setting changes, the rate starts from it instead of creeping there. */
  readonly limitPerMinute: number
  readonly tokens: number
  /** The latest instant that tokens were given for: no instant is paid for twice. */
  readonly refilledAtMs: number
  readonly blockedUntilMs: number
  /** No 429 since. */
  readonly cleanSinceMs: number
  /** UTC, such as "2026-11". */
  readonly month: string
  readonly monthCalls: number
}

export type BudgetVerdict =
  | { readonly verdict: 'go' }
  /** Ask again then; others may have taken the token. */
  | { readonly verdict: 'wait'; readonly forMs: number }
  /** The month's calls are used up. */
  | { readonly verdict: 'exhausted'; readonly untilMs: number }

const minuteMs = 60_000
/** Hosts agree to milliseconds. A last use this far ahead of now means that the clock was set back. */
const clockSetBackMs = minuteMs
/** Fractions of tokens add up with rounding errors; a wait must be right to the millisecond all the same. */
const almost = 1e-6

/** A few calls at once, at most a quarter of a minute's. */
const burstOf = (perMinute: number) => Math.min(3, Math.max(1, Math.floor(perMinute / 4)))
/** So that a full bucket and a minute's refill are `perMinute` together. */
const refillPerMs = (perMinute: number) => (perMinute - burstOf(perMinute) + 1) / minuteMs

/** Takes one call. Unless the verdict is `go`, nothing is stored, but for a clock that was set back: time counts from there. */
export function takeCall(data: ApiBudget | undefined, at: { nowMs: number; limits: BudgetLimits }): Decision<ApiBudget, BudgetVerdict> {
  const { nowMs, limits } = at
  const budget = upToDate(data, nowMs, limits)
  const unused = data && sinceClockWasSetBack(data, nowMs) !== data ? budget : undefined
  if (limits.requestsPerMonth > 0 && budget.monthCalls >= limits.requestsPerMonth) {
    return { data: unused, result: { verdict: 'exhausted', untilMs: endOf(budget.month) } }
  }
  if (nowMs < budget.blockedUntilMs) return { data: unused, result: { verdict: 'wait', forMs: budget.blockedUntilMs - nowMs } }
  if (budget.tokens < 1 - almost) {
    // The next refill counts from `refilledAtMs`, which is ahead of a clock that is a little behind.
    const missingMs = (1 - budget.tokens) / refillPerMs(budget.perMinute) + budget.refilledAtMs - nowMs
    return { data: unused, result: { verdict: 'wait', forMs: Math.ceil(missingMs - almost) } }
  }
  return { data: { ...budget, tokens: Math.max(0, budget.tokens - 1), monthCalls: budget.monthCalls + 1 }, result: { verdict: 'go' } }
}

/** After a 429. Calls that were under way together are one event: while blocked, the block may grow but the rate is not halved again. */
export function rateLimited(
  data: ApiBudget | undefined,
  at: { nowMs: number; limits: BudgetLimits; retryAfterMs: number },
): Decision<ApiBudget, { readonly perMinute: number }> {
  const budget = upToDate(data, at.nowMs, at.limits)
  const blockedUntilMs = Math.max(budget.blockedUntilMs, at.nowMs + at.retryAfterMs)
  const perMinute = at.nowMs < budget.blockedUntilMs ? budget.perMinute : Math.max(1, Math.floor(budget.perMinute / 2))
  return { data: { ...budget, perMinute, tokens: 0, blockedUntilMs, cleanSinceMs: blockedUntilMs }, result: { perMinute } }
}

/** The budget as it is at `nowMs`: refilled, raised for clean minutes, in the right month. Time that runs backwards gives nothing. */
function upToDate(data: ApiBudget | undefined, nowMs: number, limits: BudgetLimits): ApiBudget {
  const known = data ? sinceClockWasSetBack(data, nowMs) : fresh(nowMs, limits)
  const budget =
    known.limitPerMinute === limits.requestsPerMinute
      ? known
      : { ...known, perMinute: limits.requestsPerMinute, limitPerMinute: limits.requestsPerMinute }
  const elapsedMs = Math.max(0, nowMs - budget.refilledAtMs)
  const cleanMinutes = Math.max(0, Math.floor((nowMs - budget.cleanSinceMs) / minuteMs))
  const month = monthOf(nowMs)
  return {
    ...budget,
    tokens: Math.min(burstOf(budget.perMinute), budget.tokens + elapsedMs * refillPerMs(budget.perMinute)),
    refilledAtMs: Math.max(nowMs, budget.refilledAtMs),
    perMinute: Math.min(limits.requestsPerMinute, budget.perMinute + cleanMinutes),
    cleanSinceMs: budget.cleanSinceMs + cleanMinutes * minuteMs,
    ...(month > budget.month ? { month, monthCalls: 0 } : {}),
  }
}

function fresh(nowMs: number, limits: BudgetLimits): ApiBudget {
  return {
    perMinute: limits.requestsPerMinute,
    limitPerMinute: limits.requestsPerMinute,
    tokens: burstOf(limits.requestsPerMinute),
    refilledAtMs: nowMs,
    blockedUntilMs: 0,
    cleanSinceMs: nowMs,
    month: monthOf(nowMs),
    monthCalls: 0,
  }
}

/** Everything moves with the clock, or collecting would stand still until the old time comes round again. A block keeps what is left of it. */
function sinceClockWasSetBack(budget: ApiBudget, nowMs: number): ApiBudget {
  const setBackMs = budget.refilledAtMs - nowMs
  if (setBackMs <= clockSetBackMs) return budget
  return {
    ...budget,
    refilledAtMs: nowMs,
    blockedUntilMs: budget.blockedUntilMs - setBackMs,
    cleanSinceMs: budget.cleanSinceMs - setBackMs,
    month: monthOf(nowMs),
  }
}

const monthOf = (atMs: number) => new Date(atMs).toISOString().slice(0, 7)

function endOf(month: string): number {
  const [year, number] = month.split('-').map(Number)
  return Date.UTC(year ?? 0, number ?? 0, 1)
}
