import { describe, expect, it } from 'vitest'
import { classifyFailure, failurePolicies, type FailureClass } from '../../shared/resilience/classify-failure.ts'
import { explain, explainClass } from '../../shared/resilience/explain-failure.ts'
import { DatabaseError } from '../../shared/db/database.ts'
import { everySqlState } from '../support/sqlstates.ts'

const known = (code: string) => {
  const explained = explain(code)
  if (explained.kind === 'unknown') throw new Error(`${code} is unknown`)
  return explained.explanations
}
const suggested = (code: string) => {
  const explained = explain(code)
  return explained.kind === 'unknown' ? explained.suggestions : undefined
}

describe('a code', () => {
  it('every SQLSTATE of PostgreSQL 14 to 18 ends with the class that the code alone has', () => {
    expect(everySqlState.length).toBeGreaterThan(250)
    for (const code of everySqlState) {
      const alone = new DatabaseError('words', { statement: 'write', applied: 'refused', sqlState: code, severity: 'ERROR' })
      const explanations = known(code)
      expect([code, explanations.at(-1)]).toMatchObject([code, { class: classifyFailure(alone).class }])
      expect([code, explanations.at(-1)?.when]).toEqual([code, undefined])
    }
  })

  it.each([
    ['25006', [['read-only', undefined]]],
    [
      '23514',
      [
        ['missing-partition', "the server's routine is ExecFindPartition"],
        ['data', undefined],
      ],
    ],
    [
      '57014',
      [
        ['cancelled', 'its message has user request'],
        ['slow', undefined],
      ],
    ],
    ['40p01', [['contention', undefined]]],
    ['42', [['schema', undefined]]],
    ['ECONNREFUSED', [['connection', undefined]]],
    ['econnreset', [['connection', undefined]]],
    ['EMFILE', [['own-limit', undefined]]],
    ['CERT_HAS_EXPIRED', [['config', undefined]]],
    ['lock-timeout', [['lock-timeout', undefined]]],
    ['circuit-open', [['circuit-open', undefined]]],
    ['deadline', [['deadline', undefined]]],
  ])('%s means %j', (code, expected) => {
    expect(known(code).map(({ class: failureClass, when }) => [failureClass, when])).toEqual(expected)
  })

  it.each([
    ['lock-timout', 'lock-timeout'],
    ['ECONREFUSED', 'ECONNREFUSED'],
    ['250006', '25006'],
    ['timeout', 'lock-timeout'],
  ])('%s is unknown, and %s is what was meant', (code, meant) => {
    expect(suggested(code)).toContain(meant)
  })

  it.each(['42P01', 'ECONNREFUSED', 'saturated', 'circuit-open'])('%s is known, as a code, an errno, a class or a reason', (given) => {
    expect(explain(given).kind).toBe('known')
  })

  it.each(['ZZZZZ', 'hello there', '', '__proto__', 'constructor'])('%j is unknown, and nothing is made up', (code) => {
    expect(suggested(code)).toEqual([])
  })
})

describe('a class', () => {
  it.each(Object.keys(failurePolicies) as FailureClass[])('%s has a meaning, what is done and what to do, each a sentence', (name) => {
    const { meaning, tokayDoes, action } = explainClass(name)
    expect(tokayDoes.length).toBeGreaterThan(0)
    for (const sentence of [meaning, ...tokayDoes, action]) expect(sentence).toMatch(/^\S.*[.)]$/)
  })

  it('says of retries, circuit and rows what its policy does', () => {
    const does = (name: FailureClass) => explainClass(name).tokayDoes.join(' ')
    expect(does('connection')).toContain('3 times in all')
    expect(does('connection')).toContain("Counts against the database's circuit")
    expect(does('lock-timeout')).toContain("Counts against the table's own circuit")
    expect(does('schema')).toContain('Parks the rows')
    expect(does('schema')).toContain('somebody has to be told')
    expect(does('data')).not.toContain('Parks the rows,')
    expect(does('data')).toContain('quarantine')
    for (const name of Object.keys(failurePolicies) as FailureClass[])
      expect([name, does(name).includes('Parks the rows,')]).toEqual([name, failurePolicies[name].keeps === 'park'])
  })
})
