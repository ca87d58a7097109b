import { describe, expect, it } from 'vitest'
import { adaptInterval, pooledOf, type Pace, type Pooled } from '../../shared/resilience/adaptive-interval.ts'
import { newTally } from '../../shared/resilience/client-metrics.ts'
import { claim, finish, type CollectorState } from '../../shared/state/claim.ts'
import { seededRandom } from '../support/seeded-random.ts'

const startMs = Date.UTC(2026, 0, 1)
const minuteMs = 60_000

/** One decision, five minutes after the last one, over what came in between. */
function decide(
  seen: { attempts?: number; contended?: number; calls?: number; succeeded?: number },
  more: Partial<Parameters<typeof adaptInterval>[0]> = {},
) {
  const { attempts = 100, contended = 0, calls = attempts, succeeded = calls } = seen
  const pace: Pace = { calls: 1_000, succeeded: 900, attempts: 1_100, contended: 200, sinceMs: startMs }
  const pooled: Pooled = { calls: 1_000 + calls, succeeded: 900 + succeeded, attempts: 1_100 + attempts, contended: 200 + contended }
  const now = { intervalFactor: 2, pace, pooled, nowMs: startMs + 5 * minuteMs, isCircuitClosed: true, maxFactor: 16, ...more }
  return { ...adaptInterval(now), pooled, before: now.pace }
}

describe('the decision about an interval', () => {
  it.each([
    ['more than 10 % of the attempts met a lock', { contended: 11 }, 3],
    ['exactly 10 % did, and all succeeded in the end', { contended: 10 }, 1.8],
    ['none did, and more than 95 % of the calls succeeded', { succeeded: 96 }, 1.8],
    ['none did, and exactly 95 % succeeded', { succeeded: 95 }, 2],
  ])('when %s', (_when, seen, factor) => {
    const { intervalFactor, pace, pooled } = decide(seen)
    expect(intervalFactor).toBeCloseTo(factor, 10)
    expect(pace).toEqual({ ...pooled, sinceMs: startMs + 5 * minuteMs })
  })

  it('stays within 1 and the greatest factor', () => {
    expect(decide({}, { intervalFactor: 1.05 }).intervalFactor).toBe(1)
    expect(decide({ contended: 50 }, { intervalFactor: 12 }).intervalFactor).toBe(16)
    expect(decide({ contended: 50 }, { intervalFactor: 12, maxFactor: 1 }).intervalFactor).toBe(1)
  })

  it('is made once in a window: before its end everything stays', () => {
    const { intervalFactor, pace, before } = decide({ contended: 50 }, { nowMs: startMs + 269_999 })
    expect(intervalFactor).toBe(2)
    expect(pace).toBe(before)
    expect(decide({ contended: 50 }, { nowMs: startMs + 270_000 }).intervalFactor).toBe(3)
  })

  it('to stretch needs thirty attempts; until then the window goes on', () => {
    const { intervalFactor, pace, before } = decide({ attempts: 29, contended: 20 })
    expect(intervalFactor).toBe(2)
    expect(pace).toBe(before)
    expect(decide({ attempts: 30, contended: 20 }).intervalFactor).toBe(3)
  })

  it('to step back needs as many as a stretched collector makes in the time of thirty', () => {
    expect(decide({ attempts: 14 }).intervalFactor).toBe(2)
    expect(decide({ attempts: 15 }).intervalFactor).toBeCloseTo(1.8, 10)
    expect(decide({ attempts: 29 }, { intervalFactor: 1 }).pace.sinceMs).toBe(startMs)
    expect(decide({ attempts: 2 }, { intervalFactor: 16 }).intervalFactor).toBeCloseTo(14.4, 10)
  })

  it('is not made while the circuit is not closed, and what was seen until then is forgotten', () => {
    const { intervalFactor, pace, pooled } = decide({ contended: 100 }, { isCircuitClosed: false })
    expect(intervalFactor).toBe(2)
    expect(pace).toEqual({ ...pooled, sinceMs: startMs + 5 * minuteMs })
  })

  it('begins anew where there is nothing to look back to, sums shrank or the clock jumped back', () => {
    const fewerAttempts = { calls: 1_200, succeeded: 1_100, attempts: 5, contended: 5 }
    const fewerCalls = { calls: 0, succeeded: 0, attempts: 1_200, contended: 300 }
    for (const more of [{ pace: undefined }, { pooled: fewerAttempts }, { pooled: fewerCalls }, { nowMs: startMs - 1 }]) {
      const { intervalFactor, pace } = decide({ contended: 100 }, more)
      expect(intervalFactor).toBe(2)
      expect(pace.sinceMs).toBe('nowMs' in more ? more.nowMs : startMs + 5 * minuteMs)
    }
  })
})

