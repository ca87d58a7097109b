// One run of the health check: look, remember, judge, decide; then publish metrics, tell, and keep a sample, each tried even if another fails.
//
// A run looks once. While something critical hangs in the balance (it begins, or all of it is about to be over) it looks again every 3 s: three
// failed looks of five are an alert within seconds, five clear ones its end, and neither waits for the next ticks.

import type { Random } from '../clock.ts'
import type { Settings } from '../config.ts'
import type { Log } from '../log.ts'
import type { IncidentRow, SampleRow } from '../model.ts'
import { stateKeys } from '../names.ts'
import { updateItem, type Decision, type StateTable } from '../state/state-table.ts'
import { type Decided, decideAlerts, markSent } from './alert/alert.ts'
import { isInTheBalance } from './alert/looks.ts'
import { type AlertState, type Pending, sinceByFingerprint } from './alert/state.ts'
import { assess, rareChecks } from './assess.ts'
import type { Assessment, Check } from './check.ts'
import type { Look } from './checks/judge.ts'
import { incidentRow, recoveredInMs } from './alert/incident.ts'
import { type Memory, recentOf, remember } from './memory/memory.ts'
import { metricsOf, type Metric } from './metrics.ts'
import type { Notifier } from './alert/notifier.ts'
import { probe, type ProbeTools } from './probe.ts'
import { type HealthReport, reportOf } from './report.ts'
import { sampleOf } from './sample.ts'

/** What a look needs: enough for a report. */
export type LookTools = ProbeTools & { readonly state: StateTable; readonly settings: Settings; readonly log: Log; readonly random: Random }

export type HealthTools = LookTools & {
  readonly notifier: Notifier
  readonly publishMetrics: (metrics: readonly Metric[]) => Promise<void>
  /** Writes them or parks them. Absent where nothing is stored. */
  readonly store?: (rows: { samples: readonly SampleRow[]; incidents: readonly IncidentRow[] }) => Promise<void>
  /** How messages name this installation, such as `tokay-prod`. */
  readonly system: string
  /** What the operator's commands in a message need beside their own arguments, such as `--stage prod`. */
  readonly commandOptions?: string
  /** One for the life of the process. */
  readonly kept: Kept
  /** Ends the looking, not the telling. */
  readonly signal?: AbortSignal
}

/** What this process knew last: for runs that can't reach the state table, and the checks that are made every while only. */
export type Kept = { alerts?: AlertState | undefined; memory?: Memory | undefined; rare?: readonly Check[] }

type Judged = Look & { readonly assessment: Assessment }

const minuteMs = 60_000
const lookEveryMs = 3_000
/** Five clear looks, and a first one that may count as one with a bad look just before. */
const maxLooks = 6
/** Of the 50 s that an invocation has. A look at a database that hangs takes some seconds. */
const lookForMs = 25_000

/** Throws, with the first error, when the metrics or the alerts could not be published; the report is in the log then. */
export async function checkHealth(tools: HealthTools): Promise<HealthReport> {
  const { clock, signal } = tools
  const startedAtMs = clock.nowMs()
  const before = await storedAlerts(tools)
  const looks = [await look(tools, isStructureDue(tools.settings, startedAtMs))]
  for (let dueAtMs = startedAtMs + lookEveryMs; isWorthAnother(before, looks); dueAtMs += lookEveryMs) {
    if (clock.nowMs() - startedAtMs >= lookForMs || signal?.aborted) break
    await clock.sleep(Math.max(0, dueAtMs - clock.nowMs()), signal)
    if (!signal?.aborted) looks.push(await look(tools, false))
  }
  const last = looks.at(-1) as Judged
  const { state, result } = await decide(tools, looks)
  const report = reportOf(last.assessment, { ...last, sinceMs: sinceByFingerprint(state) })
  const results = await Promise.allSettled([
    Promise.try(
      tools.publishMetrics,
      looks.flatMap((judged) => metricsOf(judged, judged.assessment)),
    ),
    tell(tools, result.toSend),
    Promise.try(async () => {
      const incidents = result.incident ? [incidentRow(result.incident)] : []
      await tools.store?.({ samples: looks.map((judged) => sampleOf(judged, judged.assessment)), incidents })
    }),
  ])
  const failed = results.find((r) => r.status === 'rejected')
  if (failed) {
    tools.log.error({ event: 'health.unpublished', report, error: failed.reason })
    throw failed.reason
  }
  return report
}

/** A report for a person who asks: nothing is remembered, published or told. */
export async function reportHealth(tools: LookTools, options: { structure: boolean }): Promise<HealthReport> {
  const judged = await lookNow(tools, options)
  return reportOf(judged.assessment, judged)
}

