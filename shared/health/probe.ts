// The health check's look: database, queue and state table side by side. Never throws for what it looks at: a part that can't be seen is part of
// the answer, and says why.
//
// The database is asked directly, not through the breaker: an open circuit must not hide that it is back. And on a connection of the check's own, made
// for this look and closed after it: an exhausted pool of the collectors is not in its way, and connecting is itself what is to be known.
//
//   piggyback, and nobody has it awake                            -> not asked
//   connect and `select 1`     fails -> which failure             -> unreachable; once more, for longer, where it may have been asleep
//   vitals                     no answer -> unreachable;  refused -> unseen, and behind a lock, who holds it
//   structure, sequences, slow statements, own tables             -> each seen or unseen, one after the other; none behind an answer that never came

import type { Clock } from '../clock.ts'
import type { ParkedWrites } from '../collect/parked-writes.ts'
import { DatabaseError, type AttemptLimits, type Database, type Rows, type Statement } from '../db/database.ts'
import { collectorNames, stateKeys } from '../names.ts'
import type { BreakerState } from '../resilience/circuit-breaker.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import type { ApiBudget } from '../state/api-budget.ts'
import type { CollectorState } from '../state/claim.ts'
import type { Refusals } from '../state/refusals.ts'
import type { StateTable } from '../state/state-table.ts'
import { connectFailureOf } from './connect-failure.ts'
import {
  isUnseen,
  type AppTables,
  type BlockingSession,
  type DatabaseSeen,
  type Observation,
  type Receivers,
  type SlowStatement,
  type Unseen,
  type Vitals,
} from './observation.ts'
import { appTablesPresent, appTablesStatement, readAppTables, readPresent } from './sql/app-tables.ts'
import { hiddenId, readSlowest, slowestStatements, textsOfStatements, withTexts } from './sql/slow-statements.ts'
import { readSequences, readStructure, sequencesStatement, structureStatement } from './sql/structure.ts'
import { catalogLocksStatement, lookOnly, readCatalogLocks, readVitals, vitalsStatement } from './sql/vitals.ts'

export type ProbeTools = {
  /**
   * A connection of its own, as `openHealthDatabase` makes it: not connected yet; ended by the probe. What it throws is a wrong URL.
   * `connectForMs` bounds the connecting.
   */
  readonly openDatabase: (options: { connectForMs: number }) => Database
  readonly state: Pick<StateTable, 'list'>
  /** Absent where there is no queue: the health check alone. */
  readonly parked?: Pick<ParkedWrites, 'depth'>
  /** Who would get an alert. Asked with the structure. */
  readonly receivers?: () => Promise<Receivers>
  readonly clock: Clock
  /** database.wakeForMs. */
  readonly wakeForMs: number
}

export type Look = {
  /** `piggyback`: only while a collector's run has the database awake, or when something looks wrong. A person who asks gets `active`. */
  readonly mode: 'active' | 'piggyback'
  /** Also what changes slowly: structure, sequences, slow statements, own tables, receivers. */
  readonly structure: boolean
}

type Items = Awaited<ReturnType<StateTable['list']>>

const connectForMs = 2_500

/** The server's timeouts first, so that it says why. A lock that is held for longer than this is held for good. */
const limits: AttemptLimits = { attemptForMs: 3_000, statementForMs: 2_000, lockForMs: 300 }

/** Below the 5 minutes after which Neon suspends by default. */
const asleepAfterMs = 240_000

/** A tick and a half: each collector's run is followed by a look at least. */
const awakeForMs = 90_000

export async function probe(tools: ProbeTools, look: Look): Promise<Observation> {
  const listed = tools.state.list().catch(() => undefined) // reported as `stateAnswers: false`; the database's own answer still decides
  const counted = tools.parked ? tools.parked.depth().catch(() => undefined) : null // undefined is reported as "could not be asked"
  const told = look.structure && tools.receivers ? tools.receivers().catch(unseenBecause) : null
  const looked = look.mode === 'active' ? lookAtDatabase(tools, look, listed) : undefined
  const [items, parked, receivers] = await Promise.all([listed, counted, told])
  const seen = fromItems(items)
  const why = looked ? undefined : whyLeftAsleep(seen, parked, tools.clock.nowMs())
  const database: DatabaseLook =
    why === undefined ? await (looked ?? lookAtDatabase(tools, look, listed)) : { database: { kind: 'not-asked', why }, ...noStructure }
  return { atMs: tools.clock.nowMs(), ...database, ...seen, parked, receivers }
}

