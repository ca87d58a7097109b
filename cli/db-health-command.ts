// `tokay db-health`: one look, and what it means. Exit codes as monitoring systems know them from Nagios: 0 healthy, 1 degraded, 2 critical,
// 3 unknown, or used wrongly. stdout has the report and nothing else.
//
// A look takes milliseconds, and seconds where nothing answers. Whatever hangs, the verdict is there within `boundMs`: who asks has asked
// because something is wrong.

import { styleText } from 'node:util'
import { reportHealth } from '../shared/health/check-health.ts'
import type { HealthReport, ReportStatus } from '../shared/health/report.ts'
import { toHealthJson, toTable } from '../shared/health/report-formats.ts'
import { type LookChoice, nothingToLookAt, openLook } from './look-tools.ts'

export const healthFormats = ['table', 'json', 'health+json'] as const
export type HealthFormat = (typeof healthFormats)[number]

export type HealthOptions = LookChoice & {
  /** Always done: it is what the others need. */
  readonly testConnectivity?: boolean
  /** Also tables, indexes, sequences, slow statements. */
  readonly testPerformance?: boolean
  /** The same. */
  readonly deep?: boolean
  readonly format: HealthFormat
  /** `format` json. */
  readonly json?: boolean
}

const exitCodes: Readonly<Record<ReportStatus, number>> = { HEALTHY: 0, DEGRADED: 1, CRITICAL: 2, UNKNOWN: 3 }
const unknown = 3

/** Of all that is asked. */
const boundMs = 14_000
/** A database that scales to zero needs one or two seconds. */
const wakeForMs = 8_000

/** `signal` ends the waiting. */
export async function dbHealth(options: HealthOptions, signal: AbortSignal): Promise<number> {
  try {
    const look = await openLook(options, { wakeForMs })
    if (look === undefined) {
      console.error(nothingToLookAt)
      return unknown
    }
    const structure = options.testPerformance === true || options.deep === true
    console.error(
      `${look.place}, state of ${look.source}${structure ? '' : '; --deep looks at tables, indexes and slow statements as well'}`,
    )
    const report = await within(boundMs, signal, reportHealth(look.tools, { structure }))
    if (report === undefined) {
      const why = signal.aborted ? 'was broken off' : `did not end within ${boundMs / 1_000} s`
      console.error(`tokay: the look ${why}: nobody knows how the database is`)
      return unknown
    }
    await look.close()
    console.log(inFormat(report, options.json ? 'json' : options.format, structure))
    return exitCodes[report.status]
  } catch (error) {
    console.error(`tokay: ${(error as Error).message}`)
    return unknown
  }
}

async function within<Answer>(forMs: number, signal: AbortSignal, answer: Promise<Answer>): Promise<Answer | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), forMs)
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

function inFormat(report: HealthReport, format: HealthFormat, deep: boolean): string {
  switch (format) {
    case 'json':
      return JSON.stringify(report)
    case 'health+json':
      return JSON.stringify(toHealthJson(report))
    case 'table':
      return coloured(toTable(report, { width: process.stdout.columns ?? 100, deep }))
    default:
      return format satisfies never
  }
}

const colours = [
  [/^(?:CRITICAL |CRIT )/, 'red'],
  [/^(?:DEGRADED |UNKNOWN |WARN |MISS )/, 'yellow'],
  [/^HEALTHY /, 'green'],
  [/^-/, 'dim'],
] as const

/** By line, and on a terminal only: styleText looks whether stdout is one, and whether somebody wants no colours. */
const coloured = (table: string) =>
  table
    .split('\n')
    .map((line) => {
      const colour = colours.find(([start]) => start.test(line))?.[1]
      return colour ? styleText(colour, line) : line
    })
    .join('\n')
