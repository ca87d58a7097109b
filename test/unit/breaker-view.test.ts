// What an instance knows of the shared circuit, how long it believes it, and what it does where the table has other words or none.

import { describe, expect, it } from 'vitest'
import type { Admission } from '../../shared/resilience/circuit-breaker.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { attempt, breakerRules, failThrice, key, setupBreakers, startMs } from '../support/shared-breaker.ts'

const hourMs = 3_600_000
const open = { state: 'open', epoch: 1, openedAtMs: startMs, retryAtMs: startMs + 4_000, streak: 1, token: null, reason: 'refused' }
const another = { key: 'another', version: 9, data: open }

describe('the view of an instance', () => {
  it('answers at once, without a promise and without the clock, to who has read that already: the healthy path waits for nothing', async () => {
    const { breaker, clock } = setupBreakers()
    await breaker.admit()
    const { nowMs } = clock
    clock.nowMs = () => {
      throw new Error('the clock was read')
    }
    const admission = breaker.admit({ nowMs: startMs })
    expect(admission).toEqual({ verdict: 'pass', epoch: 0 })
    expect(breaker.record(admission as Admission, 'success')).toEqual({ kind: 'none' })
    clock.nowMs = nowMs
    await breaker.record(await breaker.admit(), 'failure')
    await breaker.record(await breaker.admit(), 'success')
    clock.nowMs = () => {
      throw new Error('the clock was read')
    }
    expect(breaker.record(admission as Admission, 'success')).toEqual({ kind: 'none' })
    clock.nowMs = nowMs
    expect(breaker.record({ verdict: 'reject', retryAfterMs: 1 }, 'failure')).toEqual({ kind: 'none' })
  })

  it('serves as the start of a change: a failure behind an admission reads nothing more and writes once', async () => {
    const { breaker, table } = setupBreakers()
    const admission = await breaker.admit()
    expect([table.reads, table.writes]).toEqual([1, 0])
    await breaker.record(admission, 'failure')
    expect([table.reads, table.writes]).toEqual([1, 1])
  })

  it('need not be there for a change: a failure that is the first thing heard of is stored', async () => {
    const { breaker, table, names } = setupBreakers()
    await breaker.record({ verdict: 'pass', epoch: 0 }, 'failure')
    expect(await table.stored()).toEqual({ state: 'closed', epoch: 0, failedAtMs: [startMs] })
    expect(names()).toEqual([])
  })

  it('is not believed when it lies in the future: the clock was set back', async () => {
    const { breakers, clock } = setupBreakers(2)
    const [one, other] = breakers
    await one?.admit()
    clock.atMs -= hourMs
    if (other) await failThrice(other)
    expect((await one?.admit())?.verdict).toBe('reject')
  })

  it("takes over from a list the breaker's own item, whatever stands before it", async () => {
    const { breaker, table } = setupBreakers()
    breaker.prime([another, { key, version: 3, data: { state: 'closed', epoch: 6, failedAtMs: [] } }])
    expect(await breaker.admit()).toEqual({ verdict: 'pass', epoch: 6 })
    expect(table.reads).toBe(0)
  })

  it('takes over what is newer or the same, which makes it fresh again, and nothing older', async () => {
    const { breaker, table, clock } = setupBreakers()
    const items = (version: number, epoch: number) => [{ key, version, data: { state: 'closed', epoch, failedAtMs: [] } }]
    breaker.prime(items(3, 3))
    clock.atMs += 4_999
    breaker.prime(items(3, 3))
    clock.atMs += 4_999
    expect(await breaker.admit()).toEqual({ verdict: 'pass', epoch: 3 })
    breaker.prime(items(5, 5))
    breaker.prime(items(4, 4))
    expect(await breaker.admit()).toEqual({ verdict: 'pass', epoch: 5 })
    expect(table.reads).toBe(0)
  })
})

