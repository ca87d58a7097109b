// The figures as a table for a terminal, and the requirements that the write path has to meet.

import { contestants, sizes, type Cell, type Kind, type Round } from './writes.ts'
import { median, quantile } from './statistics.ts'

type Measure = keyof Round

const of = (cell: Cell, name: string, measure: Measure) => median((cell.rounds[name] ?? []).map((round) => round[measure]))

/** tokay's rows/s over another's, round by round. */
const leads = (cell: Cell, name: string) =>
  (cell.rounds['tokay'] ?? []).map((round, n) => round.rowsPerS / (cell.rounds[name]?.[n]?.rowsPerS ?? Number.NaN))

export function table(cells: readonly Cell[]): string {
  const lines: string[] = []
  for (const first of cells.filter((cell) => cell.size === sizes[0])) {
    const { distance, kind } = first
    const row = cells.filter((cell) => cell.distance === distance && cell.kind === kind)
    lines.push(
      '',
      `${distance.name} (a query takes ${distance.queryMs.toFixed(2)} ms), ${kind} rows: rows/s, of tokay's; client CPU µs/row; WAL bytes/row`,
    )
    lines.push(`${''.padEnd(22)}${row.map((cell) => `batches of ${cell.size.toLocaleString('en')}`.padStart(29)).join('')}`)
    for (const { name } of contestants) {
      if (!first.rounds[name]) continue
      lines.push(`${name.padEnd(22)}${row.map((cell) => figures(cell, name).padStart(29)).join('')}`)
    }
  }
  const sampled = contestants.filter((c) => c.sampled).map((c) => c.name)
  lines.push(
    '',
    ...contestants.map((c) => `${c.name.padEnd(22)} ${c.is}`),
    `${sampled.join(', ')}: sampled, its speed does not depend on the batch`,
  )
  return lines.slice(1).join('\n')
}

function figures(cell: Cell, name: string): string {
  const rowsPerS = of(cell, name, 'rowsPerS')
  const speed =
    rowsPerS >= 10_000 ? `${(rowsPerS / 1_000).toFixed(0)}k` : rowsPerS >= 1_000 ? `${(rowsPerS / 1_000).toFixed(1)}k` : rowsPerS.toFixed(0)
  const share = 1 / median(leads(cell, name))
  const cpu = of(cell, name, 'cpuUsPerRow')
  return [
    speed.padStart(6),
    share.toFixed(share < 0.1 ? 3 : 2).padStart(6),
    cpu.toFixed(cpu < 10 ? 1 : 0).padStart(6),
    of(cell, name, 'walBytesPerRow').toFixed(0).padStart(6),
  ].join(' ')
}

export type Requirement = { readonly text: string; readonly figure: number; readonly limit: number; readonly met: boolean }

export function requirements(cells: readonly Cell[]): readonly Requirement[] {
  const cell = (distance: 'near' | 'far', size: number, kind: Kind = 'fresh') => {
    const found = cells.find((c) => c.distance.name === distance && c.size === size && c.kind === kind)
    if (!found) throw new Error(`no cell ${distance} ${kind} ${size}`)
    return found
  }
  const atLeast = (text: string, figure: number, limit: number): Requirement => ({ text, figure, limit, met: figure >= limit })
  const atMost = (text: string, figure: number, limit: number): Requirement => ({ text, figure, limit, met: figure <= limit })
  const where = (c: Cell) => `${c.distance.name}, ${c.kind} rows, batches of ${c.size.toLocaleString('en')}`
  return [
    atLeast('times the single-row loop: near, batches of 200', median(leads(cell('near', 200), 'single-row loop')), 12),
    atLeast('times the single-row loop: far, batches of 200', median(leads(cell('far', 200), 'single-row loop')), 60),
    atMost("times raw COPY's time: near, batches of 1,000", 1 / median(leads(cell('near', 1_000), 'raw COPY')), 1.6),
    ...['Drizzle', 'Kysely', 'TypeORM'].flatMap((peer) =>
      cells.map((c) => atLeast(`times ${peer}: ${where(c)}`, median(leads(c, peer)), 1)),
    ),
    // not behind by more than noise: half the distance between the quartiles of the rounds, but 5 % at least and 10 % at most
    ...cells.map((c) => {
      const rounds = leads(c, 'postgres.js')
      const noise = Math.min(0.1, Math.max(0.05, (quantile(rounds, 0.75) - quantile(rounds, 0.25)) / 2))
      return atLeast(`times postgres.js: ${where(c)}`, median(rounds), 1 - noise)
    }),
  ]
}

export function verdicts(list: readonly Requirement[]): string {
  const line = ({ text, figure, limit, met }: Requirement) =>
    `${met ? 'PASS' : 'MISS'}  ${figure.toFixed(2).padStart(7)} ${text} (limit ${limit.toFixed(2)})`
  return list.map(line).join('\n')
}
