import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffMs } from '../../shared/resilience/backoff.ts'

const rules = { baseMs: 500, capMs: 5_000 }
const almostOne = () => 0.999_999

describe('backoff', () => {
  it('the ceiling doubles with each attempt and stops at the cap', () => {
    expect([1, 2, 3, 4, 5, 6].map((attempt) => Math.ceil(backoffMs(attempt, rules, almostOne)))).toEqual([
      500, 1000, 2000, 4000, 5000, 5000,
    ])
  })

  it('the jitter is full: the wait may be nothing, and half of the ceiling is as likely as all of it', () => {
    expect(backoffMs(3, rules, () => 0)).toBe(0)
    expect(backoffMs(3, rules, () => 0.5)).toBe(1000)
  })

  it('attempt 2000 waits no longer than the cap, and a base of 0 waits nothing instead of NaN', () => {
    expect(backoffMs(2000, rules, () => 0.5)).toBe(2500)
    expect(backoffMs(2000, { baseMs: 0, capMs: 5_000 }, () => 0.5)).toBe(0)
  })

  it('whatever the numbers, the wait is between 0 and the cap', () => {
    const rulesOf = fc.record({ baseMs: fc.nat(60_000), capMs: fc.nat(60_000) })
    const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), rulesOf, unit, (attempt, { baseMs, capMs }, random) => {
        const waitMs = backoffMs(attempt, { baseMs, capMs }, () => random)
        expect(waitMs).toBeGreaterThanOrEqual(0)
        expect(waitMs).toBeLessThanOrEqual(capMs)
      }),
    )
  })
})
