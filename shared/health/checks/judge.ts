// How a check is made: a named list of judges for each part of an observation. The name in the list is the check's id, so no id is given twice.

import type { Settings } from '../../config.ts'
import { atOnce, type Check, rankOf } from '../check.ts'
import type { Recent } from '../memory/memory.ts'
import type { Observation } from '../observation.ts'

export type Look = { readonly observation: Observation; readonly recent: Recent; readonly settings: Settings }

/** A check without what its list knows. `hold`: at once. `isClear`: when it is ok or info. */
export type Judged = Omit<Check, 'id' | 'hold' | 'isClear'> & Partial<Pick<Check, 'hold' | 'isClear'>>

/** Several results have a subject each. None: there is nothing to judge here, such as the collectors of an installation without any. */
export type Judge<Part> = (part: Part, look: Look) => Judged | readonly Judged[]
export type Judges<Part> = Readonly<Record<string, Judge<Part>>>

export function judgeAll<Part>(judges: Judges<Part>, part: Part, look: Look): readonly Check[] {
  return Object.entries(judges).flatMap(([id, judge]) => onePerSubject([judge(part, look)].flat()).map((judged) => named(id, judged)))
}

/** Two standbys may have one name: the worse stands for both. */
function onePerSubject(all: readonly Judged[]): readonly Judged[] {
  const kept = new Map<string | undefined, Judged>()
  for (const judged of all) {
    const known = kept.get(judged.subject)
    if (!known || rankOf(judged.severity) > rankOf(known.severity)) kept.set(judged.subject, judged)
  }
  return [...kept.values()]
}

/** For a part that was not seen: each of its checks says so. */
export function skipAll(judges: Judges<never>, why: Omit<Judged, 'severity' | 'value'>): readonly Check[] {
  return Object.keys(judges).map((id) => named(id, { severity: 'skipped', value: null, ...why }))
}

function named(id: string, judged: Judged): Check {
  const { action, evidence = [], ...rest } = judged
  // where nothing is wrong there is nothing to do
  const help = judged.severity === 'ok' ? {} : { ...(action ? { action } : {}), ...(evidence.length > 0 ? { evidence } : {}) }
  return { id, hold: atOnce, isClear: judged.severity === 'ok' || judged.severity === 'info', ...rest, ...help }
}

export const ok = (message: string, more: Partial<Judged> = {}): Judged => ({ severity: 'ok', value: null, message, ...more })
export const info = (message: string, action: string, more: Partial<Judged> = {}): Judged => ({
  severity: 'info',
  value: null,
  message,
  action,
  ...more,
})
export const skipped = (message: string, action: string, more: Partial<Judged> = {}): Judged => ({
  severity: 'skipped',
  value: null,
  message,
  action,
  ...more,
})

/** A row for each thing that was found, else one that says that there is none. */
export const eachOf = <Item>(items: readonly Item[], judge: (item: Item) => Judged, none: string): Judged | readonly Judged[] =>
  items.length > 0 ? items.map(judge) : ok(none, { value: 0, unit: 'count' })

export type Limits = { readonly warning?: number; readonly critical?: number }
type Measured = Pick<Check, 'value' | 'severity' | 'isClear' | 'limits'>

/** Below this share of the threshold it may be called over. */
const clearShare = 0.8

/** Too high is bad. At the limit itself it is still well. */
export function above(value: number, limits: Limits): Measured {
  const { warning = Infinity, critical = Infinity } = limits
  const severity = value > critical ? 'critical' : value > warning ? 'warning' : 'ok'
  return { value: rounded(value), limits, severity, isClear: value <= clearShare * Math.min(warning, critical) }
}

/** Too low is bad. `full`: what is best, such as 100 %, where a shortfall is what counts; without it the value itself does. */
export function below(value: number, limits: Limits, full?: number): Measured {
  const { warning = -Infinity, critical = -Infinity } = limits
  const severity = value < critical ? 'critical' : value < warning ? 'warning' : 'ok'
  const limit = Math.max(warning, critical)
  const clearFrom = full === undefined ? limit / clearShare : full - clearShare * (full - limit)
  return { value: rounded(value), limits, severity, isClear: value >= clearFrom }
}

/** What a report shows: no more digits than mean something. */
export const rounded = (value: number) => (Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 100) / 100)
