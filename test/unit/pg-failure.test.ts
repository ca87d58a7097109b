import { describe, expect, it } from 'vitest'
import { failureOf, judgePipeline, type Answer } from '../../shared/db/pg-failure.ts'

const names = ['begin', 'settings', 'write', 'commit']

const ok = (command: string, rows: Record<string, unknown>[] = []): Answer => ({ status: 'fulfilled', value: { command, rows } })
const answered = (code: string, severity = 'ERROR', message = 'words'): Answer => ({
  status: 'rejected',
  reason: Object.assign(new Error(message), { code, severity }),
})
const lost: Answer = { status: 'rejected', reason: new Error('Connection terminated unexpectedly') }

/** What the verdict says of the failure. */
function failed(answers: Answer[], sent: { expiredAfterMs?: number; commitSent?: boolean } = {}) {
  const verdict = judgePipeline(names, answers, sent)
  if (verdict.kind === 'committed') throw new Error('it was committed')
  const { statement, applied, sqlState, errno } = verdict.error
  return { statement, applied, sqlState, errno, quiet: verdict.quiet }
}

describe('judgePipeline', () => {
  it("hands out the rows of the caller's statements once COMMIT was answered", () => {
    expect(judgePipeline(names, [ok('BEGIN'), ok('SELECT', [{ a: 1 }]), ok('INSERT', [{ b: 2 }]), ok('COMMIT')])).toEqual({
      kind: 'committed',
      rows: [[{ b: 2 }]],
      quiet: true,
    })
  })

  it('an error behind a good BEGIN is refused, and the first one is reported: those behind it are its echoes', () => {
    expect(failed([ok('BEGIN'), answered('55P03'), answered('25P02'), ok('ROLLBACK')])).toEqual({
      statement: 'settings',
      applied: 'refused',
      sqlState: '55P03',
      errno: undefined,
      quiet: true,
    })
  })

  it('an error behind a good BEGIN is refused even when the connection is lost before COMMIT was answered', () => {
    expect(failed([ok('BEGIN'), ok('SELECT'), answered('22P02'), lost])).toMatchObject({
      statement: 'write',
      applied: 'refused',
      quiet: false,
    })
  })

  it('a BEGIN that failed alone is unknown: what is behind it was committed statement by statement', () => {
    expect(failed([answered('57014'), ok('SELECT'), ok('INSERT'), ok('COMMIT')])).toMatchObject({
      statement: 'begin',
      applied: 'unknown',
      sqlState: '57014',
    })
  })

  it('a commit that the server refused is refused, and the connection is not quiet yet', () => {
    expect(failed([ok('BEGIN'), ok('SELECT'), ok('INSERT'), answered('23505')])).toMatchObject({
      statement: 'commit',
      applied: 'refused',
      quiet: false,
    })
  })

  it.each([
    ['no answer at all', [lost, lost, lost, lost], 'begin'],
    ['all but the commit answered', [ok('BEGIN'), ok('SELECT'), ok('INSERT'), lost], 'commit'],
    ['terminated by an administrator', [ok('BEGIN'), ok('SELECT'), answered('57P01', 'FATAL'), lost], 'write'],
    ['completion unknown, says the server', [ok('BEGIN'), ok('SELECT'), ok('INSERT'), answered('40003')], 'commit'],
  ] as const)('%s is an unknown outcome', (_what, answers, statement) => {
    expect(failed([...answers])).toMatchObject({ statement, applied: 'unknown', quiet: false })
  })

  it('our own timer is named, unless the server had given its reason before', () => {
    expect(failed([ok('BEGIN'), ok('SELECT'), lost, lost], { expiredAfterMs: 300 })).toMatchObject({
      statement: 'write',
      errno: 'ATTEMPT_TIMEOUT',
      applied: 'unknown',
    })
    expect(failed([ok('BEGIN'), ok('SELECT'), answered('22P02'), lost], { expiredAfterMs: 300 })).toMatchObject({
      sqlState: '22P02',
      errno: undefined,
      applied: 'refused',
    })
  })

  it('a statement that failed on this side while COMMIT succeeded is a partial commit: a bug, and named as one', () => {
    const unencodable: Answer = { status: 'rejected', reason: new TypeError('cyclic') }
    expect(failed([ok('BEGIN'), ok('SELECT'), unencodable, ok('COMMIT')])).toMatchObject({
      statement: 'write',
      errno: 'PARTIAL_COMMIT',
      applied: 'unknown',
    })
  })

  it('a commit answered by anything but COMMIT is refused', () => {
    expect(failed([ok('BEGIN'), ok('SELECT'), ok('INSERT'), ok('ROLLBACK')])).toMatchObject({ statement: 'commit', applied: 'refused' })
  })
})

