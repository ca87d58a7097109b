import { describe, expect, it } from 'vitest'
import { DatabaseError } from '../../shared/db/database.ts'
import { fixedSize, sizeByLoad, type PoolSizer } from '../../shared/db/pool-sizer.ts'
import { silentLog } from '../../shared/log.ts'
import { noLoad, poolRules, sizeForLoad, type PoolLoad } from '../../shared/resilience/pool-size.ts'
import { createRecordedLog } from '../support/collect-tools.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { seededRandom } from '../support/seeded-random.ts'

const load = (more: Partial<PoolLoad> = {}): PoolLoad => ({ ...noLoad(0), ...more })
const sized = (seen: Partial<PoolLoad>, more: Partial<Parameters<typeof sizeForLoad>[0]> = {}) =>
  sizeForLoad({ size: 5, most: 20, load: load(seen), isCircuitClosed: true, forMs: 10_000, ...more })

describe('the size of a pool by its load', () => {
  it.each([
    ['no transaction at all', {}, 2],
    ['60 a second of 20 ms each: 1.2 in use', { arrived: 600, ended: 600, heldMs: 12_000 }, 3],
    ['240 a second of 20 ms each: 4.8 in use', { arrived: 2_400, ended: 2_400, heldMs: 48_000 }, 9],
    ['more than the greatest size would need', { arrived: 2_400, ended: 2_400, heldMs: 480_000 }, 20],
    ['some that came and none that ended: nobody knows how long they take', { arrived: 7 }, 5],
  ])('is half as many more than are in use, and one: %s', (_what, seen, size) => {
    expect(sized(seen)).toBe(size)
  })

  it('stays while the circuit is not closed or more than 10 % met a lock, of thirty or more', () => {
    const busy = { arrived: 2_400, ended: 2_400, heldMs: 48_000 }
    expect(sized(busy, { isCircuitClosed: false })).toBe(5)
    expect(sized({ ...busy, contended: 241 })).toBe(5)
    expect(sized({ ...busy, contended: 240 })).toBe(9)
    expect(sized({ arrived: 29, ended: 29, heldMs: 58_000, contended: 29 })).toBe(10)
  })
})

describe('a pool sized by its load', () => {
  const locked = new DatabaseError('lock', { statement: 'write', applied: 'refused', sqlState: '55P03' })

  it('begins with two, is judged every ten seconds over these ten seconds, and tells when it changes', () => {
    const clock = createFakeClock()
    const log = createRecordedLog()
    const sizer = sizeByLoad({ most: 20, isCircuitClosed: () => true, clock, log })
    expect(sizer.size()).toBe(2)
    const transact = (heldMs: number) => {
      sizer.arrived()
      sizer.ended(heldMs)
    }
    for (let i = 0; i < 100; i++) transact(300)
    clock.advance(9_999)
    sizer.arrived()
    expect(sizer.size()).toBe(2)
    clock.advance(1)
    transact(1)
    // 10.1 a second, 0.3 s each: 3.03 in use
    expect(sizer.size()).toBe(6)
    clock.advance(10_000)
    transact(1)
    expect(sizer.size()).toBe(2)
    expect(log.named('database.pool-resized')).toMatchObject([
      { from: 2, to: 6, most: 20 },
      { from: 6, to: 2, most: 20 },
    ])
  })

  it('adds one at most every quarter of a second for those who wait, up to the greatest size', () => {
    const clock = createFakeClock()
    const sizer = sizeByLoad({ most: 4, isCircuitClosed: () => true, clock, log: silentLog })
    expect([sizer.waited(), sizer.waited(), sizer.size()]).toEqual([true, false, 3])
    clock.advance(250)
    expect([sizer.waited(), sizer.size()]).toEqual([true, 4])
    clock.advance(250)
    expect([sizer.waited(), sizer.size()]).toEqual([false, 4])
  })

  it('adds none while the circuit is not closed', () => {
    let isClosed = false
    const sizer = sizeByLoad({ most: 20, isCircuitClosed: () => isClosed, clock: createFakeClock(), log: silentLog })
    expect(sizer.waited()).toBe(false)
    isClosed = true
    expect(sizer.waited()).toBe(true)
  })

  it('adds none while one in ten meets a lock, and none in the ten seconds after that', () => {
    const clock = createFakeClock()
    const sizer = sizeByLoad({ most: 20, isCircuitClosed: () => true, clock, log: silentLog })
    for (let i = 0; i < 30; i++) {
      sizer.arrived()
      sizer.ended(5_000, i < 4 ? locked : undefined)
    }
    expect(sizer.waited()).toBe(false)
    clock.advance(10_000)
    sizer.arrived()
    expect([sizer.waited(), sizer.size()]).toEqual([false, 2])
    clock.advance(10_000)
    sizer.arrived()
    expect(sizer.waited()).toBe(true)
  })
})

// Transactions that come at random (Poisson) and hold a connection for a random time (log-normal, 20 ms in the mean, 63 ms for one in twenty).
// A connection takes 30 ms to open. While locks are waited for, a transaction holds its connection for 1.5 s and fails.

type Simulated = {
  readonly p95Ms: number
  readonly meanSize: number
  readonly greatestSize: number
  readonly lastSize: number
  readonly done: number
  readonly came: number
}