describe('what collectors did together', () => {
  it('is the sum of their counts, of contention the locks, deadlocks and serialization failures; absent ones are nothing', () => {
    const one = { ...newTally(), calls: 5, succeeded: 4, attempts: 9, failures: { contention: 1, 'lock-timeout': 2, connection: 1 } }
    const other = { ...newTally(), calls: 1, succeeded: 1, attempts: 1 }
    expect(pooledOf([one, undefined, other])).toEqual({ calls: 6, succeeded: 5, attempts: 10, contended: 3 })
  })
})

// Four collectors over the real claims, a tick a minute. An attempt meets a lock when another collector's run is under way: the more
// often and the longer they run, the likelier. Windows are five minutes.
const collectors = 4
const baseIntervalMs = minuteMs
const windowTicks = 5
const windowsAnHour = 12

type Window = { readonly lockRate: number; readonly meanFactor: number; readonly isAtBase: boolean }

function simulate(options: {
  seed: number
  hours: number
  attemptsARun: number
  /** How long a run takes, by the hour of the simulation. */
  runForMs: (hour: number) => number
  startFactors?: readonly number[]
  maxFactor?: number
}): { windows: readonly Window[]; jain: number; meanIntervalMs: number } {
  const { seed, hours, attemptsARun, runForMs, startFactors = [], maxFactor = 16 } = options
  const random = seededRandom(seed)
  const items: (CollectorState | undefined)[] = startFactors.map((intervalFactor) => ({
    nextDueAtMs: 0,
    intervalFactor,
    fetchFailures: 0,
    cooldownUntilMs: null,
    cursor: null,
    lastSuccessAtMs: null,
    lastOutcome: null,
    lastRunId: null,
  }))
  const intervalsMs = Array.from({ length: collectors }, () => baseIntervalMs)
  const lastRunAtMs = Array.from({ length: collectors }, () => startMs)
  const runs = Array.from({ length: collectors }, () => 0)
  const windows: Window[] = []
  let [attempts, contended] = [0, 0]
  const ticks = hours * 60
  for (let tick = 0; tick < ticks; tick++) {
    const scheduledAtMs = startMs + tick * minuteMs
    const tookMs = runForMs(tick / 60)
    for (let c = 0; c < collectors; c++) {
      const runId = `${tick}`
      const claimed = claim(items[c], { runId, scheduledAtMs, nowMs: scheduledAtMs, baseIntervalMs, leaseForMs: minuteMs, maxFactor })
      items[c] = claimed.data ?? items[c]
      if (claimed.result.verdict !== 'run') continue
      if (tick >= ticks / 2) runs[c] = (runs[c] ?? 0) + 1
      intervalsMs[c] = Math.max(baseIntervalMs, scheduledAtMs - (lastRunAtMs[c] ?? startMs))
      lastRunAtMs[c] = scheduledAtMs
      const isFree = intervalsMs.reduce((free, ms, other) => (other === c ? free : free * (1 - Math.min(1, tookMs / ms))), 1)
      const tally = newTally()
      for (let call = 0; call < attemptsARun; call++) {
        tally.calls++
        for (let attempt = 1; attempt <= 5; attempt++) {
          tally.attempts++
          if (random() < isFree) {
            tally.succeeded++
            break
          }
          tally.failures['lock-timeout'] = (tally.failures['lock-timeout'] ?? 0) + 1
        }
      }
      attempts += tally.attempts
      contended += tally.failures['lock-timeout'] ?? 0
      const others = items.filter((item, i): item is CollectorState => i !== c && item !== undefined)
      const pacing = { others, isCircuitClosed: true, maxFactor, baseIntervalMs }
      items[c] = finish(items[c], { runId, outcome: 'complete', client: tally, pacing, nowMs: scheduledAtMs + tookMs }).data ?? items[c]
    }
    if ((tick + 1) % windowTicks > 0) continue
    const factors = items.map((item) => item?.intervalFactor ?? 1)
    const meanFactor = factors.reduce((sum, f) => sum + f, 0) / collectors
    windows.push({ lockRate: attempts === 0 ? 0 : contended / attempts, meanFactor, isAtBase: factors.every((f) => f === 1) })
    attempts = contended = 0
  }
  const total = runs.reduce((sum, n) => sum + n, 0)
  return {
    windows,
    // Jain's index of fairness over how often each ran in the second half: 1 is even, 1/4 is all for one
    jain: total ** 2 / (collectors * runs.reduce((sum, n) => sum + n ** 2, 0)),
    meanIntervalMs: (ticks / 2) * minuteMs * (collectors / total),
  }
}

