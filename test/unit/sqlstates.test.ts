// Each SQLSTATE of PostgreSQL 14 to 18 has one class, and not because of the order in which the rules of the table happen to stand.

import { readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { nativeFolder } from '../../cli/local/postgres-binaries.ts'
import { DatabaseError } from '../../shared/db/database.ts'
import { classifyFailure, failureRules, type FailureClass, type FailureRule } from '../../shared/resilience/classify-failure.ts'
import { everySqlState, postgresVersions, sqlStatesByClass, sqlStatesOf } from '../support/sqlstates.ts'

const bare = (sqlState: string) => new DatabaseError('words', { statement: 'write', applied: 'refused', sqlState, severity: 'ERROR' })

const isQualified = ({ message, routine, severity, statement }: FailureRule) =>
  [message, routine, severity, statement].some((condition) => condition !== undefined)
/** By what the rule says of a SQLSTATE: a condition beside it, the whole code, its first two characters. */
const kinds = { qualified: 'a condition', whole: 'the whole code', prefix: 'its prefix' } as const

/** A rule's claims to codes, one by one. */
const claims = failureRules.flatMap((rule) =>
  (rule.sqlStates ?? []).map((code) => {
    const kind = isQualified(rule) ? kinds.qualified : code.length === 5 ? kinds.whole : kinds.prefix
    return { rule, kind, code }
  }),
)
const claimsTo = (code: string) => claims.filter((claim) => (claim.code.length === 5 ? claim.code === code : code.startsWith(claim.code)))

describe('the SQLSTATEs', () => {
  it('are 259 in PostgreSQL 14, 260 in 15 to 17, 262 in 18, and 263 together, each listed once', () => {
    expect(postgresVersions.map((version) => sqlStatesOf(version).length)).toEqual([259, 260, 260, 260, 262])
    expect(everySqlState.length).toBe(263)
    expect(new Set(everySqlState).size).toBe(263)
  })

  it('are those that the embedded server brings along in errcodes.txt', () => {
    const native = nativeFolder(os.platform(), os.arch())
    const { version } = JSON.parse(readFileSync(path.join(native, '..', 'package.json'), 'utf8')) as { version: string }
    const listed = readFileSync(path.join(native, 'share', 'postgresql', 'errcodes.txt'), 'utf8').matchAll(/^([0-9A-Z]{5})\s/gm)
    const codes = new Set([...listed].map(([, code]) => code ?? ''))
    expect([...codes].toSorted()).toEqual(sqlStatesOf(Number.parseInt(version, 10)))
  })

  it.each(sqlStatesByClass)('%s: every code of it, from the code alone', (expected, codes) => {
    for (const code of codes.split(' ')) expect([code, classifyFailure(bare(code)).class]).toEqual([code, expected])
  })
})

describe('the rules for SQLSTATEs', () => {
  it('a bare code is claimed by one rule that names it whole or by its prefix, or by one of each', () => {
    const count = (code: string, kind: string) => claimsTo(code).filter((claim) => claim.kind === kind).length
    const odd = everySqlState.filter((code) => {
      const [whole, prefix] = [count(code, kinds.whole), count(code, kinds.prefix)]
      return whole > 1 || prefix > 1 || whole + prefix === 0
    })
    expect(odd).toEqual([])
  })

  it('those with a condition stand before whole codes, and these before prefixes: the more exact rule wins, never the earlier one', () => {
    const order = claims.map(({ kind }) => Object.values(kinds).indexOf(kind))
    expect(order).toEqual(order.toSorted())
  })

  it('only these codes have more than one meaning, told apart by a condition', () => {
    const withConditions = everySqlState.filter((code) => !code.startsWith('22') && claimsTo(code).some((c) => c.kind === kinds.qualified))
    expect(withConditions.toSorted()).toEqual(['08P01', '0A000', '23514', '42704', '57014', 'XX000'])
    // of class 22, only where the statement was one of our own before the caller's
    const of22 = claims.filter((c) => c.kind === kinds.qualified && c.code.startsWith('22')).map((c) => c.rule.statement?.source)
    expect(of22).toEqual(['^(?:connect|settings)$'])
  })

  it.each<[string, string, FailureClass]>([
    ['0A000', 'cannot set transaction read-write mode during recovery', 'read-only'],
    ['0A000', 'cached plan must not change result type', 'session'],
    ['57014', 'canceling statement due to user request', 'cancelled'],
    ['XX000', 'Max client connections reached', 'saturated'],
    ['08P01', 'no more connections allowed (max_client_conn)', 'saturated'],
    ['08P01', 'query_wait_timeout', 'saturated'],
    ['08P01', 'server login has been failing, cached error: connect failed (server_login_retry)', 'unavailable'],
    ['08P01', 'SASL authentication failed', 'config'],
    ['08P01', 'unsupported startup parameter: options', 'config'],
    ['08P01', 'query timeout', 'slow'],
    ['08P01', 'prepared statement did not exist', 'session'],
    ['08P01', 'Query cancelled, connection was terminated', 'connection'],
  ])('%s with the message "%s" meets one condition and no other: %s', (code, message, expected) => {
    const met = claimsTo(code).filter(({ rule }) => rule.message?.test(message))
    expect(met.map(({ rule }) => rule.class)).toEqual([expected])
  })
})

describe('the rules for errnos', () => {
  const claimants = (errno: string) => [...new Set(failureRules.filter((rule) => rule.errno?.test(errno)).map((rule) => rule.class))]

  it("each of Node's and of our own is claimed by one class at most, but for three timeouts, whose rule stands before the one for their kind", () => {
    const ours = 'POOL_EXHAUSTED CONNECT_TIMEOUT ATTEMPT_TIMEOUT PARTIAL_COMMIT'
    const ofNode =
      'ENOTFOUND EAI_AGAIN ERR_SOCKET_CLOSED UND_ERR_SOCKET UND_ERR_CONNECT_TIMEOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT'
    const ofTls = 'ERR_TLS_CERT_ALTNAME_INVALID ERR_TLS_HANDSHAKE_TIMEOUT CERT_HAS_EXPIRED DEPTH_ZERO_SELF_SIGNED_CERT'
    const errnos = [...Object.keys(os.constants.errno), ...`${ours} ${ofNode} ${ofTls}`.split(' ')]
    const several = errnos.map((errno) => [errno, ...claimants(errno)]).filter(([, ...classes]) => classes.length > 1)
    expect(several).toEqual([
      ['UND_ERR_HEADERS_TIMEOUT', 'unanswered', 'connection'],
      ['UND_ERR_BODY_TIMEOUT', 'unanswered', 'connection'],
      ['ERR_TLS_HANDSHAKE_TIMEOUT', 'connection', 'config'],
    ])
  })
})
