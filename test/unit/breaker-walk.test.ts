// Random walks of several callers through one circuit, beside a model that knows only what each caller was told and said.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { admit, record, type Admission, type BreakerState, type Outcome, type Transition } from '../../shared/resilience/circuit-breaker.ts'

const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
const longestWaitMs = 66_000 + 15_000
const startMs = Date.parse('2025-11-21T10:00:00Z')
const seed = Math.floor(Math.random() * 2 ** 31)

type Step =
  | { readonly kind: 'wait'; readonly forMs: number }
  | { readonly kind: 'admit'; readonly mayProbe: boolean }
  /** One of the callers under way says what it saw: 0 the oldest, 0.99 the newest. Some never do. */
  | { readonly kind: 'record'; readonly who: number; readonly outcome: Outcome }
  | { readonly kind: 'clock jumps'; readonly byMs: number }

const unit = fc.double({ min: 0, max: 0.999, noNaN: true })
const outcome = fc.oneof(
  { weight: 6, arbitrary: fc.constant('failure' as const) },
  { weight: 3, arbitrary: fc.constant('success' as const) },
  { weight: 1, arbitrary: fc.constant('neutral' as const) },
)
const steps = (jumps: boolean) =>
  fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), forMs: fc.integer({ min: 1, max: 12_000 }) }) },
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('admit' as const), mayProbe: fc.boolean() }) },
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('record' as const), who: unit, outcome }) },
      {
        weight: jumps ? 1 : 0,
        arbitrary: fc.record({ kind: fc.constant('clock jumps' as const), byMs: fc.integer({ min: -3_600_000, max: 3_600_000 }) }),
      },
    ),
    { minLength: 60, maxLength: 120 },
  )

/** Takes every step and checks, at each, what must hold. Answers what happened, in order. */
function walk(path: readonly Step[], jumps: boolean): string[] {
  let nowMs = startMs
  let stored: BreakerState | undefined
  let draws = 0
  const random = () => (draws++ * 0.618) % 1
  const happened: string[] = []
  const underWay: Admission[] = []
  /** The model: failures that count, and the one lease that may be running. */
  let failedAtMs: number[] = []
  let lease: { token: string; untilMs: number } | undefined
  let epoch = 0
  let isOpen = false

  for (const step of path) {
    switch (step.kind) {
      case 'wait':
        nowMs += step.forMs
        break
      case 'clock jumps':
        nowMs += step.byMs
        break
      case 'admit': {
        const token = `token-${happened.length}-${underWay.length}-${nowMs}`
        const { data, result } = admit(stored, { nowMs, token, rules, mayProbe: step.mayProbe })
        must('everyone passes while it is closed, nobody while it is open', (result.verdict === 'pass') === !isOpen)
        if (result.verdict === 'probe') {
          must('only who may probe is told to', step.mayProbe)
          // "running" means nothing to a lease from before the clock jumped
          must('at most one lease is running', jumps || !lease || nowMs >= lease.untilMs)
          lease = { token, untilMs: nowMs + rules.leaseForMs }
          happened.push('probe')
        } else must('only a probe changes the state', data === undefined)
        if (result.verdict === 'reject') {
          must('a refused caller waits, and not too long', result.retryAfterMs > 0 && result.retryAfterMs <= longestWaitMs)
        } else underWay.push(result)
        stored = data ? (JSON.parse(JSON.stringify(data)) as BreakerState) : stored
        break
      }
      case 'record': {
        const [admission] = underWay.splice(Math.floor(step.who * underWay.length), 1)
        if (!admission) break
        const { data, result } = record(stored, { admission, outcome: step.outcome, nowMs, rules, random })
        const isCurrent = admission.verdict === 'pass' ? !isOpen && admission.epoch === epoch : isOpen && token(admission) === lease?.token
        const expected = expectedKind(isCurrent, admission, step.outcome)
        must(`${step.outcome} by ${JSON.stringify(admission)} makes it ${expected}, not ${result.kind}`, result.kind === expected)
        must('a verdict from before a transition or under an old token changes nothing', isCurrent || data === undefined)
        if (isCurrent && admission.verdict === 'probe') lease = undefined
        if (isCurrent && admission.verdict === 'pass') {
          const writesNothing = data === undefined
          must('a success writes only after a failure', step.outcome !== 'success' || writesNothing === (failedAtMs.length === 0))
          if (step.outcome === 'success') failedAtMs = []
          if (step.outcome === 'failure') failedAtMs = [...stillCounting(), nowMs]
        }
        if (result.kind !== 'none') {
          isOpen = result.kind !== 'closed'
          failedAtMs = []
          epoch += 1
          must('each transition is one epoch', result.epoch === epoch)
          happened.push(result.kind)
        }
        stored = data ? (JSON.parse(JSON.stringify(data)) as BreakerState) : stored
        break
      }
      default:
        step satisfies never
    }
    // A retry that lies too far ahead, by a clock that jumped back, is due at once; any other within the longest wait.
    const grants = [nowMs, nowMs + longestWaitMs].map((atMs) => admit(stored, { nowMs: atMs, token: 'next', rules, mayProbe: true }).result)
    must('an open circuit is never wedged', !isOpen || grants.some(({ verdict }) => verdict === 'probe'))
  }
  return happened

  function stillCounting() {
    return failedAtMs.filter((atMs) => Math.abs(nowMs - atMs) <= rules.withinMs)
  }
  function expectedKind(isCurrent: boolean, admission: Admission, seen: Outcome): Transition['kind'] {
    if (!isCurrent) return 'none'
    if (admission.verdict === 'probe') return seen === 'success' ? 'closed' : seen === 'failure' ? 'reopened' : 'none'
    return seen === 'failure' && stillCounting().length + 1 >= rules.failures ? 'opened' : 'none'
  }
}

const token = (admission: Admission) => (admission.verdict === 'probe' ? admission.token : undefined)

function must(claim: string, holds: boolean): void {
  if (!holds) throw new Error(`does not hold: ${claim}`)
}

describe('random walks through the circuit breaker', () => {
  it.each([
    ['in steady time', false],
    ['with a wall clock that jumps up to an hour', true],
  ])('%s every invariant holds at each step, and most walks reach a probe', (_title, jumps) => {
    const runs = 1_000
    let reachedProbe = 0
    let reachedClose = 0
    fc.assert(
      fc.property(steps(jumps), (path) => {
        const happened = walk(path, jumps)
        if (happened.includes('probe')) reachedProbe++
        if (happened.includes('closed')) reachedClose++
      }),
      { seed, numRuns: runs },
    )
    // a walk that never gets there proves nothing about probes
    expect(reachedProbe / runs, `share of walks that reached a probe, seed ${seed}`).toBeGreaterThan(0.7)
    expect(reachedClose / runs, `share of walks that closed again, seed ${seed}`).toBeGreaterThan(0.3)
  })

  it('the same steps give the same transitions', () => {
    fc.assert(
      fc.property(steps(true), (path) => {
        expect(walk(path, true)).toEqual(walk(path, true))
      }),
      { seed, numRuns: 100 },
    )
  })
})
