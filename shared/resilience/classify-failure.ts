// What a database failure means: one table from evidence to class, one from class to what is done about it. Both are data.
//
// Every SQLSTATE of PostgreSQL 14 to 18 has exactly one class; a code that no rule names falls to its two-character prefix. What nothing
// matches is `unknown`: a failure of the dependency, so the rows are kept and wait. Only `data` makes rows bad.
// pg's own errors have no code, and Neon's carry status and cause in the text alone: for those the message is matched, here and nowhere else.

import type { Applied } from '../db/database.ts'
import type { RetryRule } from './retry-policy.ts'

export type FailurePolicy = {
  readonly retry: RetryRule
  /** The breaker that it counts against: the whole database's, or that of the one table it happened on. */
  readonly counts: 'database' | 'stream' | 'none'
  /** The server answered something that is not about its availability: it is there. A probe that meets this closes the breaker. */
  readonly signOfLife: boolean
  /** park: the rows are good and wait. quarantine: a row is bad; the caller bisects, keeps it apart with the reason, and writes the rest. */
  readonly keeps: 'park' | 'quarantine'
  /** A person has to do something: it does not pass by itself. */
  readonly alert: boolean
}

export const failurePolicies = {
  /** The way to the server: refused, reset, name not found, hung up. */
  connection: { retry: 'transient', counts: 'database', signOfLife: false, keeps: 'park', alert: false },
  /** Sent and not answered in time: a black hole, a stopped server, an overloaded one. */
  unanswered: { retry: 'transient', counts: 'database', signOfLife: false, keeps: 'park', alert: false },
  /** It says that it is starting, stopping, recovering or waking. */
  unavailable: { retry: 'transient', counts: 'database', signOfLife: false, keeps: 'park', alert: false },
  /** A standby, or a former primary: the pool is replaced and the name resolved again. */
  'read-only': { retry: 'transient', counts: 'database', signOfLife: false, keeps: 'park', alert: false },
  /** No connection to be had: its limit, or a pooler's. */
  saturated: { retry: 'transient', counts: 'database', signOfLife: false, keeps: 'park', alert: false },
  /** Out of memory or of a configured limit. */
  resources: { retry: 'transient', counts: 'database', signOfLife: false, keeps: 'park', alert: false },
  /** Disk full or failing: quick retries only add to it. */
  disk: { retry: 'never', counts: 'database', signOfLife: false, keeps: 'park', alert: true },
  /** statement_timeout or transaction_timeout. */
  slow: { retry: 'once', counts: 'database', signOfLife: false, keeps: 'park', alert: false },
  /** An error inside the server. Poolers and Neon's proxy report passing trouble this way, too. */
  internal: { retry: 'once', counts: 'database', signOfLife: false, keeps: 'park', alert: true },
  /** Corrupted data or index. */
  corrupted: { retry: 'never', counts: 'database', signOfLife: false, keeps: 'park', alert: true },
  /** Serialization failure, deadlock: another transaction won. */
  contention: { retry: 'contention', counts: 'stream', signOfLife: true, keeps: 'park', alert: false },
  /** lock_timeout. */
  'lock-timeout': { retry: 'lock', counts: 'stream', signOfLife: true, keeps: 'park', alert: false },
  /** This batch's own earlier attempt still runs and holds its entry in the ledger: no contention, it ends by itself. */
  'earlier-attempt': { retry: 'contention', counts: 'none', signOfLife: true, keeps: 'park', alert: false },
  /** Somebody cancelled the statement. */
  cancelled: { retry: 'once', counts: 'none', signOfLife: true, keeps: 'park', alert: false },
  /** The session or an object was not in the state that the statement needs; a new connection has what this one lacked. */
  session: { retry: 'once', counts: 'none', signOfLife: true, keeps: 'park', alert: false },
  /** Address, credentials, TLS, database name, an endpoint that was switched off. */
  config: { retry: 'never', counts: 'none', signOfLife: false, keeps: 'park', alert: true },
  /** A privilege is missing. */
  permission: { retry: 'never', counts: 'none', signOfLife: true, keeps: 'park', alert: true },
  /** Statement and schema don't fit: a migration is missing, or the SQL is wrong. */
  schema: { retry: 'never', counts: 'none', signOfLife: true, keeps: 'park', alert: true },
  /** The rows' day has no partition yet: ensure it and write again. */
  'missing-partition': { retry: 'never', counts: 'none', signOfLife: true, keeps: 'park', alert: false },
  /** The batch is too large for a limit of the server: halve it. */
  'too-large': { retry: 'never', counts: 'none', signOfLife: true, keeps: 'park', alert: true },
  /** A row is refused. */
  data: { retry: 'never', counts: 'none', signOfLife: true, keeps: 'quarantine', alert: false },
  /** Our own process ran out of connections, files or ports. Says nothing about the database. */
  'own-limit': { retry: 'transient', counts: 'none', signOfLife: false, keeps: 'park', alert: true },
  /** Can only be a mistake in this program. */
  bug: { retry: 'never', counts: 'none', signOfLife: false, keeps: 'park', alert: true },
  /** Not known: treated as trouble of the database, so nothing is lost. */
  unknown: { retry: 'once', counts: 'database', signOfLife: false, keeps: 'park', alert: true },
} as const satisfies Record<string, FailurePolicy>

