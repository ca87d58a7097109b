// The shared budget of API calls: at most the configured calls in any 60 s, halved on 429, raised again, and a clock that misbehaves gives nothing.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rateLimited, takeCall, type ApiBudget, type BudgetLimits, type BudgetVerdict } from '../../shared/state/api-budget.ts'

const limits: BudgetLimits = { requestsPerMinute: 10, requestsPerMonth: 0 }
const start = Date.UTC(2026, 9, 4, 12, 0, 0)

/** One item, as the state table would hold it. */
function item(using: BudgetLimits = limits, data?: ApiBudget) {
  let stored = data
  return {
    get data() {
      return stored as ApiBudget
    },
    take(nowMs: number, now = using): BudgetVerdict {
      const { data: next, result } = takeCall(stored, { nowMs, limits: now })
      stored = next ?? stored
      return result
    },
    limited(nowMs: number, retryAfterMs: number): number {
      const { data: next, result } = rateLimited(stored, { nowMs, limits: using, retryAfterMs })
      stored = next ?? stored
      return result.perMinute
    },
    /** How many calls go at once. */
    drain(nowMs: number): number {
      let calls = 0
      while (this.take(nowMs).verdict === 'go') calls += 1
      return calls
    },
  }
}

const go = { verdict: 'go' }
const wait = (forMs: number) => ({ verdict: 'wait', forMs })

describe('taking calls', () => {
  it('a fresh budget of 10 a minute lets 2 calls go at once, then one each 60/9 s', () => {
    const budget = item()
    expect(budget.drain(start)).toBe(2)
    expect(budget.take(start)).toEqual(wait(6_667))
    expect(budget.take(start + 6_666)).toEqual(wait(1))
    expect(budget.take(start + 6_667)).toEqual(go)
    expect(budget.take(start + 6_667)).toEqual(wait(6_667))
  })

  it('the burst is a few calls, however large the rate and however long nothing was asked', () => {
    for (const [requestsPerMinute, burst] of [
      [1, 1],
      [5, 1],
      [10, 2],
      [30, 3],
      [500, 3],
    ] as const) {
      const budget = item({ requestsPerMinute, requestsPerMonth: 0 })
      expect({ requestsPerMinute, burst: budget.drain(start) }).toEqual({ requestsPerMinute, burst })
      expect(budget.drain(start + 86_400_000)).toBe(burst)
    }
  })

  it('a refused call changes nothing', () => {
    const budget = item()
    budget.drain(start)
    expect(takeCall(budget.data, { nowMs: start + 1_000, limits }).data).toBeUndefined()
  })

  it('never more than the configured calls in any 60 s, whenever callers come', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.array(fc.oneof(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 40_000 })), { minLength: 1, maxLength: 400 }),
        (requestsPerMinute, pausesMs) => {
          const budget = item({ requestsPerMinute, requestsPerMonth: 0 })
          const wentAtMs: number[] = []
          let nowMs = start
          for (const pauseMs of pausesMs) {
            nowMs += pauseMs
            if (budget.take(nowMs).verdict === 'go') wentAtMs.push(nowMs)
          }
          for (const from of wentAtMs)
            expect(wentAtMs.filter((at) => at >= from && at < from + 60_000).length).toBeLessThanOrEqual(requestsPerMinute)
        },
      ),
    )
  })

  it('who waits as told gets the call, to the millisecond, at any rate and any time', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.array(fc.integer({ min: 0, max: 7_000 }), { maxLength: 50 }),
        (requestsPerMinute, pausesMs) => {
          const budget = item({ requestsPerMinute, requestsPerMonth: 0 })
          let nowMs = start
          for (const pauseMs of pausesMs) {
            nowMs += pauseMs
            const verdict = budget.take(nowMs)
            if (verdict.verdict !== 'wait') continue
            expect(verdict.forMs).toBeGreaterThan(0)
            expect(budget.take(nowMs + verdict.forMs - 1).verdict).toBe('wait')
            nowMs += verdict.forMs
            expect(budget.take(nowMs)).toEqual(go)
          }
        },
      ),
    )
  })
})

