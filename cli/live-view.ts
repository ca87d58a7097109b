// The live view of a terminal: a few lines that are drawn over, with events scrolling by above. Elsewhere there are only the plain lines.

import { stripVTControlCharacters, styleText } from 'node:util'
import logUpdate from 'log-update'
import { collectorNames } from '../shared/names.ts'
import type { CollectorView } from './local-run.ts'
import { grouped, type Lines } from './output.ts'

export type ViewData = {
  readonly title: string
  readonly collectors: Readonly<Record<string, CollectorView>>
  readonly circuit: string
  readonly parked: number
  readonly health: string
}

const columns = ['fetched', 'inserted', 'updated', 'unchanged', 'rejected', 'parked'] as const

/** Pure: the view as text. */
export function drawView(data: ViewData): string {
  const head = `${'collector'.padEnd(11)}${columns.map((c) => c.padStart(11)).join('')}  now`
  const rows = collectorNames.map((name) => {
    const view = data.collectors[name] as CollectorView
    return `${name.padEnd(11)}${columns.map((c) => grouped(view[c]).padStart(11)).join('')}  ${view.doing}`
  })
  const circuit = data.circuit === 'closed' ? styleText('green', 'closed') : styleText('red', data.circuit)
  const parked = data.parked === 0 ? '0' : styleText('yellow', grouped(data.parked))
  return [
    '',
    styleText('bold', data.title),
    head,
    ...rows,
    `circuit ${circuit}   parked batches ${parked}   health ${data.health}   Ctrl-C stops`,
  ].join('\n')
}

/** Lines go above the view. `stop` leaves the last picture. */
export function startLiveView(read: () => ViewData, width: () => number): Lines & { stop(): void } {
  const draw = () =>
    logUpdate(
      drawView(read())
        .split('\n')
        .map((line) => (stripVTControlCharacters(line).length > width() ? stripVTControlCharacters(line).slice(0, width() - 1) : line))
        .join('\n'),
    )
  const timer = setInterval(draw, 250)
  timer.unref()
  return {
    write(line) {
      logUpdate.clear()
      console.log(line)
      draw()
    },
    stop() {
      clearInterval(timer)
      draw()
      logUpdate.done()
    },
  }
}
