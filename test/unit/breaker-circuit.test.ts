import { describe, expect, it } from 'vitest'
import {
  admit,
  record,
  type Admission,
  type BreakerState,
  type ClosedState,
  type OpenState,
  type Outcome,
} from '../../shared/resilience/circuit-breaker.ts'

const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
const nowMs = Date.parse('2025-11-21T10:00:00Z')
const random = () => 0.5

const closed: ClosedState = { state: 'closed', epoch: 4, failedAtMs: [] }
const oneFailure: ClosedState = { state: 'closed', epoch: 4, failedAtMs: [nowMs - 9_000] }
const twoFailures: ClosedState = { state: 'closed', epoch: 4, failedAtMs: [nowMs - 9_000, nowMs - 1_000] }
const open: OpenState = {
  state: 'open',
  epoch: 5,
  openedAtMs: nowMs - 1_000,
  retryAtMs: nowMs + 4_000,
  streak: 1,
  token: null,
  reason: 'refused',
}
const due: OpenState = { ...open, openedAtMs: nowMs - 5_000, retryAtMs: nowMs }
/** A probe is under way: token `mine`, 10 s of its lease left. */
const leased: OpenState = { ...due, token: 'mine', retryAtMs: nowMs + 10_000 }
/** The prober is gone or late: its lease has ended, nobody took the next one yet. */
const leaseOver: OpenState = { ...leased, retryAtMs: nowMs - 1 }

const states = { absent: undefined, closed, oneFailure, twoFailures, open, due, leased, leaseOver } satisfies Record<
  string,
  BreakerState | undefined
>
type StateName = keyof typeof states

const pass = (epoch: number): Admission => ({ verdict: 'pass', epoch })
const probe = (token: string): Admission => ({ verdict: 'probe', token, epoch: 5 })

const passes = (epoch: number) => ({ data: undefined, result: { verdict: 'pass', epoch } })
const rejects = (retryAfterMs: number) => ({ data: undefined, result: { verdict: 'reject', retryAfterMs } })
const probes = (from: OpenState) => ({
  data: { ...from, token: 'fresh', retryAtMs: nowMs + 15_000 },
  result: { verdict: 'probe', token: 'fresh', epoch: 5 },
})

