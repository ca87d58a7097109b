// Which failing check explains which others. One fault is one finding: what follows from it is shown, and says from what, but is told by nobody and
// decides nothing.

import { type Check, rankOf, type Severity } from '../check.ts'

type Rule = {
  readonly by: string
  /** From this severity on it explains others. */
  readonly from: Severity
  readonly mutes: (check: Check) => boolean
  /** Also what is worse than itself. Else a warning would hide something critical. */
  readonly always?: boolean
}

const anyOf =
  (...ids: readonly string[]) =>
  ({ id }: Check) =>
    ids.includes(id)

/** What is known without the database, and is not its doing. */
const ownTrouble = new Set(['connect', 'state-table', 'alert-path', 'api-budget', 'collector-cooldown', 'parked-queue'])
const latencies = ['connect-latency', 'simple-query', 'query-latency']
const failedOperations = ['error-rate', 'success-rate', 'error-budget', 'availability', 'reconnections', 'rollbacks', 'lock-retry-rate']

/** The first rule that fits a check names what explains it. */
const rules: readonly Rule[] = [
  { by: 'connect', from: 'critical', mutes: ({ id }) => !ownTrouble.has(id), always: true },
  // it is why the circuit has opened
  { by: 'read-only', from: 'critical', mutes: anyOf('circuit') },
  { by: 'connections', from: 'critical', mutes: anyOf('circuit') },
  { by: 'circuit', from: 'critical', mutes: anyOf(...failedOperations, ...latencies, 'freshness', 'parked', 'writes-refused') },
  { by: 'restart', from: 'info', mutes: anyOf(...latencies), always: true },
  { by: 'connections', from: 'warning', mutes: anyOf(...latencies) },
  { by: 'writes-refused', from: 'critical', mutes: anyOf('parked', 'rollbacks', 'error-rate', 'success-rate', 'error-budget') },
  { by: 'table-locked', from: 'warning', mutes: anyOf('lock-wait', 'parked') },
  ...['table-locked', 'lock-wait'].map((by) => ({
    by,
    from: 'warning' as const,
    mutes: anyOf('idle-transaction', 'long-transaction', 'long-query', 'prepared-transactions', ...latencies, ...failedOperations),
  })),
  { by: 'aborted-transaction', from: 'warning', mutes: anyOf('idle-transaction', 'long-transaction') },
  { by: 'idle-transaction', from: 'warning', mutes: anyOf('long-transaction', 'xmin-horizon') },
  { by: 'long-transaction', from: 'warning', mutes: anyOf('long-query', 'xmin-horizon') },
  { by: 'error-rate', from: 'critical', mutes: anyOf('success-rate', 'error-budget', 'rollbacks', 'reconnections', 'lock-retry-rate') },
  { by: 'success-rate', from: 'critical', mutes: anyOf('error-budget') },
  { by: 'database-size', from: 'warning', mutes: anyOf('days-to-full') },
]

/** A check that is ok needs no explanation. What connecting explains is unknown, whatever it says. */
export function inhibit(checks: readonly Check[]): readonly Check[] {
  const worst = new Map<string, number>()
  for (const { id, severity } of checks) worst.set(id, Math.max(worst.get(id) ?? 0, rankOf(severity)))
  const isUnreachable = worst.get('connect') === rankOf('critical')
  return checks.map((check) => {
    if (!isUnreachable && (check.severity === 'ok' || check.severity === 'skipped')) return check
    const rule = rules.find(({ by, from, mutes, always }) => {
      const rank = worst.get(by) ?? 0
      return rank >= rankOf(from) && by !== check.id && mutes(check) && (always || rank >= rankOf(check.severity))
    })
    return rule ? { ...check, inhibitedBy: rule.by } : check
  })
}
