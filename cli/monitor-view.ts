// How `tokay db-monitor` draws: panes for a terminal, one plain line a sample elsewhere, the summary at the end. Pure.
// What comes from the server (names, queries) is made printable: a terminal obeys control characters, whoever wrote them.

import { stripVTControlCharacters, styleText } from 'node:util'
import type { HealthReport } from '../shared/health/report.ts'
import { counted, forBytes, forShare, forTime } from '../shared/health/checks/figures.ts'
import type { BlockedSession, BlockingSession, Vitals } from '../shared/health/observation.ts'
import {
  type AlertNews,
  type Crossing,
  crossings,
  limitOf,
  type Measured,
  measured,
  type Raised,
  type Sample,
  type Thresholds,
  type Totals,
} from './monitor-sample.ts'

export type MonitorView = {
  /** Such as `live: Postgres at 127.0.0.1:5433 (embedded)`. */
  readonly title: string
  /** Oldest first, the last sixty. */
  readonly samples: readonly Sample[]
  readonly vitals: Vitals | null
  /** Of the newest look. */
  readonly report: Pick<HealthReport, 'status' | 'message' | 'serverInfo' | 'metrics'> | undefined
  readonly raised: Raised
  readonly thresholds: Thresholds
  readonly alerts: Totals['alerts']
  readonly everyMs: number
  readonly isPaused: boolean
}

export const shownSamples = 60

const printable = (text: string) => text.replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
const clock = (atMs: number) => new Date(atMs).toISOString().slice(11, 19)
/** A look takes few milliseconds: a tenth of one is worth showing. */
const forMs = (ms: number) => (ms < 100 ? `${Math.round(ms * 10) / 10} ms` : forTime(ms))
const orDash = <Value>(value: Value | null | undefined, words: (value: Value) => string) =>
  value === null || value === undefined ? '-' : words(value)

/** For people: no line is wider than `width`, and there are at most `rows`, because a picture that scrolls can't be drawn over. */
export function drawMonitor(view: MonitorView, { width, rows }: { width: number; rows: number }): string {
  const head = [...headLines(view), '', ...sparklines(view, width)]
  const foot = ['', footLine(view)]
  const room = Math.max(0, rows - 1 - head.length - foot.length)
  const panes = view.vitals ? [...waitingPane(view.vitals, room), ...blockingPane(view.vitals)] : []
  const lines = [...head, ...panes.slice(0, room), ...foot]
  return lines
    .slice(0, Math.max(1, rows - 1))
    .map((line) => cut(line, width))
    .join('\n')
}

function headLines({ title, samples, report, isPaused, alerts, raised }: MonitorView): readonly string[] {
  const last = samples.at(-1)
  if (last === undefined) return [styleText('bold', printable(title)), 'the first look is under way']
  const server = report?.serverInfo
  const metrics = report?.metrics
  const circuit = last.circuit === null ? '-' : last.circuit.toLowerCase().replace('_', '-')
  const raisedNow = crossings.filter((what) => raised[what])
  const raisedWords = raisedNow.length > 0 ? styleText('red', ` (now: ${raisedNow.join(', ')})`) : ''
  const all = crossings.reduce((sum, what) => sum + alerts[what], 0)
  return [
    `${styleText('bold', printable(title))}   ${clock(last.atMs)} UTC${isPaused ? styleText('yellow', '   paused') : ''}`,
    server
      ? `PostgreSQL ${server.version} (${server.flavor}), up since ${server.started_at.slice(0, 16).replace('T', ' ')} UTC, oldest transaction ${orDash(last.oldestTransactionMs, forMs)}`
      : styleText(last.isUp ? 'yellow' : 'red', `${last.isUp ? 'answers' : 'DOWN'}: ${printable(last.problem ?? '')}`),
    `sessions ${orDash(last.sessionsUsed, String)} of ${orDash(last.sessionsUsable, String)}, ${orDash(last.transactionsPerS, String)} transactions/s, cache hit ${orDash(last.cacheHitShare, forShare)}`,
    `circuit ${circuit === 'closed' ? circuit : styleText('red', circuit)}, parked ${orDash(last.parked, String)}, availability ${orDash(metrics?.availability, forShare)} of 1 h, ${orDash(metrics?.availability_30d, forShare)} of 30 days, alerts ${all}${raisedWords}`,
    report ? `${styleText(statusColour[report.status], report.status)}  ${printable(report.message)}` : '',
  ]
}

const statusColour = { HEALTHY: 'green', DEGRADED: 'yellow', CRITICAL: 'red', UNKNOWN: 'yellow' } as const