describe('circuit breaker: state x event', () => {
  it.each<[StateName, { mayProbe: boolean }, unknown]>([
    ['absent', { mayProbe: true }, passes(0)],
    ['absent', { mayProbe: false }, passes(0)],
    ['closed', { mayProbe: true }, passes(4)],
    ['closed', { mayProbe: false }, passes(4)],
    ['oneFailure', { mayProbe: true }, passes(4)],
    ['twoFailures', { mayProbe: false }, passes(4)],
    ['open', { mayProbe: true }, rejects(4_000)],
    ['open', { mayProbe: false }, rejects(4_000)],
    ['due', { mayProbe: true }, probes(due)],
    ['due', { mayProbe: false }, rejects(1_000)],
    ['leased', { mayProbe: true }, rejects(10_000)],
    ['leased', { mayProbe: false }, rejects(10_000)],
    ['leaseOver', { mayProbe: true }, probes(leaseOver)],
    ['leaseOver', { mayProbe: false }, rejects(1_000)],
  ])('admit on %s with %j', (name, { mayProbe }, expected) => {
    expect(admit(states[name], { nowMs, token: 'fresh', rules, mayProbe })).toEqual(expected)
  })

  const none = { kind: 'none' }
  const same = { data: undefined, result: none }
  const counted = (epoch: number, ...failedAtMs: number[]) => ({ data: { state: 'closed', epoch, failedAtMs }, result: none })
  const reset = counted(4)
  const opened = {
    data: { state: 'open', epoch: 5, openedAtMs: nowMs, retryAtMs: nowMs + 5_000, streak: 1, token: null, reason: 'why' },
    result: { kind: 'opened', epoch: 5, openForMs: 5_000, reason: 'why' },
  }
  const reopened = {
    data: { state: 'open', epoch: 6, openedAtMs: nowMs - 5_000, retryAtMs: nowMs + 10_000, streak: 2, token: null, reason: 'why' },
    result: { kind: 'reopened', epoch: 6, openForMs: 10_000, reason: 'why' },
  }
  const closes = { data: { state: 'closed', epoch: 6, failedAtMs: [] }, result: { kind: 'closed', epoch: 6, wasOpenForMs: 5_000 } }
  const releases = (from: OpenState) => ({ data: { ...from, token: null, retryAtMs: nowMs + 150 }, result: none })

  it.each<[StateName, string, Admission, Record<Outcome, unknown>]>([
    ['absent', 'a pass of its epoch', pass(0), { success: same, failure: counted(0, nowMs), neutral: same }],
    ['absent', 'a pass of another epoch', pass(4), { success: same, failure: same, neutral: same }],
    ['absent', 'a probe', probe('mine'), { success: same, failure: same, neutral: same }],
    ['closed', 'a pass of its epoch', pass(4), { success: same, failure: counted(4, nowMs), neutral: same }],
    ['closed', 'a pass from before it closed', pass(3), { success: same, failure: same, neutral: same }],
    ['closed', 'a late prober', probe('mine'), { success: same, failure: same, neutral: same }],
    ['oneFailure', 'a pass of its epoch', pass(4), { success: reset, failure: counted(4, nowMs - 9_000, nowMs), neutral: same }],
    ['oneFailure', 'a pass from before it closed', pass(3), { success: same, failure: same, neutral: same }],
    ['twoFailures', 'a pass of its epoch', pass(4), { success: reset, failure: opened, neutral: same }],
    ['twoFailures', 'a pass from before it closed', pass(3), { success: same, failure: same, neutral: same }],
    ['open', 'a pass from before it opened', pass(4), { success: same, failure: same, neutral: same }],
    ['open', 'a late prober', probe('mine'), { success: same, failure: same, neutral: same }],
    ['due', 'a pass from before it opened', pass(4), { success: same, failure: same, neutral: same }],
    ['leased', 'a pass from before it opened', pass(4), { success: same, failure: same, neutral: same }],
    ['leased', 'a pass of the same epoch', pass(5), { success: same, failure: same, neutral: same }],
    ['leased', 'the prober', probe('mine'), { success: closes, failure: reopened, neutral: releases(leased) }],
    ['leased', 'an earlier prober', probe('earlier'), { success: same, failure: same, neutral: same }],
    ['leased', 'a rejected caller', { verdict: 'reject', retryAfterMs: 1 }, { success: same, failure: same, neutral: same }],
    [
      'leaseOver',
      'the late prober, nobody in between',
      probe('mine'),
      { success: closes, failure: reopened, neutral: releases(leaseOver) },
    ],
    ['leaseOver', 'an earlier prober', probe('earlier'), { success: same, failure: same, neutral: same }],
  ])('record on %s by %s', (name, _who, admission, expected) => {
    for (const outcome of ['success', 'failure', 'neutral'] as const) {
      expect({ outcome, ...record(states[name], { admission, outcome, reason: 'why', nowMs, rules, random }) }).toEqual({
        outcome,
        ...(expected[outcome] as object),
      })
    }
  })
})

/** A circuit that goes on by itself: each call is stored as the state table would. */
function circuit(stored: BreakerState | undefined = undefined) {
  const self = {
    stored,
    admit(atMs: number, token = 'mine', mayProbe = true): Admission {
      const { data, result } = admit(self.stored, { nowMs: atMs, token, rules, mayProbe })
      self.stored = data ?? self.stored
      return result
    },
    record(admission: Admission, outcome: Outcome, atMs: number, draw = 0.5) {
      const { data, result } = record(self.stored, { admission, outcome, reason: 'refused', nowMs: atMs, rules, random: () => draw })
      self.stored = data ?? self.stored
      return result
    },
  }
  return self
}

