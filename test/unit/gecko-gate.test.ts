// The gate in front of the API: breaker first, then the budget that all instances share, with or without the state table.

import { describe, expect, it } from 'vitest'
import type { Clock } from '../../shared/clock.ts'
import { GeckoApiError } from '../../shared/errors.ts'
import { createGeckoGate, type CallOutcome } from '../../shared/gecko/rate-limit.ts'
import type { LogEvent } from '../../shared/log.ts'
import type { BreakerRules } from '../../shared/resilience/circuit-breaker.ts'
import type { ApiBudget, BudgetLimits } from '../../shared/state/api-budget.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { StateTable } from '../../shared/state/state-table.ts'

const start = Date.UTC(2026, 9, 4, 12, 0, 0)
const rules: BreakerRules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
const operation = 'GET /networks of api.example'
const limited: CallOutcome = { kind: 'rate-limited', retryAfterMs: 65_000 }

const random = () => 0.5

/** Sleeping moves the time; `meanwhile` happens while somebody sleeps. */
function testClock() {
  const sleptMs: number[] = []
  const clock = {
    atMs: start,
    sleptMs,
    meanwhile: undefined as (() => Promise<void>) | undefined,
    nowMs: () => clock.atMs,
    async sleep(forMs: number) {
      sleptMs.push(forMs)
      clock.atMs += forMs
      await clock.meanwhile?.()
    },
  }
  return clock satisfies Clock
}

/** A table that can go away. */
function testTable(): StateTable & { isAway: boolean } {
  const inner = createMemoryStateTable()
  const reached = async () => {
    if (table.isAway) throw new Error('no route to the state table')
  }
  const table = {
    isAway: false,
    list: async () => {
      await reached()
      return inner.list()
    },
    compareAndSet: async (key: string, version: number, data: unknown) => {
      await reached()
      return inner.compareAndSet(key, version, data)
    },
    close: () => inner.close(),
  }
  return table
}

function instance(
  shared: { table?: ReturnType<typeof testTable>; clock?: ReturnType<typeof testClock>; limits?: Partial<BudgetLimits> } = {},
) {
  const { table = testTable(), clock = testClock() } = shared
  const events: LogEvent[] = []
  const note = (event: LogEvent) => void events.push(event)
  const log = { info: note, warn: note, error: note }
  const breaker = createBreaker({ scope: 'gecko', key: 'breaker:gecko', table, rules, clock, random, log, viewForMs: 1 })
  const limits = { requestsPerMinute: 10, requestsPerMonth: 0, ...shared.limits }
  const gate = createGeckoGate({ table, breaker, limits, clock, random, log })
  const call = async (outcome: CallOutcome, bounds?: Parameters<typeof gate.admit>[1]) =>
    gate.record(await gate.admit(operation, bounds), outcome)
  const budget = async () => (await table.list()).find((item) => item.key === 'budget:gecko')?.data as ApiBudget | undefined
  return { gate, breaker, table, clock, events, call, budget, names: () => events.map((event) => event.event) }
}

async function refusal(work: Promise<unknown>): Promise<GeckoApiError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof GeckoApiError)) throw new Error(`expected a GeckoApiError, got ${String(error)}`)
  return error
}

describe('the budget', () => {
  it('a call waits for its turn when that comes before the deadline', async () => {
    const { call, clock } = instance()
    for (let n = 0; n < 4; n++) await call({ kind: 'answered' }, { deadlineAtMs: start + 60_000 })
    expect(clock.sleptMs).toEqual([6_667, 6_667])
  })

  it('a turn that comes at the deadline or after it is not waited for, and the error says when it would come', async () => {
    const { call, clock, gate } = instance()
    await call({ kind: 'answered' })
    await call({ kind: 'answered' })
    const error = await refusal(gate.admit(operation, { deadlineAtMs: start + 6_667 }))
    expect(error).toMatchObject({ failure: 'not-sent', retryAfterMs: 6_667 })
    expect(error.message).toBe(
      `${operation} was not sent: the budget's next call is in 6.7 s, the deadline in 6.7 s (gecko.requestsPerMinute 10; less for a while after a 429); ask again in 6.7 s`,
    )
    expect(clock.sleptMs).toEqual([])
  })

  it('a month that is used up is not waited for', async () => {
    const { call, gate, clock } = instance({ limits: { requestsPerMonth: 1 } })
    await call({ kind: 'answered' })
    const error = await refusal(gate.admit(operation))
    expect(error.message).toContain('the 1 calls of this month (gecko.requestsPerMonth) are used up until 2026-11-01T00:00:00.000Z')
    expect(clock.sleptMs).toEqual([])
  })

  it('instances share one budget', async () => {
    const clock = testClock()
    const table = testTable()
    const [one, two] = [instance({ table, clock }), instance({ table, clock })]
    await one.call({ kind: 'answered' })
    await two.call({ kind: 'answered' })
    await refusal(one.gate.admit(operation, { deadlineAtMs: start + 1_000 }))
    await refusal(two.gate.admit(operation, { deadlineAtMs: start + 1_000 }))
    expect(await one.budget()).toMatchObject({ monthCalls: 2 })
  })

  it('callers that come at the same time each get a call of their own', async () => {
    const { gate, budget } = instance({ limits: { requestsPerMinute: 30 } })
    await Promise.all([gate.admit(operation), gate.admit(operation), gate.admit(operation)])
    expect(await budget()).toMatchObject({ monthCalls: 3, tokens: 0 })
  })

  it('a 429 of one instance blocks and slows all', async () => {
    const clock = testClock()
    const table = testTable()
    const [one, two] = [instance({ table, clock }), instance({ table, clock })]
    await one.call(limited)
    const error = await refusal(two.gate.admit(operation, { deadlineAtMs: start + 64_999 }))
    expect(error.retryAfterMs).toBe(65_000)
    expect(await two.budget()).toMatchObject({ perMinute: 5, blockedUntilMs: start + 65_000 })
    expect(one.events).toEqual([{ event: 'gecko.rate_limited', blockedForMs: 65_000, perMinute: 5 }])
  })

  it('an abort ends the wait with its reason', async () => {
    const { call, gate, clock } = instance()
    await call({ kind: 'answered' })
    await call({ kind: 'answered' })
    const controller = new AbortController()
    clock.meanwhile = async () => controller.abort(new Error('stopping'))
    await expect(gate.admit(operation, { signal: controller.signal })).rejects.toThrow('stopping')
    await expect(gate.admit(operation, { signal: controller.signal })).rejects.toThrow('stopping')
    expect(clock.sleptMs).toHaveLength(1)
  })
})

