// How a circuit and a time are written on the command line.

/** Longer is a setting, not an operator's word in an incident. */
const longestMs = 24 * 3_600_000
const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }

/** `30s`, `5m`, `2h` in milliseconds; undefined when it is no such thing, or more than `mostMs`. */
export function durationMs(text: string, mostMs: number = longestMs): number | undefined {
  const [, count, unit = ''] = /^(\d{1,6})([smh])$/.exec(text) ?? []
  const ms = Number(count) * (unitsMs[unit] ?? Number.NaN)
  return ms <= mostMs ? ms : undefined
}

/** `database`, `gecko`, or a table of the collectors'. */
export const isScope = (text: string) => /^(?:database|gecko|stream:(?:dexes|pools|trades))$/.test(text)
