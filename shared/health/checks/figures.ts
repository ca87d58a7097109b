// Figures as people read them. Pure.

const secondMs = 1_000
const minuteMs = 60 * secondMs
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs

/** Such as "850 ms", "12.3 s", "14 min", "5 h", "12 days". */
export function forTime(ms: number): string {
  if (ms < secondMs) return `${Math.round(ms)} ms`
  if (ms < 10 * secondMs) return `${Math.round(ms / 100) / 10} s`
  if (ms < 2 * minuteMs) return `${Math.round(ms / secondMs)} s`
  if (ms < 2 * hourMs) return `${Math.round(ms / minuteMs)} min`
  if (ms < 2 * dayMs) return `${Math.round(ms / hourMs)} h`
  return `${Math.round(ms / dayMs)} days`
}

/** Such as "512 MB"; in powers of 1024, as Postgres writes them. */
export function forBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)))
  const amount = bytes / 1024 ** power
  return `${amount < 10 && power > 0 ? Math.round(amount * 10) / 10 : Math.round(amount)} ${units[power]}`
}

/** `share` is 0..1. Such as "99.8 %"; never "100 %" for what is not all of it. */
export function forShare(share: number): string {
  const percent = share * 100
  const digits = percent === 0 || percent === 100 ? 0 : percent > 99 || percent < 10 ? 2 : 1
  const down = percent > 99 && percent < 100 ? Math.floor(percent * 100) / 100 : Number(percent.toFixed(digits))
  return `${down} %`
}

/** Such as "1200", "240 million". */
export function forCount(count: number): string {
  const [billions, millions] = [count / 1e9, count / 1e6]
  if (billions >= 1) return `${Math.round(billions * 10) / 10} billion`
  return millions >= 1 ? `${Math.round(millions * 10) / 10} million` : String(count)
}

export const counted = (count: number, one: string, many = `${one}s`) => `${forCount(count)} ${count === 1 ? one : many}`

export const sinceInWords = (sinceMs: number) => (Math.abs(sinceMs) <= 8.64e15 ? new Date(sinceMs).toISOString() : 'an unknown time')