const names: Readonly<
  Record<Measured, { readonly name: string; readonly words: (value: number) => string; readonly crossing?: Crossing }>
> = {
  queryMs: { name: 'query', words: forMs, crossing: 'query time' },
  connectMs: { name: 'connect', words: forMs },
  lockWaitMs: { name: 'lock wait', words: forMs, crossing: 'lock wait' },
  sessionsUsed: { name: 'sessions', words: String },
  transactionsPerS: { name: 'tx/s', words: (value) => String(Math.round(value * 10) / 10) },
  parked: { name: 'parked', words: String },
}

function sparklines({ samples, thresholds, raised }: MonitorView, width: number): readonly string[] {
  const shown = Math.max(10, Math.min(shownSamples, width - 56))
  return measured.map((field) => {
    const { name, words, crossing } = names[field]
    const values = samples.slice(-shown).map((sample) => sample[field])
    const known = values.filter((value) => value !== null)
    const bound = crossing === undefined ? '' : `  alert above ${forMs(limitOf(crossing, thresholds))}`
    const most = known.length > 0 ? `most ${words(Math.max(...known))}` : ''
    const isRaised = crossing !== undefined && raised[crossing] !== undefined
    const line =
      `${name.padEnd(10)}${orDash(values.at(-1), words).padStart(9)}  ${sparkline(values).padEnd(shown)}  ${most}${bound}`.trimEnd()
    return isRaised ? styleText('red', line) : line
  })
}

const bars = '▁▂▃▄▅▆▇█'

/** A character a value, from 0 to the largest; a gap where nothing is known. */
export function sparkline(values: readonly (number | null)[]): string {
  const most = Math.max(...values.map((value) => value ?? 0))
  const bar = (value: number) => bars[most > 0 ? Math.min(bars.length - 1, Math.floor((value / most) * bars.length)) : 0]
  return values.map((value) => (value === null ? ' ' : bar(value))).join('')
}

const session = ({ pid, application }: { pid: number; application: string | null }) =>
  pid === 0 ? 'a prepared transaction' : `pid ${pid}${application ? ` (${printable(application)})` : ''}`
const quoted = (query: string | null) => (query ? `: ${printable(query)}` : '')
const waitsFor = ({ mode, relation }: BlockedSession) => `${mode}${relation === null ? '' : ` on ${printable(relation)}`}`

/** The longest first; at most half of the room, so that the tree is seen as well. */
function waitingPane({ blocked, blockedCount }: Vitals, room: number): readonly string[] {
  if (blockedCount === 0) return ['', 'nobody waits for a lock']
  const most = Math.max(1, Math.floor(room / 2) - 3)
  const rows = blocked
    .slice(0, most)
    .map((one) => `  ${forMs(one.waitMs).padStart(8)}  ${session(one)} waits for ${waitsFor(one)}${quoted(one.query)}`)
  const hidden = blockedCount - rows.length
  return ['', styleText('bold', `${counted(blockedCount, 'session')} waiting`), ...rows, ...(hidden > 0 ? [`  and ${hidden} more`] : [])]
}

const blockingPane = (vitals: Vitals): readonly string[] => {
  const tree = blockingTree(vitals)
  return tree.length === 0 ? [] : ['', styleText('bold', 'who blocks whom'), ...tree.map((line) => `  ${line}`)]
}

/**
 * Who holds a lock, below it who waits for it, and for whom those are in the way. A session that several are in the way of is shown below the
 * first of them; those that wait for each other in a circle, which the server will end by itself, begin with the one that waits longest.
 */
export function blockingTree({ blocked, blockers }: Pick<Vitals, 'blocked' | 'blockers'>): readonly string[] {
  const shown = new Set<number>()
  const lines: string[] = []
  const below = (pid: number, indent: string) => {
    const waiters = blocked.filter((one) => one.blockedBy.includes(pid) && !shown.has(one.pid))
    for (const one of waiters) shown.add(one.pid)
    for (const [n, one] of waiters.entries()) {
      const isLast = n === waiters.length - 1
      lines.push(`${indent}${isLast ? '└─' : '├─'} ${session(one)} waits ${forMs(one.waitMs)} for ${waitsFor(one)}${quoted(one.query)}`)
      below(one.pid, `${indent}${isLast ? '   ' : '│  '}`)
    }
  }
  for (const root of blockers.filter(({ isRoot }) => isRoot)) {
    lines.push(rootLine(root))
    below(root.pid, '')
  }
  for (const one of blocked) {
    if (shown.has(one.pid)) continue
    shown.add(one.pid)
    lines.push(
      `${session(one)} waits ${forMs(one.waitMs)} for ${waitsFor(one)}, behind ${one.blockedBy.join(', ') || 'nobody seen'}${quoted(one.query)}`,
    )
    below(one.pid, '')
  }
  return lines
}

