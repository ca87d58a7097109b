import { describe, expect, it } from 'vitest'
import { DatabaseError } from '../../shared/db/database.ts'
import { ConfigError } from '../../shared/errors.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'
import { everySqlState } from '../support/sqlstates.ts'

/** A failure that the server answered. */
const answered = (sqlState: string, fields: { message?: string; routine?: string; statement?: string } = {}) =>
  new DatabaseError(fields.message ?? 'words', {
    statement: fields.statement ?? 'write-pools',
    applied: 'refused',
    sqlState,
    severity: 'ERROR',
    routine: fields.routine,
  })

/** A failure without SQLSTATE. */
const unanswered = (message: string, fields: { errno?: string; httpStatus?: number } = {}) =>
  new DatabaseError(message, { statement: 'connect', applied: 'not-sent', ...fields })

const classOf = (error: unknown) => classifyFailure(error).class

const policy = (code: string) => {
  const { retry, counts, signOfLife } = classifyFailure(answered(code))
  return [retry, counts, signOfLife]
}

describe('classifyFailure', () => {
  it('takes a code that no PostgreSQL has yet by its first two characters, and an unknown prefix as a failure of the dependency', () => {
    expect(classOf(answered('57P99'))).toBe('unavailable')
    expect(classOf(answered('42XYZ'))).toBe('schema')
    expect(classifyFailure(answered('ZZ999'))).toMatchObject({ class: 'unknown', counts: 'database', keeps: 'park' })
  })

  it.each([
    ['23514', { routine: 'ExecFindPartition', message: 'no partition of relation "trades" found for row' }, 'missing-partition'],
    ['23514', { routine: 'ExecConstraints', message: 'violates check constraint' }, 'data'],
    ['0A000', { message: 'cannot set transaction read-write mode during recovery' }, 'read-only'],
    ['0A000', { message: 'cached plan must not change result type' }, 'session'],
    ['0A000', { message: 'ON CONFLICT is not supported' }, 'schema'],
    ['57014', { message: 'canceling statement due to statement timeout' }, 'slow'],
    ['57014', { message: 'canceling statement due to user request' }, 'cancelled'],
    ['08P01', { message: 'no more connections allowed (max_client_conn)' }, 'saturated'],
    ['08P01', { message: 'query_wait_timeout' }, 'saturated'],
    ['08P01', { message: 'server_login_retry' }, 'unavailable'],
    ['08P01', { message: 'Query cancelled, connection was terminated' }, 'connection'],
    ['08P01', { message: 'bind message supplies 0 parameters, but prepared statement "" requires 65536' }, 'bug'],
    ['XX000', { message: 'Max client connections reached' }, 'saturated'],
    ['22023', { statement: 'settings' }, 'config'],
    ['22023', { statement: 'connect' }, 'config'],
    ['22023', { statement: 'write-pools' }, 'data'],
    ['TK002', { statement: 'enter_ledger', message: 'batch x, part 0: an earlier attempt still runs' }, 'earlier-attempt'],
    ['55P03', { statement: 'enter_ledger', message: 'canceling statement due to lock timeout' }, 'lock-timeout'],
  ] as const)('%s %j is %s', (code, fields, expected) => {
    expect(classOf(answered(code, fields))).toBe(expected)
  })

  it.each([
    ['saturated', 'no more connections allowed (max_client_conn)'],
    ['saturated', 'query_wait_timeout'],
    ['unavailable', 'client_login_timeout (server down)'],
    ['unavailable', 'pgbouncer cannot connect to server'],
    ['unavailable', 'server login has been failing, try again later (server_login_retry)'],
    ['unavailable', 'server login has been failing, cached error: server conn crashed? (server_login_retry)'],
    ['unavailable', 'pooler is shutting down'],
    ['slow', 'query timeout'],
    ['slow', 'query_timeout'],
    ['session', 'prepared statement did not exist'],
    ['session', 'prepared statement name is already in use'],
    ['config', 'unsupported startup parameter: options'],
    ['config', 'SASL authentication failed'],
    ['config', 'password authentication failed'],
    ['config', 'no such user: tokay'],
    ['config', 'no such database: tokay'],
    ['config', 'database "tokay" is disabled'],
    ['config', 'SSL required'],
    ['config', 'TLS client certificate required'],
    // of the server, passed on
    ['config', 'database "tokay" does not exist'],
    ['config', 'server login has been failing, cached error: password authentication failed for user "tokay" (server_login_retry)'],
    ['saturated', 'sorry, too many clients already'],
    ['saturated', 'too many connections for role "tokay"'],
    // whatever ends a connection besides
    ['connection', 'server conn crashed?'],
    ['connection', 'server lifetime over'],
    ['connection', 'database removed'],
    ['connection', 'idle transaction timeout'],
    ['connection', 'client_idle_timeout'],
    ['connection', 'something that no PgBouncer has said yet'],
  ] as const)('a pooler that ends a connection is %s: "%s"', (expected, message) => {
    const error = new DatabaseError(`connect: ${message} (08P01)`, {
      statement: 'connect',
      applied: 'not-sent',
      sqlState: '08P01',
      severity: 'FATAL',
    })
    expect(classOf(error)).toBe(expected)
  })

  it.each([
    [
      'connection',
      'ECONNREFUSED ECONNRESET ECONNABORTED EPIPE ETIMEDOUT ENOTFOUND EAI_AGAIN EHOSTUNREACH EHOSTDOWN ENETUNREACH ENOENT CONNECT_TIMEOUT',
    ],
    ['connection', 'UND_ERR_CONNECT_TIMEOUT UND_ERR_SOCKET ERR_TLS_HANDSHAKE_TIMEOUT'],
    ['unanswered', 'ATTEMPT_TIMEOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT'],
    ['own-limit', 'POOL_EXHAUSTED EMFILE EADDRNOTAVAIL'],
    ['bug', 'PARTIAL_COMMIT'],
    [
      'config',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE SELF_SIGNED_CERT_IN_CHAIN DEPTH_ZERO_SELF_SIGNED_CERT ERR_TLS_CERT_ALTNAME_INVALID CERT_HAS_EXPIRED',
    ],
  ] as const)('%s: %s', (expected, errnos) => {
    for (const errno of errnos.split(' ')) expect([errno, classOf(unanswered('words', { errno }))]).toEqual([errno, expected])
  })

  it.each([
    ['timeout expired', 'connection'],
    ['Connection terminated', 'connection'],
    ['Connection terminated unexpectedly', 'connection'],
    ['Connection terminated due to connection timeout', 'connection'],
    ['Client has encountered a connection error and is not queryable', 'connection'],
    ['Client was closed and is not queryable', 'connection'],
    ['Query read timeout', 'unanswered'],
    ['timeout exceeded when trying to connect', 'own-limit'],
    ['Cannot use a pool after calling end on the pool', 'bug'],
    ['the pool was closed', 'bug'],
    ['Received unexpected rowDescription message from backend.', 'bug'],
    ['SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string', 'config'],
    ['The server does not support SSL connections', 'config'],
    ['There was an error establishing an SSL connection', 'config'],
    ['something that nobody has seen', 'unknown'],
  ] as const)('pg without a code: "%s" is %s', (message, expected) => {
    expect(classOf(unanswered(`write-pools: ${message}`))).toBe(expected)
  })

  it.each([
    [400, 'Control plane request failed: endpoint is disabled', 'config'],
    [400, 'Control plane request failed: the endpoint cannot be found', 'config'],
    [400, 'Control plane request failed: temporarily unavailable. Check your quotas', 'config'],
    [500, 'Control plane request failed', 'unavailable'],
    [429, 'Too many connections attempts', 'saturated'],
    [503, 'words', 'unavailable'],
    [507, 'response is too large', 'too-large'],
    [413, 'words', 'too-large'],
    [undefined, "Couldn't connect to compute node", 'unavailable'],
    [undefined, 'endpoint is idle, retry request', 'unavailable'],
    [undefined, 'timed out while waiting for endpoint to become active', 'unavailable'],
    [undefined, 'Failed to acquire permit to connect to the database', 'saturated'],
    [undefined, 'Error connecting to database: TypeError: fetch failed', 'connection'],
    [undefined, 'other side closed', 'connection'],
    [undefined, 'TypeError: terminated', 'connection'],
    [undefined, 'The operation was aborted due to timeout', 'unanswered'],
  ] as const)('Neon over HTTPS, status %s: "%s" is %s', (httpStatus, message, expected) => {
    expect(classOf(unanswered(message, httpStatus === undefined ? {} : { httpStatus }))).toBe(expected)
  })

  it.each([
    [429, 'saturated'],
    [413, 'too-large'],
    [507, 'too-large'],
    [401, 'config'],
    [403, 'config'],
    [404, 'config'],
    [408, 'unanswered'],
    [504, 'unanswered'],
    [500, 'unavailable'],
    [502, 'unavailable'],
    [503, 'unavailable'],
    [418, 'unknown'],
  ] as const)('HTTP status %i without words of Neon is %s', (httpStatus, expected) => {
    expect(classOf(unanswered('words', { httpStatus }))).toBe(expected)
  })

  it('knows a quota that is used up, whatever it is of', () => {
    expect(classOf(unanswered('Your account has exceeded the compute time quota'))).toBe('config')
  })

  it.each([
    'XPOOL_EXHAUSTED POOL_EXHAUSTED_X XPARTIAL_COMMIT PARTIAL_COMMIT_X XATTEMPT_TIMEOUT ATTEMPT_TIMEOUT_X',
    'XECONNREFUSED ENOTFOUND_X ETIMEDOUT_X EPIPE_X EPROTO_X ENOENT_X EACCES_X EPERM_X',
    'XUND_ERR_SOCKET XERR_TLS_CERT HOSTNAME_MISMATCH_X',
  ])('an errno that only looks like one of these is unknown: %s', (errnos) => {
    for (const errno of errnos.split(' ')) expect([errno, classOf(unanswered('words', { errno }))]).toEqual([errno, 'unknown'])
  })

  it('a handshake with a longer name than the one that times out is a matter of TLS', () => {
    expect(classOf(unanswered('words', { errno: 'ERR_TLS_HANDSHAKE_TIMEOUT' }))).toBe('connection')
    expect(classOf(unanswered('words', { errno: 'ERR_TLS_HANDSHAKE_TIMEOUT_X' }))).toBe('config')
  })

  it('a message about something terminated is a lost connection only where it ends with that', () => {
    expect(classOf(unanswered('TypeError: terminated'))).toBe('connection')
    expect(classOf(unanswered('the worker was terminated by its owner'))).toBe('unknown')
  })

  it('a missing object is a setting of ours only where the statement was our own: not in one that is named alike', () => {
    expect(classOf(answered('42704', { statement: 'settings' }))).toBe('config')
    expect(classOf(answered('42704', { statement: 'write-pools' }))).toBe('schema')
    expect(classOf(answered('22023', { statement: 'reconnect' }))).toBe('data')
    expect(classOf(answered('22023', { statement: 'settings-of-pools' }))).toBe('data')
  })

  it("reads a driver's own error, where one code field holds SQLSTATE or errno", () => {
    expect(classOf(Object.assign(new Error('x'), { code: '42P01', severity: 'ERROR' }))).toBe('schema')
    expect(classOf(Object.assign(new Error('x'), { code: 'EPIPE', errno: -32, syscall: 'write' }))).toBe('connection')
    expect(classOf(Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' }))).toBe('connection')
  })

  it.each([
    [new TypeError('x'), 'bug'],
    [new RangeError('x'), 'bug'],
    [new ReferenceError('x'), 'bug'],
    [new ConfigError(['the URL has no host']), 'config'],
    // a TypeError of undici, which names the cause
    [Object.assign(new TypeError('fetch failed'), { code: 'ECONNREFUSED' }), 'connection'],
    [Object.assign(new TypeError('x'), { sqlState: '42P01' }), 'schema'],
  ] as const)('%s is %s', (error, expected) => {
    expect(classOf(error)).toBe(expected)
  })

  it('takes a mistake of this program for a bug, and anything else that can be thrown for unknown', () => {
    expect(classOf(new TypeError('statement x, $1 is of type undefined'))).toBe('bug')
    expect(['text', null, undefined, 7, {}].map(classOf)).toEqual(['unknown', 'unknown', 'unknown', 'unknown', 'unknown'])
  })

  it('calls rows bad only for classes 21, 22 and 23, and never when a partition is missing', () => {
    const bad = everySqlState.filter((code) => classifyFailure(answered(code)).keeps === 'quarantine')
    expect([...new Set(bad.map((code) => code.slice(0, 2)))]).toEqual(['21', '22', '23'])
    expect(classifyFailure(answered('23514', { routine: 'ExecFindPartition' })).keeps).toBe('park')
  })

  it('counts availability against the database, contention against the stream, and what the program or the rows did against nobody', () => {
    expect(policy('57P03')).toEqual(['transient', 'database', false])
    expect(policy('53300')).toEqual(['transient', 'database', false])
    expect(policy('25006')).toEqual(['transient', 'database', false])
    expect(policy('53100')).toEqual(['never', 'database', false])
    expect(policy('57014')).toEqual(['once', 'database', false])
    expect(policy('40P01')).toEqual(['contention', 'stream', true])
    expect(policy('55P03')).toEqual(['lock', 'stream', true])
    expect(policy('22P02')).toEqual(['never', 'none', true])
    expect(policy('42P01')).toEqual(['never', 'none', true])
    expect(policy('28P01')).toEqual(['never', 'none', false])
    const ownPool = classifyFailure(unanswered('connect: all in use', { errno: 'POOL_EXHAUSTED' }))
    expect([ownPool.retry, ownPool.counts, ownPool.signOfLife]).toEqual(['transient', 'none', false])
  })

  it('keeps what the adapter knows about the attempt: refused, not sent, or unknown', () => {
    expect(classifyFailure(answered('22P02')).applied).toBe('refused')
    expect(classifyFailure(unanswered('connect: timeout expired')).applied).toBe('not-sent')
    expect(classifyFailure(new Error('Connection terminated unexpectedly')).applied).toBe('unknown')
  })
})
