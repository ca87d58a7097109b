import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../shared/resilience/circuit-breaker.ts'
import type { Breaker } from '../../shared/state/breaker.ts'
import { attempt, failThrice, setupBreakers, startMs } from '../support/shared-breaker.ts'

describe('shared breaker', () => {
  it('the healthy path neither reads nor writes for each call: one read in 5 s', async () => {
    const { breaker, table, clock } = setupBreakers()
    for (let i = 0; i < 1_000; i++) expect((await attempt(breaker, 'success')).verdict).toBe('pass')
    expect([table.reads, table.writes]).toEqual([1, 0])
    clock.atMs += 5_000
    for (let i = 0; i < 1_000; i++) await attempt(breaker, 'success')
    expect([table.reads, table.writes]).toEqual([2, 0])
  })

  it('callers that come at once share one read', async () => {
    const { breaker, table } = setupBreakers()
    await Promise.all(Array.from({ length: 20 }, () => attempt(breaker, 'success')))
    expect(table.reads).toBe(1)
  })

  it('with the items that the invocation has read anyway it reads nothing', async () => {
    const { breaker, table, create } = setupBreakers()
    await failThrice(create())
    const items = await table.list()
    const readsBefore = table.reads
    breaker.prime(items)
    expect((await breaker.admit()).verdict).toBe('reject')
    breaker.prime([])
    expect((await breaker.admit()).verdict, 'an older list than what it knows is ignored').toBe('reject')
    expect(table.reads).toBe(readsBefore)
  })

  it('three failed attempts open it for every instance; the one whose change it was announces and logs it', async () => {
    const { breakers, table, transitions, events, clock } = setupBreakers(3)
    const [first, second, third] = breakers as [Breaker, Breaker, Breaker]
    await third.admit()
    for (const breaker of [first, second, first]) await attempt(breaker, 'failure')
    expect(await table.stored()).toEqual({
      state: 'open',
      epoch: 1,
      openedAtMs: startMs,
      retryAtMs: startMs + 5_000,
      streak: 1,
      token: null,
      reason: 'refused',
    })
    expect(transitions).toEqual([{ kind: 'opened', epoch: 1, openForMs: 5_000, reason: 'refused' }])
    expect(events).toEqual([{ event: 'circuit.opened', scope: 'database', epoch: 1, openForMs: 5_000, reason: 'refused' }])
    // the third has looked just before and may believe it for 5 s
    clock.atMs += 4_999
    expect((await third.admit()).verdict).toBe('pass')
    clock.atMs += 1
    expect((await third.admit()).verdict).toBe('reject')
  })

  it('thirty instances that fail at once open it once', async () => {
    const { breakers, transitions } = setupBreakers(30)
    await Promise.all(breakers.map((breaker) => attempt(breaker, 'failure')))
    expect(transitions).toEqual([{ kind: 'opened', epoch: 1, openForMs: 5_000, reason: 'refused' }])
  })

  it('while it is open a rejection comes from the view, without reading', async () => {
    const { breaker, table } = setupBreakers()
    await failThrice(breaker)
    const { reads, writes } = table
    for (let i = 0; i < 1_000; i++) expect(await breaker.admit({ mayProbe: true })).toEqual({ verdict: 'reject', retryAfterMs: 5_000 })
    expect([table.reads, table.writes]).toEqual([reads, writes])
  })

  it('a success after failures writes once, to forget them', async () => {
    const { breaker, table } = setupBreakers()
    await attempt(breaker, 'failure')
    const { writes } = table
    await attempt(breaker, 'success')
    await attempt(breaker, 'success')
    expect(table.writes).toBe(writes + 1)
    expect(await table.stored()).toEqual({ state: 'closed', epoch: 0, failedAtMs: [] })
  })

  it('a due probe is left to who may probe, and its success closes the circuit for everyone', async () => {
    const { breakers, clock, transitions, names } = setupBreakers(2)
    const [collector, replay] = breakers as [Breaker, Breaker]
    await failThrice(collector)
    clock.atMs += 5_000
    expect(await collector.admit()).toEqual({ verdict: 'reject', retryAfterMs: 1_000 })
    const probe = await replay.admit({ mayProbe: true })
    expect(probe.verdict).toBe('probe')
    expect((await replay.admit({ mayProbe: true })).verdict).toBe('reject')
    clock.atMs += 200
    expect(await replay.record(probe, 'success')).toEqual({ kind: 'closed', epoch: 2, wasOpenForMs: 5_200 })
    expect((await replay.admit()).verdict).toBe('pass')
    clock.atMs += 5_000
    expect((await collector.admit()).verdict).toBe('pass')
    expect(transitions.map((t) => t.kind)).toEqual(['opened', 'closed'])
    expect(names()).toEqual(['circuit.opened', 'circuit.closed'])
  })

  it('a failed probe reopens it for twice as long', async () => {
    const { breaker, clock, transitions } = setupBreakers()
    await failThrice(breaker)
    clock.atMs += 5_000
    await attempt(breaker, 'failure', true)
    expect(transitions[1]).toEqual({ kind: 'reopened', epoch: 2, openForMs: 10_000, reason: 'refused' })
    expect(await breaker.admit({ mayProbe: true })).toEqual({ verdict: 'reject', retryAfterMs: 10_000 })
  })

  it('a prober that died is replaced after its lease, and its late success does not close the circuit', async () => {
    const { breakers, clock, table } = setupBreakers(2)
    const [dying, next] = breakers as [Breaker, Breaker]
    await failThrice(dying)
    clock.atMs += 5_000
    const lost = await dying.admit({ mayProbe: true })
    expect((await next.admit({ mayProbe: true })).verdict).toBe('reject')
    clock.atMs += 15_000
    const taken = await next.admit({ mayProbe: true })
    expect(taken.verdict).toBe('probe')
    expect(await dying.record(lost, 'success')).toEqual({ kind: 'none' })
    expect((await table.stored())?.state).toBe('open')
    expect((await next.record(taken, 'success')).kind).toBe('closed')
  })

  it('an answer to a read that was asked before the own change does not bring the old state back', async () => {
    const { breaker, table, clock } = setupBreakers()
    await attempt(breaker, 'failure')
    await attempt(breaker, 'failure')
    clock.atMs += 5_000
    const held = Promise.withResolvers<void>()
    table.holdReads = held.promise
    const reading = breaker.view()
    table.holdReads = undefined
    await breaker.record({ verdict: 'pass', epoch: 0 }, 'failure', 'refused')
    held.resolve()
    expect((await reading).state).toBe('open')
    expect((await breaker.admit()).verdict).toBe('reject')
  })

  it('a listener that throws is logged, and the verdict counts', async () => {
    const { create, table, names } = setupBreakers()
    const breaker = create(async () => {
      throw new Error('the health check could not be invoked')
    })
    await failThrice(breaker)
    expect((await table.stored())?.state).toBe('open')
    expect(names()).toEqual(['circuit.opened', 'circuit.listener-failed'])
  })

  it('whatever several instances do at once, the transitions of all make one story: opened, reopened, closed', async () => {
    const { breakers, transitions, clock } = setupBreakers(5)
    let draw = 0.1
    const random = () => (draw = (draw * 997 + 0.618) % 1)
    const outcomes = ['failure', 'failure', 'success', 'success', 'neutral'] as const
    for (let round = 0; round < 1_000; round++) {
      await Promise.all(breakers.map((breaker) => attempt(breaker, outcomes[Math.floor(random() * 5)] as Outcome, random() < 0.5)))
      clock.atMs += Math.floor(random() * 8_000)
    }
    const story = transitions.map((t) => t.kind)
    expect(transitions.map((t) => t.kind !== 'none' && t.epoch)).toEqual(transitions.map((_, i) => i + 1))
    expect(`${story.join(' ')} `).toMatch(/^(opened (reopened )*closed )*(opened (reopened )*)?$/)
    expect(story.filter((kind) => kind === 'closed').length).toBeGreaterThan(5)
    expect(story.filter((kind) => kind === 'reopened').length).toBeGreaterThan(5)
  })
})

