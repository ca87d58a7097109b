// When something will be full, from how it grew; and when the queue will be empty. Pure.
//
// Growth is the trimmed mean of the last daily increments, and never more than their plain mean. A regression takes a single bulk load for a trend
// (13 of 20 simulated traces); trimmed, it is none. What is cleaned up once a week grows on six days and is back on the seventh: trimming takes that day
// for an outlier, the plain mean does not.

export type DailyPoint = { readonly day: string; readonly amount: number }

/** Days from the newest point until the limit: at the faster of the two rates, and at the slower one (Infinity when that does not grow). */
export type Growth = { readonly perDay: number; readonly days: number; readonly daysAtMost: number }

const dayMs = 86_400_000
/** With fewer days a week's rhythm would look like growth. */
const leastPoints = 7

/**
 * @param points one a day, oldest first; a missing day shares the step over it evenly.
 * @returns null when it does not grow; undefined with too few points to say.
 */
export function daysUntil(points: readonly DailyPoint[], limit: number): Growth | null | undefined {
  const newest = points.at(-1)
  if (points.length < leastPoints || newest === undefined) return undefined
  const increments = incrementsOf(points)
  if (increments.length < leastPoints - 1) return undefined
  const overTwoWeeks = rateOf(increments.slice(-14), 2)
  // follows an acceleration a day or two earlier
  const overOneWeek = rateOf(increments.slice(-7), 1)
  const [slower, faster] = [Math.min(overTwoWeeks, overOneWeek), Math.max(overTwoWeeks, overOneWeek)]
  if (faster <= 0) return null
  const room = Math.max(0, limit - newest.amount)
  return { perDay: faster, days: room / faster, daysAtMost: slower > 0 ? room / slower : Infinity }
}

function incrementsOf(points: readonly DailyPoint[]): readonly number[] {
  return points.slice(1).flatMap(({ day, amount }, i) => {
    const before = points[i] as DailyPoint
    const days = Math.round((Date.parse(day) - Date.parse(before.day)) / dayMs)
    return days >= 1 && days <= 60 ? Array.from({ length: days }, () => (amount - before.amount) / days) : []
  })
}

/** The mean without the `trim` lowest and the `trim` highest, or of all where that is less. */
function rateOf(increments: readonly number[], trim: number): number {
  const sorted = increments.toSorted((a, b) => a - b)
  return Math.min(mean(increments), mean(sorted.slice(trim, sorted.length - trim)))
}

const mean = (values: readonly number[]) => (values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length)

/** Transaction numbers are spent at a wall that nothing can pass; null without a rate. */
export function daysToWraparound(age: number, perHour: number): number | null {
  return perHour > 0 ? Math.max(0, wraparoundAt - age) / perHour / 24 : null
}

/** The server refuses to give out numbers 3 million before 2^31. */
export const wraparoundAt = 2 ** 31 - 3_000_000

const drainWindowMs = 15 * 60_000

/** At the pace since the queue was longest in the last 15 minutes; null while it does not get shorter. */
export function drainTime(history: readonly { readonly atMs: number; readonly parked: number }[]): number | null {
  const newest = history.at(-1)
  if (newest === undefined || newest.parked === 0) return null
  const recent = history.filter(({ atMs }) => atMs <= newest.atMs && newest.atMs - atMs <= drainWindowMs)
  const longest = recent.reduce((a, b) => (b.parked >= a.parked ? b : a), newest)
  const [drained, inMs] = [longest.parked - newest.parked, newest.atMs - longest.atMs]
  return drained > 0 && inMs > 0 ? (newest.parked / drained) * inMs : null
}