export type FailureClass = keyof typeof failurePolicies

export type Failure = FailurePolicy & {
  readonly class: FailureClass
  /** Whether the failed attempt may have changed rows. */
  readonly applied: Applied
}

export type FailureRule = {
  readonly class: FailureClass
  /** Whole SQLSTATEs, or prefixes of two characters. */
  readonly sqlStates?: readonly string[]
  readonly errno?: RegExp
  readonly httpStatus?: readonly number[]
  /** These must match as well, where given. */
  readonly routine?: string
  readonly severity?: string
  readonly statement?: RegExp
  readonly message?: RegExp
}

/** The first rule that matches decides. Rules with a condition beside the code stand first, then whole codes, then prefixes. */
export const failureRules: readonly FailureRule[] = [
  // one code, several meanings
  // before any of the caller's statements: what is wrong is a setting or the URL's options, and no row
  { class: 'config', sqlStates: ['22', '42704'], statement: /^(?:connect|settings)$/ },
  { class: 'missing-partition', sqlStates: ['23514'], routine: 'ExecFindPartition' },
  { class: 'read-only', sqlStates: ['0A000'], message: /recovery/i },
  { class: 'session', sqlStates: ['0A000'], message: /cached plan must not change/i },
  { class: 'cancelled', sqlStates: ['57014'], message: /user request/i },
  // A pooler says nearly everything under one code, and passes on under it what the server said when it could not log in there itself.
  // Every ending of a pooler is FATAL; an ERROR with this code is the server's, about our own messages.
  {
    class: 'config',
    sqlStates: ['08P01'],
    message:
      /authentication failed|auth failed|no such (?:user|database)|no pg_hba|does not exist|not permitted|is disabled|unsupported startup parameter|(?:SSL|TLS connection|certificate) required/i,
  },
  {
    class: 'saturated',
    sqlStates: ['XX000', '08P01'],
    message:
      /max client connections|no more connections allowed|max_client_conn|query_wait_timeout|too many (?:clients|connections)|connection slots are reserved/i,
  },
  {
    class: 'unavailable',
    sqlStates: ['08P01'],
    message: /server_login_retry|server login has been failing|client_login_timeout|cannot connect to server|shutting down|starting up/i,
  },
  { class: 'slow', sqlStates: ['08P01'], message: /query timeout|query_timeout/i },
  { class: 'session', sqlStates: ['08P01'], message: /prepared statement (?:did not exist|name is already in use)/i },
  { class: 'connection', sqlStates: ['08P01'], message: /connection was terminated/i },
  { class: 'connection', sqlStates: ['08P01'], severity: 'FATAL' },

  // whole codes
  { class: 'connection', sqlStates: ['40003'] },
  { class: 'bug', sqlStates: ['08P01'] },
  { class: 'read-only', sqlStates: ['25006'] },
  { class: 'slow', sqlStates: ['57014', '25P04'] },
  { class: 'config', sqlStates: ['57P04', '3D000', '0P000'] },
  { class: 'session', sqlStates: ['57P05', '72000'] },
  // a pooler has given this transaction another session than the one that knows the statement
  { class: 'session', sqlStates: ['42P05'] },
  { class: 'saturated', sqlStates: ['53300'] },
  { class: 'disk', sqlStates: ['53100', '58030'] },
  { class: 'lock-timeout', sqlStates: ['55P03'] },
  { class: 'earlier-attempt', sqlStates: ['TK002'] },
  { class: 'config', sqlStates: ['55P02'] },
  { class: 'schema', sqlStates: ['55P04'] },
  { class: 'permission', sqlStates: ['42501', '0LP01', '0L000'] },
  { class: 'corrupted', sqlStates: ['XX001', 'XX002'] },

  // classes of codes
  { class: 'connection', sqlStates: ['08'] },
  { class: 'data', sqlStates: ['21', '22', '23'] },
  { class: 'session', sqlStates: ['0B', '24', '25', '26', '2D', '34', '3B', '55'] },
  { class: 'config', sqlStates: ['28', '3F'] },
  { class: 'contention', sqlStates: ['40'] },
  { class: 'resources', sqlStates: ['53'] },
  { class: 'too-large', sqlStates: ['54'] },
  { class: 'unavailable', sqlStates: ['57'] },
  { class: 'internal', sqlStates: ['58', 'F0', 'XX'] },
  { class: 'schema', sqlStates: ['09', '0A', '0F', '0Z', '10', '20', '27', '2B', '2F', '38', '39', '42', '44', 'HV', 'P0'] },
  // success, warning, no data, not yet complete: never seen as an error
  { class: 'unknown', sqlStates: ['00', '01', '02', '03'] },

  // no SQLSTATE: codes of Node, undici and our own adapters
  { class: 'own-limit', errno: /^(?:POOL_EXHAUSTED|EMFILE|ENFILE|EADDRNOTAVAIL|ENOBUFS|ENOMEM)$/ },
  { class: 'bug', errno: /^PARTIAL_COMMIT$/ },
  { class: 'unanswered', errno: /^(?:ATTEMPT_TIMEOUT|UND_ERR_HEADERS_TIMEOUT|UND_ERR_BODY_TIMEOUT)$/ },
  {
    class: 'connection',
    errno: /^(?:CONNECT_TIMEOUT|BROKEN_ANSWER$|ECONN|EAI_|ENOTFOUND$|ETIMEDOUT$|EHOST|ENET|EPIPE$|EPROTO$|ENOENT$|EACCES$|EPERM$)/,
  },
  { class: 'connection', errno: /^(?:UND_ERR_|ERR_SOCKET_|ERR_STREAM_|ERR_TLS_HANDSHAKE_TIMEOUT$)/ },
  { class: 'config', errno: /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_|HOSTNAME_MISMATCH$)/ },

  // Neon over HTTPS: a status, or words of its proxy
  {
    class: 'config',
    message:
      /endpoint is disabled|endpoint cannot be found|endpoint ID is not specified|check your quotas|exceeded the .*quota|password authentication failed|not allowed to connect|blocked network/i,
  },
  { class: 'saturated', message: /too many (?:database )?connections?|failed to acquire permit/i },
  {
    class: 'unavailable',
    message:
      /couldn't connect to compute node|endpoint is idle|waiting for endpoint|control plane request failed|authentication timed out/i,
  },
  // between Neon's proxy and the compute
  { class: 'connection', message: /: (?:connection closed|error communicating with the server\b.*)$/i },
  { class: 'saturated', httpStatus: [429] },
  { class: 'too-large', httpStatus: [413, 507] },
  { class: 'config', httpStatus: [401, 403, 404] },
  { class: 'unanswered', httpStatus: [408, 504] },
  { class: 'unavailable', httpStatus: [500, 502, 503] },

  // pg 8.23.1 and undici without any code
  { class: 'config', message: /SASL|does not support SSL|establishing an SSL|password must be a string|scram/i },
  { class: 'own-limit', message: /timeout exceeded when trying to connect/i },
  { class: 'bug', message: /cannot use a pool after calling end|the pool was closed|received unexpected .* message from backend/i },
  { class: 'unanswered', message: /query read timeout|operation was aborted due to timeout|TimeoutError/i },
  {
    class: 'connection',
    message:
      /connection terminated|timeout expired|is not queryable|fetch failed|other side closed|terminated$|socket hang up|received invalid response/i,
  },
]

