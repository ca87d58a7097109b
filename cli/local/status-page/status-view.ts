// What the status page shows, as data: the page is a pure function of it.

import type { HealthReport } from '../../../shared/health/report.ts'
import type { CollectorName } from '../../../shared/names.ts'
import type { CollectorView } from '../../local-run.ts'

/** One look, at most every few seconds. Null: not known at that time, drawn as a gap and never as 0. */
export type Look = {
  readonly atMs: number
  readonly parked: number | null
  readonly isOpen: boolean | null
  readonly queryMs: number | null
  readonly lockWaitMs: number | null
  readonly connectionsUsed: number | null
}

export type CircuitChange = { readonly atMs: number; readonly kind: 'opened' | 'closed'; readonly reason: string | null }

export type SentAlert = { readonly atMs: number; readonly subject: string }

export type StatusView = {
  /** Such as `tokay-dev`. */
  readonly system: string
  /** Such as `simulator, Postgres at 127.0.0.1:5433 (embedded)`. */
  readonly place: string
  readonly nowMs: number
  readonly startedAtMs: number
  readonly report: HealthReport | undefined
  readonly collectors: Readonly<
    Record<CollectorName, CollectorView & { readonly everyMinutes: number; readonly lastSuccessAtMs: number | null }>
  >
  /** Oldest first, of the last hour. */
  readonly looks: readonly Look[]
  /** The last sixty minutes, oldest first: up, down, or nobody looked. */
  readonly minutes: readonly { readonly atMs: number; readonly isUp: boolean | null }[]
  readonly circuitChanges: readonly CircuitChange[]
  /** Newest first. */
  readonly alerts: readonly SentAlert[]
}
