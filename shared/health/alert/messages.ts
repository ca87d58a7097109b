// What an alert says, for each way it is read: a subject, a mail of at most 25 lines, one text message. Pure.
// A mail's order is that of the questions at 3 am: what, since when, how do you know, what does it cost, what do I do, how do I make it stop.

import { type Firing, isFlapping, type Over } from './course.ts'
import type { Silence } from './state.ts'
import { inWords, plainLine, plainTime } from './words.ts'
import type { Check } from '../check.ts'
import { type Incident, incidentLines } from './incident.ts'
import { fitsSmsPart } from './message-limits.ts'
import type { AlertMessage } from './notifier.ts'

export type Alert = { readonly fingerprint: string; readonly course: Firing; readonly check: Check | undefined }
export type Ended = { readonly fingerprint: string; readonly course: Over }

/** What one message tells. */
export type News = {
  /** How messages name this installation, such as `tokay-prod`. */
  readonly system: string
  /** What the operator's commands need beside their own arguments, such as `--stage prod`. */
  readonly commandOptions?: string | undefined
  readonly nowMs: number
  readonly begun: readonly Alert[]
  /** Told before, and still so. */
  readonly repeated: readonly Alert[]
  readonly ended: readonly Ended[]
  /** One that is over; `passed` came and went in it. */
  readonly silence: (Silence & { readonly passed: readonly Ended[] }) | null
  /** Findings that another one explains. */
  readonly suppressed: number
  /** Batches; undefined when nobody can say. */
  readonly parked: number | undefined
  readonly late: readonly string[]
  readonly incident: Incident | null
}

const maxLines = 25
const maxLineChars = 200
const maxEmailChars = 2_200
const maxDetailed = 3
const maxListed = 5
const maxEvidence = 4

const titles: Readonly<Record<string, string>> = {
  connect: 'database unreachable',
  circuit: 'writes fail, the circuit is open',
  parked: 'parked writes',
  'writes-refused': 'parked writes are refused',
  'table-locked': 'table locked',
  'lock-wait': 'sessions wait for a lock',
  connections: 'connections nearly used up',
  'read-only': 'the server takes no writes',
  'error-rate': 'operations fail',
  'success-rate': 'operations fail',
  availability: 'the database comes and goes',
  'error-budget': 'too many operations fail',
  'query-latency': 'slow calls',
  'simple-query': 'slow answers',
  freshness: 'collector is late',
  'state-table': 'state table unreachable',
}

/** `table-locked:trades` reads "table locked: trades". */
export function titleOf(fingerprint: string): string {
  const [id = '', ...subject] = fingerprint.split(':')
  const title = titles[id] ?? id.replaceAll('-', ' ')
  return subject.length === 0 ? title : `${title}: ${subject.join(':')}`
}

/** `news` has something to tell. Adapters bring subject and sms down to the letters that their channel takes. */
export function composeMessage(news: News): AlertMessage {
  const { system, begun, repeated, ended, silence } = news
  const worstFirst = <A extends { readonly course: { readonly level: number } }>(alerts: readonly A[]) =>
    alerts.toSorted((a, b) => b.course.level - a.course.level)
  const sorted: News = { ...news, begun: worstFirst(begun), repeated: worstFirst(repeated), ended: worstFirst(ended) }
  const concerned = [...begun, ...repeated, ...ended]
  const severity = concerned.some(({ course }) => course.level === 2) ? 'critical' : concerned.length > 0 ? 'warning' : 'info'
  const headline = headlineOf(sorted)
  const footer = begun.length + repeated.length > 0 ? ['', ...howToSilence(sorted)] : []
  const lines = [`${system}: ${headline.long}`, '', ...bodyOf(sorted)]
  const room = maxLines - footer.length
  const kept = lines.length > room ? [...lines.slice(0, room - 1), '(the report has more)'] : lines
  return {
    severity,
    subject: `[${headline.tag}] ${system}: ${headline.short}`,
    email: withinChars(kept.map(indented), footer.map(indented)),
    sms: smsOf(sorted, headline, silence !== null && concerned.length === 0),
  }
}

