// How everything stands, made of the state table's items. Pure.

import { parseSettings, type Settings } from '../shared/config.ts'
import { type ListedAlert, listAlerts, silenceOf } from '../shared/health/alert/commands.ts'
import type { AlertState } from '../shared/health/alert/state.ts'
import { budgetLeft, upShare } from '../shared/health/checks/client.ts'
import type { History } from '../shared/health/history.ts'
import { type Availability, type Memory, recentOf } from '../shared/health/memory/memory.ts'
import { type MonthlyCost, monthlyCost } from '../shared/monthly-cost.ts'
import { collectorNames, stateKeys } from '../shared/names.ts'
import type { BreakerState } from '../shared/resilience/circuit-breaker.ts'
import { type ApiBudget, takeCall } from '../shared/state/api-budget.ts'
import type { CollectorState } from '../shared/state/claim.ts'
import type { StateItem } from '../shared/state/state-table.ts'
import { isFiring, shownAlert, shownSilence } from './alerts-command.ts'
import { type ShownCircuit, shownCircuit } from './breaker-command.ts'
import type { SourceName } from './runtime.ts'

export type CollectorStatus = {
  readonly name: string
  readonly enabled: boolean
  readonly everyMinutes: number
  /** Above 1: stretched, because writers meet each other's locks. */
  readonly intervalFactor: number
  readonly lastSuccess: string | null
  readonly lastOutcome: string | null
  readonly nextDue: string | null
  readonly isRunning: boolean
  /** Consecutive runs in which fetching or parsing failed. */
  readonly failures: number
  readonly cooldownUntil: string | null
  /** How old the newest thing is that it has seen; null where it keeps no cursor. */
  readonly cursorAgeS: number | null
}

export type Stretch = { readonly availability: number | null; readonly knownMinutes: number }
export type Stretches = Readonly<Record<'hour' | 'day' | 'week' | 'month', Stretch>>

export type Status = {
  readonly system: string
  /** `live`, `simulator`, `replay`, or `aws`. */
  readonly source: SourceName | 'aws'
  readonly at: string
  readonly health: {
    /** Of what fires; `unknown` when nobody has looked lately. */
    readonly status: 'healthy' | 'degraded' | 'critical' | 'unknown'
    readonly lookedAt: string | null
  }
  readonly collectors: readonly CollectorStatus[]
  /** Those that ever met a failure. */
  readonly circuits: readonly ShownCircuit[]
  /** Batches; null when nobody knows. */
  readonly parked: number | null
  readonly api: {
    /** The rate now; below the limit after a 429. */
    readonly perMinute: number
    readonly limitPerMinute: number
    /** A call that is made now is sent at once. */
    readonly isReady: boolean
    readonly readyAt: string | null
    readonly callsThisMonth: number
    /** 0: no limit. */
    readonly limitPerMonth: number
  }
  readonly alerts: readonly ReturnType<typeof shownAlert>[]
  readonly silence: ReturnType<typeof shownSilence> | null
  /** As the health check remembers it. */
  readonly availability: Stretches
  /** Of the error budget of 30 days, 0..1. */
  readonly budgetLeft: number | null
  /** From the database; null without one, or when it does not answer. */
  readonly history: { readonly availability: Stretches; readonly budgetLeft: number | null; readonly incidents: number } | null
  readonly historyProblem: string | null
  /** On AWS. */
  readonly cost: MonthlyCost
  readonly settings: readonly { readonly name: string; readonly value: unknown; readonly default: unknown }[]
}

export const dataOf = (items: readonly StateItem[], key: string) => items.find((item) => item.key === key)?.data
const isoOf = (atMs: number | null | undefined) => (atMs === null || atMs === undefined ? null : new Date(atMs).toISOString())

export function statusOf(from: {
  settings: Settings
  source: Status['source']
  items: readonly StateItem[]
  parked: number | null
  nowMs: number
}): Status {
  const { settings, source, items, parked, nowMs } = from
  const memory = dataOf(items, stateKeys.health) as Memory | undefined
  const alertState = dataOf(items, stateKeys.alerts) as AlertState | undefined
  const { availability } = recentOf(memory, nowMs)
  const firing = listAlerts(alertState).filter(isFiring)
  const silence = silenceOf(alertState, nowMs)
  return {
    system: `tokay-${settings.stage}`,
    source,
    at: new Date(nowMs).toISOString(),
    health: healthOf(memory, firing, { settings, nowMs }),
    collectors: collectorNames.map((name) =>
      collectorStatus(name, dataOf(items, stateKeys.collector(name)) as CollectorState | undefined, settings, nowMs),
    ),
    circuits: items
      .filter(({ key }) => key.startsWith('breaker:'))
      .map(({ key, data }) => shownCircuit(key.slice('breaker:'.length), data as BreakerState, nowMs)),
    parked,
    api: apiStatus(dataOf(items, stateKeys.geckoBudget) as ApiBudget | undefined, settings, nowMs),
    alerts: firing.map(shownAlert),
    silence: silence && shownSilence(silence),
    ...availabilityOf(availability, settings),
    history: null,
    historyProblem: null,
    cost: monthlyCost(settings),
    settings: settingsThatDiffer(settings),
  }
}

