// The status page as HTML: a pure function of the view. What is wrong comes first, in words with what to do; figures after it.

import type { Check } from '../../../shared/health/check.ts'
import { circuit, minutes, tiles } from './figures.ts'
import { type Html, html } from './html.ts'
import type { StatusView } from './status-view.ts'
import { allChecks, collectors } from './tables.ts'
import { ago, time } from './words.ts'

/** A whole document. The script asks for `fragment` every two seconds. */
export const page = (view: StatusView): Html =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${titleOf(view)}</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/page.css" />
        <script src="/page.js" type="module"></script>
      </head>
      <body>
        <div id="stale" role="alert" hidden></div>
        <main>${fragment(view)}</main>
      </body>
    </html> `

export const fragment = (view: StatusView): Html =>
  html`<header data-title="${titleOf(view)}">
      <h1>${view.system}</h1>
      <span class="quiet">${view.place}</span>
    </header>
    ${verdict(view)} ${findings(view.report?.checks ?? [])} ${tiles(view)} ${minutes(view)} ${circuit(view)} ${collectors(view)}
    ${alerts(view)} ${allChecks(view)}
    <footer>Drawn ${time(view.nowMs)} UTC. The same as JSON: <a href="/report.json">report</a>, <a href="/health">health+json</a>.</footer>`

const words = { HEALTHY: 'Healthy', DEGRADED: 'Degraded', CRITICAL: 'Critical', UNKNOWN: 'Unknown' } as const
const statusOf = ({ report }: StatusView) => report?.status ?? 'UNKNOWN'
const titleOf = (view: StatusView) => `${words[statusOf(view)]}: ${view.system}`

function verdict(view: StatusView): Html {
  const { report } = view
  if (!report)
    return html`<section class="card verdict">
      <strong>Not yet known</strong>
      <p>The first health check has not ended.</p>
    </section>`
  return html`<section class="card verdict ${report.status.toLowerCase()}">
    <strong>${words[report.status]}</strong> <span class="quiet">score ${report.score} of 100</span>
    <p>${report.message}</p>
    <p class="quiet">Checked ${ago(view.nowMs - Date.parse(report.checkedAt))} ago</p>
  </section>`
}

/** Explained ones stand below what explains them, in the list of all checks. */
function findings(checks: readonly Check[]): Html | null {
  const wrong = checks.filter((c) => (c.severity === 'critical' || c.severity === 'warning') && c.inhibitedBy === undefined)
  if (wrong.length === 0) return null
  return html`<section class="card" id="findings">
    <h2>What is wrong, and what to do</h2>
    ${wrong.map(
      (c) =>
        html`<div class="finding">
          <strong class="${c.severity}-text">${c.severity === 'critical' ? 'Critical' : 'Warning'}</strong> ${c.message}
          <p>${c.action}</p>
          ${c.evidence?.length ? html`<pre>${c.evidence.join('\n')}</pre>` : null}
        </div>`,
    )}
  </section>`
}

function alerts(view: StatusView): Html | null {
  if (view.alerts.length === 0) return null
  return html`<section class="card">
    <h2>Alerts sent</h2>
    <ul>
      ${view.alerts.map((a) => html`<li>${time(a.atMs)} ${a.subject}</li>`)}
    </ul>
  </section>`
}
