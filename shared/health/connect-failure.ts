// Why no connection to the database could be made, and what to do about each. Pure.
// "It does not answer" has a dozen causes that are mended in as many places; the SQLSTATE alone does not tell all of them apart.

import { classifyFailure } from '../resilience/classify-failure.ts'
import type { ConnectFailure } from './observation.ts'

type Evidence = {
  readonly message: string
  readonly name?: string | undefined
  readonly sqlState?: string | undefined
  readonly errno?: string | undefined
  /** The server's source routine: the same in every language of its messages. */
  readonly routine?: string | undefined
  readonly severity?: string | undefined
}

/** Of whatever was thrown by an attempt to connect and ask. Never throws. */
export function connectFailureOf(thrown: unknown): ConnectFailure {
  const evidence: Evidence = thrown instanceof Error ? (thrown as Evidence) : { message: String(thrown) }
  return evidence.sqlState === undefined ? withoutAnswer(evidence, thrown) : answered(evidence.sqlState, evidence, thrown)
}

/** The server, or a pooler before it, said no. */
function answered(sqlState: string, evidence: Evidence, thrown: unknown): ConnectFailure {
  const { message, routine } = evidence
  if (sqlState === '08P01') return fromPooler(evidence) ?? byClass(thrown)
  // the server's own limit, the role's and the database's share one code
  if (sqlState === '53300') {
    const isOwnLimit =
      /^(?:InitializeSessionUserId|CheckMyDatabase)$/.test(routine ?? '') || /too many connections for (?:role|database)/i.test(message)
    return isOwnLimit ? 'role-limit' : 'saturated'
  }
  if (sqlState === '57P03') return /shutting down/i.test(message) ? 'shutting-down' : 'starting'
  if (sqlState === '57P01' || sqlState === '57P02') return 'shutting-down'
  if (sqlState === '3D000' || sqlState === '57P04') return 'no-database'
  if (sqlState.startsWith('28')) return 'auth'
  return byClass(thrown)
}

/** In a pooler's own words, or in those of the server that it could not log in to: it passes them on under its one code. The first that fits. */
const pooled: readonly (readonly [ConnectFailure, RegExp])[] = [
  ['role-limit', /too many connections for (?:role|database)/i],
  ['saturated', /no more connections allowed|max client connections|too many clients|connection slots are reserved/i],
  ['tls', /\b(?:SSL|TLS connection) required|client certificate|certificate authentication failed/i],
  ['auth', /authentication failed|auth failed|no such user|no pg_hba\.conf entry|role ".*" (?:does not exist|is not permitted)/i],
  ['no-database', /no such database|database ".*" does not exist/i],
  ['settings', /unsupported startup parameter/i],
]

function fromPooler({ message, severity }: Evidence): ConnectFailure | undefined {
  const told = pooled.find(([, words]) => words.test(message))?.[0]
  // whatever else ends a connection under this code: waited in vain for a server, lost it, or could not reach it
  return told ?? (severity === 'FATAL' ? 'pooler' : undefined)
}