type Headline = { readonly tag: string; readonly short: string; readonly long: string }

function headlineOf({ begun, repeated, ended, silence, nowMs }: News): Headline {
  const more = (alerts: readonly unknown[]) => (alerts.length > 1 ? ` (+${alerts.length - 1} more)` : '')
  const [first] = begun
  if (first) {
    const title = titleOf(first.fingerprint) + more(begun)
    return {
      tag: tagOf(first),
      short: title,
      long: `${title}, since ${plainTime(first.course.sinceMs)} (${inWords(nowMs - first.course.sinceMs)}).`,
    }
  }
  const [still] = repeated
  if (still) {
    const title = `${titleOf(still.fingerprint)}${more(repeated)}, for ${inWords(nowMs - still.course.sinceMs)}`
    return { tag: `STILL ${tagOf(still)}`, short: title, long: `${title}, since ${plainTime(still.course.sinceMs)}.` }
  }
  const [over] = ended
  if (over) {
    const title = `${titleOf(over.fingerprint)}${more(ended)}, over after ${inWords(lastedMs(over))}`
    return { tag: 'RECOVERED', short: title, long: `${title}.` }
  }
  const quiet = `the silence is over${silence ? ` (${plainLine(silence.reason, 60)})` : ''}`
  return { tag: 'INFO', short: quiet, long: `${quiet}.` }
}

const tagOf = ({ course }: Alert) => (course.level === 2 ? 'CRITICAL' : 'WARNING')

/** Until the first clear look; what came after only made sure of it. */
const lastedMs = ({ course }: Ended) => course.clearSinceMs - course.sinceMs

function bodyOf(news: News): readonly string[] {
  const { begun, repeated, ended, silence, suppressed, incident, nowMs } = news
  const lines = begun.slice(0, maxDetailed).flatMap((alert) => whatOf(alert, begun.length === 1))
  if (begun.length > maxDetailed)
    lines.push(...listed('Also', begun.slice(maxDetailed), ({ fingerprint, course }) => `${titleOf(fingerprint)}: ${course.message}`))
  if (repeated.length > 0)
    lines.push(
      ...listed(
        'Still',
        repeated,
        (alert) => `${titleOf(alert.fingerprint)}, for ${inWords(nowMs - alert.course.sinceMs)}: ${alert.course.message}`,
      ),
    )
  if (begun.length + repeated.length > 0) lines.push(`Impact: ${impactOf(news)}`)
  lines.push(...actionsOf([...begun, ...repeated]))
  if (suppressed > 0 && begun.length + repeated.length > 0)
    lines.push(`Suppressed: ${suppressed} ${suppressed === 1 ? 'finding that is' : 'findings that are'} explained by this.`)
  if (ended.length > 0) {
    if (lines.length > 0 || ended.length > 1)
      lines.push(...listed('Over', ended, (alert) => `${titleOf(alert.fingerprint)}, after ${inWords(lastedMs(alert))}`))
    lines.push(leftOf(news))
  }
  if (silence) {
    lines.push(`The silence since ${plainTime(silence.sinceMs)} is over (${silence.reason}).`)
    if (silence.passed.length > 0)
      lines.push(...listed('Came and went in it', silence.passed, (alert) => `${titleOf(alert.fingerprint)}, ${inWords(lastedMs(alert))}`))
  }
  if (incident) lines.push('', 'Incident report', ...incidentLines(incident).map((line) => `  ${line}`))
  return lines
}

function whatOf({ fingerprint, course, check }: Alert, isAlone: boolean): string[] {
  const lines = [isAlone ? `What: ${course.message}` : `- ${titleOf(fingerprint)}: ${course.message}`]
  if (isFlapping(course)) lines.push(`  It is flapping: ${course.refired + 1} times, each within an hour of the last.`)
  const measured = check && measuredIn(check)
  const evidence = [...(measured ? [measured] : []), ...(check?.evidence ?? [])].slice(0, isAlone ? maxEvidence : 1)
  const [first, ...others] = evidence
  if (first !== undefined) lines.push(`${isAlone ? '' : '  '}Evidence: ${first}`, ...others.map((line) => `  ${line}`))
  return lines
}

