// One writer of the soak, as a process of its own: the drill's workload over a data folder that all writers share. Every step goes into the
// history file before anything else happens: what is there as written or parked, this process has vouched for.

import { appendFileSync } from 'node:fs'
import { openTools } from '../../cli/runtime.ts'
import { startWorkload } from '../../cli/local/drill-workload.ts'
import { parseSettings } from '../../shared/config.ts'
import { silentLog } from '../../shared/log.ts'

export type WriterMessage = 'finished' | 'drained' | { readonly failed: string }

const [writer, databaseUrl, dataDir, history] = process.argv.slice(2) as [string, string, string, string]
const tools = await openTools({
  settings: parseSettings({ database: { poolMax: 2 } }),
  source: { name: 'simulator', baseUrl: 'http://127.0.0.1:9', close: async () => {} },
  databaseUrl,
  dataDir,
  log: silentLog,
})
const workload = startWorkload(tools, {
  writer,
  signal: new AbortController().signal,
  offerEveryMs: 400,
  onStep: (id, step) => appendFileSync(history, `${JSON.stringify({ atMs: Date.now(), ...id, step })}\n`),
})
const say = (message: WriterMessage) => process.send?.(message)

process.on('message', (order: 'finish' | 'stop') => {
  if (order === 'finish') void finish().catch((error: unknown) => say({ failed: String(error) }))
  else void workload.stop().then(() => process.exit(0))
})

async function finish(): Promise<void> {
  await workload.finish()
  say('finished')
  if ((await workload.drained(Date.now() + 120_000)) === undefined) throw new Error('not everything was written within 120 s')
  say('drained')
}