/**
 * The class of a failure and what to do about it. Takes whatever was thrown: a DatabaseError, a driver's own error (the migration's), or a
 * mistake of this program. Pure; never throws.
 */
export function classifyFailure(thrown: unknown): Failure {
  const evidence = evidenceOf(thrown)
  const found = ourOwn(evidence) ?? failureRules.find((rule) => matches(rule, evidence))?.class ?? 'unknown'
  return { class: found, ...failurePolicies[found], applied: evidence.applied ?? 'unknown' }
}

type Evidence = {
  readonly name: string | undefined
  readonly message: string
  readonly applied: Applied | undefined
  readonly sqlState: string | undefined
  readonly errno: string | undefined
  readonly routine: string | undefined
  readonly severity: string | undefined
  readonly statement: string | undefined
  readonly httpStatus: number | undefined
}

/** Field by field, and by type: anything can be thrown, and Node's own errno is a number. */
function evidenceOf(thrown: unknown): Evidence {
  const fields = (typeof thrown === 'object' && thrown !== null ? thrown : { message: String(thrown) }) as Readonly<Record<string, unknown>>
  const text = (field: string) => (typeof fields[field] === 'string' ? fields[field] : undefined)
  // where drivers put both; only a server's answer has a severity (EPIPE has five characters, too)
  const code = text('code')
  const fromServer = text('severity') !== undefined
  return {
    name: text('name'),
    message: text('message') ?? '',
    applied: text('applied') as Applied | undefined,
    sqlState: text('sqlState') ?? (fromServer ? code : undefined),
    errno: text('errno') ?? (fromServer ? undefined : code),
    routine: text('routine'),
    severity: text('severity'),
    statement: text('statement'),
    httpStatus: typeof fields['httpStatus'] === 'number' ? fields['httpStatus'] : undefined,
  }
}

