// What the answers of one pipeline mean, and what pg's errors look like as a DatabaseError. No I/O here.
// COMMIT is on its way before the first answer is seen, so a lost connection is always an unknown outcome, even with no answer at all.

import { connectAdvice } from './connect-advice.ts'
import { DatabaseError, type Applied, type Rows } from './database.ts'

/** Codes of our own beside Node's, in the errno field. */
export const ownErrno = {
  /** Every connection of this process was in use by itself. Says nothing about the database. */
  poolExhausted: 'POOL_EXHAUSTED',
  /** No connection within connectForMs (or wakeForMs). */
  connectTimeout: 'CONNECT_TIMEOUT',
  /** Sent, and not answered within attemptForMs. */
  attemptTimeout: 'ATTEMPT_TIMEOUT',
  /** Bytes that pg can't read as an answer: the connection was closed. */
  brokenAnswer: 'BROKEN_ANSWER',
  /** COMMIT succeeded although a statement failed: pg failed on this side (an encoding, a row's parser): a bug. */
  partialCommit: 'PARTIAL_COMMIT',
} as const

/** The fields of pg's errors that are read here: a server's answer has code and severity, Node's has code only, pg's own has neither. */
type DriverError = {
  readonly message?: unknown
  readonly code?: unknown
  readonly severity?: unknown
  readonly routine?: unknown
}

export type Answer = PromiseSettledResult<{ readonly command: string; readonly rows: Rows }>

/** `quiet`: COMMIT was answered, so no answer is outstanding. A rejected COMMIT rejects before its ReadyForQuery. */
export type Verdict =
  | { readonly kind: 'committed'; readonly rows: readonly Rows[]; readonly quiet: true }
  | { readonly kind: 'failed'; readonly error: DatabaseError; readonly quiet: boolean }

/**
 * Judges all answers of `begin, settings, …statements, commit`. The first failure is the one to report: those behind it are its echoes (25P02).
 * @param names of every statement, in order
 * @param sent.expiredAfterMs set when our own timer destroyed the connection
 * @param sent.commitSent false: a step before COMMIT has failed, the rest was not sent, and the last answer is ROLLBACK's
 */
export function judgePipeline(
  names: readonly string[],
  answers: readonly Answer[],
  { expiredAfterMs, commitSent = true }: { expiredAfterMs?: number; commitSent?: boolean } = {},
): Verdict {
  const bad = answers.findIndex((answer) => answer.status === 'rejected')
  const commit = answers.at(-1)
  const quiet = commit?.status === 'fulfilled'
  const committed = quiet && commit.value.command === 'COMMIT'
  if (bad === -1 && committed) {
    const rows = answers.slice(2, -1).map((answer) => (answer.status === 'fulfilled' ? answer.value.rows : []))
    return { kind: 'committed', rows, quiet: true }
  }
  const statement = names[bad === -1 ? names.length - 1 : bad] ?? 'commit'
  if (bad === -1) {
    const error = new DatabaseError(`${statement}: the server answered ${commitTag(commit)} instead of COMMIT`, {
      statement,
      applied: 'refused',
    })
    return { kind: 'failed', error, quiet }
  }
  const reasons = answers.map((answer) => (answer.status === 'rejected' ? (answer.reason as unknown) : undefined))
  const cause = reasons[bad]
  // A BEGIN that failed alone leaves what is behind it to commit statement by statement: COMMIT then answers as if nothing had happened.
  if (committed && bad > 0) {
    const error = new DatabaseError(`${statement} failed on this side, and the server committed the rest: ${textOf(cause)}`, {
      statement,
      applied: 'unknown',
      errno: ownErrno.partialCommit,
      cause,
    })
    return { kind: 'failed', error, quiet }
  }
  const failure = failureOf(statement, cause, commitSent ? appliedAfter(bad, reasons) : 'refused')
  if (expiredAfterMs === undefined || failure.sqlState !== undefined) return { kind: 'failed', error: failure, quiet }
  const error = new DatabaseError(
    `${statement}: no answer within ${expiredAfterMs} ms; the connection was closed, ${failure.applied === 'unknown' ? 'it may have been applied' : 'it was not applied'}`,
    {
      statement,
      applied: failure.applied,
      errno: ownErrno.attemptTimeout,
      cause,
    },
  )
  return { kind: 'failed', error, quiet }
}

/** One failure of pg as a DatabaseError. The server's own words are kept, except where they quote a row's value. */
export function failureOf(statement: string, cause: unknown, applied: Applied): DatabaseError {
  const { code, severity, routine } = cause as DriverError
  const answered = isServerAnswer(cause)
  const sqlState = answered ? (code as string) : undefined
  // class 22 quotes the value: invalid input syntax for type numeric: "…"
  const said = sqlState?.startsWith('22') ? 'the server refused a value' : textOf(cause)
  const errno = !answered && typeof code === 'string' ? code : undefined
  const todo = statement === 'connect' ? connectAdvice({ message: said, errno, sqlState }) : undefined
  const words = `${said.startsWith(`${statement} `) ? '' : `${statement}: `}${said}${sqlState ? ` (${sqlState})` : ''}`
  return new DatabaseError(`${words}${todo ? `; ${todo}` : ''}`, {
    statement,
    applied: notSent.test(textOf(cause)) && !answered ? 'not-sent' : applied,
    sqlState,
    errno,
    severity: answered ? (severity as string) : undefined,
    routine: answered && typeof routine === 'string' ? routine : undefined,
    cause,
  })
}

/** FATAL and PANIC end the connection with whatever was in flight; they say nothing about statements behind. */
export const isFatal = (error: DatabaseError) => error.severity === 'FATAL' || error.severity === 'PANIC'

/** pg refuses the call before it writes a byte. */
const notSent = /is not queryable$|^Cannot use a pool after calling end/

const isServerAnswer = (error: unknown): boolean => {
  const { code, severity } = error as DriverError
  return typeof code === 'string' && code.length === 5 && typeof severity === 'string'
}

/** The server itself says that it does not know whether the transaction was completed. */
const completionUnknown = new Set(['40003', '08007'])

/** Refused only if the server answered a non-fatal ERROR behind a good BEGIN: the COMMIT behind it can only be a ROLLBACK. */
function appliedAfter(bad: number, reasons: readonly unknown[]): Applied {
  const errors = reasons.filter((reason) => reason !== undefined).map((reason) => reason as DriverError)
  if (errors.some((e) => completionUnknown.has(String(e.code)))) return 'unknown'
  return bad > 0 && errors.some((e) => isServerAnswer(e) && e.severity !== 'FATAL' && e.severity !== 'PANIC') ? 'refused' : 'unknown'
}

const commitTag = (commit: Answer | undefined) => (commit?.status === 'fulfilled' ? commit.value.command : 'nothing')

function textOf(error: unknown): string {
  const { message, code } = error as DriverError
  // a connect to a name with two addresses fails with an AggregateError: its message is empty, its code is the first error's
  return typeof message === 'string' && message !== '' ? message : `failed with ${String(code ?? 'no message')}`
}
