// When to tell somebody. Pure: (what was told, what is true now) -> what to tell. Critical findings only; one message when the first appears,
// one when none is left and nothing is parked any more.
//
//   quiet --a critical finding--> alerting (message) --still critical, or parked--> alerting --healthy--> quiet (recovery message)
//
// The outbox is part of the state: a message is decided and stored before it is sent, under a lease. While that lasts its sender is alone with it,
// however many checks run at once; a sender that crashes leaves it to whoever comes after its end.

import type { Decision } from '../state/state-table.ts'
import type { Assessment } from './assess.ts'
import type { AlertMessage } from './notifier.ts'

/** Decided, not yet known to be sent. */
export type Pending = { readonly message: AlertMessage; readonly leaseUntilMs: number }

export type AlertState = {
  /** When the first critical finding was seen; null while quiet. */
  readonly alertingSinceMs: number | null
  readonly outbox: readonly Pending[]
}

export const quiet: AlertState = { alertingSinceMs: null, outbox: [] }

/** Longer than sending takes with its retries, shorter than the health check's tick: the next one finishes. */
const sendForMs = 30_000

/** Puts what is to be told into the outbox; the result is what the caller has to send now, and nobody else does. */
export function decideAlerts(
  state: AlertState = quiet,
  now: { assessment: Assessment; nowMs: number; system: string },
): Decision<AlertState, readonly AlertMessage[]> {
  const { alertingSinceMs, fresh } = turn(state.alertingSinceMs, now)
  const { nowMs } = now
  const taken = (message: AlertMessage): Pending => ({ message, leaseUntilMs: nowMs + sendForMs })
  const free = state.outbox.filter((pending) => !isLive(pending, nowMs))
  const outbox = [...state.outbox.map((p) => (free.includes(p) ? taken(p.message) : p)), ...fresh.map(taken)]
  const result = [...free.map((p) => p.message), ...fresh]
  return { data: result.length > 0 ? { alertingSinceMs, outbox } : undefined, result }
}

/** Takes sent messages out. */
export function markSent(state: AlertState = quiet, sent: readonly AlertMessage[]): Decision<AlertState, void> {
  const texts = new Set(sent.map((m) => m.email))
  return { data: { ...state, outbox: state.outbox.filter(({ message }) => !texts.has(message.email)) }, result: undefined }
}

/** A lease that ends later than any sender could have asked was taken before the clock jumped back. */
const isLive = ({ leaseUntilMs }: Pending, nowMs: number) => leaseUntilMs > nowMs && leaseUntilMs - nowMs <= 2 * sendForMs

function turn(
  sinceMs: number | null,
  { assessment, nowMs, system }: { assessment: Assessment; nowMs: number; system: string },
): { alertingSinceMs: number | null; fresh: readonly AlertMessage[] } {
  const worst = assessment.findings.find((f) => f.severity === 'critical')
  if (sinceMs === null && worst) return { alertingSinceMs: nowMs, fresh: [alarm(system, assessment, worst.check, nowMs)] }
  if (sinceMs !== null && assessment.status === 'healthy') return { alertingSinceMs: null, fresh: [recovery(system, nowMs - sinceMs)] }
  return { alertingSinceMs: sinceMs, fresh: [] }
}

function alarm(system: string, { findings }: Assessment, check: string, nowMs: number): AlertMessage {
  const title = check.replaceAll('-', ' ')
  const lines = findings.flatMap((f) => [`- ${f.message}`, `  Do: ${f.action}`])
  return {
    severity: 'critical',
    subject: `[CRITICAL] ${system}: ${title}`,
    email: [`${system}: ${title}, since ${new Date(nowMs).toISOString()}.`, '', ...lines].join('\n'),
    sms: `CRIT ${system}: ${title}. Writes are parked, nothing is lost. Check Postgres.`,
  }
}

function recovery(system: string, forMs: number): AlertMessage {
  const lasted = forMs < 120_000 ? `${Math.round(forMs / 1000)} s` : `${Math.round(forMs / 60_000)} min`
  return {
    severity: 'critical', // the phone that was woken is told as well
    subject: `[RECOVERED] ${system}: healthy again after ${lasted}`,
    email: `${system}: the database answers and no write waits any more. It lasted ${lasted}.`,
    sms: `OK ${system}: healthy again after ${lasted}. No write waits any more.`,
  }
}
