// What a failure's code means to a person: its class, what Tokay does by itself, what to do now. Made from the taxonomy of classify-failure:
// the classes' policies say what is done, and the rules which class a code has, so neither can say anything else than the program does.

import { failurePolicies, failureRules, type FailureClass, type FailurePolicy, type FailureRule } from './classify-failure.ts'
import { failureWords } from './failure-words.ts'

export type Explanation = {
  readonly class: string
  /** What must hold beside the code; absent for what the code alone means. */
  readonly when?: string
  readonly meaning: string
  readonly tokayDoes: readonly string[]
  readonly action: string
}

/** Not of the database: why a batch was parked without an attempt, or another one. */
const ownReasons: Readonly<Record<string, Explanation>> = {
  'circuit-open': {
    class: 'circuit-open',
    meaning: 'The circuit breaker was open: nothing was sent.',
    tokayDoes: ['The rows are parked at once. One prober looks for the return of what is guarded, and closes the circuit.'],
    action: 'See why it opened: `tokay breaker list` has the reason, which `tokay explain` knows.',
  },
  deadline: {
    class: 'deadline',
    meaning: "The run's time was over, or the process was asked to stop, before another attempt could be made.",
    tokayDoes: ['The rows are parked in the seconds that are kept for it.'],
    action: 'Nothing. If it repeats: the API or the database is slow, or there is too much for one run.',
  },
}

export type Explained =
  | { readonly kind: 'known'; readonly code: string; readonly explanations: readonly Explanation[] }
  | { readonly kind: 'unknown'; readonly code: string; readonly suggestions: readonly string[] }

export const explainClass = (failureClass: FailureClass): Explanation => {
  const { meaning, besides, action } = failureWords[failureClass]
  const policy = failurePolicies[failureClass]
  return { class: failureClass, meaning, tokayDoes: [...(besides ? [besides] : []), ...policyInWords(policy)], action }
}

/** Of a SQLSTATE (or its first two characters), an errno of Node or the driver, a class of ours, or the reason of a parked batch. */
export function explain(given: string): Explained {
  const isClass = (name: string): name is FailureClass => Object.hasOwn(failureWords, name)
  const lower = given.toLowerCase()
  if (isClass(lower)) return { kind: 'known', code: lower, explanations: [explainClass(lower)] }
  const ownReason = Object.hasOwn(ownReasons, lower) ? ownReasons[lower] : undefined
  if (ownReason) return { kind: 'known', code: lower, explanations: [ownReason] }
  const code = given.toUpperCase()
  const found = rulesOf(code)
  const explanations = found.map((rule) => ({ ...explainClass(rule.class), ...conditionOf(rule) }))
  return explanations.length > 0
    ? { kind: 'known', code, explanations }
    : { kind: 'unknown', code: given, suggestions: suggestionsFor(given) }
}

/** Those that decide: what has a condition, and the first that has none. A rule for all codes needs a message, which nobody has given here. */
function rulesOf(code: string): readonly FailureRule[] {
  const asSqlState = failureRules.filter(({ sqlStates = [] }) =>
    sqlStates.some((known) => known === code || (known.length === 2 && code.startsWith(known))),
  )
  const possible =
    /^[0-9A-Z]{5}$/.test(code) || /^[0-9A-Z]{2}$/.test(code) ? asSqlState : failureRules.filter(({ errno }) => errno?.test(code))
  const decides = possible.findIndex((rule) => conditionOf(rule).when === undefined)
  return decides === -1
    ? possible
    : [...possible.slice(0, decides).filter((rule) => rule.class !== possible[decides]?.class), possible[decides] as FailureRule]
}

function conditionOf({ statement, routine, severity, message }: FailureRule): { when?: string } {
  const conditions = [
    statement && 'before any statement of ours, while connecting',
    routine && `the server's routine is ${routine}`,
    severity && `its severity is ${severity}`,
    message && `its message has ${message.source.replaceAll('(?:', '(').replaceAll('|', ' or ')}`,
  ].filter((part) => part !== undefined)
  return conditions.length > 0 ? { when: conditions.join(', ') } : {}
}

function policyInWords({ retry, counts, keeps, alert }: FailurePolicy): readonly string[] {
  const retries = {
    transient: 'Tries again, 3 times in all, with growing random pauses.',
    contention: 'Tries again, 5 times in all, within a second.',
    lock: 'Tries once more.',
    once: 'Tries once more.',
    never: 'Does not just try again: the same call would get the same answer.',
  }[retry]
  const breaker = {
    database: "Counts against the database's circuit: three of these within a minute open it.",
    stream: "Counts against the table's own circuit, when the tries are used up.",
    none: undefined,
  }[counts]
  const rows = keeps === 'park' ? 'Parks the rows, and writes them when it is over.' : undefined
  return [retries, breaker, rows, alert ? 'It does not pass by itself: somebody has to be told.' : undefined].filter(
    (line) => line !== undefined,
  )
}

/** Codes that look like it: those of the same class of codes, and names that share their beginning or hold it. */
function suggestionsFor(given: string): readonly string[] {
  const code = given.toUpperCase()
  const sqlStates = [...new Set(failureRules.flatMap((rule) => rule.sqlStates ?? []))].filter((known) => known.length === 5)
  const names = [...Object.keys(failureWords), ...Object.keys(ownReasons)].map((name) => name.toUpperCase())
  const distanceTo = (known: string) => distance(code, known)
  const near = [...sqlStates, ...commonErrnos, ...names].filter(
    (known) => distanceTo(known) <= Math.max(1, Math.floor(known.length / 4)) || (code.length > 3 && known.includes(code)),
  )
  return near
    .toSorted((a, b) => distanceTo(a) - distanceTo(b) || a.localeCompare(b))
    .slice(0, 5)
    .map((known) => (names.includes(known) ? known.toLowerCase() : known))
}

const commonErrnos = [
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EPIPE',
  'EMFILE',
  'CONNECT_TIMEOUT',
]

/** Letters to add, leave out or change (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (letter === b[j] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
