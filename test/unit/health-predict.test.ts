import { describe, expect, it } from 'vitest'
import { type DailyPoint, daysToWraparound, daysUntil, drainTime } from '../../shared/health/predict.ts'
import { seededRandom } from '../support/seeded-random.ts'

const days = Array.from({ length: 120 }, (_, n) => new Date(Date.UTC(2026, 0, 1 + n)).toISOString().slice(0, 10))
const points = (amounts: readonly number[]): readonly DailyPoint[] => amounts.map((amount, i) => ({ day: days[i] as string, amount }))
const growingBy = (perDay: number, length: number, from = 0) => points(Array.from({ length }, (_, i) => from + perDay * i))

describe('days until something is full', () => {
  it('are counted from the newest point at the pace of the last days', () => {
    expect(daysUntil(growingBy(2, 20), 100)).toEqual({ perDay: 2, days: 31, daysAtMost: 31 })
  })

  it('need 7 days; less says nothing', () => {
    expect(daysUntil(growingBy(2, 6), 100)).toBeUndefined()
    expect(daysUntil(growingBy(2, 7), 100)).toMatchObject({ days: 44 })
    expect(daysUntil([], 100)).toBeUndefined()
  })

  it('are none where nothing grows, and 0 where it is full already', () => {
    expect(daysUntil(growingBy(0, 20, 50), 100)).toBeNull()
    expect(daysUntil(growingBy(-3, 20, 90), 100)).toBeNull()
    expect(daysUntil(growingBy(2, 20, 90), 100)).toMatchObject({ days: 0, daysAtMost: 0 })
  })

  it('one load in bulk is no trend', () => {
    const steps = Array.from({ length: 30 }, (_, i) => (i < 20 ? 100 : 800))
    expect(daysUntil(points(steps), 1_000)).toBeNull()
  })

  it('what is cleaned up every week does not grow', () => {
    expect(daysUntil(points(Array.from({ length: 30 }, (_, i) => 500 + 40 * (i % 7))), 1_000)).toBeNull()
  })

  it('a missing day shares the step over it', () => {
    const whole = growingBy(2, 20)
    expect(
      daysUntil(
        whole.filter((_, i) => i !== 17),
        100,
      ),
    ).toEqual(daysUntil(whole, 100))
    // days that come twice, or after years, tell nothing
    expect(daysUntil([{ day: '2020-01-01', amount: 5 }, ...whole.slice(0, 6)], 100)).toBeUndefined()
  })

  it('follow an acceleration by the faster rate, and give the slower one as the far end', () => {
    const faster = points(Array.from({ length: 21 }, (_, i) => (i <= 13 ? i : 13 + (i - 13) * 5)))
    const growth = daysUntil(faster, 148)
    expect(growth).toMatchObject({ perDay: 5, days: 20 })
    expect(growth?.daysAtMost).toBeGreaterThan(20)
  })
})

// Twenty seeded traces of each kind. An alarm is a prediction under 14 days, twice in a row; full is 1000.
type Kind = { readonly leastLeadDays: number; readonly amount: (t: number) => number }
const limit = 1_000
const growing: Readonly<Record<string, Kind>> = {
  linear: { leastLeadDays: 12, amount: (t) => 100 + 9 * t },
  'weekly rhythm': { leastLeadDays: 11, amount: (t) => 100 + 9 * t + 12 * Math.sin((2 * Math.PI * t) / 7) },
  accelerating: { leastLeadDays: 6, amount: (t) => 100 + 0.09 * t * t },
  'a slope that changes': { leastLeadDays: 11, amount: (t) => 100 + 2 * Math.min(t, 60) + 20 * Math.max(0, t - 60) },
}
const never = { leastLeadDays: 0 }
const staying: Readonly<Record<string, Kind>> = {
  flat: { ...never, amount: () => 600 },
  slow: { ...never, amount: (t) => 500 + t },
  'loads in bulk': { ...never, amount: (t) => 300 + 250 * Math.floor(t / 50) },
  'a plateau of retention': { ...never, amount: (t) => 100 + 20 * Math.min(t, 30) },
  'a saw-tooth by the week': { ...never, amount: (t) => 500 + 40 * (t % 7) },
}

function alarmDay({ amount }: Kind, seed: number): { alarmed: number | null; full: number | null } {
  const random = seededRandom(seed)
  const amounts: number[] = []
  let alarmed: number | null = null
  let before = false
  for (let t = 0; t < 120; t++) {
    amounts.push(amount(t) + 4 * (random() - 0.5))
    if ((amounts.at(-1) ?? 0) >= limit) return { alarmed, full: t }
    const growth = daysUntil(points(amounts.slice(-30)), limit)
    const now = (growth?.days ?? Infinity) < 14
    if (now && before) alarmed ??= t
    before = now
  }
  return { alarmed, full: null }
}

describe('over simulated growth', () => {
  const runsOf = (kind: Kind) => Array.from({ length: 20 }, (_run, i) => ({ seed: i + 1, ...alarmDay(kind, i + 1) }))

  it.each(Object.entries(growing))('%s: an alarm before it is full, and not weeks too early', (_, kind) => {
    const runs = runsOf(kind)
    const leads = runs.map(({ alarmed, full }) => (full ?? Number.NaN) - (alarmed ?? Number.NaN))
    expect(Math.min(...leads), JSON.stringify(runs)).toBeGreaterThanOrEqual(kind.leastLeadDays)
    expect(Math.max(...leads), JSON.stringify(runs)).toBeLessThanOrEqual(20)
  })

  it.each(Object.entries(staying))('%s: no alarm', (_, kind) => {
    expect(runsOf(kind).filter(({ alarmed }) => alarmed !== null)).toEqual([])
  })
})

describe('transaction numbers', () => {
  it('last for as long as the pace of the last hour says', () => {
    expect(daysToWraparound(2 ** 31 - 3_000_000 - 24_000_000, 1_000_000)).toBe(1)
    expect(daysToWraparound(2 ** 31, 1_000_000)).toBe(0)
    expect(daysToWraparound(0, 0)).toBeNull()
  })
})

describe('the queue', () => {
  const minuteMs = 60_000
  const history = (...counts: readonly number[]) => counts.map((parked, i) => ({ atMs: i * minuteMs, parked }))

  it('is empty after as long as it takes at the pace since it was longest', () => {
    expect(drainTime(history(100, 400, 350, 300))).toBe(6 * minuteMs)
  })

  it('nobody can say while it does not get shorter', () => {
    expect(drainTime(history(100, 200, 300))).toBeNull()
    expect(drainTime(history(300, 300))).toBeNull()
    expect(drainTime(history(300))).toBeNull()
    expect(drainTime([])).toBeNull()
    expect(drainTime(history(300, 0))).toBeNull()
  })

  it('looks back a quarter of an hour only', () => {
    const old = [{ atMs: 0, parked: 9_000 }]
    const recent = history(100, 100).map(({ atMs, parked }) => ({ atMs: atMs + 16 * minuteMs, parked }))
    expect(drainTime([...old, ...recent])).toBeNull()
  })
})
