// `tokay quarantine list|retry|drop`: the rows that Postgres refused.

import { mergeBatches } from '../shared/collect/batch.ts'
import { writeMerged } from '../shared/collect/write-merged.ts'
import { dropQuarantined, entryOf, markRetried, selectQuarantine, type QuarantineEntry } from '../shared/db/quarantine.ts'
import type { Rows, Statement } from '../shared/db/database.ts'
import { sourceInUse } from './chosen-state.ts'
import { lineLog } from './output.ts'
import { dataDirOf, openPostgres, openTools, readSettings, type LocalTools, type SourceName } from './runtime.ts'

export type QuarantineOptions = {
  readonly source?: SourceName
  readonly dataDir?: string
  readonly port?: number
  readonly json?: boolean
  /** These only. */
  readonly id?: readonly string[]
  /** Without `id`: all. `list` shows those that were retried, too. */
  readonly all?: boolean
}

const forMs = 60_000
/** Of one call: what a person can look at, and what one transaction after the other writes in a minute. */
const mostRows = 1_000

/** Held rows, oldest first. */
export const listQuarantine = (options: QuarantineOptions) =>
  withDatabase(options, async (_tools, ask) => {
    const entries = await select(ask, { ...options, status: options.all ? undefined : 'held' })
    if (options.json) console.log(JSON.stringify(entries))
    else if (entries.length === 0) console.log('no row is held in the quarantine')
    else for (const entry of entries) console.log(inWords(entry))
    return missing(options, entries)
  })

/** Writes held rows again, each by itself; those that are refused again stay. 1 when one stays. */
export const retryQuarantine = (options: QuarantineOptions) =>
  withDatabase(options, async (tools, ask) => {
    const entries = await select(ask, { ...options, status: 'held' })
    const retried: string[] = []
    for (const { id, table, row, collector, runId, lastSeenAt } of entries) {
      const { quarantined } = await writeMerged(mergeBatches([{ [table]: [row] }]), tools, {
        deadlineAtMs: tools.clock.nowMs() + forMs,
        late: true,
        ignoreCircuit: true,
        isParked: true,
        originOf: () => ({ collector, runId, seenAtMs: Date.parse(lastSeenAt) }),
      })
      if (quarantined.length > 0) continue
      await ask(markRetried([id]))
      retried.push(id)
    }
    const held = entries.length - retried.length
    console.log(
      options.json ? JSON.stringify({ retried, held }) : `${retried.length} rows are in their tables now, ${held} are refused again`,
    )
    return held > 0 ? 1 : missing(options, entries)
  })

/** Deletes them, and with them the only copy of rows that were never written. */
export const dropQuarantine = (options: QuarantineOptions) =>
  withDatabase(options, async (_tools, ask) => {
    const [answer] = await ask(dropQuarantined(options.id))
    const dropped = Number(answer?.['dropped'])
    console.log(options.json ? JSON.stringify({ dropped }) : `${dropped} rows are dropped`)
    return options.id && dropped < options.id.length ? 1 : 0
  })

type Ask = (statement: Statement) => Promise<Rows>

async function withDatabase(options: QuarantineOptions, work: (tools: LocalTools, ask: Ask) => Promise<number>): Promise<number> {
  const settings = readSettings()
  const dataDir = dataDirOf(options.dataDir)
  const log = lineLog({ write: (line) => console.error(line) }, Date.now)
  await using open = new AsyncDisposableStack()
  const postgres = await openPostgres({ dataDir, log, ...(options.port === undefined ? {} : { port: options.port }) })
  open.defer(() => postgres.stop())
  const source = { name: sourceInUse(options.source, dataDir), baseUrl: settings.gecko.baseUrl, close: async () => {} }
  const tools = await openTools({ settings, source, databaseUrl: postgres.url, dataDir, log })
  open.defer(() => tools.close())
  // an operator's own word: also while the circuit is open
  const ask: Ask = (statement) =>
    tools.database.query(statement, { deadlineAtMs: tools.clock.nowMs() + forMs, repeat: 'idempotent', ignoreCircuit: true })
  return await work(tools, ask)
}

async function select(
  ask: Ask,
  { id, status }: { id?: readonly string[]; status: 'held' | undefined },
): Promise<readonly QuarantineEntry[]> {
  const rows = await ask(selectQuarantine({ limit: mostRows, ...(id ? { ids: id } : {}), ...(status ? { status } : {}) }))
  if (rows.length === mostRows) console.error(`only the oldest ${mostRows} rows are taken; ask again for more`)
  return rows.map(entryOf)
}

/** The exit code for ids that are not there, or not held. */
function missing({ id = [] }: QuarantineOptions, entries: readonly QuarantineEntry[]): number {
  const unknown = id.filter((one) => !entries.some((entry) => entry.id === one.toLowerCase()))
  if (unknown.length > 0) console.error(`tokay: not held in the quarantine: ${unknown.join(', ')}`)
  return unknown.length > 0 ? 1 : 0
}

const inWords = ({ id, table, class: failureClass, message, collector, firstSeenAt, status }: QuarantineEntry) =>
  `${id}  ${table} of ${collector}, since ${firstSeenAt}${status === 'retried' ? ', written since' : ''}: ${failureClass}: ${message}`