export type JudgedNow = Judged & { readonly sinceMs: Readonly<Record<string, number>> }

/** The same with what was seen; for whoever looks again and again. */
export async function lookNow(tools: LookTools, options: { structure: boolean }): Promise<JudgedNow> {
  const observation = await probe(tools, { mode: 'active', structure: options.structure })
  const items = await tools.state.list().catch(() => []) // the observation says itself that the state table does not answer
  const dataOf = (key: string) => items.find((item) => item.key === key)?.data
  const alerts = dataOf(stateKeys.alerts) as AlertState | undefined
  const recent = recentOf(remember(dataOf(stateKeys.health) as Memory | undefined, observation), observation.atMs)
  const { settings } = tools
  const assessment = assess(observation, recent, { settings, recoveredInMs: recoveredInMs(alerts?.incidents[0]) })
  return { observation, recent, settings, assessment, sinceMs: sinceByFingerprint(alerts) }
}

const isWorthAnother = (before: AlertState | undefined, looks: readonly Judged[]) =>
  looks.length < maxLooks && isInTheBalance(before, { looks })

/** Every so many ticks, by the clock: nobody has to remember it. */
function isStructureDue({ health }: Settings, nowMs: number): boolean {
  const every = Math.max(1, Math.round(health.structureEveryMinutes / health.everyMinutes))
  return Math.floor(nowMs / (health.everyMinutes * minuteMs)) % every === 0
}

async function look(tools: HealthTools, structure: boolean): Promise<Judged> {
  const { settings, kept } = tools
  const observation = await probe(tools, { mode: settings.health.probe, structure })
  let memory: Memory | undefined
  const keepIt = (stored: Memory | undefined): Decision<Memory, void> => ({
    data: (memory = remember(stored, observation)),
    result: undefined,
  })
  await updateItem(tools.state, stateKeys.health, keepIt, tools).catch((error: unknown) => {
    // without it the run goes on with what this process remembers
    tools.log.error({ event: 'health-memory.unreachable', error })
    keepIt(kept.memory)
  })
  kept.memory = memory
  const recent = recentOf(memory, observation.atMs)
  const assessment = assess(observation, recent, {
    settings,
    earlier: kept.rare ?? [],
    recoveredInMs: recoveredInMs(kept.alerts?.incidents[0]),
  })
  kept.rare = rareChecks(assessment)
  return { observation, recent, settings, assessment }
}

async function storedAlerts({ state, kept }: HealthTools): Promise<AlertState | undefined> {
  const items = await state.list().catch(() => undefined) // deciding meets the same, and says so
  return items ? (items.find((item) => item.key === stateKeys.alerts)?.data as AlertState | undefined) : kept.alerts
}

/** Without the state table by what this process knows: it tells too often rather than never. */
async function decide(tools: HealthTools, looks: readonly Judged[]): Promise<{ state: AlertState | undefined; result: Decided }> {
  const { kept, log, system, commandOptions } = tools
  const now = { looks, nowMs: tools.clock.nowMs(), system, commandOptions }
  const decideFrom = (stored: AlertState | undefined): Decision<AlertState, { state: AlertState | undefined; result: Decided }> => {
    const { data, result } = decideAlerts(stored, now)
    return { data, result: { state: data ?? stored, result } }
  }
  const decided = await updateItem(tools.state, stateKeys.alerts, decideFrom, tools).catch((error: unknown) => {
    log.error({ event: 'alert-state.unreachable', error })
    return decideFrom(kept.alerts).result
  })
  kept.alerts = decided.state
  return decided
}

async function tell(tools: HealthTools, toSend: readonly Pending[]): Promise<void> {
  const sent: Pending[] = []
  try {
    for (const pending of toSend) {
      await tools.notifier.publish(pending.message)
      sent.push(pending)
      tools.log.info({ event: 'alert.sent', id: pending.id, severity: pending.message.severity, subject: pending.message.subject })
    }
  } finally {
    if (sent.length > 0) await noteSent(tools, sent)
  }
}

/** What can't be noted is sent once more later: no failure, and no reason to hide one of the sending. */
async function noteSent(tools: HealthTools, sent: readonly Pending[]): Promise<void> {
  tools.kept.alerts = markSent(tools.kept.alerts, sent).data ?? tools.kept.alerts
  try {
    await updateItem(tools.state, stateKeys.alerts, (data: AlertState | undefined) => markSent(data, sent), tools)
  } catch (error) {
    tools.log.error({ event: 'alert.unmarked', error })
  }
}
