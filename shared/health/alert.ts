// When to tell somebody. Pure: (what was told, what is true now) -> what to tell. Critical findings only; one message when the first appears,
// one when none is left and nothing is parked any more. The outbox is part of the state: it is decided and stored before it is sent, so
// whoever comes next finishes what a crash left.
//
//   quiet --a critical finding--> alerting (message) --still critical, or parked--> alerting --healthy--> quiet (recovery message)

import type { Decision } from '../state/state-table.ts'
import type { Assessment } from './assess.ts'
import type { AlertMessage } from './notifier.ts'

export type AlertState = {
  /** When the first critical finding was seen; null while quiet. */
  readonly alertingSinceMs: number | null
  /** Decided, not yet known to be sent. */
  readonly outbox: readonly AlertMessage[]
}

export const quiet: AlertState = { alertingSinceMs: null, outbox: [] }

/** Puts what is to be told into the outbox; the result is everything that has to be sent now. */
export function decideAlerts(
  state: AlertState = quiet,
  now: { assessment: Assessment; nowMs: number; system: string },
): Decision<AlertState, readonly AlertMessage[]> {
  const { assessment, nowMs, system } = now
  const worst = assessment.findings.find((f) => f.severity === 'critical')
  if (state.alertingSinceMs === null && worst) {
    const outbox = [...state.outbox, alarm(system, assessment, worst.check, nowMs)]
    return { data: { alertingSinceMs: nowMs, outbox }, result: outbox }
  }
  if (state.alertingSinceMs !== null && assessment.status === 'healthy') {
    const outbox = [...state.outbox, recovery(system, nowMs - state.alertingSinceMs)]
    return { data: { alertingSinceMs: null, outbox }, result: outbox }
  }
  return { data: undefined, result: state.outbox }
}

/** Takes sent messages out. */
export function markSent(state: AlertState = quiet, sent: readonly AlertMessage[]): Decision<AlertState, void> {
  const texts = new Set(sent.map((m) => m.email))
  return { data: { ...state, outbox: state.outbox.filter((m) => !texts.has(m.email)) }, result: undefined }
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