describe('the words of an instance', () => {
  it('opened and reopened are warnings, closed is not', async () => {
    const { breaker, clock, levels } = setupBreakers()
    await failThrice(breaker)
    clock.atMs += 5_000
    await attempt(breaker, 'failure', true)
    clock.atMs += 10_000
    await attempt(breaker, 'success', true)
    expect(levels).toEqual(['warn circuit.opened', 'warn circuit.reopened', 'info circuit.closed'])
  })

  it('without a listener there is nothing to fail', async () => {
    const { table, clock, names, log } = setupBreakers()
    const breaker = createBreaker({ scope: 'database', key, table, rules: breakerRules, clock, random: () => 0.5, log })
    await failThrice(breaker)
    expect(names()).toEqual(['circuit.opened'])
  })

  it('say for how long the table was out of reach', async () => {
    const { breaker, table, clock, events } = setupBreakers()
    table.mode = 'down'
    await breaker.admit()
    clock.atMs += 7_000
    table.mode = 'up'
    await breaker.admit()
    expect(events.at(-1)).toEqual({ event: 'state-table.reached', scope: 'database', unreachableForMs: 7_000 })
  })

  it('say it as well where a change is the first to reach the table again', async () => {
    const { breaker, table, clock, names } = setupBreakers()
    const admission = await breaker.admit()
    table.mode = 'down'
    await breaker.record(admission, 'failure')
    clock.atMs += 5_000
    table.mode = 'up'
    await breaker.record(admission, 'failure')
    expect(names()).toEqual(['state-table.unreachable', 'state-table.reached'])
  })

  it('name the time within which a hung table did not answer', async () => {
    const { breaker, table, events } = setupBreakers()
    table.mode = 'hung'
    await breaker.admit()
    expect(String(events[0]?.['error'])).toBe('Error: the state table did not answer within 1500 ms')
  })
})

describe('an instance that the table leaves alone', () => {
  it('asks again at once when its clock was set back: the instant until which it waits is an hour away', async () => {
    const { breaker, table, clock } = setupBreakers()
    table.mode = 'down'
    await breaker.admit()
    expect(table.reads).toBe(1)
    clock.atMs -= hourMs
    await breaker.admit()
    expect(table.reads).toBe(2)
  })

  it('lets one of two callers probe that find the table gone together, and refuses the others', async () => {
    const { breaker, table } = setupBreakers()
    breaker.prime([{ key, version: 1, data: { ...open, retryAtMs: startMs } }])
    table.mode = 'down'
    const both = await Promise.all([breaker.admit({ mayProbe: true }), breaker.admit({ mayProbe: true })])
    expect(both.map(({ verdict }) => verdict)).toEqual(['probe', 'reject'])
    expect((await breaker.admit()).verdict).toBe('reject')
  })

  it('goes back to a table that has answered after all, without waiting for the time that it was given', async () => {
    const { breaker, table, names } = setupBreakers()
    const held = Promise.withResolvers<void>()
    table.holdReads = held.promise
    const asked = breaker.admit()
    table.mode = 'down'
    await breaker.record({ verdict: 'pass', epoch: 0 }, 'failure')
    table.mode = 'up'
    held.resolve()
    await asked
    expect(names()).toEqual(['state-table.unreachable', 'state-table.reached'])
    await breaker.record({ verdict: 'pass', epoch: 0 }, 'failure')
    expect(await table.stored()).toMatchObject({ state: 'closed', failedAtMs: [startMs] })
  })

  it('makes a change that it lost, and could not look up, from what it had seen', async () => {
    const { breaker, table, transitions } = setupBreakers()
    const admission = await breaker.admit()
    await breaker.record(admission, 'failure')
    await breaker.record(admission, 'failure')
    // somebody else is first, and then the table is gone
    const asked = table.compareAndSet
    table.compareAndSet = async () => {
      table.mode = 'down'
      return false
    }
    expect((await breaker.record(admission, 'failure')).kind).toBe('opened')
    expect(transitions.map(({ kind }) => kind)).toEqual(['opened'])
    table.compareAndSet = asked
  })
})
