import { describe, expect, it } from 'vitest'
import { failureOfAnswer, failureOfRequest, tooLarge } from '../../shared/db/neon-failure.ts'
import { directHost, driverFor, neonEndpoint } from '../../shared/db/neon-host.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'

/** As Neon's proxy writes it: an empty code where Postgres has said nothing. */
const said = (status: number, message: string, code = '', severity = '') => ({
  status,
  text: JSON.stringify({ message, code, severity, detail: '', routine: '', position: null }),
})
const judged = (answer: { status: number; text: string }) => {
  const failure = failureOfAnswer('write-pools', answer)
  return [classifyFailure(failure).class, failure.applied]
}

describe("an answer of Neon's proxy", () => {
  it.each([
    // the server's own word
    [400, 'duplicate key', '23505', 'ERROR', 'data', 'refused'],
    [400, 'deadlock detected', '40P01', 'ERROR', 'contention', 'refused'],
    [400, 'canceling statement due to statement timeout', '57014', 'ERROR', 'slow', 'refused'],
    [400, 'cannot execute INSERT in a read-only transaction', '25006', 'ERROR', 'read-only', 'refused'],
    [400, 'terminating connection due to administrator command', '57P01', 'FATAL', 'unavailable', 'unknown'],
    [400, 'the transaction may have been committed', '08007', 'ERROR', 'connection', 'unknown'],
    [400, 'statement completion unknown', '40003', 'ERROR', 'connection', 'unknown'],
    // while its session starts
    [500, 'sorry, too many clients already', '53300', 'FATAL', 'saturated', 'not-sent'],
    [500, 'the database system is starting up', '57P03', 'FATAL', 'unavailable', 'not-sent'],
    [400, 'database "nowhere" does not exist', '3D000', 'FATAL', 'config', 'not-sent'],
    // the proxy's
    [400, 'Query cancelled, connection was terminated', '08P01', '', 'connection', 'unknown'],
    [400, "password authentication failed for user 'neondb_owner'", '', '', 'config', 'not-sent'],
    [400, 'Control plane request failed: endpoint is disabled', '', '', 'config', 'not-sent'],
    [400, 'Control plane request failed: the endpoint cannot be found', '', '', 'config', 'not-sent'],
    [400, 'This IP address 192.0.2.1 is not allowed to connect to this endpoint.', '', '', 'config', 'not-sent'],
    [400, 'This connection is trying to access this endpoint from a blocked network.', '', '', 'config', 'not-sent'],
    [
      500,
      'Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.',
      '',
      '',
      'config',
      'not-sent',
    ],
    [500, 'Control plane request failed', '', '', 'unavailable', 'not-sent'],
    [500, "Couldn't connect to compute node", '', '', 'unavailable', 'not-sent'],
    [500, 'Authentication timed out', '', '', 'unavailable', 'not-sent'],
    [500, 'Too many connections attempts', '', '', 'saturated', 'not-sent'],
    [
      500,
      'Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.',
      '',
      '',
      'saturated',
      'not-sent',
    ],
    [429, 'Too many connections attempts', '', '', 'saturated', 'not-sent'],
    [400, 'could not parse the HTTP request body: EOF while parsing', '', '', 'unknown', 'not-sent'],
    // the compute was lost in mid-flight: perhaps behind its COMMIT
    [400, 'connection closed', '', '', 'connection', 'unknown'],
    [400, 'error communicating with the server: Connection reset by peer (os error 104)', '', '', 'connection', 'unknown'],
    [413, 'request is too large (max is 67108864 bytes)', '', '', 'too-large', 'not-sent'],
    [507, 'response is too large (max is 10485760 bytes)', '', '', 'too-large', 'refused'],
    [500, 'could not parse postgres response', '', '', 'unavailable', 'unknown'],
  ] as const)('%i "%s" %s', (status, message, code, severity, expected, applied) => {
    expect(judged(said(status, message, code, severity))).toEqual([expected, applied])
  })

  it.each([
    [503, '{"msg":"Shutting down"}', 'unavailable', 'unknown', 'write-pools: Shutting down (HTTP 503)'],
    [502, '<html><head><title>502 Bad Gateway</title></head></html>', 'unavailable', 'unknown', 'write-pools: 502 Bad Gateway (HTTP 502)'],
    [504, '', 'unanswered', 'unknown', 'write-pools: no words (HTTP 504)'],
    [403, 'null', 'config', 'refused', 'write-pools: null (HTTP 403)'],
    [404, '{}', 'config', 'refused', 'write-pools: {} (HTTP 404)'],
    [418, '[1]', 'unknown', 'unknown', 'write-pools: [1] (HTTP 418)'],
  ] as const)('of status %i whose body is %s is read as far as it goes', (status, text, expected, applied, message) => {
    const failure = failureOfAnswer('write-pools', { status, text })
    expect([classifyFailure(failure).class, failure.applied, failure.message, failure.httpStatus]).toEqual([
      expected,
      applied,
      message,
      status,
    ])
  })

  it('without the code for a wrong password gets it, so that a changed secret is read again', () => {
    expect(failureOfAnswer('read', said(400, "password authentication failed for user 'u'"))).toMatchObject({
      sqlState: '28P01',
      statement: 'connect',
    })
  })

  it('that quotes a value is told without it', () => {
    const failure = failureOfAnswer('write', said(400, 'invalid input syntax for type numeric: "secret"', '22P02', 'ERROR'))
    expect(failure.message).toBe('write: the server refused a value (22P02)')
    expect(JSON.stringify(failure)).not.toContain('secret')
  })
})

