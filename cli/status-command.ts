// `tokay status`: how everything stands, from the state table alone, so that it can be shown while the database is away; the history is added where
// the database is at hand. It asks the API nothing, starts nothing and changes nothing. It is a view: the verdict is db-health's.

import { systemClock } from '../shared/clock.ts'
import type { Settings } from '../shared/config.ts'
import { readHistory } from '../shared/health/history.ts'
import { type Memory, recentOf } from '../shared/health/memory/memory.ts'
import { openHealthDatabase } from '../shared/health/open-health-database.ts'
import { silentLog } from '../shared/log.ts'
import { stateKeys } from '../shared/names.ts'
import { openParkedToRead, openStageState, openStateToRead, sourceInUse, type StateChoice } from './chosen-state.ts'
import { dataDirOf, driverHere, findPostgres, readSettings, schemaOf, type SourceName } from './runtime.ts'
import { availabilityOf, dataOf, type Status, statusOf } from './status.ts'
import { statusLines } from './status-table.ts'

export type StatusOptions = StateChoice & { readonly json?: boolean }

export async function showStatus(options: StatusOptions): Promise<number> {
  const status = options.aws ? await stageStatus(options.stage) : await localStatus(options)
  if (options.json) console.log(JSON.stringify(status))
  else for (const line of statusLines(status)) console.log(line)
  return 0
}

async function stageStatus(stage: string | undefined): Promise<Status> {
  const settings = readSettings(stage === undefined ? {} : { stage })
  const state = await openStageState(stage)
  try {
    const items = await state.list()
    // the queue itself is the functions' own: what the last look has seen of it
    const parked = recentOf(dataOf(items, stateKeys.health) as Memory | undefined, systemClock.nowMs()).parkedHistory.at(-1)?.parked
    return statusOf({ settings, source: 'aws', items, parked: parked ?? null, nowMs: systemClock.nowMs() })
  } finally {
    await state.close()
  }
}

async function localStatus(options: StatusOptions): Promise<Status> {
  const settings = readSettings()
  const dataDir = dataDirOf(options.dataDir)
  const source = sourceInUse(options.source, dataDir)
  const state = openStateToRead(dataDir, source)
  try {
    const items = await state.list()
    const queue = await openParkedToRead(dataDir, source, silentLog)
    const parked = queue ? await queue.depth() : 0
    const nowMs = systemClock.nowMs()
    return { ...statusOf({ settings, source, items, parked, nowMs }), ...(await historyOf(settings, source, dataDir, nowMs)) }
  } finally {
    await state.close()
  }
}

/** A view waits for nobody. */
const historyLimits = { attemptForMs: 3_000, statementForMs: 2_500, lockForMs: 500 }

async function historyOf(
  settings: Settings,
  source: SourceName,
  dataDir: string,
  nowMs: number,
): Promise<Pick<Status, 'history' | 'historyProblem'>> {
  const postgres = await findPostgres(dataDir)
  if (postgres === undefined) return { history: null, historyProblem: 'no database runs: set DATABASE_URL, or npm start' }
  const database = openHealthDatabase({
    ...settings.database,
    driver: driverHere(settings, postgres.url),
    url: postgres.url,
    schema: schemaOf(settings, source),
    clock: systemClock,
    log: silentLog,
    connectForMs: 1_500,
  })
  try {
    const ask: Parameters<typeof readHistory>[0] = (statements) => database.transaction(statements, historyLimits)
    const { availability, incidents } = await readHistory(ask, { nowMs, targetPercent: settings.health.targetPercent })
    return { history: { ...availabilityOf(availability, settings), incidents: incidents.length }, historyProblem: null }
  } catch (error) {
    return { history: null, historyProblem: (error as Error).message }
  } finally {
    await database.end()
  }
}
