import { describe, expect, it } from 'vitest'
import { parseSettings } from '../../shared/config.ts'
import { ConfigError } from '../../shared/errors.ts'

function problemsOf(input: unknown): readonly string[] {
  try {
    parseSettings(input)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('settings', () => {
  it('an empty object gets every default', () => {
    const settings = parseSettings({})
    expect(settings.retry).toEqual({ attempts: 3, baseMs: 500, capMs: 5_000 })
    expect(settings.breaker).toEqual({
      failures: 3,
      withinMs: 60_000,
      openForMs: 5_000,
      maxOpenForMs: 9_000,
      slowMs: 5_000,
      leaseForMs: 15_000,
    })
    expect(settings.database.lockForMs).toBe(1_500)
    expect(settings.gecko.requestsPerMinute).toBe(10)
    expect(settings.collectors['new-pools']).toEqual({
      enabled: true,
      everyMinutes: 5,
      breaker: true,
      batching: true,
      parking: true,
      maxPages: 10,
    })
    expect(settings.database.validateAfterMs).toBe(500)
  })

  it('the settings in cdk.json are valid', async () => {
    const { default: cdk } = await import('../../cdk.json', { with: { type: 'json' } })
    expect(problemsOf(cdk.context.tokay)).toEqual([])
  })

  it('a misspelt key is refused by its full name, at any depth', () => {
    expect(problemsOf({ retries: {}, retry: { attemps: 3 } })).toEqual([
      'retry.attemps is not a setting; check its spelling',
      'retries is not a setting; check its spelling',
    ])
  })

  it('one error lists all problems', () => {
    const problems = problemsOf({ stage: 'Prod!', networks: [], retry: { attempts: 0 }, gecko: { baseUrl: 'nonsense' } })
    expect(problems).toHaveLength(4)
    for (const name of ['stage', 'networks', 'retry.attempts', 'gecko.baseUrl']) expect(problems.join('\n')).toContain(`${name}: `)
  })

  it('a problem never shows the value, which may be a secret in the wrong place', () => {
    const secret = 'hunter2-secret'
    for (const input of [
      { gecko: { baseUrl: secret } },
      { alerts: { email: secret, phone: secret } },
      { retry: { attempts: secret } },
      { networks: [`${secret}!`] },
    ])
      expect(problemsOf(input).join()).not.toContain(secret)
  })

  it.each([
    [{ retry: { baseMs: 6_000 } }, 'retry.baseMs (6000) must not be above retry.capMs (5000)'],
    [{ breaker: { openForMs: 70_000 } }, 'breaker.openForMs (70000) must not be above breaker.maxOpenForMs (9000)'],
    [
      { database: { lockForMs: 8_000 } },
      'database.lockForMs (8000) must be below database.statementForMs (8000), or a lock is never told from a slow statement',
    ],
    [
      { database: { statementForMs: 10_000 } },
      'database.statementForMs (10000) must be below database.attemptForMs (10000), so that the server gives up first',
    ],
    [
      { breaker: { leaseForMs: 10_000 } },
      'breaker.leaseForMs (10000) must be above database.attemptForMs (10000), or a second probe starts while the first still runs',
    ],
    [
      { collectors: { 'top-pools': { dexes: { base: ['aerodrome'] } } } },
      'collectors.top-pools.dexes names networks that are not in networks: base',
    ],
  ])('settings that contradict each other are refused: %j', (input, problem) => {
    expect(problemsOf(input)).toEqual([problem])
  })
})