const rootLine = (root: BlockingSession) =>
  `${session(root)} holds it, ${root.state ?? 'state hidden'}${root.transactionMs === null ? '' : `, in a transaction for ${forTime(root.transactionMs)}`}${quoted(root.query)}`

const footLine = ({ everyMs, isPaused }: MonitorView) =>
  `space ${isPaused ? 'goes on' : 'pauses'}, q quits   a look every ${forTime(everyMs)}: what is shorter may lie between two and is not seen`

function cut(line: string, width: number): string {
  const text = stripVTControlCharacters(line)
  return text.length > width ? text.slice(0, Math.max(0, width - 1)) : line
}

/** Where no terminal is. */
export function plainLine(sample: Sample): string {
  const {
    atMs,
    isUp,
    problem,
    queryMs,
    lockWaitMs,
    waiting,
    sessionsUsed,
    sessionsUsable,
    transactionsPerS,
    cacheHitShare,
    circuit,
    parked,
  } = sample
  const writes = `circuit ${circuit === null ? '-' : circuit.toLowerCase().replace('_', '-')}, parked ${orDash(parked, String)}`
  if (!isUp) return `${clock(atMs)} DOWN ${printable(problem ?? '')}, ${writes}`
  const seen = problem === null ? '' : `, not seen: ${printable(problem)}`
  return `${clock(atMs)} up, query ${orDash(queryMs, forMs)}, lock wait ${orDash(lockWaitMs, forMs)}, waiting ${orDash(waiting, String)}, sessions ${orDash(sessionsUsed, String)} of ${orDash(sessionsUsable, String)}, tx/s ${orDash(transactionsPerS, String)}, hit ${orDash(cacheHitShare, forShare)}, ${writes}${seen}`
}

/** When it begins, with who is at the root of it where locks are the matter, and when it ends. */
export function alertLine(
  { what, state, atMs, sinceMs, worstMs }: AlertNews,
  thresholds: Thresholds,
  seen: { sample: Sample; vitals: Vitals | null },
): string {
  const isAway = what === 'away'
  if (state === 'ended') {
    const worst = isAway ? '' : `, at most ${forMs(worstMs)}`
    return `${clock(atMs)} over: ${isAway ? 'the database answers again' : what} after ${forTime(atMs - sinceMs)}${worst}`
  }
  if (isAway) return `${clock(atMs)} ALERT the database does not answer: ${printable(seen.sample.problem ?? '')}`
  const root = what === 'lock wait' ? seen.vitals?.blockers.find(({ isRoot }) => isRoot) : undefined
  return `${clock(atMs)} ALERT ${what} ${forMs(worstMs)} is above ${forMs(limitOf(what, thresholds))}${root ? `; ${rootLine(root)}` : ''}`
}

export function summaryLines(totals: Totals, { forMs: tookMs, everyMs }: { forMs: number; everyMs: number }): readonly string[] {
  const { samples, up, spreads, alerts, grown } = totals
  const rows = measured.flatMap((field) => {
    const spread = spreads[field]
    if (spread === undefined) return []
    const { name, words } = names[field]
    const cells = [spread.min, spread.sum / spread.count, spread.max].map((value) => words(Math.round(value * 10) / 10).padStart(10))
    return [`${name.padEnd(10)}${cells.join('')}`]
  })
  const raised = crossings.filter((what) => alerts[what] > 0).map((what) => `${what} ${alerts[what]}`)
  return [
    `${counted(samples, 'sample')} in ${forTime(tookMs)}, the database answered ${samples === 0 ? 'none' : up === samples ? 'all' : `${up}`} of them`,
    ...(rows.length > 0 ? [`${' '.repeat(10)}${['min', 'avg', 'max'].map((head) => head.padStart(10)).join('')}`, ...rows] : []),
    `alerts: ${raised.length > 0 ? raised.join(', ') : 'none'}`,
    `meanwhile the server counted ${counted(grown.commits, 'commit')}, ${counted(grown.rollbacks, 'rollback')}, ${counted(grown.deadlocks, 'deadlock')}, ${forBytes(grown.tempBytes)} of temporary files`,
    `what is shorter than ${forTime(everyMs)} may lie between two looks: it is in the counts of the server, not in the figures above`,
  ]
}
