// What an observation means: every check made, what explains what, and the one word for all of it. Pure.
//
//   observation, recent -> checks of each part that was seen, `skipped` for those that were not -> inhibition -> status, score, message, targets

import type { Settings } from '../config.ts'
import { type Assessment, type Check, rankOf, type Status } from './check.ts'
import { circuitChecks, queueChecks } from './checks/circuit.ts'
import { clientChecks } from './checks/client.ts'
import { collectorChecks } from './checks/collectors.ts'
import { configurationChecks, receiverChecks } from './checks/configuration.ts'
import { answerChecks, connectChecks, serverChecks } from './checks/connection.ts'
import { inhibit } from './checks/inhibit.ts'
import { judgeAll, type Judges, type Look, skipAll } from './checks/judge.ts'
import { loadChecks } from './checks/load.ts'
import { blindLockChecks, lockChecks, tableChecks } from './checks/locks.ts'
import { appChecks, sizeChecks } from './checks/storage.ts'
import { sequenceChecks, statementChecks, structureChecks } from './checks/structure.ts'
import { stateChecks } from './checks/state-table.ts'
import type { Recent } from './memory/memory.ts'
import { isUnseen, type Observation, type Unseen, type Vitals } from './observation.ts'
import { targetsOf } from './targets.ts'

export type AssessContext = {
  readonly settings: Settings
  /** What `rareChecks` gave of the last assessment: it stands until it is looked at again. Without it, such checks are skipped between their looks. */
  readonly earlier?: readonly Check[]
  /** Of the last outage, from the database's return until writes went through again. */
  readonly recoveredInMs?: number | null
}

export function assess(observation: Observation, recent: Recent, context: AssessContext): Assessment {
  const { settings, earlier = [], recoveredInMs = null } = context
  const look: Look = { observation, recent, settings }
  const made = [
    ...judgeAll(connectChecks, observation.database, look),
    ...ofDatabase(look),
    ...ofRareParts(look, earlier),
    ...ofState(look),
    ...judgeAll(queueChecks, observation, look),
    ...judgeAll(clientChecks, recent, look),
  ]
  const checks = inhibit(made).toSorted(worstFirst)
  const status = statusOf(checks)
  return { status, message: messageOf(status, checks), score: scoreOf(status, checks), checks, targets: targetsOf(look, recoveredInMs) }
}

const vitalsChecks: Judges<Vitals> = { ...serverChecks, ...loadChecks, ...lockChecks, ...sizeChecks, ...configurationChecks }

function ofDatabase(look: Look): readonly Check[] {
  const { database } = look.observation
  const all = { ...answerChecks, ...vitalsChecks }
  switch (database.kind) {
    case 'unreachable':
      return skipAll(all, { message: 'The database does not answer.', inhibitedBy: 'connect' })
    case 'not-asked':
      return skipAll(all, { message: 'The database was not asked.', action: 'Nothing: it is left asleep on purpose.' })
    case 'answers':
      return [...judgeAll(answerChecks, database, look), ...ofVitals(database.vitals, look)]
    default:
      return database satisfies never
  }
}

/** A lock that hides the vitals is a wait for a lock: the look's own. */
function ofVitals(vitals: Vitals | Unseen, look: Look): readonly Check[] {
  const checks = seen(vitalsChecks, vitals, look)
  if (!isUnseen(vitals) || !vitals.lockedBy) return checks
  return [...checks.filter(({ id }) => !(id in blindLockChecks)), ...judgeAll(blindLockChecks, vitals.lockedBy, look)]
}

function seen<Part extends object>(judges: Judges<Part>, part: Part | Unseen, look: Look): readonly Check[] {
  return isUnseen(part) ? skipAll(judges, notSeen(part)) : judgeAll(judges, part, look)
}

const notSeen = ({ unseen }: Unseen) => ({
  message: `Could not be looked at: ${unseen}.`,
  action: 'See the reason; a missing privilege can be granted.',
})

/** Why a check is skipped whose turn has not come: nothing is wrong with it. */
export const notLookedAtYet = 'Not looked at yet.'

function ofRareParts(look: Look, earlier: readonly Check[]): readonly Check[] {
  const { structure, sequences, statements, app, receivers } = look.observation
  const rare = <Part extends object>(judges: Judges<Part>, part: Part | Unseen | null): readonly Check[] => {
    if (part !== null) return seen(judges, part, look)
    return Object.entries(judges).flatMap(([id, judge]) => {
      const known = earlier.filter((check) => check.id === id)
      return known.length > 0
        ? known
        : skipAll({ [id]: judge }, { message: notLookedAtYet, action: 'Nothing: it is looked at every while.' })
    })
  }
  return [
    ...rare(structureChecks, structure),
    ...rare(sequenceChecks, sequences),
    ...rare(statementChecks, statements),
    ...rare(appChecks, app),
    ...rare(receiverChecks, receivers),
  ]
}

const rareIds = new Set([structureChecks, sequenceChecks, statementChecks, appChecks, receiverChecks].flatMap(Object.keys))

/** What is looked at every while only: to be kept, and given to the next assessment as `earlier`. */
export function rareChecks({ checks }: Assessment): readonly Check[] {
  return checks.filter(({ id }) => rareIds.has(id)).map(({ inhibitedBy: _now, ...check }) => check)
}

function ofState(look: Look): readonly Check[] {
  const { observation } = look
  const judges = { ...circuitChecks, ...tableChecks, ...collectorChecks }
  return [
    ...judgeAll(stateChecks, observation, look),
    ...(observation.stateAnswers
      ? judgeAll(judges, observation, look)
      : skipAll(judges, { message: 'The state table does not answer.', inhibitedBy: 'state-table' })),
  ]
}

function worstFirst(a: Check, b: Check): number {
  return Number(a.inhibitedBy !== undefined) - Number(b.inhibitedBy !== undefined) || rankOf(b.severity) - rankOf(a.severity)
}

const decides = (check: Check) => check.inhibitedBy === undefined
const findings = (checks: readonly Check[]) => checks.filter((check) => decides(check) && rankOf(check.severity) >= rankOf('warning'))

/** Without any of these nobody has looked at the database. */
const evidence = new Set(['connect', 'availability', 'error-rate', 'success-rate'])

function statusOf(checks: readonly Check[]): Status {
  const worst = findings(checks)[0]
  if (worst) return worst.severity === 'critical' ? 'critical' : 'degraded'
  return checks.some(({ id, severity }) => evidence.has(id) && severity !== 'skipped') ? 'healthy' : 'unknown'
}

function scoreOf(status: Status, checks: readonly Check[]): number {
  const found = findings(checks)
  if (status === 'unknown' || found.some(({ id, severity }) => id === 'connect' && severity === 'critical')) return 0
  const lost = found.reduce((sum, { severity }) => sum + (severity === 'critical' ? 40 : 10), 0)
  return Math.max(1, 100 - lost)
}

function messageOf(status: Status, checks: readonly Check[]): string {
  const [worst, ...others] = findings(checks)
  if (status === 'unknown') return 'Nobody has looked at the database.'
  if (!worst) return 'Database is operating normally'
  return others.length === 0
    ? worst.message
    : `${worst.message} And ${others.length} more: ${[...new Set(others.map(({ id }) => id))].join(', ')}.`
}