describe('circuit breaker', () => {
  it('three failed attempts within 60 s open it, wherever a minute begins', () => {
    const one = circuit()
    // a window that starts with the first failure would forget the two at its end
    const kinds = [0, 59_000, 61_000, 62_000].map((atMs) => one.record(one.admit(nowMs + atMs), 'failure', nowMs + atMs).kind)
    expect(kinds).toEqual(['none', 'none', 'none', 'opened'])
  })

  it('a failure counts for 60 s to the millisecond', () => {
    const third = (atMs: number) => {
      const one = circuit(closed)
      for (const at of [0, 1, atMs]) one.record(one.admit(nowMs + at), 'failure', nowMs + at)
      return one.stored?.state
    }
    expect([third(60_000), third(60_001)]).toEqual(['open', 'closed'])
  })

  it('two failures, an hour of silence and one failure do not open it', () => {
    const one = circuit()
    for (const atMs of [0, 1_000, 3_600_000]) one.record(one.admit(nowMs + atMs), 'failure', nowMs + atMs)
    expect(one.stored).toEqual({ state: 'closed', epoch: 0, failedAtMs: [nowMs + 3_600_000] })
  })

  it('a success between failures starts the count anew', () => {
    const one = circuit()
    const outcomes = ['failure', 'failure', 'success', 'failure', 'failure'] as const
    for (const outcome of outcomes) one.record(one.admit(nowMs), outcome, nowMs)
    expect(one.stored?.state).toBe('closed')
    expect(one.record(one.admit(nowMs), 'failure', nowMs).kind).toBe('opened')
  })

  it('a failed attempt that was admitted before it opened does not count after it closed', () => {
    const one = circuit()
    const slow = one.admit(nowMs)
    for (let i = 0; i < 3; i++) one.record(one.admit(nowMs), 'failure', nowMs)
    one.record(one.admit(nowMs + 5_000), 'success', nowMs + 5_000)
    expect(one.stored).toEqual({ state: 'closed', epoch: 2, failedAtMs: [] })
    expect(one.record(slow, 'failure', nowMs + 6_000)).toEqual({ kind: 'none' })
    expect(one.stored).toEqual({ state: 'closed', epoch: 2, failedAtMs: [] })
  })

  it('a success that started before the circuit opened does not close it', () => {
    const one = circuit()
    const slow = one.admit(nowMs)
    for (let i = 0; i < 3; i++) one.record(one.admit(nowMs), 'failure', nowMs)
    const before = one.stored
    expect(one.record(slow, 'success', nowMs + 1_000)).toEqual({ kind: 'none' })
    expect(one.stored).toBe(before)
  })

  it('the open time doubles from 5 s to 60 s, and stays there for an outage of days', () => {
    const one = circuit(due)
    let atMs = nowMs
    const openForMs: number[] = []
    for (let i = 0; i < 5_000; i++) {
      const transition = one.record(one.admit(atMs), 'failure', atMs)
      if (transition.kind !== 'reopened') throw new Error(`expected reopened, got ${transition.kind}`)
      openForMs.push(transition.openForMs)
      atMs += transition.openForMs
    }
    expect(openForMs.slice(0, 5)).toEqual([10_000, 20_000, 40_000, 60_000, 60_000])
    expect(openForMs.at(-1)).toBe(60_000)
    expect(one.record(one.admit(atMs), 'success', atMs)).toEqual({ kind: 'closed', epoch: 5_006, wasOpenForMs: atMs - (nowMs - 5_000) })
  })

  it('the open time varies by 10 % to both sides', () => {
    const opened = [0, 0.5, 0.999_999].map((draw) => circuit(twoFailures).record(pass(4), 'failure', nowMs, draw))
    expect(opened).toMatchObject([{ openForMs: 4_500 }, { openForMs: 5_000 }, { openForMs: 5_500 }])
  })

  it('contention in a probe gives no verdict: the next probe may start 50 to 250 ms later', () => {
    const released = (draw: number) => {
      const one = circuit(due)
      one.record(one.admit(nowMs), 'neutral', nowMs + 1_000, draw)
      return one
    }
    expect([0, 0.999_999].map((draw) => (released(draw).stored as OpenState).retryAtMs - (nowMs + 1_000))).toEqual([50, 250])
    expect(released(0).admit(nowMs + 1_050, 'next')).toEqual({ verdict: 'probe', token: 'next', epoch: 5 })
  })

  it('a prober that died is replaced when its lease ends, and what it says later changes nothing', () => {
    const one = circuit(due)
    const dead = one.admit(nowMs, 'dead')
    expect(one.admit(nowMs + 14_999, 'next')).toEqual({ verdict: 'reject', retryAfterMs: 1 })
    const next = one.admit(nowMs + 15_000, 'next')
    expect(next).toEqual({ verdict: 'probe', token: 'next', epoch: 5 })
    const before = one.stored
    for (const outcome of ['success', 'failure', 'neutral'] as const)
      expect(one.record(dead, outcome, nowMs + 16_000)).toEqual({ kind: 'none' })
    expect(one.stored).toBe(before)
    expect(one.record(next, 'success', nowMs + 17_000).kind).toBe('closed')
  })

  it('a wall clock that jumps back an hour leaves neither an open nor a leased circuit shut for longer than a minute and a lease', () => {
    const jumpedBackMs = nowMs - 3_600_000
    for (const state of [open, leased]) expect(circuit(state).admit(jumpedBackMs, 'next').verdict).toBe('probe')
    // the longest wait that the rules can make is believed
    const longest: OpenState = { ...open, retryAtMs: nowMs + 66_000 + 15_000 }
    expect(circuit(longest).admit(nowMs)).toEqual({ verdict: 'reject', retryAfterMs: 81_000 })
    expect(circuit({ ...longest, retryAtMs: longest.retryAtMs + 1 }).admit(nowMs).verdict).toBe('probe')
  })

  it('failures from before a jump back of the clock are forgotten, not counted for an hour', () => {
    const one = circuit(twoFailures)
    one.record(pass(4), 'failure', nowMs - 3_600_000)
    expect(one.stored).toEqual({ state: 'closed', epoch: 4, failedAtMs: [nowMs - 3_600_000] })
  })

  it('a threshold of one opens at the first failure', () => {
    const { result } = record(undefined, { admission: pass(0), outcome: 'failure', nowMs, rules: { ...rules, failures: 1 }, random })
    expect(result).toEqual({ kind: 'opened', epoch: 1, openForMs: 5_000, reason: null })
  })
})

