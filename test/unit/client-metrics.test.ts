import { array, assert, integer, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  contendedIn,
  createMetricsRing,
  failedIn,
  newTally,
  sumOfCounts,
  type ClientCounts,
} from '../../shared/resilience/client-metrics.ts'

const startMs = Date.UTC(2026, 0, 1)
const minuteMs = 60_000

describe('the metrics of a client', () => {
  it('count calls and attempts apart, over the last five minutes and the last hour', () => {
    const ring = createMetricsRing()
    ring.at(startMs).calls += 1
    ring.at(startMs).attempts += 3
    ring.at(startMs + 10 * minuteMs).calls += 1
    ring.at(startMs + 10 * minuteMs).attempts += 1
    ring.at(startMs + 10 * minuteMs).succeeded += 1
    const { last5Minutes, lastHour } = ring.metrics(startMs + 10 * minuteMs)
    expect(last5Minutes).toEqual({ ...newTally(), calls: 1, attempts: 1, succeeded: 1, successRate: 1 })
    expect(lastHour).toEqual({ ...newTally(), calls: 2, attempts: 4, succeeded: 1, successRate: 0.5 })
  })

  it('find a bucket again that was left for another, as when a clock jumps back and forth', () => {
    const ring = createMetricsRing()
    const first = ring.at(startMs)
    const second = ring.at(startMs + 10_000)
    expect(ring.at(startMs)).toBe(first)
    expect(ring.at(startMs + 10_000)).toBe(second)
    expect(second).not.toBe(first)
  })

  it('have no success rate where nothing was called', () => {
    expect(createMetricsRing().metrics(startMs).lastHour).toEqual({ ...newTally(), successRate: null })
  })

  it('sum failures by class', () => {
    const ring = createMetricsRing()
    ring.at(startMs).failures['connection'] = 2
    ring.at(startMs + minuteMs).failures['connection'] = 1
    ring.at(startMs + minuteMs).failures['data'] = 1
    expect(ring.metrics(startMs + minuteMs).last5Minutes.failures).toEqual({ connection: 3, data: 1 })
  })

  it('forget what happened before a container was frozen for an hour: its place is taken over, not added to', () => {
    const ring = createMetricsRing()
    ring.at(startMs).calls += 5
    ring.at(startMs + 60 * minuteMs).calls += 1
    expect(ring.metrics(startMs + 60 * minuteMs).lastHour.calls).toBe(1)
  })

  it('forget it also when nothing was called since', () => {
    const ring = createMetricsRing()
    ring.at(startMs).calls += 5
    expect(ring.metrics(startMs + 59 * minuteMs + 59_999).lastHour.calls).toBe(5)
    expect(ring.metrics(startMs + 60 * minuteMs).lastHour.calls).toBe(0)
    expect(ring.metrics(startMs + 4 * minuteMs + 59_999).last5Minutes.calls).toBe(5)
    expect(ring.metrics(startMs + 5 * minuteMs).last5Minutes.calls).toBe(0)
  })

  it('do not read what a clock that has jumped back left in the future', () => {
    const ring = createMetricsRing()
    ring.at(startMs + 30 * minuteMs).calls += 5
    ring.at(startMs).calls += 1
    expect(ring.metrics(startMs).lastHour.calls).toBe(1)
  })

  it('are what a list of every call says, to within one bucket of 10 s', () => {
    assert(
      property(array(integer({ min: 0, max: 400_000 }), { maxLength: 60 }), (gaps) => {
        const ring = createMetricsRing()
        const atMs: number[] = []
        let nowMs = startMs
        for (const gap of gaps) {
          nowMs += gap
          atMs.push(nowMs)
          ring.at(nowMs).calls += 1
        }
        const within = (windowMs: number) => atMs.filter((at) => at > nowMs - windowMs).length
        const { last5Minutes, lastHour } = ring.metrics(nowMs)
        expect(last5Minutes.calls).toBeLessThanOrEqual(within(5 * minuteMs))
        expect(last5Minutes.calls).toBeGreaterThanOrEqual(within(5 * minuteMs - 10_000))
        expect(lastHour.calls).toBeLessThanOrEqual(within(60 * minuteMs))
        expect(lastHour.calls).toBeGreaterThanOrEqual(within(60 * minuteMs - 10_000))
      }),
    )
  })
})

describe('sumOfCounts', () => {
  it('adds every count and every class, and takes an absent one as nothing', () => {
    const a = { ...newTally(), calls: 1, succeeded: 2, refused: 3, attempts: 4, retries: 5, failures: { data: 1 }, latency: { 8: 3 } }
    const b = {
      ...newTally(),
      calls: 10,
      rollbacks: 6,
      reconnections: 7,
      poolResets: 8,
      failures: { data: 1, slow: 2 },
      latency: { 8: 1, 9: 2 },
    }
    expect(sumOfCounts(a, undefined, b)).toEqual({
      calls: 11,
      succeeded: 2,
      refused: 3,
      attempts: 4,
      retries: 5,
      rollbacks: 6,
      reconnections: 7,
      poolResets: 8,
      failures: { data: 2, slow: 2 },
      latency: { 8: 4, 9: 2 },
    })
    expect(a.calls).toBe(1)
    expect(a.latency).toEqual({ 8: 3 })
  })

  it('takes what an older release has counted, which has no latency', () => {
    const { latency: _none, ...older } = { ...newTally(), calls: 4 }
    expect(sumOfCounts(older as ClientCounts, { ...newTally(), calls: 1, latency: { 8: 1 } })).toEqual({
      ...newTally(),
      calls: 5,
      latency: { 8: 1 },
    })
  })
})

describe('of what a client counted', () => {
  it('locks, deadlocks and serialization failures are contention, nothing else is', () => {
    const failures = { contention: 2, 'lock-timeout': 3, connection: 5, 'earlier-attempt': 7, data: 11 }
    expect(contendedIn({ failures })).toBe(5)
    expect(contendedIn(newTally())).toBe(0)
  })

  it('calls that neither succeeded nor were refused have failed for good', () => {
    expect(failedIn({ ...newTally(), calls: 10, succeeded: 6, refused: 3 })).toBe(1)
  })
})