describe('a request without an answer', () => {
  const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })

  it('was never sent where no connection stood, and else may have been applied', () => {
    expect(failureOfRequest('write', reset, false)).toMatchObject({ statement: 'connect', applied: 'not-sent', errno: 'ECONNRESET' })
    expect(failureOfRequest('write', reset, true)).toMatchObject({ statement: 'write', applied: 'unknown', errno: 'ECONNRESET' })
  })

  it('keeps a code where all addresses of a name have failed without a word', () => {
    const both = Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })
    expect(failureOfRequest('write', both, false)).toMatchObject({
      message: 'connect: failed with ECONNREFUSED',
      errno: 'ECONNREFUSED',
    })
  })

  it('that is too large is said to be, so that the caller halves it', () => {
    expect(classifyFailure(tooLarge('write', 'request', 9_000_000, 8_000_000))).toMatchObject({ class: 'too-large', applied: 'not-sent' })
    expect(classifyFailure(tooLarge('read', 'answer', 33_000_000, 32_000_000))).toMatchObject({ class: 'too-large', applied: 'unknown' })
  })
})

describe('a host name', () => {
  const [pooled, direct] = ['ep-red-gecko-1a2b3c-pooler.eu-central-1.aws.neon.tech', 'ep-red-gecko-1a2b3c.eu-central-1.aws.neon.tech']

  it('of Neon, pooled or direct, is asked over HTTPS unless pg is asked for; any other over pg', () => {
    expect([pooled, direct].map((host) => driverFor('auto', host))).toEqual(['neon', 'neon'])
    expect(driverFor('pg', pooled)).toBe('pg')
    expect(['db.example.com', 'neon.tech.example.com', 'notneon.tech', 'localhost'].map((host) => driverFor('auto', host))).toEqual([
      'pg',
      'pg',
      'pg',
      'pg',
    ])
  })

  it("of Neon's pooler has a direct one for the migrations, and no other name is touched", () => {
    expect(directHost(pooled)).toBe(direct)
    expect([direct, 'db-pooler.example.com'].map(directHost)).toEqual([direct, 'db-pooler.example.com'])
  })

  it("leads to its region's host for HTTPS, and on the loopback to whatever stands in for Neon", () => {
    expect(neonEndpoint({ host: pooled, port: 5432 }).href).toBe('https://api.eu-central-1.aws.neon.tech/sql')
    expect(neonEndpoint({ host: '127.0.0.1', port: 4321 }).href).toBe('http://127.0.0.1:4321/sql')
    expect(neonEndpoint({ host: '::1', port: 4321 }).href).toBe('http://[::1]:4321/sql')
  })

  it.each(['/var/run/postgresql', 'database', 'a b.example.com'])('%s can not be asked over HTTPS', (host) => {
    expect(() => neonEndpoint({ host, port: 5432 })).toThrow('the driver neon needs a Neon host')
  })
})
