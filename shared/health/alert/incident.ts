// The report of an outage, gathered look by look while the database is away: a part of the alerts' state, which is not in that database. Pure.
// It begins with the first look that sees trouble and is dropped when nobody was told. Told and over, it goes out with the recovery notice
// and becomes a row. Times that a look gives are late by at most a tick; the circuit's own are exact.

import type { IncidentRow } from '../../model.ts'
import type { CollectorName } from '../../names.ts'
import { inWords, plainLine, plainTime } from './words.ts'
import type { Observation } from '../observation.ts'

export type Incident = {
  /** The first sign: the circuit's opening (its failed attempts lie seconds before it), or the first look that saw trouble. */
  readonly startedAtMs: number
  readonly firstError: string
  /** Why a connection could not be made, or the class of what opened the circuit. */
  readonly class: string
  readonly detectedAtMs: number
  readonly toldAtMs: number | null
  readonly circuit: Circuit | null
  /** Tables whose own circuit was open. */
  readonly lockedTables: readonly string[]
  /** The first look that the database answered again, where it did not. */
  readonly answeredAtMs: number | null
  /** The first look that saw no trouble any more. */
  readonly backAtMs: number | null
  readonly parkedPeak: number
  /** At the last look; null when nobody could say. */
  readonly parked: number | null
  /** When nothing was parked any more. */
  readonly drainedAtMs: number | null
  readonly polls: Readonly<Partial<Record<CollectorName, { readonly lastRunId: string | null; readonly missed: number }>>>
  readonly endedAtMs: number | null
}

/** Each transition is one epoch more: so those between two looks are counted as well. */
type Circuit = {
  readonly openedAtMs: number
  readonly opened: number
  readonly lastOpenedAtMs: number
  readonly epochBefore: number
  readonly epoch: number
  readonly closedAtMs: number | null
}

const maxTables = 5
const maxErrorChars = 160

/** One look more. Null while there is no trouble. */
export function followIncident(incident: Incident | null, seen: Observation): Incident | null {
  const trouble = troubleOf(seen)
  if (incident === null && trouble === null) return null
  const { atMs } = seen
  const parked = typeof seen.parked === 'number' ? seen.parked : seen.parked === null ? 0 : null
  const circuit = circuitOf(incident?.circuit ?? null, seen)
  const known = incident ?? begun(trouble as Trouble, seen)
  const isBack = trouble === null
  return {
    ...known,
    circuit,
    startedAtMs: Math.min(known.startedAtMs, circuit?.openedAtMs ?? Infinity),
    lockedTables: [...new Set([...known.lockedTables, ...Object.keys(seen.lockedSinceMs)])].slice(0, maxTables),
    answeredAtMs:
      seen.database.kind === 'answers' ? (known.answeredAtMs ?? atMs) : seen.database.kind === 'unreachable' ? null : known.answeredAtMs,
    backAtMs: isBack ? (known.backAtMs ?? atMs) : null,
    parked,
    parkedPeak: Math.max(known.parkedPeak, parked ?? 0),
    drainedAtMs: isBack && parked === 0 ? (known.drainedAtMs ?? atMs) : null,
    polls: pollsOf(known.polls, seen),
  }
}

type Trouble = { readonly firstError: string; readonly class: string }

function troubleOf({ database, breaker, lockedSinceMs }: Observation): Trouble | null {
  if (database.kind === 'unreachable') return { firstError: database.message, class: database.failure }
  if (breaker?.state === 'open') return { firstError: 'writes fail although the database answers', class: breaker.reason ?? 'unknown' }
  const [table] = Object.keys(lockedSinceMs)
  return table === undefined ? null : { firstError: `writes to ${table} wait for a lock in vain`, class: 'lock' }
}

function begun(trouble: Trouble, { atMs, lockedSinceMs }: Observation): Incident {
  return {
    startedAtMs: Math.min(atMs, ...Object.values(lockedSinceMs)),
    firstError: plainLine(trouble.firstError, maxErrorChars),
    class: trouble.class,
    detectedAtMs: atMs,
    toldAtMs: null,
    circuit: null,
    lockedTables: [],
    answeredAtMs: null,
    backAtMs: null,
    parkedPeak: 0,
    parked: null,
    drainedAtMs: null,
    polls: {},
    endedAtMs: null,
  }
}

function circuitOf(circuit: Circuit | null, { breaker, atMs }: Observation): Circuit | null {
  if (breaker?.state === 'open') {
    const { openedAtMs, epoch, streak } = breaker
    if (circuit === null) return { openedAtMs, opened: 1, lastOpenedAtMs: openedAtMs, epochBefore: epoch - streak, epoch, closedAtMs: null }
    const opened = circuit.opened + (openedAtMs === circuit.lastOpenedAtMs ? 0 : 1)
    return { ...circuit, opened, lastOpenedAtMs: openedAtMs, epoch, closedAtMs: null }
  }
  // without the state table nobody knows: it stays as it was seen last
  if (circuit === null || breaker === undefined) return circuit
  return { ...circuit, epoch: breaker.epoch, closedAtMs: circuit.closedAtMs ?? atMs }
}

