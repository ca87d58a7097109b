// The figures of one look: a row of the history, and what is published as metrics. What is not known is null, never 0. Pure.

import type { SampleRow } from '../model.ts'
import { collectorNames, type CollectorName } from '../names.ts'
import { histogramOf, mergeHistograms } from '../resilience/histogram.ts'
import type { Assessment, Status } from './check.ts'
import type { Look } from './checks/judge.ts'
import { isUp } from './memory/memory.ts'
import { vitalsOf } from './observation.ts'
import { lockWaitMs } from './targets.ts'

/** As CloudWatch and the history have it. */
const statusNumbers: Readonly<Record<Status, number | null>> = { healthy: 0, degraded: 1, critical: 2, unknown: null }

/** `recent` is what is known after this look was remembered. */
export function sampleOf(look: Look, assessment: Assessment): SampleRow {
  const { observation, recent } = look
  const { database } = observation
  const { operations, latency } = recent.sinceLastLook
  const answer = database.kind === 'answers' ? database : undefined
  const vitals = vitalsOf(observation)
  return {
    atMs: observation.atMs,
    isUp: isUp(observation, operations),
    status: statusNumbers[assessment.status],
    // of a database that slept it is the time that it takes to wake
    connectMs: answer && !answer.woke ? answer.connectMs : null,
    queryMs: answer?.queryMs ?? null,
    lockWaitMs: lockWaitMs(look, operations),
    calls: operations.calls,
    failed: operations.failed,
    connectionsPercent: connectionsPercent(look, assessment),
    parked: observation.parked ?? null,
    collectorLagS: collectorLagS(look),
    breakerOpenS: breakerOpenS(look),
    databaseBytes: vitals?.databaseBytes ?? null,
    xidAge: vitals?.wraparound.xidAge ?? null,
    latency: mergeHistograms(latency, histogramOf(answer ? [answer.queryMs] : [])),
  }
}

/** As the check has it, so that an alert and a graph never differ. A server that lets nobody in any more is full. */
function connectionsPercent({ observation: { database } }: Look, { checks }: Assessment): number | null {
  if (database.kind === 'unreachable') return database.failure === 'saturated' ? 100 : null
  const value = checks.find(({ id }) => id === 'connections')?.value
  return typeof value === 'number' ? value : null
}

/** Null also without the state table: nobody can say. */
function breakerOpenS({ observation: { breaker, stateAnswers, atMs } }: Look): number | null {
  if (!stateAnswers) return null
  return breaker?.state === 'open' ? seconds(atMs - breaker.openedAtMs) : 0
}

/** How much longer than its interval the last complete run of the slowest collector is ago. Null when none has ever had one. */
function collectorLagS({ observation, settings }: Look): number | null {
  const lagMs = (name: CollectorName) => {
    const state = observation.collectors[name]
    if (!settings.collectors[name].enabled || !state || state.lastSuccessAtMs === null) return []
    const intervalMs = settings.collectors[name].everyMinutes * 60_000 * Math.max(1, Math.round(state.intervalFactor))
    return [observation.atMs - state.lastSuccessAtMs - intervalMs]
  }
  const lags = collectorNames.flatMap(lagMs)
  return lags.length === 0 ? null : seconds(Math.max(...lags))
}

const seconds = (ms: number) => Math.max(0, Math.round(ms / 1_000))
