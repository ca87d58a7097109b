// `tokay collect <collector>`: one run by hand.

import type { CollectResult } from '../shared/collect/collect.ts'
import type { CollectorName } from '../shared/names.ts'
import { consoleNotifier } from './local/console-notifier.ts'
import { createLocalRun } from './local-run.ts'
import { lineLog } from './output.ts'
import { dataDirOf, openPostgres, openTools, readSettings } from './runtime.ts'
import { openSource } from './source.ts'
import type { StartOptions } from './start.ts'

/** Answers the exit code: 0 when everything that the API had was written or parked, or with --dry-run read. */
export async function collectByHand(
  name: CollectorName,
  options: StartOptions & { dryRun?: boolean },
  signal: AbortSignal,
): Promise<number> {
  const say = (line: string) => console.error(line)
  const log = lineLog({ write: say }, Date.now)
  const dataDir = dataDirOf(options.dataDir)
  await using open = new AsyncDisposableStack()
  const opened = await openSource(options, readSettings())
  open.defer(() => opened.source.close())
  say(opened.says)
  const postgres = await openPostgres({ dataDir, log, ...(options.port === undefined ? {} : { port: options.port }) })
  open.defer(() => postgres.stop())
  const tools = await openTools({
    settings: opened.settings,
    source: opened.source,
    databaseUrl: postgres.url,
    isDirect: postgres.embedded,
    dataDir,
    log,
  })
  open.defer(() => tools.close())

  const run = createLocalRun({ tools, databaseUrl: postgres.url, notifier: consoleNotifier(say), signal })
  const dryRun = options.dryRun ?? false
  if (!dryRun) await run.migrate()
  const result = await run.collect(name, Date.now(), { force: true, dryRun })
  if (result === undefined) return 1
  console.log(
    options.json ? JSON.stringify({ source: opened.source.name, collector: name, dryRun, ...result }) : inWords(name, result, dryRun),
  )
  return result.kind === 'ran' && result.outcome === 'complete' ? 0 : 1
}

function inWords(name: CollectorName, result: CollectResult, dryRun: boolean): string {
  if (result.kind === 'skipped') return `${name}: not run, another run has claimed it until ${new Date(result.untilMs).toISOString()}`
  const { fetched, inserted, updated, unchanged, rejected, parked } = result.counts
  const fate = dryRun
    ? `${fetched - rejected} could be stored, ${rejected} not; nothing was written`
    : `${inserted} inserted, ${updated} updated, ${unchanged} unchanged, ${rejected} rejected, ${parked} parked`
  return `${name}: ${result.outcome}, ${fetched} fetched, ${fate}`
}