describe('shared breaker without its table', () => {
  it('the circuit passes as closed, counts and opens in memory, and says so once', async () => {
    const { breaker, table, names, transitions, clock } = setupBreakers()
    table.mode = 'down'
    await failThrice(breaker)
    expect(await breaker.admit()).toEqual({ verdict: 'reject', retryAfterMs: 5_000 })
    expect(await breaker.view()).toMatchObject({ state: 'open', reason: 'refused' })
    expect(transitions.map((t) => t.kind)).toEqual(['opened'])
    clock.atMs += 5_000
    expect((await attempt(breaker, 'success', true)).verdict).toBe('probe')
    expect((await breaker.admit()).verdict).toBe('pass')
    expect(names()).toEqual(['state-table.unreachable', 'circuit.opened', 'circuit.closed'])
  })

  it('the table is asked again only after 5 s, however many calls there are', async () => {
    const { breaker, table, clock } = setupBreakers()
    table.mode = 'down'
    for (let i = 0; i < 100; i++) await attempt(breaker, 'failure')
    expect([table.reads, table.writes]).toEqual([1, 0])
    clock.atMs += 5_000
    for (let i = 0; i < 100; i++) await attempt(breaker, 'failure')
    expect([table.reads, table.writes]).toEqual([2, 0])
  })

  it('the last view holds: open stays open', async () => {
    const { breaker, create, table, clock } = setupBreakers()
    await failThrice(create())
    expect((await breaker.admit()).verdict).toBe('reject')
    table.mode = 'down'
    clock.atMs += 5_500
    expect(await breaker.admit()).toEqual({ verdict: 'reject', retryAfterMs: 1_000 })
  })

  it('a success that has nothing to record asks nobody, and does not claim that the table is back', async () => {
    const { breaker, table, names, clock } = setupBreakers()
    const admission = await breaker.admit()
    table.mode = 'down'
    clock.atMs += 5_000
    await breaker.admit()
    clock.atMs += 5_000
    const { reads, writes } = table
    await breaker.record(admission, 'success')
    expect([table.reads, table.writes]).toEqual([reads, writes])
    expect(names()).toEqual(['state-table.unreachable'])
  })

  it('a table that comes back is believed again, and a second episode is logged again', async () => {
    const { breaker, table, names, clock } = setupBreakers()
    table.mode = 'down'
    await failThrice(breaker)
    table.mode = 'up'
    clock.atMs += 5_000
    expect((await breaker.admit()).verdict).toBe('pass')
    expect(names()).toEqual(['state-table.unreachable', 'circuit.opened', 'state-table.reached'])
    table.mode = 'down'
    clock.atMs += 5_000
    await breaker.admit()
    expect(names().slice(3)).toEqual(['state-table.unreachable'])
  })

  it('a table that fails between the admission and the verdict costs nothing but the sharing', async () => {
    const { breaker, table, clock, names } = setupBreakers()
    await failThrice(breaker)
    clock.atMs += 5_000
    const probe = await breaker.admit({ mayProbe: true })
    table.mode = 'down'
    expect((await breaker.record(probe, 'success')).kind).toBe('closed')
    expect((await breaker.admit()).verdict).toBe('pass')
    expect(names()).toEqual(['circuit.opened', 'state-table.unreachable', 'circuit.closed'])
  })

  it('a table that hangs delays one call by about 1.5 s, and the calls after it not at all', async () => {
    const { breaker, table } = setupBreakers()
    table.mode = 'hung'
    const startedAtMs = performance.now()
    expect((await breaker.admit()).verdict).toBe('pass')
    const firstMs = performance.now() - startedAtMs
    for (let i = 0; i < 50; i++) await attempt(breaker, 'failure')
    const allMs = performance.now() - startedAtMs
    expect(firstMs).toBeGreaterThan(1_400)
    // 50 calls that each waited would take 75 s
    expect(allMs).toBeLessThan(10_000)
  })
})