describe('the breaker', () => {
  const down: CallOutcome = { kind: 'unavailable' }
  const opened = async (limits: Partial<BudgetLimits> = { requestsPerMinute: 600 }) => {
    const made = instance({ limits })
    for (let n = 0; n < 3; n++) await made.call(down)
    made.clock.sleptMs.length = 0
    return made
  }

  it('three failed calls open it; then nothing is sent, waited for or taken from the budget', async () => {
    const { gate, clock, budget } = await opened()
    const before = await budget()
    const error = await refusal(gate.admit(operation))
    expect(error).toMatchObject({ failure: 'not-sent', retryAfterMs: 5_000 })
    expect(error.message).toBe(`${operation} was not sent: the circuit breaker of the API is open; ask again in 5 s`)
    expect(clock.sleptMs).toEqual([])
    expect(await budget()).toEqual(before)
  })

  it('any answer is a sign of life: 429s and refusals do not open it, and calls given up by us count for nothing', async () => {
    const { call, breaker } = instance({ limits: { requestsPerMinute: 600 } })
    for (const outcome of [down, down, limited, down, down, { kind: 'answered' }, down, down, { kind: 'inconclusive' }] as const)
      await call(outcome)
    expect(await breaker.view()).toMatchObject({ state: 'closed' })
    await call(down)
    expect(await breaker.view()).toMatchObject({ state: 'open', reason: 'unavailable' })
  })

  it('when its time has come one call goes as the probe, and its answer closes it', async () => {
    const { gate, clock, breaker, call } = await opened()
    clock.atMs += 5_000
    const pass = await gate.admit(operation)
    expect(pass.admission.verdict).toBe('probe')
    await refusal(gate.admit(operation))
    await gate.record(pass, { kind: 'answered' })
    expect(await breaker.view()).toMatchObject({ state: 'closed' })
    await call({ kind: 'answered' })
  })

  it('a probe that gets no budget in time gives its lease back', async () => {
    const { gate, clock, breaker } = await opened({ requestsPerMinute: 600, requestsPerMonth: 3 })
    clock.atMs += 5_000
    expect((await refusal(gate.admit(operation))).message).toContain('gecko.requestsPerMonth')
    expect(await breaker.view()).toMatchObject({ state: 'open', token: null, retryAtMs: clock.atMs + 150 })
  })

  it('a call whose turn comes after the breaker has opened is not sent', async () => {
    const { gate, breaker, clock, call } = instance()
    await call({ kind: 'answered' })
    await call({ kind: 'answered' })
    clock.meanwhile = async () => {
      const admission = await breaker.admit()
      for (let n = 0; n < 3; n++) await breaker.record(admission, 'failure')
    }
    expect((await refusal(gate.admit(operation))).message).toContain('the circuit breaker of the API is open')
    expect(clock.sleptMs).toEqual([6_667])
  })

  it('an outcome that can not be recorded is logged and thrown to nobody', async () => {
    const { table, clock } = instance()
    const events: LogEvent[] = []
    const note = (event: LogEvent) => void events.push(event)
    const gate = createGeckoGate({
      table,
      breaker: {
        admit: async () => ({ verdict: 'pass', epoch: 0 }),
        record: async () => {
          throw new Error('broken')
        },
      },
      limits: { requestsPerMinute: 10, requestsPerMonth: 0 },
      clock,
      random,
      log: { info: note, warn: note, error: note },
    })
    await gate.record(await gate.admit(operation), { kind: 'answered' })
    expect(events).toMatchObject([{ event: 'gecko.outcome_unrecorded', outcome: 'answered' }])
  })
})

describe('without the state table', () => {
  it('an instance goes on from the budget that it saw last, says so once, and says when the table is back', async () => {
    const { call, gate, table, clock, names } = instance()
    await call({ kind: 'answered' })
    table.isAway = true
    await call({ kind: 'answered' })
    await refusal(gate.admit(operation, { deadlineAtMs: start + 6_667 }))
    clock.atMs += 6_667
    await call({ kind: 'answered' })
    table.isAway = false
    clock.atMs += 60_000
    await call({ kind: 'answered' })
    expect(names().filter((name) => name.startsWith('gecko.'))).toEqual(['gecko.budget_unshared', 'gecko.budget_shared'])
  })

  it('an instance that never saw the table starts with a fresh budget', async () => {
    const { call, gate, table } = instance()
    table.isAway = true
    await call({ kind: 'answered' })
    await call({ kind: 'answered' })
    expect(await refusal(gate.admit(operation, { deadlineAtMs: start + 1 }))).toMatchObject({ retryAfterMs: 6_667 })
  })

  it('a 429 is obeyed all the same', async () => {
    const { call, gate, table } = instance()
    table.isAway = true
    await call(limited)
    expect(await refusal(gate.admit(operation, { deadlineAtMs: start + 1 }))).toMatchObject({ retryAfterMs: 65_000 })
  })
})
