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

/** A line for each collector, under a line of headings. */
export function collectorTable(collectors: ViewData['collectors']): readonly string[] {
  const head = `${'collector'.padEnd(11)}${columns.map((c) => c.padStart(11)).join('')}  now`
  const rows = collectorNames.map((name) => {
    const view = collectors[name] as CollectorView
    return `${name.padEnd(11)}${columns.map((c) => grouped(view[c]).padStart(11)).join('')}  ${view.doing.replaceAll(/[\s\p{Cc}]+/gu, ' ')}`
  })
  return [head, ...rows]
}

/** Pure: the view as text, each line cut to the width, because a line that wraps could not be drawn over. A cut line has no colours. */
export function drawView(data: ViewData, width: number): string {
  const circuit = data.circuit === 'closed' ? styleText('green', 'closed') : styleText('red', data.circuit)
  const parked = data.parked === 0 ? '0' : styleText('yellow', grouped(data.parked))
  const foot = `circuit ${circuit}   parked batches ${parked}   health ${data.health}   Ctrl-C stops`
  return ['', styleText('bold', data.title), ...collectorTable(data.collectors), foot].map((line) => cut(line, width)).join('\n')
}

function cut(line: string, width: number): string {
  const shown = stripVTControlCharacters(line)
  return shown.length > width ? shown.slice(0, width - 1) : line
}

/** Lines go above the view. `stop` leaves the last picture. */
export function startLiveView(read: () => ViewData, width: () => number): Lines & { stop(): void } {
  const draw = () => logUpdate(drawView(read(), width()))
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