describe('after a 429', () => {
  it('nobody calls until the time that the API named, to the millisecond', () => {
    const budget = item()
    budget.take(start)
    budget.limited(start + 500, 65_000)
    expect(budget.take(start + 500)).toEqual(wait(65_000))
    expect(budget.take(start + 65_499)).toEqual(wait(1))
    expect(budget.take(start + 65_500)).toEqual(go)
  })

  it('the rate halves, down to 1 a minute', () => {
    const budget = item()
    const rates: number[] = []
    for (let n = 0; n < 5; n++) rates.push(budget.limited(start + n * 70_000, 65_000))
    expect(rates).toEqual([5, 2, 1, 1, 1])
  })

  it('calls that were under way together halve the rate once, and the longest block holds', () => {
    const budget = item()
    expect(budget.limited(start, 65_000)).toBe(5)
    expect(budget.limited(start + 200, 90_000)).toBe(5)
    expect(budget.limited(start + 300, 65_000)).toBe(5)
    expect(budget.take(start + 90_199)).toEqual(wait(1))
  })

  it('each clean minute after the block raises the rate by 1, up to the configured one and no further', () => {
    const rateAt = (atMs: number) => {
      const budget = item()
      budget.limited(start, 65_000)
      budget.take(atMs)
      return budget.data.perMinute
    }
    const blockEndsMs = start + 65_000
    expect(rateAt(blockEndsMs + 59_999)).toBe(5)
    expect(rateAt(blockEndsMs + 60_000)).toBe(6)
    expect(rateAt(blockEndsMs + 179_999)).toBe(7)
    expect(rateAt(blockEndsMs + 180_000)).toBe(8)
    expect(rateAt(blockEndsMs + 3_600_000)).toBe(10)
  })

  it('a clean minute raises it once, however many calls are made in it', () => {
    const budget = item()
    budget.limited(start, 65_000)
    const rateAt = (atMs: number) => {
      expect(budget.take(atMs)).toEqual(go)
      return budget.data.perMinute
    }
    const blockEndsMs = start + 65_000
    expect([60_000, 100_000, 120_000, 170_000, 180_000].map((afterMs) => rateAt(blockEndsMs + afterMs))).toEqual([6, 6, 7, 7, 8])
  })

  it('a 429 at the end of the block is a new one and halves again, a millisecond earlier it belongs to the block', () => {
    const early = item()
    early.limited(start, 65_000)
    expect(early.limited(start + 64_999, 65_000)).toBe(5)
    const late = item()
    late.limited(start, 65_000)
    expect(late.limited(start + 65_000, 65_000)).toBe(2)
  })

  it('the bucket is empty: after a short block the next call still takes its time at the halved rate', () => {
    const budget = item()
    budget.limited(start, 1_000)
    expect(budget.take(start + 1_000)).toEqual(wait(11_000))
  })

  it('a first call of all that meets a 429 blocks the others', () => {
    const budget = item()
    expect(budget.limited(start, 7_000)).toBe(5)
    expect(budget.take(start)).toEqual(wait(7_000))
  })
})

describe('settings that change', () => {
  it('a higher rate is used at once, not crept to', () => {
    const budget = item()
    budget.drain(start)
    const raised = { requestsPerMinute: 100, requestsPerMonth: 0 }
    expect(budget.take(start + 700, raised)).toEqual(go)
    expect(budget.data.perMinute).toBe(100)
  })

  it('a lower rate is used at once', () => {
    const budget = item({ requestsPerMinute: 100, requestsPerMonth: 0 })
    budget.drain(start)
    expect(budget.take(start, { requestsPerMinute: 1, requestsPerMonth: 0 })).toEqual(wait(60_000))
  })
})

