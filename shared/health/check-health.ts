// One run of the health check: look, judge, publish, tell. Metrics and alerts are each tried even if the other fails.

import type { Clock, Random } from '../clock.ts'
import type { ParkedWrites } from '../collect/parked-writes.ts'
import type { Database } from '../db/database.ts'
import type { Log } from '../log.ts'
import { stateKeys } from '../names.ts'
import { updateItem, type StateTable } from '../state/state-table.ts'
import { decideAlerts, markSent, type AlertState } from './alert.ts'
import { assess, type Finding, type Status } from './assess.ts'
import type { Metric } from './metrics.ts'
import type { AlertMessage, Notifier } from './notifier.ts'
import { probe } from './probe.ts'

export type HealthTools = {
  readonly database: Database
  readonly state: StateTable
  readonly parked: ParkedWrites
  readonly notifier: Notifier
  readonly publishMetrics: (metrics: readonly Metric[]) => Promise<void>
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** How messages name this installation, such as `tokay-prod`. */
  readonly system: string
}

export type HealthReport = {
  readonly status: Status
  readonly checkedAt: string
  readonly databaseMs: number | null
  readonly parked: number | null
  readonly findings: readonly Finding[]
}

/** Throws, with the first error, when the metrics or the alerts could not be published; the report is in the log then. */
export async function checkHealth(tools: HealthTools): Promise<HealthReport> {
  const seen = await probe(tools)
  const assessment = assess(seen)
  const report: HealthReport = {
    ...assessment,
    checkedAt: new Date(seen.atMs).toISOString(),
    databaseMs: seen.database.answers ? seen.database.latencyMs : null,
    parked: seen.parked ?? null,
  }
  const results = await Promise.allSettled([
    Promise.try(tools.publishMetrics, [{ name: 'DatabaseAvailable', value: seen.database.answers ? 1 : 0, unit: 'Count' }]),
    tell(tools, assessment, seen.atMs),
  ])
  const failed = results.find((r) => r.status === 'rejected')
  if (failed) {
    tools.log.error({ event: 'health.unpublished', report, error: failed.reason })
    throw failed.reason
  }
  return report
}

async function tell(tools: HealthTools, assessment: ReturnType<typeof assess>, nowMs: number): Promise<void> {
  const decided = await updateItem(
    tools.state,
    stateKeys.alerts,
    (data: AlertState | undefined) => decideAlerts(data, { assessment, nowMs, system: tools.system }),
    tools,
  ).catch((error: unknown) => {
    // without its memory it tells too often rather than never
    tools.log.error({ event: 'alert-state.unreachable', error })
    return decideAlerts(undefined, { assessment, nowMs, system: tools.system }).result
  })
  const sent: AlertMessage[] = []
  try {
    for (const message of decided) {
      await tools.notifier.publish(message)
      sent.push(message)
    }
  } finally {
    if (sent.length > 0) await noteSent(tools, sent)
  }
}

/** What can't be noted is sent once more later: no failure, and no reason to hide one of the sending. */
async function noteSent(tools: HealthTools, sent: readonly AlertMessage[]): Promise<void> {
  try {
    await updateItem(tools.state, stateKeys.alerts, (data: AlertState | undefined) => markSent(data, sent), tools)
  } catch (error) {
    tools.log.error({ event: 'alert.unmarked', error })
  }
}
