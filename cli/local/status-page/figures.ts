// The page's figures over the last hour: tiles with their lines, the strip of minutes, the circuit's timeline. Pure.

import { type Html, html } from './html.ts'
import { sparkline } from './sparkline.ts'
import type { Look, StatusView } from './status-view.ts'
import { decimals, span, time } from './words.ts'

const hourMs = 3_600_000

export function tiles(view: StatusView): Html {
  const metrics = view.report?.metrics
  const { looks, nowMs } = view
  const hour = { fromMs: nowMs - hourMs, toMs: nowMs }
  const line = (label: string, of: (look: Look) => number | null, limit?: number) =>
    sparkline(
      looks.map((look) => ({ atMs: look.atMs, value: of(look) })),
      { ...hour, label: `${label}, last hour`, ...(limit === undefined ? {} : { limit }) },
    )
  const bound = (id: string) => view.report?.checks.find((c) => c.id === id)?.limits?.warning
  const percent = (share: number | null | undefined) => (share === null || share === undefined ? null : `${decimals(share * 100, 2)} %`)
  const millis = (ms: number | null | undefined) => (ms === null || ms === undefined ? null : span(ms))
  const parked = looks.at(-1)?.parked ?? metrics?.parked_batches
  return html`<section class="tiles" aria-label="Figures">
    ${tile('Availability, 1 h', percent(metrics?.availability), html`<p class="quiet">30 days: ${percent(metrics?.availability_30d) ?? 'not yet known'}</p>`)}
    ${tile(
      'Query, 95th percentile',
      millis(metrics?.query_p95_ms),
      line('Health check query', (l) => l.queryMs, bound('simple-query')),
    )}
    ${tile(
      'Lock wait',
      millis(metrics?.lock_wait_ms),
      line('Lock wait', (l) => l.lockWaitMs, bound('lock-wait')),
    )}
    ${tile('Errors, 5 min', percent(metrics?.error_rate), html`<p class="quiet">of all operations</p>`)}
    ${tile(
      'Connections',
      metrics?.connections_used === null || metrics === undefined
        ? null
        : `${metrics.connections_used} of ${metrics.connections_usable ?? '?'}`,
      line('Connections', (l) => l.connectionsUsed),
    )}
    ${tile(
      'Parked batches',
      parked === null || parked === undefined ? null : `${parked}`,
      line('Parked batches', (l) => l.parked),
    )}
  </section>`
}

const tile = (title: string, figure: string | null, below: Html): Html =>
  html`<div class="card">
    <h2>${title}</h2>
    <div class="figure">${figure ?? html`<small>not known</small>`}</div>
    ${below}
  </div>`

export function minutes({ minutes: all }: StatusView): Html | null {
  if (all.length === 0) return null
  const word = (isUp: boolean | null) => (isUp === null ? 'nobody looked' : isUp ? 'up' : 'down')
  const count = (of: boolean | null) => all.filter((m) => m.isUp === of).length
  const label = `Of ${all.length} minutes ${count(true)} up, ${count(false)} down, ${count(null)} without a look`
  return html`<section class="card">
    <h2>The database, minute by minute</h2>
    <div class="strip" role="img" aria-label="${label}">
      ${all.map((m) => html`<span class="${m.isUp === null ? '' : word(m.isUp)}" title="${time(m.atMs)} ${word(m.isUp)}"></span>`)}
    </div>
    <div class="ends">
      <span>${time(all[0]?.atMs ?? 0)}</span><span>${count(false) === 0 ? '' : `${count(false)} min down`}</span><span>now</span>
    </div>
  </section>`
}

/** Red while it was open, as the looks saw it; grey before this process ran. */
export function circuit(view: StatusView): Html {
  const { nowMs, looks, circuitChanges } = view
  const fromMs = nowMs - hourMs
  const left = (atMs: number) => `${decimals((Math.max(0, atMs - fromMs) / hourMs) * 100, 2)}%`
  const wide = (ms: number) => `${decimals((ms / hourMs) * 100, 2)}%`
  const before = Math.max(0, Math.min(view.startedAtMs, nowMs) - fromMs)
  const bars = openSpans(looks, nowMs).map(
    ([start, end]) => html`<span style="left:${left(start)};width:max(2px,${wide(end - Math.max(start, fromMs))})"></span>`,
  )
  const isOpen = looks.at(-1)?.isOpen
  const now = isOpen === undefined || isOpen === null ? 'not known' : isOpen ? 'open: writes are parked' : 'closed: writes pass'
  return html`<section class="card" id="circuit">
    <h2>Circuit breaker</h2>
    <div class="timeline" role="img" aria-label="Circuit breaker, last hour; now ${now}">
      <span class="before" style="left:0;width:${wide(before)}"></span>${bars}
    </div>
    <div class="ends"><span>${time(fromMs)}</span><span>${now}</span><span>now</span></div>
    ${
      circuitChanges.length > 0
        ? html`<ul>
            ${circuitChanges
              .slice(-6)
              .toReversed()
              .map((c) => html`<li>${time(c.atMs)} ${c.kind}${c.reason === null ? null : `: ${c.reason}`}</li>`)}
          </ul>`
        : null
    }
  </section>`
}

function openSpans(looks: readonly Look[], nowMs: number): readonly (readonly [number, number])[] {
  const spans: [number, number][] = []
  for (const [i, look] of looks.entries()) {
    if (!look.isOpen) continue
    const endMs = looks[i + 1]?.atMs ?? nowMs
    if (looks[i - 1]?.isOpen) (spans.at(-1) as [number, number])[1] = endMs
    else spans.push([look.atMs, endMs])
  }
  return spans
}