/** Thrown on our side of the port, before anything was sent. */
function ourOwn({ name, sqlState, errno }: Evidence): FailureClass | undefined {
  if (sqlState !== undefined || errno !== undefined) return undefined
  if (name === 'ConfigError') return 'config'
  return name === 'TypeError' || name === 'RangeError' || name === 'ReferenceError' ? 'bug' : undefined
}

/** A SQLSTATE is the server's own word: errnos, statuses and bare messages speak only where there is none. */
function matches(rule: FailureRule, { sqlState, errno, routine, severity, statement, httpStatus, message }: Evidence): boolean {
  if (rule.message !== undefined && !rule.message.test(message)) return false
  if (rule.routine !== undefined && rule.routine !== routine) return false
  if (rule.severity !== undefined && rule.severity !== severity) return false
  if (rule.statement !== undefined && !rule.statement.test(statement ?? '')) return false
  if (sqlState !== undefined)
    return rule.sqlStates?.some((code) => (code.length === 2 ? sqlState.startsWith(code) : sqlState === code)) ?? false
  if (rule.sqlStates !== undefined) return false
  if (rule.errno !== undefined) return errno !== undefined && rule.errno.test(errno)
  if (rule.httpStatus !== undefined) return httpStatus !== undefined && rule.httpStatus.includes(httpStatus)
  return true
}
