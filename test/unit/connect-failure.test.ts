// The errors are the ones that pg and the servers of versions 14 to 18 throw: see driver-shapes.test.ts and health-connect.test.ts for them live.

import { describe, expect, it } from 'vitest'
import { DatabaseError } from '../../shared/db/database.ts'
import { ConfigError } from '../../shared/errors.ts'
import { connectFailureOf, connectFailureWords } from '../../shared/health/connect-failure.ts'
import type { ConnectFailure } from '../../shared/health/observation.ts'

type Fields = { sqlState?: string; severity?: string; errno?: string; routine?: string; statement?: string }
const failed = (message: string, { statement = 'connect', ...fields }: Fields = {}) =>
  new DatabaseError(`${statement}: ${message}`, { statement, applied: 'not-sent', ...fields })

describe('why no connection could be made', () => {
  it.each<[ConnectFailure, string, Fields]>([
    ['refused', 'connect ECONNREFUSED 127.0.0.1:5432', { errno: 'ECONNREFUSED' }],
    ['refused', 'failed with ECONNREFUSED', { errno: 'ECONNREFUSED' }],
    ['refused', 'connect EHOSTUNREACH 10.0.0.1:5432', { errno: 'EHOSTUNREACH' }],
    ['refused', 'connect ENOENT /tmp/.s.PGSQL.5432', { errno: 'ENOENT' }],
    ['dns', 'getaddrinfo ENOTFOUND db.example.invalid', { errno: 'ENOTFOUND' }],
    ['dns', 'getaddrinfo EAI_AGAIN db.example.com', { errno: 'EAI_AGAIN' }],
    ['hung', 'no connection to the database within 2500 ms', { errno: 'CONNECT_TIMEOUT' }],
    ['hung', 'connect ETIMEDOUT 10.0.0.1:5432', { errno: 'ETIMEDOUT' }],
    ['hung', 'timeout expired', {}],
    ['hung', 'Connection terminated due to connection timeout', {}],
    ['hung', 'no answer within 3000 ms; the connection was closed', { errno: 'ATTEMPT_TIMEOUT', statement: 'ping' }],
    ['hung', 'canceling statement due to statement timeout', { sqlState: '57014', statement: 'ping' }],
    ['reset', 'read ECONNRESET', { errno: 'ECONNRESET' }],
    ['reset', 'Connection terminated unexpectedly', {}],
    ['reset', 'Connection terminated unexpectedly', { statement: 'ping' }],
    ['saturated', 'sorry, too many clients already', { sqlState: '53300', routine: 'ProcArrayAdd' }],
    [
      'saturated',
      'remaining connection slots are reserved for roles with the SUPERUSER attribute',
      { sqlState: '53300', routine: 'InitPostgres' },
    ],
    [
      'saturated',
      'remaining connection slots are reserved for non-replication superuser, rds_reserved, and rds_superuser connections',
      { sqlState: '53300', routine: 'InitPostgres' },
    ],
    ['saturated', 'no more connections allowed (max_client_conn)', { sqlState: '08P01' }],
    ['role-limit', 'too many connections for role "tokay"', { sqlState: '53300', routine: 'InitializeSessionUserId' }],
    ['role-limit', 'trop de connexions pour le rôle « tokay »', { sqlState: '53300', routine: 'InitializeSessionUserId' }],
    ['role-limit', 'too many connections for database "tokay"', { sqlState: '53300', routine: 'CheckMyDatabase' }],
    ['role-limit', 'too many connections for role "tokay"', { sqlState: '53300' }],
    ['auth', 'password authentication failed for user "tokay"', { sqlState: '28P01' }],
    ['auth', 'no pg_hba.conf entry for host "10.0.0.1", user "tokay", database "tokay", no encryption', { sqlState: '28000' }],
    ['auth', 'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a non-empty string', {}],
    ['no-database', 'database "tokay" does not exist', { sqlState: '3D000' }],
    ['starting', 'the database system is starting up', { sqlState: '57P03' }],
    ['starting', 'the database system is not yet accepting connections', { sqlState: '57P03' }],
    ['starting', 'the database system is in recovery mode', { sqlState: '57P03' }],
    ['shutting-down', 'the database system is shutting down', { sqlState: '57P03' }],
    ['shutting-down', 'terminating connection due to administrator command', { sqlState: '57P01', statement: 'ping' }],
    ['tls', 'The server does not support SSL connections', {}],
    ['tls', 'certificate has expired', { errno: 'CERT_HAS_EXPIRED' }],
    ['tls', 'self-signed certificate in certificate chain', { errno: 'SELF_SIGNED_CERT_IN_CHAIN' }],
    ['tls', "Hostname/IP does not match certificate's altnames", { errno: 'ERR_TLS_CERT_ALTNAME_INVALID' }],
    ['settings', 'unrecognized configuration parameter "nonsense"', { sqlState: '42704' }],
    ['settings', 'The endpoint is disabled. Enable it using the API and retry.', {}],
    ['other', 'something new', {}],
    ['other', 'out of memory', { sqlState: '53200' }],
  ])('%s: %s', (failure, message, fields) => {
    expect(connectFailureOf(failed(message, fields))).toBe(failure)
  })

  it.each<[ConnectFailure, string]>([
    ['pooler', 'query_wait_timeout'],
    ['pooler', 'client_login_timeout (server down)'],
    ['pooler', 'server login has been failing, try again later (server_login_retry)'],
    ['pooler', 'server login has been failing, cached error: connect failed (server_login_retry)'],
    ['pooler', 'server conn crashed?'],
    ['pooler', 'database "tokay" is disabled'],
    ['saturated', 'no more connections allowed (max_client_conn)'],
    ['saturated', 'sorry, too many clients already'],
    ['role-limit', 'too many connections for role "tokay"'],
    ['auth', 'SASL authentication failed'],
    ['auth', 'no such user: tokay'],
    ['auth', 'server login has been failing, cached error: password authentication failed for user "tokay" (server_login_retry)'],
    ['no-database', 'database "tokay" does not exist'],
    ['settings', 'unsupported startup parameter: options'],
    ['tls', 'SSL required'],
    ['tls', 'TLS client certificate required'],
  ])('%s, by a pooler: %s', (failure, message) => {
    expect(connectFailureOf(failed(message, { sqlState: '08P01', severity: 'FATAL' }))).toBe(failure)
  })

  it('is no word of a pooler when the server itself complains about our messages', () => {
    expect(connectFailureOf(failed('bind message has 0 parameter formats', { sqlState: '08P01', severity: 'ERROR' }))).toBe('other')
  })

  it('is a setting when the URL is wrong or could not be read', () => {
    expect(connectFailureOf(new ConfigError(['DATABASE_URL is not a URL']))).toBe('settings')
    const unread = new DatabaseError('no URL to connect to: SSM parameter /tokay/dev/database-url does not exist', {
      statement: 'connect',
      applied: 'not-sent',
    })
    expect(connectFailureOf(unread)).toBe('settings')
  })

  it('is told of whatever was thrown', () => {
    for (const thrown of [undefined, null, 'words', 42, new Error('words')]) expect(connectFailureOf(thrown)).toBe('other')
  })

  it('has words for every kind: short ones that follow "database", what it means, and what to do', () => {
    for (const { short, means, action } of Object.values(connectFailureWords)) {
      expect(short.length).toBeLessThanOrEqual(40)
      for (const sentence of [means, action]) expect(sentence).toMatch(/^[A-Z].*[.]$/s)
    }
  })
})