function simulate(options: {
  seed: number
  forMs: number
  arrivalsASecond: (atMs: number) => number
  lockedShare?: (atMs: number) => number
  sizerOf: (clock: { nowMs: () => number; sleep: () => Promise<void> }) => PoolSizer
}): Simulated {
  const { seed, forMs, arrivalsASecond, lockedShare = () => 0, sizerOf } = options
  const random = seededRandom(seed)
  let nowMs = 0
  const sizer = sizerOf({ nowMs: () => nowMs, sleep: async () => {} })
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const serviceMs = () => Math.exp(Math.log(20) - 0.5 + gaussian())

  const queue: { cameAtMs: number }[] = []
  let head = 0
  /** When each connection in use is free again. */
  let inUse: { untilMs: number; heldMs: number; error?: unknown; cameAtMs: number }[] = []
  let openedAtMs: number[] = []
  const responsesMs: number[] = []
  let [sizes, steps, greatestSize] = [0, 0, 0]
  const stepMs = 1
  let nextMs = 0
  let came = 0
  for (; nowMs < forMs || inUse.length > 0 || head < queue.length; nowMs += stepMs) {
    for (const done of inUse.filter(({ untilMs }) => untilMs <= nowMs)) {
      sizer.ended(done.heldMs, done.error)
      responsesMs.push(done.untilMs - done.cameAtMs)
    }
    inUse = inUse.filter(({ untilMs }) => untilMs > nowMs)
    while (nextMs <= Math.min(nowMs, forMs)) {
      sizer.arrived()
      queue.push({ cameAtMs: nextMs })
      came++
      nextMs += (-Math.log(1 - random()) / arrivalsASecond(nowMs)) * 1_000
    }
    const first = queue[head]
    if (first && nowMs - first.cameAtMs >= poolRules.waitForMs) sizer.waited()
    // opened when they are needed, kept up to the size
    openedAtMs = openedAtMs.slice(0, Math.max(sizer.size(), inUse.length))
    while (openedAtMs.length < Math.min(sizer.size(), inUse.length + queue.length - head)) openedAtMs.push(nowMs)
    const ready = openedAtMs.filter((atMs) => nowMs - atMs >= 30).length
    while (head < queue.length && inUse.length < Math.min(ready, sizer.size())) {
      const { cameAtMs } = queue[head++] as { cameAtMs: number }
      const isLocked = random() < lockedShare(nowMs)
      const heldMs = isLocked ? 1_500 : serviceMs()
      const error = isLocked ? new DatabaseError('lock', { statement: 'write', applied: 'refused', sqlState: '55P03' }) : undefined
      inUse.push({ untilMs: nowMs + heldMs, heldMs, cameAtMs, ...(error ? { error } : {}) })
    }
    sizes += openedAtMs.length
    steps++
    greatestSize = Math.max(greatestSize, openedAtMs.length)
  }
  const sorted = responsesMs.toSorted((a, b) => a - b)
  return {
    p95Ms: sorted[Math.floor(sorted.length * 0.95)] ?? 0,
    meanSize: sizes / steps,
    greatestSize,
    lastSize: sizer.size(),
    done: sorted.length,
    came,
  }
}

const tuned = (clock: Parameters<Parameters<typeof simulate>[0]['sizerOf']>[0]) =>
  sizeByLoad({ most: 20, isCircuitClosed: () => true, clock, log: silentLog })

describe('a pool of up to twenty, simulated', () => {
  const each = (options: Omit<Parameters<typeof simulate>[0], 'seed' | 'sizerOf'>, sizerOf = tuned) =>
    [1, 2, 3].map((seed) => simulate({ seed, sizerOf, ...options }))
  const mean = (simulated: readonly Simulated[], of: (one: Simulated) => number) =>
    simulated.reduce((sum, one) => sum + of(one), 0) / simulated.length
  const allDone = (simulated: readonly Simulated[]) => simulated.every(({ came, done }) => came > 1_000 && done === came)

  it('answers sixty a second nearly as fast as twenty connections do, with three', () => {
    const steady = { forMs: 120_000, arrivalsASecond: () => 60 }
    const [ours, twenty] = [each(steady), each(steady, () => fixedSize(20))]
    expect(mean(ours, ({ p95Ms }) => p95Ms)).toBeLessThan(1.2 * mean(twenty, ({ p95Ms }) => p95Ms))
    expect(mean(ours, ({ meanSize }) => meanSize)).toBeLessThanOrEqual(3.1)
    expect(allDone(ours)).toBe(true)
  })

  it('follows a burst of four times as many within 220 ms for 95 of 100', () => {
    const burst = { forMs: 180_000, arrivalsASecond: (atMs: number) => (atMs >= 60_000 && atMs < 120_000 ? 240 : 60) }
    const ours = each(burst)
    expect(mean(ours, ({ p95Ms }) => p95Ms)).toBeLessThan(220)
    expect(Math.max(...ours.map(({ greatestSize }) => greatestSize))).toBeLessThanOrEqual(10)
    expect(allDone(ours)).toBe(true)
  })

  it('does not run to its greatest size in a lock storm, where all twenty would wait, and goes back after it', () => {
    const storm = {
      forMs: 150_000,
      arrivalsASecond: () => 20,
      lockedShare: (atMs: number) => (atMs >= 40_000 && atMs < 80_000 ? 0.5 : 0),
    }
    const ours = each(storm)
    expect(Math.max(...ours.map(({ greatestSize }) => greatestSize))).toBeLessThan(20)
    expect(ours.map(({ lastSize }) => lastSize)).toEqual([2, 2, 2])
    expect(allDone(ours)).toBe(true)
    expect(Math.min(...each(storm, () => fixedSize(20)).map(({ greatestSize }) => greatestSize))).toBe(20)
  })
})
