// What Neon's proxy answers when it fails, and a request that got no answer, as a DatabaseError. No I/O here.
//
//   400, a SQLSTATE and a severity   Postgres' own word
//   400 or 500, an empty code        the proxy's: it could not reach, wake or log into the compute; or the compute was lost in mid-flight
//   another status                   the proxy, or a balancer before it, about the request as such
//   no answer                        before the connection stood: nothing was sent. After: nobody knows
//
// The proxy runs a batch step by step and says COMMIT only behind a good answer to each, so an ERROR always means that nothing is applied.

import { DatabaseError, type Applied } from './database.ts'
import { ownErrno } from './pg-failure.ts'

export type HttpAnswer = { readonly status: number; readonly text: string }

/** What the proxy says before it has sent anything to Postgres. All of these come without a SQLSTATE. */
const neverRun =
  /control plane request failed|couldn't connect to compute|password authentication failed|endpoint (?:is (?:idle|disabled)|cannot be found|ID is not specified)|waiting for endpoint|quota|too many (?:database )?connections?|failed to acquire permit|not allowed to connect|blocked network|authentication timed out|request is too large|could not (?:read|parse) the HTTP request body|invalid (?:isolation level|connection string|hostname|username|database name)|missing (?:authentication credentials|hostname|username|database name)/i

/** Refused as a request, or rolled back: 507 is an answer that grew too large. */
const refusedStatus = new Set([401, 403, 404, 413, 429, 507])

/** Only while a session starts. */
const startupState = /^(?:28|3D000$|53300$|57P03$)/

const completionUnknown = new Set(['40003', '08007'])

const passwordRefused = '28P01'

/** An answer that is not 200. `statements`: their names; the proxy does not say which one failed. */
export function failureOfAnswer(statements: string, answer: HttpAnswer): DatabaseError {
  const { status } = answer
  const said = fieldsOf(answer)
  // its own words for a wrong password, without the code that Postgres gives them
  const sqlState = said.code ?? (/password authentication failed/i.test(said.message) ? passwordRefused : undefined)
  const isFatal = said.severity === 'FATAL' || said.severity === 'PANIC'
  const applied = appliedAfter({ status, sqlState, isFatal, isServers: said.severity !== undefined, message: said.message })
  const statement = applied === 'not-sent' ? 'connect' : statements
  // class 22 quotes the value: invalid input syntax for type numeric: "…"
  const message = sqlState?.startsWith('22') ? 'the server refused a value' : said.message
  const evidence = [sqlState, status === 400 ? undefined : `HTTP ${status}`].filter((part) => part !== undefined)
  return new DatabaseError(`${statement}: ${message}${evidence.length > 0 ? ` (${evidence.join(', ')})` : ''}`, {
    statement,
    applied,
    sqlState,
    severity: said.severity,
    routine: said.routine,
    httpStatus: status,
  })
}

/** `reached`: the connection stood, so bytes may have left. `cause`: Node's error, or a DatabaseError's errno and words in the same fields. */
export function failureOfRequest(statements: string, cause: Error & { code?: unknown }, reached: boolean): DatabaseError {
  const statement = reached ? statements : 'connect'
  const code = typeof cause.code === 'string' ? cause.code : undefined
  // an AggregateError, of a name with two addresses, has a code and no message
  const said = cause.message === '' ? `failed with ${code ?? 'no message'}` : cause.message
  return new DatabaseError(said.startsWith(`${statement} `) ? said : `${statement}: ${said}`, {
    statement,
    applied: reached ? 'unknown' : 'not-sent',
    errno: code,
    cause,
  })
}

/** Nothing came back in time. */
export function unansweredWithin(statements: string, forMs: number): DatabaseError {
  return new DatabaseError(`${statements}: no answer within ${forMs} ms; the connection was closed, it may have been applied`, {
    statement: statements,
    applied: 'unknown',
    errno: ownErrno.attemptTimeout,
  })
}

/** As the proxy says it of what passes its own limits, so that the caller halves the batch. */
export function tooLarge(statements: string, what: 'request' | 'answer', bytes: number, limit: number): DatabaseError {
  const [status, applied] = what === 'request' ? ([413, 'not-sent'] as const) : ([507, 'unknown'] as const)
  return new DatabaseError(
    `${statements}: the ${what} is ${what === 'request' ? `${bytes} bytes` : `over ${bytes} bytes`}; ${limit} are the most over HTTPS. ${what === 'request' ? 'Write fewer rows at once' : 'Ask for fewer rows'}`,
    { statement: statements, applied, httpStatus: status },
  )
}

function appliedAfter(said: {
  status: number
  sqlState: string | undefined
  isFatal: boolean
  isServers: boolean
  message: string
}): Applied {
  const { sqlState } = said
  if (sqlState === passwordRefused && !said.isServers) return 'not-sent'
  if (sqlState === undefined) {
    if (neverRun.test(said.message)) return 'not-sent'
    return refusedStatus.has(said.status) ? 'refused' : 'unknown'
  }
  if (said.isFatal) return startupState.test(sqlState) ? 'not-sent' : 'unknown'
  return said.isServers && !completionUnknown.has(sqlState) ? 'refused' : 'unknown'
}

type Said = { readonly message: string; readonly code?: string; readonly severity?: string; readonly routine?: string }

/** Enough of a balancer's page to know it by. */
const pageChars = 200

function fieldsOf({ text }: HttpAnswer): Said {
  const page = text
    .replaceAll(/<[^>]*>|\s+/g, ' ')
    .trim()
    .slice(0, pageChars)
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    parsed = undefined // a balancer's page: shown as it is
  }
  if (typeof parsed !== 'object' || parsed === null) return { message: page || 'no words' }
  const fields = parsed as Readonly<Record<string, unknown>>
  const word = (field: string) => (typeof fields[field] === 'string' && fields[field] !== '' ? fields[field] : undefined)
  const [code, severity, routine] = [word('code'), word('severity'), word('routine')]
  return {
    message: word('message') ?? word('msg') ?? (page || 'no words'),
    ...(code === undefined ? {} : { code }),
    ...(severity === undefined ? {} : { severity }),
    ...(routine === undefined ? {} : { routine }),
  }
}
