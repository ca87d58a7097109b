// Gathers what the status page shows: a look at the state table and the parked writes every few seconds, and what happens in between.
// It never asks the database: the page must be drawn while that is away, and must not keep it awake.

import { recentOf, type Memory } from '../../../shared/health/memory/memory.ts'
import type { AlertMessage } from '../../../shared/health/alert/notifier.ts'
import { collectorNames, stateKeys, type CollectorName } from '../../../shared/names.ts'
import type { BreakerState, Transition } from '../../../shared/resilience/circuit-breaker.ts'
import type { CollectorState } from '../../../shared/state/claim.ts'
import type { LocalRun } from '../../local-run.ts'
import type { LocalTools } from '../../runtime.ts'
import type { CircuitChange, Look, SentAlert, StatusView } from './status-view.ts'

const hourMs = 3_600_000
const [maxChanges, maxAlerts] = [50, 10]

export type StatusRecorder = {
  /** Never throws: what can't be asked is not known, and drawn so. */
  look(): Promise<void>
  noteTransition(transition: Transition): void
  noteAlert(message: AlertMessage): void
  view(): StatusView
}

export function createStatusRecorder(options: {
  tools: LocalTools
  run: Pick<LocalRun, 'collectors' | 'lastReport'>
  system: string
  place: string
}): StatusRecorder {
  const { tools, run } = options
  const { clock, settings } = tools
  const startedAtMs = clock.nowMs()
  const looks: Look[] = []
  const circuitChanges: CircuitChange[] = []
  const alerts: SentAlert[] = []
  let minutes: StatusView['minutes'] = []
  let stored: Partial<Record<CollectorName, CollectorState>> = {}

  return {
    async look() {
      // undefined: not known
      const [items, parked] = await Promise.all([tools.state.list().catch(() => undefined), tools.parked.depth().catch(() => undefined)])
      const atMs = clock.nowMs()
      const data = (key: string) => items?.find((item) => item.key === key)?.data
      const breaker = data(stateKeys.databaseBreaker) as BreakerState | undefined
      if (items) {
        minutes = recentOf(data(stateKeys.health) as Memory | undefined, atMs).minutes
        stored = Object.fromEntries(collectorNames.map((name) => [name, data(stateKeys.collector(name))]))
      }
      // a report is one measurement; until the next one the line goes on
      const metrics = run.lastReport()?.metrics
      looks.push({
        atMs,
        parked: parked ?? null,
        isOpen: items === undefined ? null : breaker?.state === 'open',
        queryMs: metrics?.query_performance_ms ?? null,
        lockWaitMs: metrics?.lock_wait_ms ?? null,
        connectionsUsed: metrics?.connections_used ?? null,
      })
      while ((looks[0]?.atMs ?? atMs) < atMs - hourMs) looks.shift()
    },
    noteTransition(transition) {
      if (transition.kind !== 'opened' && transition.kind !== 'closed') return
      const reason = transition.kind === 'opened' ? transition.reason : null
      circuitChanges.push({ atMs: clock.nowMs(), kind: transition.kind, reason })
      if (circuitChanges.length > maxChanges) circuitChanges.shift()
    },
    noteAlert({ subject }) {
      alerts.unshift({ atMs: clock.nowMs(), subject })
      alerts.splice(maxAlerts)
    },
    view: () => ({
      system: options.system,
      place: options.place,
      nowMs: clock.nowMs(),
      startedAtMs,
      report: run.lastReport(),
      collectors: Object.fromEntries(
        collectorNames.map((name) => [
          name,
          {
            ...run.collectors[name],
            everyMinutes: settings.collectors[name].everyMinutes,
            lastSuccessAtMs: stored[name]?.lastSuccessAtMs ?? null,
          },
        ]),
      ) as StatusView['collectors'],
      looks,
      minutes,
      circuitChanges,
      alerts,
    }),
  }
}