describe('judgePipeline, when COMMIT was held and never sent', () => {
  const held = { commitSent: false }

  it.each([
    ['a lost connection', [ok('BEGIN'), ok('SELECT'), lost, lost], 'write'],
    ['no answer at all', [lost, lost, lost], 'begin'],
    ['a terminated backend', [ok('BEGIN'), ok('SELECT'), answered('57P01', 'FATAL'), lost], 'write'],
    ['a BEGIN that failed alone: no statement was sent behind it', [answered('57014'), ok('SELECT'), ok('ROLLBACK')], 'begin'],
    ['a refused statement', [ok('BEGIN'), ok('SELECT'), answered('22P02'), ok('ROLLBACK')], 'write'],
  ] as const)('%s has changed nothing', (_what, answers, statement) => {
    expect(failed([...answers], held)).toMatchObject({ statement, applied: 'refused' })
  })

  it('says so where our own timer closed the connection', () => {
    const verdict = judgePipeline(names, [ok('BEGIN'), ok('SELECT'), lost, lost], { ...held, expiredAfterMs: 300 })
    expect(verdict).toMatchObject({
      error: { message: 'write: no answer within 300 ms; the connection was closed, it was not applied', errno: 'ATTEMPT_TIMEOUT' },
    })
  })

  it('keeps a connection whose ROLLBACK was answered', () => {
    expect(failed([ok('BEGIN'), ok('SELECT'), answered('22P02'), ok('ROLLBACK')], held)).toMatchObject({ quiet: true })
    expect(failed([ok('BEGIN'), ok('SELECT'), answered('22P02'), lost], held)).toMatchObject({ quiet: false })
  })
})

describe('failureOf', () => {
  it('reads an AggregateError, whose message is empty, by its code', () => {
    const error = failureOf('connect', Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' }), 'not-sent')
    expect(error).toMatchObject({ message: 'connect: failed with ECONNREFUSED', errno: 'ECONNREFUSED', sqlState: undefined })
  })

  it('takes a five-letter errno for what it is', () => {
    expect(failureOf('begin', Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }), 'unknown')).toMatchObject({
      errno: 'EPIPE',
      sqlState: undefined,
    })
  })

  it('knows that pg sent nothing on a connection that it calls not queryable', () => {
    const error = new Error('Client has encountered a connection error and is not queryable')
    expect(failureOf('begin', error, 'unknown').applied).toBe('not-sent')
  })

  it("keeps the driver's error for a debugger, and out of every enumeration", () => {
    const cause = new Error('secret')
    const error = failureOf('write', cause, 'unknown')
    expect(error.cause).toBe(cause)
    expect(Object.keys(error)).not.toContain('cause')
  })

  it.each([
    ['set the clocks of both machines right', { message: 'certificate is not yet valid', code: 'CERT_NOT_YET_VALID' }],
    ['no common version or cipher of TLS', { message: 'write EPROTO', code: 'EPROTO' }],
    ['no common version or cipher of TLS', { message: 'unsupported protocol', code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' }],
    ['the server wants a client certificate', { message: 'certificate required', code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' }],
    ['the server does not accept our client certificate', { message: 'unknown ca', code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA' }],
    ['does not speak the Postgres protocol', { message: 'There was an error establishing an SSL connection' }],
    ['the server wants a client certificate', { message: 'TLS client certificate required', code: '08P01', severity: 'FATAL' }],
    ['take it out of the Postgres URL', { message: 'unsupported startup parameter: options', code: '08P01', severity: 'FATAL' }],
  ])('says what to do where connecting fails for a setting, and only there: %s', (todo, fields) => {
    const error = Object.assign(new Error(), fields)
    const [said, advice] = failureOf('connect', error, 'not-sent').message.split('; ')
    expect(said).toContain(fields.message)
    expect(advice).toContain(todo)
    expect(failureOf('begin', error, 'unknown').message).not.toContain('; ')
  })

  it.each([
    { message: 'connect ECONNREFUSED 127.0.0.1:5432', code: 'ECONNREFUSED' },
    { message: 'password authentication failed for user "tokay"', code: '28P01', severity: 'FATAL' },
  ])('adds nothing to words that say enough: $message', (fields) => {
    expect(failureOf('connect', Object.assign(new Error(), fields), 'not-sent').message).not.toContain('; ')
  })
})
