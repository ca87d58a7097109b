// Who waits for whom. A wait is seen in two ways: sessions that wait now, and our own writes that gave up waiting (55P03): a lock of some seconds
// falls between two looks of a minute, but each write that it met has counted it.

import type { Settings } from '../../config.ts'
import { atOnce, threeOfFive } from '../check.ts'
import type { BlockingSession, Observation, Vitals } from '../observation.ts'
import { counted, forTime, sinceInWords } from './figures.ts'
import { above, eachOf, type Judged, type Judges, type Look } from './judge.ts'

/** A migration or a VACUUM FULL may take its minute; a session that was forgotten takes for ever. */
const lockedLongMs = 120_000

const lockLimits = (settings: Settings) => ({ warning: settings.health.thresholds.lockWaitMs, critical: 30_000 })

const lockWait = (vitals: Vitals, { recent, settings }: Look): Judged => {
  const seenMs = Math.max(0, ...vitals.blocked.map((b) => b.waitMs))
  const gaveUp = recent.operations.fiveMinutes.failures['lock-timeout'] ?? 0
  const waitMs = Math.max(seenMs, gaveUp > 0 ? settings.database.lockForMs : 0)
  return {
    ...above(waitMs, lockLimits(settings)),
    unit: 'ms',
    message: lockMessage(vitals, seenMs, gaveUp, settings.database.lockForMs),
    action: lockAction(vitals),
    evidence: lockTree(vitals),
  }
}

function lockMessage({ blockedCount }: Vitals, seenMs: number, gaveUp: number, lockForMs: number): string {
  const now =
    blockedCount === 0
      ? 'No session waits for a lock'
      : `${counted(blockedCount, 'session')} ${blockedCount === 1 ? 'waits' : 'wait'} for locks, the longest for ${forTime(seenMs)}`
  return gaveUp === 0 ? `${now}.` : `${now}; ${counted(gaveUp, 'write')} gave up after ${forTime(lockForMs)} in the last 5 minutes.`
}

/** Of a transaction that was prepared: it has no session, and no command but its own ends it. */
const preparedPid = 0

/** Names the sessions that wait for nobody themselves: ending them lets all others go on. */
function lockAction({ blockers, server }: Vitals): string {
  if (!blockers.some((b) => b.isRoot))
    return 'If it comes back: select pid, pg_blocking_pids(pid), query from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0;'
  const hidden = server.seesOthers ? '' : ` Details of other roles are hidden: grant pg_monitor to ${server.role};`
  return `${endRoots(blockers)}${hidden}`
}

function endRoots(blockers: readonly BlockingSession[]): string {
  const roots = rootsOf(blockers)
  const pids = roots.map(({ pid }) => pid).filter((pid) => pid !== preparedPid)
  const ends = pids.map((pid) => `select pg_terminate_backend(${pid});`)
  const prepared = pids.length < roots.length ? ["rollback prepared '<gid>'; (select gid from pg_prepared_xacts)"] : []
  return `See what is at the root, and end it when it is stuck: ${[...ends, ...prepared].join(' ')}`
}

/** The roots first, then who waits, longest first. */
function lockTree({ blocked, blockers }: Vitals): readonly string[] {
  const waiters = blocked
    .slice(0, 6)
    .map(
      ({ pid, application, waitMs, mode, relation, blockedBy, query }) =>
        `  ${session(pid, application)} waits ${forTime(waitMs)} for ${mode}${relation === null ? '' : ` on ${relation}`}, behind ${blockedBy.join(', ') || 'nobody seen'}${quoted(query)}`,
    )
  return [...rootLines(blockers), ...waiters]
}

const rootsOf = (blockers: readonly BlockingSession[]) => blockers.filter((b) => b.isRoot).slice(0, 3)

const rootLines = (blockers: readonly BlockingSession[]): readonly string[] =>
  rootsOf(blockers).map(
    ({ pid, state, application, query, transactionMs }) =>
      `${session(pid, application)} holds it: ${state ?? 'state hidden'}${transactionMs === null ? '' : `, in a transaction for ${forTime(transactionMs)}`}${quoted(query)}`,
  )

const session = (pid: number, application: string | null) =>
  pid === preparedPid ? 'a prepared transaction' : `pid ${pid}${application ? ` (${application})` : ''}`
const quoted = (query: string | null) => (query ? `: ${query}` : '')

export const lockChecks: Judges<Vitals> = { 'lock-wait': lockWait }

/** The look itself has waited in vain: who has locked a system catalog is held against it as if another session had waited. */
const blindLockWait = (holders: readonly BlockingSession[], { settings }: Look): Judged => {
  const heldMs = Math.max(0, ...holders.map((holder) => holder.transactionMs ?? 0))
  const measured = above(heldMs, lockLimits(settings))
  return {
    ...measured,
    // at least that: nobody knows what goes on behind it
    severity: measured.severity === 'critical' ? 'critical' : 'warning',
    isClear: false,
    // a lock that passes, such as a VACUUM's of a catalog, wakes nobody
    hold: measured.severity === 'ok' ? threeOfFive : atOnce,
    unit: 'ms',
    message: `The health check itself waits in vain for a lock on a system catalog${heldMs > 0 ? `, held for ${forTime(heldMs)}` : ''}: connections, sessions and locks can not be seen.`,
    action:
      rootsOf(holders).length > 0
        ? endRoots(holders)
        : "Find who holds it, and end it when it is stuck: select pid, relation::regclass from pg_locks where granted and mode = 'AccessExclusiveLock';",
    evidence: rootLines(holders),
  }
}

/** Instead of `lockChecks` where a lock hides the vitals. */
export const blindLockChecks: Judges<readonly BlockingSession[]> = { 'lock-wait': blindLockWait }

const tableLocked = ({ database, lockedSinceMs, atMs }: Observation): Judged | readonly Judged[] => {
  const vitals = database.kind === 'answers' && 'blockers' in database.vitals ? database.vitals : undefined
  return eachOf(
    Object.entries(lockedSinceMs),
    ([table, sinceMs]) => ({
      severity: atMs - sinceMs >= lockedLongMs ? 'critical' : 'warning',
      subject: table,
      value: Math.max(0, atMs - sinceMs),
      unit: 'ms',
      limits: { critical: lockedLongMs },
      message: `Writes to ${table} wait for a lock in vain since ${sinceInWords(sinceMs)}.`,
      action: `${
        vitals?.blockers.length
          ? lockAction(vitals)
          : 'Find who holds it (select pid, pg_blocking_pids(pid), query from pg_stat_activity) and end that session.'
      } Nothing is lost: batches are parked.`,
      ...(vitals?.blockers.length ? { evidence: lockTree(vitals) } : {}),
    }),
    'No table is locked against writes.',
  )
}

/** Of the state table: known also while the database is away. */
export const tableChecks: Judges<Observation> = { 'table-locked': tableLocked }
