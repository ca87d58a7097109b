import { describe, expect, it } from 'vitest'
import { DatabaseError } from '../../shared/db/database.ts'
import { classifyFailure, type FailureClass } from '../../shared/resilience/classify-failure.ts'

/** Every code of errcodes.txt of PostgreSQL 14 to 18. */
const everyCode: ReadonlyArray<readonly [FailureClass, string]> = [
  ['unknown', '00000 01000 01003 01004 01006 01007 01008 0100C 01P01 02000 02001 03000'],
  ['connection', '08000 08001 08003 08004 08006 08007 40003'],
  ['bug', '08P01'],
  [
    'schema',
    '09000 0A000 0F000 0F001 0Z000 0Z002 10608 20000 27000 2B000 2BP01 2F000 2F002 2F003 2F004 2F005 38000 38001 38002 38003 38004 39000 39001 39004 39P01 39P02 39P03 42000 42601 42602 42611 42622 42701 42702 42703 42704 42710 42712 42723 42725 42803 42804 42809 42830 42846 42883 428C9 42939 42P01 42P02 42P03 42P04 42P05 42P06 42P07 42P08 42P09 42P10 42P11 42P12 42P13 42P14 42P15 42P16 42P17 42P18 42P19 42P20 42P21 42P22 44000 55P04 HV000 HV001 HV002 HV004 HV005 HV006 HV007 HV008 HV009 HV00A HV00B HV00C HV00D HV00J HV00K HV00L HV00M HV00N HV00P HV00Q HV00R HV010 HV014 HV021 HV024 HV090 HV091 P0000 P0001 P0002 P0003 P0004',
  ],
  [
    'session',
    '0B000 24000 25000 25001 25002 25003 25004 25005 25007 25008 25P01 25P02 25P03 26000 2D000 34000 3B000 3B001 55000 55006 57P05 72000',
  ],
  ['permission', '0L000 0LP01 42501'],
  ['config', '0P000 28000 28P01 3D000 3F000 55P02 57P04'],
  [
    'data',
    '21000 22000 22001 22002 22003 22004 22005 22007 22008 22009 2200B 2200C 2200D 2200F 2200G 2200H 2200L 2200M 2200N 2200S 2200T 22010 22011 22012 22013 22014 22015 22016 22018 22019 2201B 2201E 2201F 2201G 2201W 2201X 22021 22022 22023 22024 22025 22026 22027 2202E 2202G 2202H 22030 22031 22032 22033 22034 22035 22036 22037 22038 22039 2203A 2203B 2203C 2203D 2203E 2203F 2203G 22P01 22P02 22P03 22P04 22P05 22P06 23000 23001 23502 23503 23505 23514 23P01',
  ],
  ['read-only', '25006'],
  ['slow', '25P04 57014'],
  ['contention', '40000 40001 40002 40P01'],
  ['resources', '53000 53200 53400'],
  ['disk', '53100 58030'],
  ['saturated', '53300'],
  ['too-large', '54000 54001 54011 54023'],
  ['lock-timeout', '55P03'],
  ['unavailable', '57000 57P01 57P02 57P03'],
  ['internal', '58000 58P01 58P02 58P03 F0000 F0001 XX000'],
  ['corrupted', 'XX001 XX002'],
]

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
  it.each(everyCode)('%s: every code of it, from the code alone', (expected, codes) => {
    for (const code of codes.split(' ')) expect([code, classOf(answered(code))]).toEqual([code, expected])
  })

  it('has 263 codes in the list above, each once', () => {
    const codes = everyCode.flatMap(([, list]) => list.split(' '))
    expect(codes.length).toBe(263)
    expect(new Set(codes).size).toBe(263)
  })

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
    ['08P01', { message: 'query_wait_timeout' }, 'unavailable'],
    ['08P01', { message: 'server_login_retry' }, 'unavailable'],
    ['08P01', { message: 'Query cancelled, connection was terminated' }, 'connection'],
    ['08P01', { message: 'bind message supplies 0 parameters, but prepared statement "" requires 65536' }, 'bug'],
    ['XX000', { message: 'Max client connections reached' }, 'saturated'],
    ['22023', { statement: 'settings' }, 'config'],
    ['22023', { statement: 'connect' }, 'config'],
    ['22023', { statement: 'write-pools' }, 'data'],
  ] as const)('%s %j is %s', (code, fields, expected) => {
    expect(classOf(answered(code, fields))).toBe(expected)
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

  it("reads a driver's own error, where one code field holds SQLSTATE or errno", () => {
    expect(classOf(Object.assign(new Error('x'), { code: '42P01', severity: 'ERROR' }))).toBe('schema')
    expect(classOf(Object.assign(new Error('x'), { code: 'EPIPE', errno: -32, syscall: 'write' }))).toBe('connection')
    expect(classOf(Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' }))).toBe('connection')
  })

  it('takes a mistake of this program for a bug, and anything else that can be thrown for unknown', () => {
    expect(classOf(new TypeError('statement x, $1 is of type undefined'))).toBe('bug')
    expect(['text', null, undefined, 7, {}].map(classOf)).toEqual(['unknown', 'unknown', 'unknown', 'unknown', 'unknown'])
  })

  it('calls rows bad only for classes 21, 22 and 23, and never when a partition is missing', () => {
    const bad = everyCode.flatMap(([, list]) => list.split(' ')).filter((code) => classifyFailure(answered(code)).keeps === 'quarantine')
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
