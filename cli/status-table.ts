// How `tokay status` reads for people. Pure.

import { inWords, plainLine } from '../shared/health/alert/words.ts'
import { counted, forShare } from '../shared/health/checks/figures.ts'
import { circuitInWords } from './breaker-command.ts'
import { grouped } from './output.ts'
import type { CollectorStatus, Status, Stretches } from './status.ts'

export function statusLines(status: Status): readonly string[] {
  const nowMs = Date.parse(status.at)
  const { health, circuits, parked, api, alerts, silence, cost } = status
  const looked = health.lookedAt === null ? 'never looked' : `last look ${ago(health.lookedAt, nowMs)}`
  return [
    `${status.system} (${status.source}): ${health.status}, ${looked}`,
    '',
    ...table([collectorHead, ...status.collectors.map((collector) => collectorRow(collector, nowMs))]),
    '',
    ...(circuits.length === 0 ? ['circuits: all closed, none has met a failure'] : circuits.map((one) => `circuit ${circuitInWords(one)}`)),
    `parked: ${parked === null ? 'not known' : counted(parked, 'batch', 'batches')}`,
    `API: ${api.perMinute} of ${api.limitPerMinute} calls a minute, ${api.isReady ? 'ready' : `the next one ${inTime(api.readyAt, nowMs)}`}; ${grouped(api.callsThisMonth)} calls this month${api.limitPerMonth > 0 ? ` of ${grouped(api.limitPerMonth)}` : ''}`,
    ...(silence ? [`alerts: silent for another ${inWords(Date.parse(silence.until ?? status.at) - nowMs)}: ${silence.reason}`] : []),
    ...(alerts.length === 0
      ? ['alerts: none fires']
      : alerts.map(
          ({ severity, fingerprint, since, message }) =>
            `alert: ${severity} ${fingerprint}, for ${inWords(nowMs - Date.parse(since ?? status.at))}: ${plainLine(message, 160)}`,
        )),
    '',
    ...availabilityTable(status),
    '',
    `on AWS these schedules cost about $${cost.usd.toFixed(2)} a month, $${cost.usdInFreeTier.toFixed(2)} within the free tier (npm run synth shows of what)`,
    ...(status.settings.length === 0 ? ['settings: all as they come'] : ['settings that differ from their defaults:']),
    ...status.settings.map(
      ({ name, value, default: usual }) => `  ${name} = ${JSON.stringify(value)}${usual === null ? '' : ` (${JSON.stringify(usual)})`}`,
    ),
  ]
}

const ago = (iso: string, nowMs: number) => `${inWords(nowMs - Date.parse(iso))} ago`
const inTime = (iso: string | null, nowMs: number) =>
  iso === null ? '-' : Date.parse(iso) <= nowMs ? 'now' : `in ${inWords(Date.parse(iso) - nowMs)}`

const collectorHead = ['collector', 'every', 'last success', 'next due', 'failures', 'newest data', 'now'] as const

function collectorRow(collector: CollectorStatus, nowMs: number): readonly string[] {
  const { name, enabled, everyMinutes, intervalFactor, lastSuccess, nextDue, failures, cursorAgeS } = collector
  const factor = intervalFactor > 1 ? ` x${Math.round(intervalFactor * 10) / 10}` : ''
  return [
    name,
    `${everyMinutes} min${factor}`,
    lastSuccess === null ? 'never' : ago(lastSuccess, nowMs),
    enabled ? inTime(nextDue, nowMs) : '-',
    String(failures),
    cursorAgeS === null ? '-' : `${inWords(cursorAgeS * 1_000)} old`,
    doing(collector, nowMs),
  ]
}

function doing({ enabled, isRunning, cooldownUntil, lastOutcome }: CollectorStatus, nowMs: number): string {
  if (!enabled) return 'switched off'
  if (isRunning) return 'running'
  if (cooldownUntil !== null) return `pauses after failures, tried again ${inTime(cooldownUntil, nowMs)}`
  return lastOutcome === null ? 'has not run yet' : lastOutcome === 'complete' ? 'waiting' : `waiting; its last run was ${lastOutcome}`
}

const stretches = ['hour', 'day', 'week', 'month'] as const

function availabilityTable({ availability, budgetLeft, history, historyProblem }: Status): readonly string[] {
  const row = (name: string, of: Stretches, left: number | null) => [
    name,
    ...stretches.map((stretch) => share(of[stretch].availability)),
    left === null ? '-' : share(left),
  ]
  const rows = [
    ['availability', '1 h', '24 h', '7 d', '30 d', 'budget left'],
    row('remembered', availability, budgetLeft),
    ...(history ? [row('in the database', history.availability, history.budgetLeft)] : []),
  ]
  const known = `known: ${counted(availability.hour.knownMinutes, 'minute')} of the last hour, ${grouped(availability.month.knownMinutes)} of 30 days; the others count neither way`
  return [
    ...table(rows),
    known,
    ...(history ? [`outages in the history: ${history.incidents === 20 ? '20 or more' : history.incidents}`] : []),
    ...(historyProblem === null ? [] : [`no history: ${plainLine(historyProblem, 160)}`]),
  ]
}

const share = (of: number | null) => (of === null ? '-' : forShare(of))

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