type StateSeen = Pick<Observation, 'breaker' | 'lockedSinceMs' | 'stateAnswers' | 'refusals' | 'collectors' | 'budget'>

function fromItems(items: Items | undefined): StateSeen {
  const item = (key: string) => items?.find((i) => i.key === key)?.data
  return {
    breaker: item(stateKeys.databaseBreaker) as BreakerState | undefined,
    lockedSinceMs: Object.fromEntries(
      (items ?? []).flatMap(({ key, data }) => {
        const breaker = data as BreakerState
        const prefix = stateKeys.streamBreaker('')
        return key.startsWith(prefix) && breaker.state === 'open' ? [[key.slice(prefix.length), breaker.openedAtMs]] : []
      }),
    ),
    stateAnswers: items !== undefined,
    refusals: item(stateKeys.refusals) as Refusals | undefined,
    collectors: Object.fromEntries(
      collectorNames.flatMap((name) => {
        const data = item(stateKeys.collector(name))
        return data === undefined ? [] : [[name, data as CollectorState]]
      }),
    ),
    budget: item(stateKeys.geckoBudget) as ApiBudget | undefined,
  }
}

const statesOf = (seen: StateSeen): readonly CollectorState[] => Object.values(seen.collectors)
const lastRunAtMs = (seen: StateSeen) => Math.max(-Infinity, ...statesOf(seen).map((c) => c.lastSuccessAtMs ?? -Infinity))

/** Undefined: it is to be asked. An API that is away is no reason: a look every minute would keep the database awake for nothing. */
function whyLeftAsleep(seen: StateSeen, parked: number | undefined | null, nowMs: number): string | undefined {
  const looksWrong =
    !seen.stateAnswers ||
    seen.breaker?.state === 'open' ||
    Object.keys(seen.lockedSinceMs).length > 0 ||
    parked === undefined ||
    (parked ?? 0) > 0
  const isAwake = statesOf(seen).some((c) => (c.lease?.untilMs ?? -Infinity) > nowMs) || nowMs - lastRunAtMs(seen) <= awakeForMs
  return looksWrong || isAwake ? undefined : 'left asleep: no collector has run for a while, and nothing looks wrong'
}

type DatabaseLook = Pick<Observation, 'database' | 'structure' | 'sequences' | 'statements' | 'app'>

const noStructure = { structure: null, sequences: null, statements: null, app: null } as const

async function lookAtDatabase(tools: ProbeTools, look: Look, listed: Promise<Items | undefined>): Promise<DatabaseLook> {
  const first = await lookWithin(connectForMs, tools, look)
  if (!first.mayHaveSlept) return first.seen
  // While a circuit is open somebody has waited for long already, and the prober goes on. Else, after a long silence, this look may be what wakes it.
  const state = fromItems(await listed)
  if (state.breaker?.state === 'open' || tools.clock.nowMs() - lastRunAtMs(state) < asleepAfterMs) return first.seen
  const { seen } = await lookWithin(tools.wakeForMs, tools, look)
  return seen.database.kind === 'answers' ? { ...seen, database: { ...seen.database, woke: true } } : seen
}

const ping: Statement = { name: 'ping', text: 'select 1', values: [] }

async function lookWithin(connectMs: number, tools: ProbeTools, look: Look): Promise<{ seen: DatabaseLook; mayHaveSlept: boolean }> {
  const startedMs = performance.now()
  const afterMs = () => round(performance.now() - startedMs)
  let database: Database | undefined
  let hasAnswered = false
  try {
    database = tools.openDatabase({ connectForMs: connectMs })
    await database.query(ping, { ...limits, attemptForMs: connectMs + 500 })
    hasAnswered = true
    const by = { connectMs: afterMs(), nowMs: () => tools.clock.nowMs() }
    return { seen: await lookInside(database, by, look, tools.parked !== undefined), mayHaveSlept: false }
  } catch (error) {
    const failure = connectFailureOf(error)
    const seen: DatabaseSeen = { kind: 'unreachable', failure, message: messageOf(error), afterMs: afterMs() }
    return { seen: { database: seen, ...noStructure }, mayHaveSlept: failure === 'hung' && !hasAnswered }
  } finally {
    await database?.end()
  }
}

