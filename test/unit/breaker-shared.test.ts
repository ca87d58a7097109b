import { describe, expect, it } from 'vitest'
import type { Clock } from '../../shared/clock.ts'
import type { Log, LogEvent } from '../../shared/log.ts'
import type { Admission, BreakerState, Outcome, Transition } from '../../shared/resilience/circuit-breaker.ts'
import { createBreaker, type Breaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { StateTable } from '../../shared/state/state-table.ts'

const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
const startMs = Date.parse('2025-11-21T10:00:00Z')
const key = 'breaker:database'

/** Stands still until a test moves it. A pause between two tries lets the others go on, and takes no time. */
function manualClock(): Clock & { atMs: number } {
  const clock = {
    atMs: startMs,
    nowMs: () => clock.atMs,
    sleep: () => new Promise<void>((resolve) => setImmediate(resolve)),
  }
  return clock
}

/** A memory table that counts, and that can go away: `down` refuses, `hung` never answers. */
function flakyTable() {
  const memory = createMemoryStateTable()
  const self = {
    mode: 'up' as 'up' | 'down' | 'hung',
    reads: 0,
    writes: 0,
    /** Set: reads answer what was true when they were asked, but only after this. */
    holdReads: undefined as Promise<void> | undefined,
    async list() {
      self.reads++
      const held = self.holdReads
      await reach()
      const answer = await memory.list()
      await held
      return answer
    },
    async compareAndSet(changed: string, expectedVersion: number, data: unknown) {
      self.writes++
      await reach()
      return memory.compareAndSet(changed, expectedVersion, data)
    },
    close: () => memory.close(),
    async stored() {
      return (await memory.list()).find((item) => item.key === key)?.data as BreakerState | undefined
    },
  }
  async function reach() {
    if (self.mode === 'down') throw new Error('connect ECONNREFUSED')
    if (self.mode === 'hung') await new Promise(() => {})
  }
  return self satisfies StateTable
}

function memoryLog() {
  const events: LogEvent[] = []
  const push = (event: LogEvent) => void events.push(event)
  return { events, names: () => events.map((e) => e.event), log: { info: push, warn: push, error: push } satisfies Log }
}

function setup(instances = 1) {
  const clock = manualClock()
  const table = flakyTable()
  const { events, names, log } = memoryLog()
  const transitions: Transition[] = []
  const create = (onTransition: (t: Transition) => void | Promise<void> = (t) => void transitions.push(t)) =>
    createBreaker({ scope: 'database', key, table, rules, clock, random: () => 0.5, log, onTransition })
  const breakers = Array.from({ length: instances }, () => create())
  return { clock, table, events, names, transitions, create, breakers, breaker: breakers[0] as Breaker }
}

async function attempt(breaker: Breaker, outcome: Outcome, mayProbe = false): Promise<Admission> {
  const admission = await breaker.admit({ mayProbe })
  await breaker.record(admission, outcome, 'refused')
  return admission
}
async function failThrice(breaker: Breaker) {
  for (let i = 0; i < 3; i++) await attempt(breaker, 'failure')
}

describe('shared breaker', () => {
  it('the healthy path neither reads nor writes for each call: one read in 5 s', async () => {
    const { breaker, table, clock } = setup()
    for (let i = 0; i < 1_000; i++) expect((await attempt(breaker, 'success')).verdict).toBe('pass')
    expect([table.reads, table.writes]).toEqual([1, 0])
    clock.atMs += 5_000
    for (let i = 0; i < 1_000; i++) await attempt(breaker, 'success')
    expect([table.reads, table.writes]).toEqual([2, 0])
  })

  it('callers that come at once share one read', async () => {
    const { breaker, table } = setup()
    await Promise.all(Array.from({ length: 20 }, () => attempt(breaker, 'success')))
    expect(table.reads).toBe(1)
  })

  it('with the items that the invocation has read anyway it reads nothing', async () => {
    const { breaker, table, create } = setup()
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
    const { breakers, table, transitions, events, clock } = setup(3)
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
    const { breakers, transitions } = setup(30)
    await Promise.all(breakers.map((breaker) => attempt(breaker, 'failure')))
    expect(transitions).toEqual([{ kind: 'opened', epoch: 1, openForMs: 5_000, reason: 'refused' }])
  })

  it('while it is open a rejection comes from the view, without reading', async () => {
    const { breaker, table } = setup()
    await failThrice(breaker)
    const { reads, writes } = table
    for (let i = 0; i < 1_000; i++) expect(await breaker.admit({ mayProbe: true })).toEqual({ verdict: 'reject', retryAfterMs: 5_000 })
    expect([table.reads, table.writes]).toEqual([reads, writes])
  })

  it('a success after failures writes once, to forget them', async () => {
    const { breaker, table } = setup()
    await attempt(breaker, 'failure')
    const { writes } = table
    await attempt(breaker, 'success')
    await attempt(breaker, 'success')
    expect(table.writes).toBe(writes + 1)
    expect(await table.stored()).toEqual({ state: 'closed', epoch: 0, failedAtMs: [] })
  })

  it('a due probe is left to who may probe, and its success closes the circuit for everyone', async () => {
    const { breakers, clock, transitions, names } = setup(2)
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
    const { breaker, clock, transitions } = setup()
    await failThrice(breaker)
    clock.atMs += 5_000
    await attempt(breaker, 'failure', true)
    expect(transitions[1]).toEqual({ kind: 'reopened', epoch: 2, openForMs: 10_000, reason: 'refused' })
    expect(await breaker.admit({ mayProbe: true })).toEqual({ verdict: 'reject', retryAfterMs: 10_000 })
  })

  it('a prober that died is replaced after its lease, and its late success does not close the circuit', async () => {
    const { breakers, clock, table } = setup(2)
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
    const { breaker, table, clock } = setup()
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
    const { create, table, names } = setup()
    const breaker = create(async () => {
      throw new Error('the health check could not be invoked')
    })
    await failThrice(breaker)
    expect((await table.stored())?.state).toBe('open')
    expect(names()).toEqual(['circuit.opened', 'circuit.listener-failed'])
  })

  it('whatever several instances do at once, the transitions of all make one story: opened, reopened, closed', async () => {
    const { breakers, transitions, clock } = setup(5)
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
    const { breaker, table, names, transitions, clock } = setup()
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
    const { breaker, table, clock } = setup()
    table.mode = 'down'
    for (let i = 0; i < 100; i++) await attempt(breaker, 'failure')
    expect([table.reads, table.writes]).toEqual([1, 0])
    clock.atMs += 5_000
    for (let i = 0; i < 100; i++) await attempt(breaker, 'failure')
    expect([table.reads, table.writes]).toEqual([2, 0])
  })

  it('the last view holds: open stays open', async () => {
    const { breaker, create, table, clock } = setup()
    await failThrice(create())
    expect((await breaker.admit()).verdict).toBe('reject')
    table.mode = 'down'
    clock.atMs += 5_500
    expect(await breaker.admit()).toEqual({ verdict: 'reject', retryAfterMs: 1_000 })
  })

  it('a success that has nothing to record asks nobody, and does not claim that the table is back', async () => {
    const { breaker, table, names, clock } = setup()
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
    const { breaker, table, names, clock } = setup()
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
    const { breaker, table, clock, names } = setup()
    await failThrice(breaker)
    clock.atMs += 5_000
    const probe = await breaker.admit({ mayProbe: true })
    table.mode = 'down'
    expect((await breaker.record(probe, 'success')).kind).toBe('closed')
    expect((await breaker.admit()).verdict).toBe('pass')
    expect(names()).toEqual(['circuit.opened', 'state-table.unreachable', 'circuit.closed'])
  })

  it('a table that hangs delays one call by about 1.5 s, and the calls after it not at all', async () => {
    const { breaker, table } = setup()
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
