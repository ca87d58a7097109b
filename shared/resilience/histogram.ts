// Latencies as counts in buckets that grow by a factor: four to each doubling, from 0.25 ms to 16 s. Pure.
// Histograms add up, over instances, minutes and months, which percentiles do not; a percentile read from one is off by 9 % at most.
//
//   bucket 0     up to 0.25 ms
//   bucket n     up to 0.25 ms * 2^(n/4)
//   bucket 64    up to 16.4 s, and everything above: no call of ours waits that long
//
// Only buckets that hold something are kept, by number: a minute of a healthy database fills five to fifteen.

/** By bucket: how many. JSON as it stands. */
export type Histogram = Readonly<Record<number, number>>
/** Where counting goes on. */
export type OpenHistogram = Record<number, number>

const smallestMs = 0.25
const bucketsPerDoubling = 4
export const lastBucket = 64
/** Dense: as it stands in an array. */
export const bucketCount = lastBucket + 1

const boundMs = (bucket: number) => smallestMs * 2 ** (bucket / bucketsPerDoubling)

export function bucketOf(ms: number): number {
  if (ms <= smallestMs) return 0
  const bucket = Math.ceil(Math.log2(ms / smallestMs) * bucketsPerDoubling)
  return Math.min(bucket, lastBucket)
}

/** The value that stands for a bucket: never more than 8.7 % from any that is in it. Of the first and the last it is the bound. */
export function bucketMs(bucket: number): number {
  if (bucket <= 0) return smallestMs
  if (bucket >= lastBucket) return boundMs(lastBucket)
  const [low, high] = [boundMs(bucket - 1), boundMs(bucket)]
  return (2 * low * high) / (low + high)
}

/** Counts one more. What is no duration is not counted: a clock that was set back makes negative ones. */
export function countMs(histogram: OpenHistogram, ms: number): void {
  if (!(ms >= 0 && ms < Infinity)) return
  const bucket = bucketOf(ms)
  histogram[bucket] = (histogram[bucket] ?? 0) + 1
}

export function histogramOf(durationsMs: readonly number[]): Histogram {
  const histogram: OpenHistogram = {}
  for (const ms of durationsMs) countMs(histogram, ms)
  return histogram
}

/** Bucket and count, buckets ascending. */
export const entriesOf = (histogram: Histogram): [bucket: number, count: number][] =>
  Object.entries(histogram).map(([bucket, count]) => [Number(bucket), count])

export const countOf = (histogram: Histogram) => entriesOf(histogram).reduce((sum, [, count]) => sum + count, 0)

export function addHistogram(to: OpenHistogram, more: Histogram): void {
  for (const [bucket, count] of entriesOf(more)) to[bucket] = (to[bucket] ?? 0) + count
}

export function mergeHistograms(...all: readonly (Histogram | undefined)[]): Histogram {
  const sum: OpenHistogram = {}
  for (const histogram of all) if (histogram) addHistogram(sum, histogram)
  return sum
}

/** What came between two looks at one that only grows; null when it was emptied in between, because a bucket then holds less. */
export function histogramSince(before: Histogram, now: Histogram): Histogram | null {
  const since: OpenHistogram = {}
  for (const [bucket] of entriesOf(mergeHistograms(before, now))) {
    const more = (now[bucket] ?? 0) - (before[bucket] ?? 0)
    if (more < 0) return null
    if (more > 0) since[bucket] = more
  }
  return since
}

/** Nearest rank: `share` 0..1 of the durations are at most this long. Null when there is none. */
export function percentileMs(histogram: Histogram, share: number): number | null {
  const rank = Math.max(1, Math.ceil(share * countOf(histogram)))
  let seen = 0
  for (const [bucket, count] of entriesOf(histogram)) {
    seen += count
    if (seen >= rank) return bucketMs(bucket)
  }
  return null
}

/** Dense, for a column `int[]`: its element n + 1 is bucket n. */
export const toCounts = (histogram: Histogram): readonly number[] =>
  Array.from({ length: bucketCount }, (_, bucket) => histogram[bucket] ?? 0)

export const fromCounts = (counts: readonly number[]): Histogram =>
  Object.fromEntries(counts.flatMap((count, bucket) => (count > 0 ? [[bucket, count]] : [])))