/** Throws where the server has gone silent, or away, since it answered the ping. */
async function lookInside(
  database: Database,
  by: { connectMs: number; nowMs: () => number },
  look: Look,
  hasQueue: boolean,
): Promise<DatabaseLook> {
  const sentAtMs = by.nowMs()
  const sentMs = performance.now()
  const first = await see(database, vitalsStatement, readVitals)
  const queryMs = round(performance.now() - sentMs)
  const vitals = isUnseen(first) && first.lockedBy ? { ...first, lockedBy: await catalogLocks(database) } : first
  const pooled = database.connections?.().pooled ? ({ pooled: true } as const) : {}
  const answers: DatabaseSeen = {
    kind: 'answers',
    connectMs: by.connectMs,
    queryMs,
    vitals,
    ...skewOf(vitals, sentAtMs, queryMs),
    ...pooled,
  }
  if (!look.structure) return { database: answers, ...noStructure }

  let silent: Unseen | undefined
  // What is seen already stays seen when the server goes silent now; and nobody waits for a second answer that does not come.
  const unlessSilent = async <Part>(part: () => Promise<Part>): Promise<Part | Unseen> => {
    if (silent) return silent
    try {
      return await part()
    } catch (error) {
      silent = unseenBecause(error)
      return silent
    }
  }
  return {
    database: answers,
    structure: await unlessSilent(() => see(database, structureStatement, readStructure)),
    sequences: await unlessSilent(() => see(database, sequencesStatement, readSequences)),
    statements: await unlessSilent(() => seeSlowStatements(database, vitals)),
    app: await unlessSilent(() => seeAppTables(database, hasQueue)),
  }
}

/** None where that can not be seen either: which catalogs it takes is up to whoever has locked them. */
async function catalogLocks(database: Database): Promise<readonly BlockingSession[]> {
  const holders = await see(database, catalogLocksStatement, readCatalogLocks)
  return isUnseen(holders) ? [] : holders
}

/** The server read its clock somewhere in the time that the round trip took beside the server's own: half of that is the doubt. */
function skewOf(vitals: Vitals | Unseen, sentAtMs: number, queryMs: number): { clockSkewMs?: number } {
  if (isUnseen(vitals)) return {}
  const doubtMs = Math.max(0, queryMs - vitals.serverMs) / 2
  const aheadMs = vitals.server.nowMs - (sentAtMs + doubtMs)
  return { clockSkewMs: Math.round(Math.sign(aheadMs) * Math.max(0, Math.abs(aheadMs) - doubtMs)) }
}

async function seeSlowStatements(database: Database, vitals: Vitals | Unseen): Promise<readonly SlowStatement[] | Unseen> {
  if (isUnseen(vitals)) return vitals
  const schema = vitals.statementsIn
  if (schema === null) return { unseen: 'pg_stat_statements is not installed: create extension pg_stat_statements' }
  const slowest = await see(database, slowestStatements(schema), readSlowest)
  if (isUnseen(slowest)) return slowest
  const ids = slowest.map(({ id }) => id).filter((id) => id !== hiddenId)
  const texts = await see(database, textsOfStatements(schema, ids), (rows) => rows)
  return withTexts(slowest, isUnseen(texts) ? [] : texts)
}

async function seeAppTables(database: Database, hasQueue: boolean): Promise<AppTables | Unseen | null> {
  const present = await see(database, appTablesPresent, readPresent)
  if (isUnseen(present)) return present
  // the health check alone, of somebody else's database
  if (present.length === 0 && !hasQueue) return null
  return see(database, appTablesStatement(present), readAppTables)
}

/** Throws when there was no answer. */
async function see<Part extends object>(database: Database, statement: Statement, read: (rows: Rows) => Part): Promise<Part | Unseen> {
  try {
    const [, rows] = await database.transaction([lookOnly, statement], limits)
    return read(rows ?? [])
  } catch (error) {
    if (isSilence(error)) throw error
    return unseenBecause(error)
  }
}

/** Not answered, or by hanging up. */
const isSilence = (error: unknown) => error instanceof DatabaseError && (error.sqlState === undefined || /^(?:57P|08)/.test(error.sqlState))

function unseenBecause(error: unknown): Unseen {
  const reasons: Readonly<Record<string, string>> = {
    'lock-timeout': `another session has locked what it reads for longer than ${limits.lockForMs} ms: `,
    slow: `it took longer than ${limits.statementForMs} ms: `,
    permission: 'the role lacks a privilege: ',
  }
  const { class: reason } = classifyFailure(error)
  return { unseen: `${reasons[reason] ?? ''}${messageOf(error)}`, ...(reason === 'lock-timeout' ? { lockedBy: [] } : {}) }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** To a hundredth of a millisecond. */
const round = (ms: number) => Math.round(ms * 100) / 100