const seeds = Array.from({ length: 20 }, (_, i) => i + 1)
const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
const congested = ({ windows }: ReturnType<typeof simulate>) =>
  meanOf(windows.slice(windows.length / 2).map(({ lockRate }) => (lockRate > 0.1 ? 1 : 0)))

/** An attempt that meets another collector's run under way: 4 % at the base interval, 10 % at 3.9 times the base, and at 9 times. */
const runFor = { healthyMs: 800, disturbedMs: 8_000, overloadedMs: 18_000 }

describe('the schedule of four collectors, in twenty simulations', () => {
  it('is even and as it was set while nothing contends', () => {
    const runs = seeds.map((seed) => simulate({ seed, hours: 12, attemptsARun: 3, runForMs: () => runFor.healthyMs }))
    expect(Math.min(...runs.map(({ jain }) => jain))).toBeGreaterThanOrEqual(0.98)
    expect(meanOf(runs.map(({ meanIntervalMs }) => meanIntervalMs))).toBeLessThan(61_000)
    expect(meanOf(runs.map(congested))).toBeLessThan(0.02)
    const busy = simulate({ seed: 1, hours: 24, attemptsARun: 10, runForMs: () => runFor.healthyMs })
    expect(busy.meanIntervalMs).toBe(baseIntervalMs)
  })

  it('is stretched alike for all when overloaded, with few windows above 10 % locks, whichever was slow before', () => {
    for (const startFactors of [[], [1, 1, 1, 16]]) {
      const runs = seeds.map((seed) => simulate({ seed, hours: 24, attemptsARun: 10, runForMs: () => runFor.overloadedMs, startFactors }))
      expect(Math.min(...runs.map(({ jain }) => jain))).toBeGreaterThanOrEqual(0.98)
      expect(meanOf(runs.map(congested))).toBeLessThan(0.175)
      expect(meanOf(runs.map(({ meanIntervalMs }) => meanIntervalMs))).toBeLessThan(13 * baseIntervalMs)
    }
  })

  it('is at its base again within sixteen windows of a disturbance of three hours, and from 16x within forty-five', () => {
    const windowsToBase = (disturbedMs: number, attemptsARun: number) =>
      seeds.map((seed) => {
        const runForMs = (hour: number) => (hour >= 2 && hour < 5 ? disturbedMs : runFor.healthyMs)
        const { windows } = simulate({ seed, hours: 12, attemptsARun, runForMs })
        expect(Math.max(...windows.map(({ meanFactor }) => meanFactor))).toBeGreaterThan(3)
        const after = windows.slice(5 * windowsAnHour).findIndex(({ isAtBase }) => isAtBase)
        return after === -1 ? Infinity : after
      })
    expect(meanOf(windowsToBase(runFor.disturbedMs, 3))).toBeLessThanOrEqual(16)
    expect(Math.max(...windowsToBase(runFor.overloadedMs, 3))).toBeLessThanOrEqual(45)
  })

  it('stays as it was set when stretching is switched off, whatever contends', () => {
    const { meanIntervalMs, windows } = simulate({
      seed: 1,
      hours: 24,
      attemptsARun: 10,
      runForMs: () => runFor.overloadedMs,
      startFactors: [16, 16, 16, 16],
      maxFactor: 1,
    })
    expect(meanIntervalMs).toBe(baseIntervalMs)
    expect(windows[0]?.isAtBase).toBe(true)
  })
})