/** A run that could not fetch, or keep what it fetched. A run that parked its rows missed nothing. */
function pollsOf(polls: Incident['polls'], { collectors }: Observation): Incident['polls'] {
  const next = { ...polls }
  for (const [name, { lastRunId, lastOutcome }] of Object.entries(collectors) as [
    CollectorName,
    (typeof collectors)[CollectorName] & {},
  ][]) {
    const before = polls[name]
    const isMissed = before && before.lastRunId !== lastRunId && (lastOutcome === 'failed' || lastOutcome === 'deferred')
    next[name] = { lastRunId, missed: (before?.missed ?? 0) + (isMissed ? 1 : 0) }
  }
  return next
}

/** Every transition that is neither an opening nor a closing is a probe that failed. */
function failedProbes({ opened, epochBefore, epoch, closedAtMs }: Circuit): number {
  const closings = closedAtMs === null ? opened - 1 : opened
  return Math.max(0, epoch - epochBefore - opened - closings)
}

export function missedPolls({ polls }: Incident): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(polls).flatMap(([name, { missed }]) => (missed > 0 ? [[name, missed]] : [])))
}

/** The report for people, a few lines. */
export function incidentLines(incident: Incident): readonly string[] {
  const { startedAtMs, firstError, detectedAtMs, toldAtMs, backAtMs, circuit, parkedPeak, drainedAtMs } = incident
  const after = (atMs: number) => inWords(atMs - startedAtMs)
  const missed = Object.entries(missedPolls(incident))
  const lines = [
    `First error: ${plainTime(startedAtMs)}, ${firstError} (${incident.class}).`,
    `Found after ${after(detectedAtMs)}${toldAtMs === null ? '' : `, told after ${after(toldAtMs)}`}${backAtMs === null ? '' : `, back after ${after(backAtMs)}`}.`,
  ]
  if (circuit) {
    const probes = failedProbes(circuit)
    const closing = circuit.closedAtMs === null ? 'not closed yet' : `closed after ${after(circuit.closedAtMs)}`
    lines.push(`Circuit: opened ${times(circuit.opened)}, ${probes} ${probes === 1 ? 'probe' : 'probes'} failed, ${closing}.`)
  }
  if (incident.lockedTables.length > 0) lines.push(`Tables that were locked: ${incident.lockedTables.join(', ')}.`)
  if (parkedPeak === 0) lines.push('Backlog: none.')
  else {
    const replayed =
      drainedAtMs === null
        ? 'not all written yet'
        : `all written ${inWords(drainedAtMs - (circuit?.closedAtMs ?? backAtMs ?? drainedAtMs))} after it was back`
    lines.push(`Backlog: at most ${parkedPeak} ${parkedPeak === 1 ? 'batch' : 'batches'} seen waiting, ${replayed}.`)
  }
  lines.push(`Rows lost: ${rowsLost(incident)}`)
  lines.push(
    missed.length === 0
      ? 'Polls missed: none.'
      : `Polls missed: ${missed.map(([name, count]) => `${name} ${count}`).join(', ')}; their cursors stayed, the next runs fetched what the API still had.`,
  )
  return lines
}

function rowsLost({ parked }: Incident): string {
  if (parked === 0) return '0. A cursor moves only behind rows that are written or parked, and nothing is parked any more.'
  if (parked === null) return 'none that is known, but the parked writes could not be asked for.'
  return `none. ${parked} ${parked === 1 ? 'batch still waits' : 'batches still wait'} to be written.`
}

const times = (count: number) => (count === 1 ? 'once' : `${count} times`)

/** From the database's return until writes went through again; null where the circuit was not open, or nobody saw it. */
export function recoveredInMs(incident: Incident | undefined): number | null {
  if (!incident?.circuit || incident.circuit.closedAtMs === null || incident.answeredAtMs === null) return null
  return Math.max(0, incident.circuit.closedAtMs - incident.answeredAtMs)
}

/** The report for machines. */
export function incidentRow(incident: Incident): IncidentRow {
  const { startedAtMs, detectedAtMs, toldAtMs, backAtMs, circuit, parked, parkedPeak, drainedAtMs, endedAtMs } = incident
  const replayFromMs = circuit?.closedAtMs ?? backAtMs
  const report = {
    first_error: incident.firstError,
    class: incident.class,
    detected_after_ms: detectedAtMs - startedAtMs,
    told_after_ms: toldAtMs === null ? null : toldAtMs - startedAtMs,
    back_after_ms: backAtMs === null ? null : backAtMs - startedAtMs,
    circuit: circuit && {
      opened: circuit.opened,
      failed_probes: failedProbes(circuit),
      closed_after_ms: circuit.closedAtMs === null ? null : circuit.closedAtMs - startedAtMs,
    },
    locked_tables: incident.lockedTables,
    backlog_peak_batches: parkedPeak,
    replay_ms: drainedAtMs === null || replayFromMs === null ? null : Math.max(0, drainedAtMs - replayFromMs),
    batches_left: parked,
    rows_lost: parked === null ? null : 0,
    polls_missed: missedPolls(incident),
  }
  return { startedAtMs, endedAtMs: endedAtMs ?? drainedAtMs ?? startedAtMs, report: JSON.stringify(report) }
}
