// A line of values over time as SVG. Pure. A gap in what is known is a gap in the line.

import { Html, html } from './html.ts'

const [width, height, margin] = [240, 44, 3]

export type Point = { readonly atMs: number; readonly value: number | null }

/** `limit` is drawn as a dashed line when it lies within what is shown. The label is read by screen readers. */
export function sparkline(points: readonly Point[], span: { fromMs: number; toMs: number; label: string; limit?: number }): Html {
  const known = points.filter((p) => p.value !== null && Number.isFinite(p.value)).map((p) => p.value as number)
  const highest = Math.max(...known, 0)
  // a flat line of zeros lies at the bottom, and a limit just above the values is still seen
  const top = Math.max(highest, span.limit !== undefined && span.limit <= highest * 3 ? span.limit : 0) || 1
  const x = (atMs: number) => round(((atMs - span.fromMs) / Math.max(1, span.toMs - span.fromMs)) * width)
  const y = (value: number) => round(height - margin - (value / top) * (height - 2 * margin))
  const runs = unbroken(points.filter((p) => p.atMs >= span.fromMs && p.atMs <= span.toMs))
  const lines = runs.map((run) => {
    const path = run.map((p) => `${x(p.atMs)},${y(p.value)}`).join(' ')
    const [first, last] = [run[0] as Known, run.at(-1) as Known]
    if (run.length === 1) return html`<circle cx="${x(first.atMs)}" cy="${y(first.value)}" r="1.5" />`
    return html`<polygon points="${x(first.atMs)},${height} ${path} ${x(last.atMs)},${height}" /><polyline points="${path}" />`
  })
  const limit =
    span.limit !== undefined && span.limit <= top
      ? html`<line class="limit" x1="0" x2="${width}" y1="${y(span.limit)}" y2="${y(span.limit)}" />`
      : null
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label="${span.label}">
    ${lines}${limit}
  </svg>`
}

type Known = { readonly atMs: number; readonly value: number }

function unbroken(points: readonly Point[]): readonly (readonly Known[])[] {
  const runs: Known[][] = []
  let isBroken = true
  for (const { atMs, value } of points) {
    if (value === null || !Number.isFinite(value)) isBroken = true
    else {
      if (isBroken) runs.push([])
      runs.at(-1)?.push({ atMs, value })
      isBroken = false
    }
  }
  return runs
}

const round = (value: number) => Math.round(value * 10) / 10
