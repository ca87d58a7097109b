// A report for machines that know `application/health+json` (draft-inadarei-api-health-check), and for people in a terminal. Pure.

import { notLookedAtYet } from './assess.ts'
import type { Check, Severity } from './check.ts'
import { counted, forBytes, forCount, forTime } from './checks/figures.ts'
import type { HealthReport, ReportedCheck, ReportStatus } from './report.ts'

type Verdict = 'pass' | 'warn' | 'fail'

export type HealthJsonCheck = {
  readonly componentId: string
  readonly componentType: 'datastore' | 'component' | 'system'
  readonly observedValue?: number | string
  readonly observedUnit?: string
  readonly status: Verdict
  readonly time: string
  readonly output?: string
}

export type HealthJson = {
  readonly status: Verdict
  readonly version: '1'
  readonly description: string
  readonly output?: string
  readonly notes: readonly string[]
  /** By "component:measurement". What was skipped is left out of them, and named in the notes: it neither passes nor fails. */
  readonly checks: Readonly<Record<string, readonly HealthJsonCheck[]>>
}

/** Nobody knows: not a pass. */
const verdictOf: Readonly<Record<ReportStatus, Verdict>> = { HEALTHY: 'pass', DEGRADED: 'warn', CRITICAL: 'fail', UNKNOWN: 'warn' }
const verdictOfCheck: Readonly<Record<Exclude<Severity, 'skipped'>, Verdict>> = {
  ok: 'pass',
  info: 'pass',
  warning: 'warn',
  critical: 'fail',
}

/** What is no part of the database. */
const components: Readonly<Record<string, string>> = {
  'state-table': 'state-table',
  circuit: 'tokay',
  parked: 'parked-writes',
  'parked-queue': 'parked-writes',
  'writes-refused': 'parked-writes',
  freshness: 'collectors',
  'collector-cooldown': 'collectors',
  'api-budget': 'gecko-api',
  'alert-path': 'alerts',
}
const componentOf = ({ id }: Check) => components[id] ?? 'database'

export function toHealthJson({ status, message, checkedAt, checks, serverInfo }: HealthReport): HealthJson {
  const made = checks.filter((check) => check.severity !== 'skipped')
  const skipped = [...new Set(checks.filter(({ severity }) => severity === 'skipped').map(({ id }) => id))]
  return {
    status: verdictOf[status],
    version: '1',
    description: 'Tokay: the database and what is written to it',
    ...(status === 'HEALTHY' ? {} : { output: message }),
    notes: [...(serverInfo?.notes ?? []), ...(skipped.length > 0 ? [`skipped: ${skipped.join(', ')}`] : [])],
    checks: Object.fromEntries(
      Map.groupBy(made, (check) => `${componentOf(check)}:${check.id}`)
        .entries()
        .map(([key, rows]) => [key, rows.map((row) => healthJsonCheck(row, checkedAt))]),
    ),
  }
}

function healthJsonCheck(check: Check, time: string): HealthJsonCheck {
  const { severity, value, unit, subject, message, inhibitedBy } = check
  const component = componentOf(check)
  const output = inhibitedBy === undefined ? message : `${message} (explained by ${inhibitedBy})`
  return {
    componentId: subject ?? component,
    componentType: component === 'database' ? 'datastore' : component === 'tokay' ? 'component' : 'system',
    ...(value === null ? {} : { observedValue: value }),
    ...(unit === undefined ? {} : { observedUnit: unit === '%' ? 'percent' : unit }),
    // what another one explains must not fail the component a second time
    status: inhibitedBy === undefined || severity === 'ok' ? verdictOfCheck[severity as Exclude<Severity, 'skipped'>] : 'warn',
    time,
    ...(severity === 'ok' ? {} : { output }),
  }
}

const symbols: Readonly<Record<Severity, string>> = { ok: 'ok', info: 'i', warning: 'WARN', critical: 'CRIT', skipped: '-' }

/**
 * One line a check, then each finding with what to do, then what was skipped and why. No line is wider than `width` but for SQL that is to be copied.
 * `deep`: of a look with --deep. What was not looked at this time is a single line.
 */
