// The page's tables: collectors, all checks, targets. Pure.

import { type Check, fingerprintOf } from '../../../shared/health/check.ts'
import { type CollectorName, collectorNames } from '../../../shared/names.ts'
import { type Html, html } from './html.ts'
import type { StatusView } from './status-view.ts'
import { ago, decimals, grouped, time } from './words.ts'

export function collectors(view: StatusView): Html {
  const row = (name: CollectorName) => {
    const c = view.collectors[name]
    const last = c.lastSuccessAtMs === null ? 'never' : `${ago(view.nowMs - c.lastSuccessAtMs)} ago`
    return html`<tr>
      <td>
        ${name}
        <div class="quiet">${c.doing}</div>
      </td>
      <td class="number wide">${c.everyMinutes} min</td>
      <td class="number">${last}</td>
      <td class="number">${grouped(c.inserted)}</td>
      <td class="number wide">${grouped(c.updated)}</td>
      <td class="number wide">${grouped(c.unchanged)}</td>
      <td class="number">${grouped(c.parked)}</td>
      <td class="number wide">${grouped(c.rejected)}</td>
    </tr>`
  }
  return html`<section class="card">
    <h2>Collectors, since ${time(view.startedAtMs)} UTC</h2>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>collector</th>
            <th class="number wide">every</th>
            <th class="number">last success</th>
            <th class="number">new</th>
            <th class="number wide">changed</th>
            <th class="number wide">unchanged</th>
            <th class="number">parked</th>
            <th class="number wide">rejected</th>
          </tr>
        </thead>
        <tbody>
          ${collectorNames.map(row)}
        </tbody>
      </table>
    </div>
  </section>`
}

export function allChecks(view: StatusView): Html | null {
  const { report } = view
  if (!report) return null
  const limits = ({ limits: l, unit }: Check) =>
    [l?.warning, l?.critical]
      .filter((v) => v !== undefined)
      .map((v) => `${v}${unit && unit !== 'count' ? ` ${unit}` : ''}`)
      .join(', ')
  const value = ({ value: v, unit }: Check) =>
    v === null ? '' : `${typeof v === 'number' ? decimals(v, 2) : v}${typeof v === 'number' && unit && unit !== 'count' ? ` ${unit}` : ''}`
  const row = (c: Check) =>
    html`<tr>
      <td class="${c.severity}-text">${c.inhibitedBy === undefined ? c.severity : `explained by ${c.inhibitedBy}`}</td>
      <td>
        ${fingerprintOf(c)}
        <div class="quiet">${c.message}</div>
      </td>
      <td class="number">${value(c)}</td>
      <td class="number wide">${limits(c)}</td>
    </tr>`
  return html`<details class="card" id="checks">
    <summary>All ${report.checks.length} checks, and the targets</summary>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>state</th>
            <th>check</th>
            <th class="number">value</th>
            <th class="number wide">limits</th>
          </tr>
        </thead>
        <tbody>
          ${report.checks.map(row)}
        </tbody>
      </table>
    </div>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>target</th>
            <th>asked</th>
            <th>measured</th>
            <th></th>
          </tr>
        </thead>
        <tbody>
          ${report.targets.map(
            (t) =>
              html`<tr>
                <td>${t.name}</td>
                <td>${t.target}</td>
                <td>${t.measured ?? 'not known'}</td>
                <td class="${t.isMet === null ? 'skipped' : t.isMet ? 'ok' : 'critical'}-text">
                  ${t.isMet === null ? '' : t.isMet ? 'met' : 'missed'}
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`
}