function withoutAnswer({ message, name, errno = '' }: Evidence, thrown: unknown): ConnectFailure {
  if (name === 'ConfigError' || message.startsWith('no URL to connect to')) return 'settings'
  if (/^(?:ENOTFOUND$|EAI_)/.test(errno)) return 'dns'
  // ENOENT and EACCES: a Unix socket
  if (/^(?:ECONNREFUSED|EHOST|ENET|ENOENT|EACCES)/.test(errno)) return 'refused'
  if (/^(?:CONNECT_TIMEOUT|ATTEMPT_TIMEOUT|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/.test(errno)) return 'hung'
  if (/timeout expired|due to connection timeout/i.test(message)) return 'hung'
  if (/^(?:ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|EPROTO$)/.test(errno)) return 'tls'
  if (/does not support SSL|establishing an SSL/i.test(message)) return 'tls'
  if (/SASL|scram|password/i.test(message)) return 'auth'
  return byClass(thrown)
}

function byClass(thrown: unknown): ConnectFailure {
  switch (classifyFailure(thrown).class) {
    case 'connection':
      return 'reset'
    case 'unanswered':
    case 'slow':
      return 'hung'
    case 'unavailable':
      return 'starting'
    case 'saturated':
      return 'saturated'
    case 'config':
      return 'settings'
    default:
      return 'other'
  }
}

export type ConnectFailureWords = {
  /** For a subject or a text message: follows "database". At most 40 characters. */
  readonly short: string
  readonly means: string
  readonly action: string
}

export const connectFailureWords: Readonly<Record<ConnectFailure, ConnectFailureWords>> = {
  refused: {
    short: 'is down (connection refused)',
    means: 'Nothing accepts connections at its address: the server is down, or it listens elsewhere.',
    action: "See in the provider's status, or on its host, whether Postgres runs; then host and port of the URL, and the firewall.",
  },
  dns: {
    short: 'has no address (DNS)',
    means: "The name of the database's host could not be resolved.",
    action: "See whether the host name in the URL is right and still exists; else the network's DNS.",
  },
  hung: {
    short: 'hangs (no answer in time)',
    means:
      'It accepts connections, or drops their packets, and does not answer in time: frozen, overloaded, its catalog locked, a pooler that waits for its server, or a firewall.',
    action:
      "Look at the server's CPU, memory and disk with the provider. When they are idle: a session that locks a system catalog, or a firewall that drops packets.",
  },
  reset: {
    short: 'cuts connections',
    means:
      'The connection was cut while it was made, or before it had answered: a crash, a failover, or a pooler or balancer without a server.',
    action: "Read the server's log at this time. After a failover it should pass within a minute or two.",
  },
  saturated: {
    short: 'is out of connections',
    means: 'The server lives, and all its connections are in use.',
    action:
      'See who holds them (select application_name, state, count(*) from pg_stat_activity group by 1, 2), end those that are idle, and use a pooler or smaller pools.',
  },
  'role-limit': {
    short: 'role is out of connections',
    means: 'The server lives; the connection limit of this role, or of this database, is reached.',
    action:
      'See who uses the role (pg_stat_activity), or raise the limit: alter role <role> connection limit <n>, or alter database likewise.',
  },
  auth: {
    short: 'refuses our login',
    means: 'The server refuses user or password, or does not admit them from this address.',
    action:
      'Correct user and password in the URL (DATABASE_URL, or the SSM parameter), or pg_hba.conf. A changed password is read again by itself.',
  },
  'no-database': {
    short: 'does not exist',
    means: 'The server lives, and has no database of this name.',
    action: 'Correct the name at the end of the URL, or create the database.',
  },
  starting: {
    short: 'is starting or recovering',
    means: 'The server says that it is starting, recovering or waking up.',
    action: "Wait a minute. If it goes on, read the server's log: a recovery that does not end, or a restart in a loop.",
  },
  'shutting-down': {
    short: 'is shutting down',
    means: 'The server says that it is being shut down.',
    action: 'Somebody stops or restarts it, or it fails over: ask who. Start it again if nobody meant to.',
  },
  pooler: {
    short: 'is not reached through its pooler',
    means:
      'The pooler answers, and gives no connection to the server: all of its own are in use, it is paused, or it can not reach the server.',
    action:
      'Look at the pooler: its log, and on its console show pools (cl_waiting, sv_active) and show databases (paused, disabled). Then at the server behind it.',
  },
  tls: {
    short: 'fails at TLS',
    means: 'No trusted TLS connection could be made: the server offers none, or its certificate is not valid for this host.',
    action:
      "See whether the certificate is valid, for this host name, and of a known authority (sslrootcert in the Postgres URL names another one's). Only where the network is trusted: sslmode=disable.",
  },
  settings: {
    short: 'settings are wrong',
    means: 'There is no usable address to connect to, or the server does not know an option of it.',
    action: 'Correct the Postgres URL (DATABASE_URL, or the SSM parameter): postgres://user:password@host:5432/database.',
  },
  other: {
    short: 'does not answer as it should',
    means: 'It could not be connected to, in a way that is not known.',
    action: "Read the message and the server's log.",
  },
}