export function toTable(report: HealthReport, { width = 100, deep = false }: { width?: number; deep?: boolean } = {}): string {
  const inReach = report.checks.filter((check) => !isOutOfReach(check))
  const hidden = report.checks.length - inReach.length
  const shown = inReach.filter((check) => !isLeftOut(check))
  const left = inReach.length - shown.length
  const rows = shown.map((check) => [symbolOf(check), nameOf(check), valueOf(check), boundOf(check), sinceOf(check)])
  const header = ['', 'check', 'value', 'limit', 'since']
  const table = aligned([header, ...rows], width)
  const told = shown.filter(({ severity, inhibitedBy }) => inhibitedBy === undefined && severity !== 'ok' && severity !== 'skipped')
  const skipped = shown.filter(({ severity }) => severity === 'skipped')
  const head = `${report.status}  ${report.message}`
  const server = report.serverInfo
  const about = server
    ? [
        `PostgreSQL ${server.version} (${server.flavor}), database ${server.database}, role ${server.role}, up ${forTime(server.uptime_s * 1_000)}`,
      ]
    : []
  return [
    ...wrapped(head, width),
    ...[`score ${report.score}, at ${report.checkedAt}`, ...about].flatMap((line) => wrapped(line, width)),
    '',
    ...table,
    ...(hidden > 0 ? [`and ${counted(hidden, 'more check', 'more checks')} that nobody can make without the database`] : []),
    ...(left > 0
      ? [`and ${counted(left, 'more check', 'more checks')} that ${deep ? 'can not be made from here' : 'this look left out (--deep)'}`]
      : []),
    ...(told.length > 0 ? ['', ...told.flatMap((check) => findingLines(check, width))] : []),
    ...(skipped.length > 0
      ? ['', ...skipped.flatMap((check) => wrapped(`- ${nameOf(check)}: ${check.message} ${check.action ?? ''}`, width))]
      : []),
    '',
    ...report.targets.map(({ name, target, measured, isMet }) =>
      cut(`${isMet === null ? '-   ' : isMet ? 'met ' : 'MISS'} ${name}: ${measured ?? 'not measured'} (${target})`, width),
    ),
  ]
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Unknown while the database is away, and nothing is wrong with what was known of it before. */
const isOutOfReach = ({ severity, inhibitedBy }: Check) => inhibitedBy === 'connect' && (severity === 'ok' || severity === 'skipped')

/** It was not its turn, or, of a deep look: there is nothing here to ask, such as who gets the alerts of a deployed stage. */
const isLeftOut = ({ severity, message }: Check) => severity === 'skipped' && message === notLookedAtYet

const symbolOf = ({ severity, inhibitedBy }: Check) =>
  inhibitedBy === undefined || severity === 'ok' || severity === 'skipped' ? symbols[severity] : `(${symbols[severity]})`
const nameOf = ({ id, subject }: Check) => printable(subject === undefined ? id : `${id} ${subject}`)
const sinceOf = ({ since, inhibitedBy }: ReportedCheck) =>
  inhibitedBy === undefined ? (since?.slice(0, 16).replace('T', ' ') ?? '') : `by ${inhibitedBy}`

function valueOf({ value, unit }: Check): string {
  return typeof value === 'number' ? withUnit(value, unit) : printable(value ?? '')
}

function boundOf({ limits, unit }: Check): string {
  const bounds = [limits?.warning, limits?.critical].filter((limit) => limit !== undefined)
  return bounds.map((limit) => withUnit(limit, unit)).join(' / ')
}

function withUnit(value: number, unit: Check['unit']): string {
  switch (unit) {
    case 'ms':
      return forTime(value)
    case 's':
      return forTime(value * 1_000)
    case 'bytes':
      return forBytes(value)
    case '%':
      return `${value} %`
    case 'days':
      return `${value} d`
    case 'count':
    case undefined:
      return forCount(value)
    default:
      return unit satisfies never
  }
}

/** Columns as wide as their widest cell, the names' column cut to what is left. */
function aligned(rows: readonly (readonly string[])[], width: number): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const others = widths.reduce((sum, w, column) => (column === 1 ? sum : sum + w + 2), 0)
  const names = Math.max(20, Math.min(widths[1] ?? 0, width - others))
  return rows.map((row) =>
    cut(
      row
        .map((cell, column) => cut(cell, column === 1 ? names : 32).padEnd(column === 1 ? names : Math.min(32, widths[column] ?? 0)))
        .join('  '),
      width,
    ),
  )
}

function findingLines({ severity, message, action, evidence = [] }: Check, width: number): readonly string[] {
  return [
    ...wrapped(`${symbols[severity]} ${message}`, width),
    ...(action ? wrapped(`Do: ${action}`, width - 2).map((line) => `  ${line}`) : []),
    // to be copied whole
    ...evidence.map((line) => `    ${printable(line)}`),
  ]
}

/** A terminal obeys control characters, whoever put them into a name or a query. */
const printable = (text: string) => text.replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
const cut = (text: string, chars: number) => (text.length > chars ? `${text.slice(0, Math.max(0, chars - 3))}...` : text)

function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of printable(text).trim().split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = `  ${word}`
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