describe('the month', () => {
  const monthly = { requestsPerMinute: 60, requestsPerMonth: 3 }
  const lastDay = Date.UTC(2026, 9, 31, 23, 0, 0)

  it('when its calls are used up, the next is in the next month (UTC)', () => {
    const budget = item(monthly)
    expect(budget.drain(lastDay)).toBe(3)
    expect(budget.take(lastDay + 60_000)).toEqual({ verdict: 'exhausted', untilMs: Date.UTC(2026, 10, 1) })
    expect(budget.take(Date.UTC(2026, 10, 1) - 1)).toMatchObject({ verdict: 'exhausted' })
    expect(budget.take(Date.UTC(2026, 10, 1))).toEqual(go)
    expect(budget.data).toMatchObject({ month: '2026-11', monthCalls: 1 })
  })

  it('December is followed by January', () => {
    const budget = item({ requestsPerMinute: 60, requestsPerMonth: 1 })
    budget.take(Date.UTC(2026, 11, 31))
    expect(budget.take(Date.UTC(2026, 11, 31))).toEqual({ verdict: 'exhausted', untilMs: Date.UTC(2027, 0, 1) })
  })

  it('calls are counted without a limit too', () => {
    const budget = item()
    budget.drain(lastDay)
    expect(budget.data).toMatchObject({ month: '2026-10', monthCalls: 2 })
    expect(budget.take(lastDay + 60_000)).toEqual(go)
  })

  it('a clock a second behind at the turn of the month does not start the old month anew', () => {
    const budget = item(monthly)
    budget.take(Date.UTC(2026, 10, 1))
    budget.take(Date.UTC(2026, 10, 1) - 1_000)
    expect(budget.data).toMatchObject({ month: '2026-11', monthCalls: 2 })
  })
})

describe('a clock that goes backwards', () => {
  it('gives no tokens, there or on the way back', () => {
    const budget = item()
    budget.drain(start)
    expect(budget.take(start - 30_000)).toEqual(wait(36_667))
    expect(budget.take(start)).toEqual(wait(6_667))
    expect(budget.take(start + 6_667)).toEqual(go)
    expect(budget.take(start + 1_000)).toEqual(wait(12_334))
  })

  it('two hosts with clocks 20 s apart share one budget: no more calls than one host has', () => {
    const budget = item()
    let calls = 0
    for (let atMs = start; atMs < start + 600_000; atMs += 250) {
      if (budget.take(atMs).verdict === 'go') calls += 1
      if (budget.take(atMs - 20_000).verdict === 'go') calls += 1
    }
    expect(calls).toBeLessThanOrEqual(92)
    expect(calls).toBeGreaterThanOrEqual(85)
  })

  it('a clock set back by a day goes on from there, and a block keeps what is left of it', () => {
    const dayMs = 86_400_000
    const budget = item()
    budget.drain(start)
    expect(budget.take(start - dayMs)).toEqual(wait(6_667))
    budget.take(start - dayMs + 6_667)
    expect(budget.data.monthCalls).toBe(3)
    const blocked = item()
    blocked.limited(start, 65_000)
    expect(blocked.take(start - dayMs)).toEqual(wait(65_000))
    expect(blocked.take(start - dayMs + 65_000)).toEqual(go)
  })

  it('a clock set back by a day takes the clean time with it: the rate rises a minute after the block', () => {
    const dayMs = 86_400_000
    const budget = item()
    budget.limited(start, 65_000)
    expect(budget.take(start - dayMs)).toEqual(wait(65_000))
    expect(budget.take(start - dayMs + 65_000)).toEqual(go)
    expect(budget.data.perMinute).toBe(5)
    expect(budget.take(start - dayMs + 125_000)).toEqual(go)
    expect(budget.data.perMinute).toBe(6)
  })

  it('a host that is a minute behind shares the budget, one that is further behind was set back', () => {
    const usedUp = () => {
      const budget = item()
      budget.drain(start)
      return budget
    }
    expect(usedUp().take(start - 60_000)).toEqual(wait(66_667))
    expect(usedUp().take(start - 60_001)).toEqual(wait(6_667))
  })
})
