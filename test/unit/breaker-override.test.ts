import { describe, expect, it } from 'vitest'
import { durationMs, isScope } from '../../cli/breaker-words.ts'
import { admit, record, setOverride, type BreakerState, type Override } from '../../shared/resilience/circuit-breaker.ts'

const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 9_000, leaseForMs: 15_000 }
const nowMs = Date.parse('2025-11-21T10:00:00Z')
const open: BreakerState = { state: 'open', epoch: 5, openedAtMs: nowMs, retryAtMs: nowMs + 5_000, streak: 1, token: null, reason: 'disk' }
const word = (forced: Override['forced']): Override => ({ forced, untilMs: nowMs + 1_800_000 })
const verdict = (state: BreakerState, atMs: number) => admit(state, { nowMs: atMs, token: 't', rules, mayProbe: true }).result.verdict

describe("an operator's word", () => {
  it('over a circuit that nobody has seen yet is kept with it', () => {
    const { data } = setOverride(undefined, word('open'))
    expect(data).toEqual({ state: 'closed', epoch: 0, failedAtMs: [], override: { forced: 'open', untilMs: nowMs + 1_800_000 } })
  })

  it('open: nothing passes, also no probe, until it ends by itself', () => {
    const forced = setOverride(open, word('open')).result
    expect(verdict(forced, nowMs + 60_000)).toBe('reject')
    expect(verdict(forced, nowMs + 1_799_999)).toBe('reject')
    expect(verdict(forced, nowMs + 1_800_000)).toBe('probe')
  })

  it('closed: everything passes and no failure opens it; then the state that it had goes on', () => {
    const forced = setOverride(open, word('closed')).result
    expect(verdict(forced, nowMs)).toBe('pass')
    const failed = record(forced, { admission: { verdict: 'pass', epoch: 5 }, outcome: 'failure', nowMs, rules, random: () => 0.5 })
    expect(failed.data).toBeUndefined()
    expect(verdict(forced, nowMs + 1_800_000)).toBe('probe')
  })

  it('replaces an earlier one, and undefined takes it back', () => {
    const forced = setOverride(open, word('closed')).result
    expect(setOverride(forced, word('open')).result.override?.forced).toBe('open')
    expect(setOverride(forced, undefined).result).toEqual(open)
  })
})

describe('on the command line', () => {
  it.each([
    ['30s', 30_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['24h', 86_400_000],
    ['0s', 0],
    ['25h', undefined],
    ['1441m', undefined],
    ['30', undefined],
    ['1.5h', undefined],
    ['-5m', undefined],
    ['5 m', undefined],
    ['', undefined],
    ['5d', undefined],
  ])('%j is %j milliseconds', (text, ms) => {
    expect(durationMs(text)).toBe(ms)
  })

  it.each([
    ['database', true],
    ['gecko', true],
    ['stream:trades', true],
    ['trades', false],
    ['stream:runs', false],
    ['databases', false],
  ])('%s is a scope: %s', (text, is) => {
    expect(isScope(text)).toBe(is)
  })
})
