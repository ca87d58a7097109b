// What came between two looks. Clients and server only ever count up: the difference of two looks is what happened. Where a number is lower than
// before, or the server was restarted, it was counted from zero again, and nobody knows what came between. Pure.

import type { BatchCounts } from '../../model.ts'
import { sumOfCounts, type ClientCounts, type CountField } from '../../resilience/client-metrics.ts'
import { histogramSince, type Histogram } from '../../resilience/histogram.ts'
import type { Operations, ServerCounters } from './memory.ts'
import { type Observation, vitalsOf } from '../observation.ts'
import { sum, withDerived, type Numbers } from './slots.ts'

/** How far everybody had counted. Null: not seen yet. JSON. */
export type Counted = {
  /** Of all collectors, since ever. */
  readonly clients: { readonly atMs: number; readonly counts: ClientCounts; readonly batches: Numbers } | null
  readonly server: {
    readonly atMs: number
    readonly startedAtMs: number
    readonly statsResetAtMs: number | null
    readonly counters: Numbers
  } | null
}

export const nothingCounted: Counted = { clients: null, server: null }

/** Null: there was nothing to compare. */
export type Growth = {
  readonly operations: Operations | null
  readonly latency: Histogram
  readonly batches: Numbers | null
  readonly server: Numbers | null
}

const noGrowth: Growth = { operations: null, latency: {}, batches: null, server: null }

const batchFields = ['count', 'rows', 'waitedMs', 'sourceLimited', 'sourceLimitedRows'] as const
const counterNames = ['commits', 'rollbacks', 'deadlocks', 'conflicts', 'tempBytes', 'blocksHit', 'blocksRead', 'sessionsLost'] as const

export const toBatches = (numbers: Numbers) => Object.fromEntries(batchFields.map((field, n) => [field, numbers[n] ?? 0])) as BatchCounts
export const toCounters = (numbers: Numbers) => Object.fromEntries(counterNames.map((name, n) => [name, numbers[n] ?? 0])) as ServerCounters

/** What was counted over a longer time belongs to no slot. */
const longestMs = 3_600_000

export function countedBy(seen: Observation): Counted {
  return { clients: clientsIn(seen), server: serverIn(seen) }
}

/** A state table that does not answer is no reset. */
function clientsIn({ atMs, stateAnswers, collectors }: Observation): Counted['clients'] {
  if (!stateAnswers) return null
  const states = Object.values(collectors)
  return {
    atMs,
    counts: sumOfCounts(...states.map(({ client }) => client)),
    batches: sum(states.map(({ batches }) => batchFields.map((field) => batches?.[field] ?? 0))),
  }
}

function serverIn(seen: Observation): Counted['server'] {
  const { atMs } = seen
  const vitals = vitalsOf(seen)
  if (vitals === null) return null
  const { server, counters } = vitals
  const sessionsLost = (counters.sessionsAbandoned ?? 0) + (counters.sessionsFatal ?? 0) + (counters.sessionsKilled ?? 0)
  return {
    atMs,
    startedAtMs: server.startedAtMs,
    statsResetAtMs: counters.statsResetAtMs,
    counters: counterNames.map((name) => (name === 'sessionsLost' ? sessionsLost : counters[name])),
  }
}

export function growthOf(before: Counted, now: Counted): Growth {
  const clients = both(before.clients, now.clients)
  const server = both(before.server, now.server)
  return { ...(clients ? growthOfClients(...clients) : noGrowth), server: server ? growthOfServer(...server) : null }
}

/** What the next look is compared with. */
export const countedLast = (before: Counted, now: Counted): Counted => ({
  clients: now.clients ?? before.clients,
  server: now.server ?? before.server,
})

export const hasRestarted = (before: Counted, now: Counted) =>
  before.server !== null && now.server !== null && before.server.startedAtMs !== now.server.startedAtMs

const both = <Part extends { atMs: number }>(before: Part | null, now: Part | null): [Part, Part] | undefined =>
  before && now && now.atMs - before.atMs <= longestMs ? [before, now] : undefined

type Clients = NonNullable<Counted['clients']>
function growthOfClients(before: Clients, now: Clients): Omit<Growth, 'server'> {
  const counts = growthOfCounts(before.counts, now.counts)
  return {
    operations: counts && withDerived(counts),
    latency: counts?.latency ?? {},
    batches: grown(before.batches, now.batches),
  }
}

function growthOfCounts(before: ClientCounts, now: ClientCounts): ClientCounts | null {
  const { failures, latency, ...counts } = now
  const fields = Object.keys(counts) as CountField[]
  const classes = [...new Set([...Object.keys(before.failures), ...Object.keys(failures)])]
  const numbers = (of: ClientCounts) => [...fields.map((field) => of[field]), ...classes.map((name) => of.failures[name] ?? 0)]
  const growth = grown(numbers(before), numbers(now))
  const measured = histogramSince(before.latency, latency)
  if (!growth || !measured) return null
  const named = <Name extends string>(names: readonly Name[], from: number) =>
    Object.fromEntries(names.map((name, n) => [name, growth[from + n] ?? 0])) as Record<Name, number>
  return { ...named(fields, 0), failures: named(classes, fields.length), latency: measured }
}

/** After a restart, and after a reset of its statistics, a server counts from zero: higher numbers than before say nothing then. */
function growthOfServer(before: NonNullable<Counted['server']>, now: NonNullable<Counted['server']>): Numbers | null {
  const isSameCount = before.startedAtMs === now.startedAtMs && before.statsResetAtMs === now.statsResetAtMs
  return isSameCount ? grown(before.counters, now.counters) : null
}

/** Each number's growth; null when one has shrunk. */
function grown(before: Numbers, now: Numbers): Numbers | null {
  const growth = Array.from({ length: Math.max(before.length, now.length) }, (_, n) => (now[n] ?? 0) - (before[n] ?? 0))
  return growth.some((n) => n < 0) ? null : growth
}