/** What is to be done about the worst; about several, each thing once. */
function actionsOf(alerts: readonly Alert[]): readonly string[] {
  const actions = [...new Set(alerts.flatMap(({ check }) => (check?.action ? [check.action] : [])))].slice(0, maxDetailed)
  if (actions.length <= 1) return actions.map((action) => `Do now: ${action}`)
  return ['Do now:', ...actions.map((action, n) => `  ${n + 1}. ${action}`)]
}

function measuredIn({ value, unit, limits }: Check): string | undefined {
  if (typeof value !== 'number' || !limits) return undefined
  const shown = (number: number) => `${Math.round(number * 100) / 100}${unit === undefined || unit === 'count' ? '' : ` ${unit}`}`
  const bounds = [
    ...(limits.warning === undefined ? [] : [`warning at ${shown(limits.warning)}`]),
    ...(limits.critical === undefined ? [] : [`critical at ${shown(limits.critical)}`]),
  ]
  return bounds.length === 0 ? undefined : `${shown(value)} (${bounds.join(', ')}).`
}

function impactOf({ parked, late }: News): string {
  const waiting =
    parked === undefined
      ? 'the parked writes could not be asked for'
      : parked === 0
        ? "no write waits yet; what can't be written is parked, not lost"
        : `${parked} ${parked === 1 ? 'batch waits' : 'batches wait'} to be written, nothing is lost`
  return `${waiting}.${late.length > 0 ? ` Late: ${late.join(', ')}.` : ''}`
}

function leftOf({ parked }: News): string {
  if (parked === 0) return 'No write waits any more.'
  if (parked === undefined) return 'Whether writes still wait is not known: the parked writes could not be asked for.'
  return `${parked} ${parked === 1 ? 'batch still waits' : 'batches still wait'} to be written; nothing is lost.`
}

/** One to a line, the first ones. */
function listed<A>(title: string, alerts: readonly A[], words: (alert: A) => string): string[] {
  const rest = alerts.length - maxListed
  return [`${title}:`, ...alerts.slice(0, maxListed).map((alert) => `  - ${words(alert)}`), ...(rest > 0 ? [`  - and ${rest} more`] : [])]
}

function howToSilence({ begun, repeated, commandOptions }: News): string[] {
  const [alert] = [...begun, ...repeated]
  const command = (words: string) => `npm run -s tokay -- alerts ${[words, ...(commandOptions ? [commandOptions] : [])].join(' ')}`
  return [`Silence: ${command('silence --for 30m')}`, `I know: ${command(`ack ${alert?.fingerprint}`)}`]
}

/** The first sentence of the advice, where it fits into the one part. */
function smsOf(news: News, { tag, short }: Headline, isQuiet: boolean): string {
  const { system, begun, repeated, parked } = news
  if (isQuiet) return `INFO ${system}: ${short}.`
  const [alert] = [...begun, ...repeated]
  if (!alert) return `OK ${system}: ${short}. ${parked === 0 ? 'No write waits any more.' : leftOf(news)}`
  const word = tag.replace('CRITICAL', 'CRIT').replace('WARNING', 'WARN')
  const impact = parked === undefined || parked === 0 ? '' : ` ${parked} ${parked === 1 ? 'batch' : 'batches'} parked, nothing lost.`
  const text = `${word} ${system}: ${short}.${impact}`
  const [advice = ''] = plainLine(alert.check?.action ?? '', maxLineChars).split(/[.;](?:\s|$)/, 1)
  const withAdvice = advice === '' ? text : `${text} ${advice}.`
  return fitsSmsPart(withAdvice) ? withAdvice : text
}

/** What stands in front keeps its place. */
const indented = (line: string) => `${/^ */.exec(line)?.[0] ?? ''}${plainLine(line, maxLineChars)}`

function withinChars(lines: readonly string[], footer: readonly string[]): string {
  const kept = [...lines]
  const text = () => [...kept, ...footer].join('\n')
  while (kept.length > 1 && text().length > maxEmailChars) kept.pop()
  return text()
}