describe('circuit breaker under an operator override', () => {
  const untilMs = nowMs + 30_000
  const forcedOpen = { forced: 'open', untilMs } as const
  const forcedClosed = { forced: 'closed', untilMs } as const

  it('forced open refuses everyone, also who may probe, and ends by itself', () => {
    const one = circuit({ ...closed, override: forcedOpen })
    expect(one.admit(nowMs)).toEqual({ verdict: 'reject', retryAfterMs: 30_000 })
    expect(one.admit(untilMs)).toEqual({ verdict: 'pass', epoch: 4 })
    expect(circuit({ ...due, override: forcedOpen }).admit(nowMs)).toEqual({ verdict: 'reject', retryAfterMs: 30_000 })
    expect(circuit({ ...due, override: forcedOpen }).admit(untilMs).verdict).toBe('probe')
  })

  it('forced closed lets everyone pass while the circuit is open, and ends by itself', () => {
    const one = circuit({ ...leased, override: forcedClosed })
    expect(one.admit(nowMs)).toEqual({ verdict: 'pass', epoch: 5 })
    expect(one.admit(untilMs, 'next')).toEqual({ verdict: 'probe', token: 'next', epoch: 5 })
  })

  it('while it lasts no verdict changes anything; the first change after it drops it', () => {
    for (const override of [forcedOpen, forcedClosed]) {
      const busy = { ...leased, override }
      const failing = { ...twoFailures, override }
      for (const outcome of ['success', 'failure', 'neutral'] as const) {
        expect(record(busy, { admission: probe('mine'), outcome, nowMs, rules, random }).data).toBeUndefined()
        expect(record(failing, { admission: pass(4), outcome, nowMs, rules, random }).data).toBeUndefined()
      }
      const after = circuit(failing)
      after.record(pass(4), 'success', untilMs)
      expect(after.stored).toEqual(closed)
      const probed = circuit(busy)
      probed.admit(untilMs, 'next')
      expect(probed.stored).toEqual({ ...leased, token: 'next', retryAtMs: untilMs + 15_000 })
    }
  })
})
