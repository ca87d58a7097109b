// How instants, spans and numbers read on the page. Pure.

export const time = (atMs: number) => new Date(atMs).toISOString().slice(11, 19)
export const grouped = (count: number) => count.toLocaleString('en-US')
export const decimals = (value: number, most: number) => `${Number(value.toFixed(most))}`

export function ago(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 90) return `${s} s`
  return s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`
}

/** Short spans as they are measured. */
export const span = (ms: number) => (ms < 10_000 ? `${decimals(ms, 1)} ms` : ago(ms))
