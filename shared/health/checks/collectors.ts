// Whether data still comes in: each collector's age, its pauses, and how much of the API is left.

import { type CollectorName, collectorNames } from '../../names.ts'
import type { ApiBudget } from '../../state/api-budget.ts'
import type { CollectorState } from '../../state/claim.ts'
import { threeOfFive } from '../check.ts'
import type { Observation } from '../observation.ts'
import { counted, forShare, forTime, sinceInWords } from './figures.ts'
import { above, below, eachOf, info, type Judged, type Judges, type Look, ok, skipped } from './judge.ts'

const minuteMs = 60_000

/** Without a queue it is a health check alone: nobody collects. */
const enabled = ({ observation, settings }: Look): readonly CollectorName[] =>
  observation.parked === null ? [] : collectorNames.filter((name) => settings.collectors[name].enabled)

const freshness = ({ collectors }: Observation, look: Look): readonly Judged[] =>
  enabled(look).map((name) => ({ subject: name, ...freshnessOf(name, collectors[name], look) }))

/** In intervals as they are now: the schedule may have stretched them. */
function freshnessOf(name: CollectorName, state: CollectorState | undefined, { observation, recent, settings }: Look): Judged {
  const intervalMs = settings.collectors[name].everyMinutes * minuteMs * Math.max(1, Math.round(state?.intervalFactor ?? 1))
  const limits = { warning: (2 * intervalMs) / 1_000, critical: (5 * intervalMs) / 1_000 }
  const lastSuccessAtMs = state?.lastSuccessAtMs ?? null
  // without any success, as long as we have watched: a schedule that never fires must not stay unseen
  const ageMs = lastSuccessAtMs === null ? recent.availability.day.knownMinutes * minuteMs : Math.max(0, observation.atMs - lastSuccessAtMs)
  const measured = above(ageMs / 1_000, limits)
  if (lastSuccessAtMs === null && measured.severity === 'ok')
    return skipped(`Collector ${name} has not had a complete run yet.`, `Nothing: it runs every ${forTime(intervalMs)}.`, {
      unit: 's',
      limits,
    })
  return {
    ...measured,
    unit: 's',
    hold: threeOfFive,
    message:
      lastSuccessAtMs === null
        ? `Collector ${name} has not had a complete run in ${forTime(ageMs)}.`
        : `Collector ${name} had its last complete run ${forTime(ageMs)} ago; it runs every ${forTime(intervalMs)}.`,
    action: `Look at its log and its schedule; tokay collect ${name} --dry-run shows what it meets.`,
    ...(state?.lastOutcome ? { evidence: [`its last run was ${state.lastOutcome}`] } : {}),
  }
}

const cooldown = ({ collectors, atMs }: Observation): Judged | readonly Judged[] =>
  eachOf(
    Object.entries(collectors).filter(([, state]) => (state.cooldownUntilMs ?? 0) > atMs),
    ([name, { fetchFailures, cooldownUntilMs }]) => ({
      severity: 'warning',
      subject: name,
      value: fetchFailures,
      unit: 'count',
      message: `Collector ${name} failed ${fetchFailures} times in a row to fetch or read its data; it pauses.`,
      action: 'Look at its last problem in the log; the API may refuse this address (then set GECKO_API_KEY) or have changed.',
      evidence: [`it is tried again from ${sinceInWords(cooldownUntilMs ?? atMs)} on`],
    }),
    'No collector pauses.',
  )

/** What is left of the API: of the month's calls, and of the rate that a 429 halves. */
const apiBudget = ({ budget, atMs }: Observation, { settings, observation }: Look): Judged | readonly Judged[] => {
  if (observation.parked === null) return []
  if (budget === undefined) return ok('No call of the API has been made yet.', { unit: '%' })
  const month = monthLeft(budget, settings.gecko.requestsPerMonth, atMs)
  const rate = Math.min(1, budget.perMinute / Math.max(1, budget.limitPerMinute))
  if (budget.blockedUntilMs > atMs) {
    return info(
      `The API limits us until ${sinceInWords(budget.blockedUntilMs)}; then ${counted(budget.perMinute, 'call')} a minute.`,
      'Nothing, if it is rare. Else lower gecko.requestsPerMinute, or use a key (GECKO_API_KEY).',
      { value: Math.round(100 * rate), unit: '%', isClear: false },
    )
  }
  const share = month === null ? rate : Math.min(rate, month)
  const isMonth = month !== null && month <= rate
  return {
    ...below(100 * share, { warning: 20, critical: 5 }),
    unit: '%',
    message: isMonth
      ? `${forShare(share)} of what the month still needs are left of ${settings.gecko.requestsPerMonth} calls.`
      : `${budget.perMinute} of ${counted(budget.limitPerMinute, 'call')} a minute are used, after the API's own limits.`,
    action: isMonth
      ? 'Let collectors run less often, take fewer networks, or get a larger plan.'
      : 'Lower gecko.requestsPerMinute, or use a key (GECKO_API_KEY).',
  }
}

/** What is left of the month's calls, as a share of what an even use would have left: 1 or more is on course. */
function monthLeft({ month, monthCalls }: ApiBudget, perMonth: number, atMs: number): number | null {
  if (perMonth <= 0) return null
  const [year = 0, number = 0] = month.split('-').map(Number)
  const [startMs, endMs] = [Date.UTC(year, number - 1, 1), Date.UTC(year, number, 1)]
  const timeLeft = Math.min(1, Math.max(0, (endMs - atMs) / (endMs - startMs)))
  const callsLeft = Math.max(0, 1 - monthCalls / perMonth)
  return timeLeft > 0 ? Math.min(1, callsLeft / timeLeft) : 1
}

export const collectorChecks: Judges<Observation> = {
  freshness,
  'collector-cooldown': cooldown,
  'api-budget': apiBudget,
}
