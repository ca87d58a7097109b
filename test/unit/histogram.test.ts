import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  bucketMs,
  bucketOf,
  countMs,
  countOf,
  fromCounts,
  histogramOf,
  histogramSince,
  lastBucket,
  mergeHistograms,
  percentileMs,
  toCounts,
  type Histogram,
} from '../../shared/resilience/histogram.ts'
import { seededRandom } from '../support/seeded-random.ts'

const histograms = fc.dictionary(
  fc.integer({ min: 0, max: lastBucket }).map(String),
  fc.integer({ min: 1, max: 1e6 }),
) as fc.Arbitrary<Histogram>

describe('a bucket', () => {
  it.each([
    [0, 0],
    [0.25, 0],
    [0.26, 1],
    [0.5, 4],
    [0.51, 5],
    [1, 8],
    [4_096, 56],
    [16_384, 64],
    [16_385, 64],
    [1e12, 64],
  ])('of %d ms is number %d', (ms, bucket) => {
    expect(bucketOf(ms)).toBe(bucket)
  })

  it('stands for a value that is within 8.7 % of all that are in it', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.25, max: 16_384, noNaN: true }), (ms) => {
        const error = Math.abs(bucketMs(bucketOf(ms)) / ms - 1)
        expect(error).toBeLessThan(bucketOf(ms) === lastBucket ? 0.19 : 0.087)
      }),
      { numRuns: 2_000 },
    )
  })

  it('has a higher value than the one before', () => {
    const values = Array.from({ length: lastBucket + 1 }, (_, bucket) => bucketMs(bucket))
    expect(values).toEqual(values.toSorted((a, b) => a - b))
    expect([values[0], values.at(-1)]).toEqual([0.25, 16_384])
  })
})

describe('a histogram', () => {
  it('counts no duration that is none, as a clock makes them that was set back', () => {
    const histogram = {}
    for (const ms of [-1, Number.NaN, Infinity, -Infinity, 1]) countMs(histogram, ms)
    expect(histogram).toEqual({ 8: 1 })
  })

  it('of two is the histogram of all durations of both', () => {
    const durations = fc.array(fc.double({ min: 0, max: 20_000, noNaN: true }))
    fc.assert(
      fc.property(durations, durations, (some, others) => {
        expect(mergeHistograms(histogramOf(some), undefined, histogramOf(others))).toEqual(histogramOf([...some, ...others]))
      }),
    )
  })

  it('since a look is what was added; null when it was emptied meanwhile', () => {
    fc.assert(
      fc.property(histograms, histograms, (before, added) => {
        expect(histogramSince(before, mergeHistograms(before, added))).toEqual(added)
        expect(histogramSince(mergeHistograms(before, { 7: 1 }), before)).toBe(null)
      }),
    )
  })

  it('survives a column of the database, and JSON', () => {
    fc.assert(
      fc.property(histograms, (histogram) => {
        expect(toCounts(histogram)).toHaveLength(65)
        expect(fromCounts(toCounts(histogram))).toEqual(histogram)
        expect(JSON.parse(JSON.stringify(histogram))).toEqual(histogram)
      }),
    )
    // an older release may have had fewer buckets
    expect(fromCounts([0, 3])).toEqual({ 1: 3 })
  })
})

describe('a percentile', () => {
  it('of nothing is unknown', () => {
    expect(percentileMs({}, 0.5)).toBe(null)
  })

  it('is the least duration that the share reaches', () => {
    const histogram = histogramOf([1, 1, 1, 100])
    expect([0, 0.5, 0.75, 0.76, 1].map((share) => percentileMs(histogram, share))).toEqual([
      bucketMs(8),
      bucketMs(8),
      bucketMs(8),
      bucketMs(bucketOf(100)),
      bucketMs(bucketOf(100)),
    ])
  })

  it.each([
    ['log-normal', (random: () => number) => 20 * Math.exp(gaussian(random))],
    ['of two humps', (random: () => number) => (random() < 0.9 ? 3 + random() : 900 + 300 * random())],
    ['Pareto', (random: () => number) => Math.min(16_000, 2 / Math.sqrt(1 - random()))],
    ['even', (random: () => number) => 1 + 500 * random()],
  ])('of durations that are %s is within 9 % of the exact one', (_, draw) => {
    const random = seededRandom(3)
    const durations = Array.from({ length: 20_000 }, () => draw(random))
    const sorted = durations.toSorted((a, b) => a - b)
    const histogram = histogramOf(durations)
    expect(countOf(histogram)).toBe(20_000)
    for (const share of [0.5, 0.95, 0.99]) {
      const exact = sorted[Math.ceil(share * sorted.length) - 1] as number
      expect(Math.abs((percentileMs(histogram, share) ?? 0) / exact - 1)).toBeLessThanOrEqual(0.09)
    }
  })
})

const gaussian = (random: () => number) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
