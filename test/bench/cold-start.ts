// Cold starts under the local Lambda, as ratios to an empty handler with pg in the same run.

import { bundleAll, functionNames } from '../support/bundles.ts'
import { measureColdStarts, reference, type ColdStarts } from '../support/cold-start.ts'
import type { Requirement } from './report.ts'
import type { Cleanup } from './server.ts'
import { median, quantile } from './statistics.ts'

export type ColdStartFigures = { readonly startMs: ColdStarts; readonly bytes: Readonly<Record<string, number>> }

export async function benchColdStarts(rounds: number, cleanup: Cleanup): Promise<ColdStartFigures> {
  const bundles = await bundleAll()
  cleanup(() => bundles.remove())
  return {
    startMs: await measureColdStarts(bundles, rounds),
    bytes: Object.fromEntries(functionNames.map((name) => [name, bundles[name].bytes])),
  }
}

/** Of the same round: what else the machine does meets both. */
const ratios = ({ startMs }: ColdStartFigures, name: keyof ColdStarts) =>
  startMs[name].map((ms, round) => ms / (startMs[reference][round] ?? Number.NaN))

export function coldStartTable(figures: ColdStartFigures): string {
  const lines = [`${''.padEnd(24)}${['median ms', 'quartiles', 'ratio', 'KB'].map((head) => head.padStart(12)).join('')}`]
  for (const name of [reference, ...functionNames] as const) {
    const ms = figures.startMs[name]
    const bytes = figures.bytes[name]
    const cells = [
      median(ms).toFixed(0),
      `${quantile(ms, 0.25).toFixed(0)}-${quantile(ms, 0.75).toFixed(0)}`,
      median(ratios(figures, name)).toFixed(2),
      bytes === undefined ? '' : (bytes / 1_000).toFixed(0),
    ]
    lines.push(`${name.padEnd(24)}${cells.map((cell) => cell.padStart(12)).join('')}`)
  }
  return lines.join('\n')
}

export function coldStartRequirements(figures: ColdStartFigures): readonly Requirement[] {
  return functionNames.map((name) => {
    const figure = median(ratios(figures, name))
    return { text: `times the cold start of an ${reference}: ${name}`, figure, limit: 2.5, met: figure <= 2.5 }
  })
}
