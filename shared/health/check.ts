// A check's result as data. `assess` makes a list of them; the report, the alerts, the metrics, the page and the commands all read the same list.
//
// Each id that was looked at is in the list: as one row `ok` when there is nothing to find, else with a row for each subject that was found.
// So a finding whose id is there, not skipped, and which is missing itself, is over. One whose id is `skipped` or inhibited is unknown: it stays
// as it was.

/**
 * `ok` is a claim: it was looked at and is well. What could not be looked at is `skipped`, and never counts as well.
 * `info` is worth reading and wakes nobody.
 */
export type Severity = 'ok' | 'info' | 'warning' | 'critical' | 'skipped'

const ranks: Readonly<Record<Severity, number>> = { critical: 4, warning: 3, info: 2, skipped: 1, ok: 0 }
/** Higher is worse; what nobody could look at is worse than well. */
export const rankOf = (severity: Severity) => ranks[severity]

export type Unit = 'ms' | 's' | '%' | 'bytes' | 'days' | 'count'

/** How many of the last observations must be bad before it is told: 3 of 5 for what one lost packet can cause, 1 of 1 for what is certain. */
export type Hold = { readonly bad: number; readonly of: number }

export type Check = {
  /** Stable, in kebab-case, such as `lock-wait`. */
  readonly id: string
  /** What of it: a table, a collector, an index. Absent when there is only one. Id and subject together name a finding over its life. */
  readonly subject?: string
  readonly severity: Severity
  readonly value: number | string | null
  readonly unit?: Unit
  /** The bounds that were applied. */
  readonly limits?: { readonly warning?: number; readonly critical?: number }
  /** One sentence: what is true. */
  readonly message: string
  /** What to do now. Present whenever the severity is above `ok`, and says why when skipped. */
  readonly action?: string
  /** A few lines: top applications, the tree of locks, SQL to run. Never run by us. */
  readonly evidence?: readonly string[]
  readonly hold: Hold
  /** It is below the bound at which it may be called over (0.8 of the threshold): between the two an alert neither starts nor ends. */
  readonly isClear: boolean
  /** Id of the check whose failing explains this one: shown, never told by itself, and no part of the status. */
  readonly inhibitedBy?: string
}

/** Holds of what is certain at once, and of what a lost packet or one slow second can cause. */
export const atOnce: Hold = { bad: 1, of: 1 }
export const threeOfFive: Hold = { bad: 3, of: 5 }

/** Names a finding over its life; at most once in an assessment. */
export const fingerprintOf = ({ id, subject }: Pick<Check, 'id' | 'subject'>) => (subject === undefined ? id : `${id}:${subject}`)

export type Status = 'healthy' | 'degraded' | 'critical' | 'unknown'

export type Target = {
  /** What was aimed at when Tokay was begun: availability, query time, lock wait, error rate, recovery. */
  readonly name: string
  readonly target: string
  readonly measured: string | null
  readonly isMet: boolean | null
}

export type Assessment = {
  readonly status: Status
  /** One line for people. */
  readonly message: string
  /** 0..100: 100 when nothing is wrong, 0 when the database does not answer or nothing could be looked at. */
  readonly score: number
  /** Worst first. */
  readonly checks: readonly Check[]
  readonly targets: readonly Target[]
}
