// What an observation means. Pure.

import { failureWords } from '../resilience/failure-words.ts'
import type { Refusal } from '../state/refusals.ts'
import type { Observation } from './probe.ts'

export type Severity = 'critical' | 'warning'

/** `check` is stable: it names the finding over its life. `action` is what to do now. */
export type Finding = { readonly check: string; readonly severity: Severity; readonly message: string; readonly action: string }

export type Status = 'healthy' | 'degraded' | 'critical'

export type Assessment = { readonly status: Status; readonly findings: readonly Finding[] }

/** A migration or a VACUUM FULL may take its minute; a session that was forgotten takes for ever. */
const lockedLongMs = 120_000

export function assess(seen: Observation): Assessment {
  const findings: Finding[] = []
  if (!seen.database.answers) {
    findings.push({
      check: 'database-unreachable',
      severity: 'critical',
      message: `The database does not answer: ${seen.database.message} (${seen.database.failure}).`,
      action: 'Check the status of the Postgres host or provider. Nothing is lost: batches are parked and written when it is back.',
    })
  } else if (seen.breaker?.state === 'open') {
    findings.push({
      check: 'circuit-open',
      severity: 'critical',
      message: 'The database answers a ping, but writes fail: the circuit breaker is open.',
      action: 'Look for locks, a full disk or a read-only primary. Nothing is lost: batches are parked.',
    })
  }
  if (seen.parked === undefined) {
    findings.push({
      check: 'parked-unknown',
      severity: 'warning',
      message: 'The queue of parked writes could not be asked.',
      action: 'Check that the queue or its folder is there and may be read.',
    })
  } else if (seen.parked > 0) {
    findings.push({
      check: 'writes-parked',
      severity: 'warning',
      message: seen.parked === 1 ? '1 batch waits to be written.' : `${seen.parked} batches wait to be written.`,
      action: 'None while the database is away; else see why replay-parked does not get on.',
    })
  }
  // of an empty queue nothing is refused any more, whatever a replay has left behind
  for (const [stream, refusal] of Object.entries(seen.parked === 0 ? {} : (seen.refusals ?? {})))
    findings.push({ check: `writes-refused:${stream}`, severity: 'critical', ...refusalInWords(stream, refusal) })
  for (const [table, sinceMs] of Object.entries(seen.lockedSinceMs)) {
    findings.push({
      check: `table-locked:${table}`,
      severity: seen.atMs - sinceMs >= lockedLongMs ? 'critical' : 'warning',
      message: `Writes to ${table} wait for a lock in vain since ${new Date(sinceMs).toISOString()}.`,
      action: `Find who holds it (select pid, pg_blocking_pids(pid), query from pg_stat_activity) and end that session. Nothing is lost: batches are parked.`,
    })
  }
  if (!seen.stateAnswers) {
    findings.push({
      check: 'state-unreachable',
      severity: 'warning',
      message: 'The state table does not answer.',
      action: 'Check that it is there and may be read. Until then collectors run without claims and cursors: rows may be fetched twice.',
    })
  }
  for (const [name, state] of Object.entries(seen.collectors)) {
    if ((state.cooldownUntilMs ?? 0) > seen.atMs) {
      findings.push({
        check: `collector-cooldown:${name}`,
        severity: 'warning',
        message: `Collector ${name} failed ${state.fetchFailures} times in a row to fetch or read its data; it pauses.`,
        action: 'Look at its last problem in the log; the API may refuse this address or have changed.',
      })
    }
  }
  const status = findings.some((f) => f.severity === 'critical') ? 'critical' : findings.length > 0 ? 'degraded' : 'healthy'
  return { status, findings }
}

function refusalInWords(stream: string, { class: failureClass, message, sinceMs }: Refusal): Pick<Finding, 'message' | 'action'> {
  const words = Object.hasOwn(failureWords, failureClass) ? failureWords[failureClass as keyof typeof failureWords] : undefined
  return {
    message: `Parked ${stream === 'other' ? 'batches' : `batches of ${stream}`} are refused since ${new Date(sinceMs).toISOString()} (${failureClass}): ${message}.`,
    action: `${words?.action ?? 'Look at the log of replay-parked.'} Nothing is lost: they stay parked until it is mended.`,
  }
}