/** Three ticks without a look: nobody looks any more, and what fired then says nothing about now. */
const staleAfterTicks = 3

function healthOf(
  memory: Memory | undefined,
  firing: readonly ListedAlert[],
  { settings, nowMs }: { settings: Settings; nowMs: number },
): Status['health'] {
  const lookedAtMs = memory?.lookedAtMs ?? null
  const isStale = lookedAtMs === null || nowMs - lookedAtMs > staleAfterTicks * settings.health.everyMinutes * 60_000
  const worst = firing.some(({ severity }) => severity === 'critical') ? 'critical' : firing.length > 0 ? 'degraded' : 'healthy'
  return { status: isStale ? 'unknown' : worst, lookedAt: isoOf(lookedAtMs) }
}

function collectorStatus(
  name: (typeof collectorNames)[number],
  state: CollectorState | undefined,
  { collectors }: Settings,
  nowMs: number,
): CollectorStatus {
  const newestAtMs = newestIn(state?.cursor)
  const cooldownUntilMs = state?.cooldownUntilMs ?? null
  return {
    name,
    enabled: collectors[name].enabled,
    everyMinutes: collectors[name].everyMinutes,
    intervalFactor: state?.intervalFactor ?? 1,
    lastSuccess: isoOf(state?.lastSuccessAtMs),
    lastOutcome: state?.lastOutcome ?? null,
    nextDue: isoOf(state?.nextDueAtMs || null),
    isRunning: (state?.lease?.untilMs ?? 0) > nowMs,
    failures: state?.fetchFailures ?? 0,
    cooldownUntil: cooldownUntilMs !== null && cooldownUntilMs > nowMs ? isoOf(cooldownUntilMs) : null,
    cursorAgeS: newestAtMs === null ? null : Math.max(0, Math.round((nowMs - newestAtMs) / 1_000)),
  }
}

/** Cursors are the collectors' own; where one says how far it has come, it calls that `newestAtMs`, stream by stream. */
function newestIn(cursor: unknown): number | null {
  const streams: readonly unknown[] = Object.values((cursor ?? {}) as object)
  const times = streams
    .map((stream) => (stream as { newestAtMs?: unknown } | null)?.newestAtMs)
    .filter((atMs): atMs is number => typeof atMs === 'number' && atMs > 0)
  return times.length > 0 ? Math.max(...times) : null
}

/** By asking for a call that is never made: nothing is stored. */
function apiStatus(budget: ApiBudget | undefined, { gecko }: Settings, nowMs: number): Status['api'] {
  const { data, result } = takeCall(budget, { nowMs, limits: gecko })
  const waitMs = result.verdict === 'wait' ? result.forMs : 0
  const month = new Date(nowMs).toISOString().slice(0, 7)
  return {
    perMinute: data?.perMinute ?? budget?.perMinute ?? gecko.requestsPerMinute,
    limitPerMinute: gecko.requestsPerMinute,
    isReady: result.verdict === 'go',
    readyAt: result.verdict === 'exhausted' ? isoOf(result.untilMs) : result.verdict === 'wait' ? isoOf(nowMs + waitMs) : null,
    callsThisMonth: budget?.month === month ? budget.monthCalls : 0,
    limitPerMonth: gecko.requestsPerMonth,
  }
}

export function availabilityOf(known: History['availability'], { health }: Settings): Pick<Status, 'availability' | 'budgetLeft'> {
  const stretch = (of: Availability): Stretch => ({ availability: upShare(of), knownMinutes: of.knownMinutes })
  return {
    availability: { hour: stretch(known.hour), day: stretch(known.day), week: stretch(known.week), month: stretch(known.month) },
    budgetLeft: budgetLeft(known.month, 1 - health.targetPercent / 100),
  }
}

/** Leaves, by their names; lists as a whole. */
function settingsThatDiffer(settings: Settings): Status['settings'] {
  const usual = leavesOf(parseSettings({}))
  return [...leavesOf(settings)].flatMap(([name, value]) => {
    const before = usual.get(name)
    return JSON.stringify(before) === JSON.stringify(value) ? [] : [{ name, value, default: before ?? null }]
  })
}

function leavesOf(value: unknown, name = ''): Map<string, unknown> {
  const isBranch = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isBranch) return new Map([[name, value]])
  return new Map(Object.entries(value).flatMap(([key, part]) => [...leavesOf(part, name ? `${name}.${key}` : key)]))
}
