// npm run bench -- writes|drivers|overhead|recovery|vitals|cold-start [--quick] [--json FILE]: ends with 1 when a requirement was missed.

import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { requirements as writeRequirements, table as writeTable, verdicts, type Requirement } from './report.ts'
import type { Cleanup } from './server.ts'

type Bench = (quick: boolean, cleanup: Cleanup) => Promise<{ table: string; requirements: readonly Requirement[]; figures: object }>

const progress = (line: string) => console.error(line)

const benches: Readonly<Record<string, Bench>> = {
  async writes(quick, cleanup) {
    const { measureWrites } = await import('./writes.ts')
    const effort = quick
      ? { rounds: 3, rowsPerRound: 1_000, sampleRows: { near: 100, far: 20 } }
      : { rounds: 7, rowsPerRound: 3_000, sampleRows: { near: 200, far: 40 } }
    const cells = await measureWrites(effort, progress, cleanup)
    return { table: writeTable(cells), requirements: writeRequirements(cells), figures: { cells } }
  },
  async drivers(quick, cleanup) {
    const { driversRequirements, driversTable, measureDrivers } = await import('./drivers.ts')
    const figures = await measureDrivers(quick ? { rounds: 9, batches: 5 } : { rounds: 41, batches: 10 }, cleanup)
    return { table: driversTable(figures), requirements: driversRequirements(figures), figures }
  },
  async overhead(quick) {
    const { measureOverhead, overheadRequirements, overheadTable } = await import('./overhead.ts')
    const overhead = await measureOverhead({ rounds: quick ? 7 : 41, callsARound: 30_000 })
    return { table: overheadTable(overhead), requirements: overheadRequirements(overhead), figures: { nsByName: overhead.nsByName } }
  },
  async recovery(quick, cleanup) {
    const { measureRecovery, recoveryRequirements, recoveryTable } = await import('./recovery.ts')
    const effort = quick ? { runs: 4, outages: 1, parkedBatches: 100 } : { runs: 8, outages: 5, parkedBatches: 500 }
    const recovery = await measureRecovery(effort, progress, cleanup)
    return { table: recoveryTable(recovery), requirements: recoveryRequirements(recovery), figures: recovery }
  },
  async vitals(quick, cleanup) {
    const { measureVitals, vitalsRequirements, vitalsTable } = await import('./vitals.ts')
    const figures = await measureVitals({ rounds: quick ? 20 : 100 }, cleanup)
    return { table: vitalsTable(figures), requirements: vitalsRequirements(figures), figures }
  },
  async 'cold-start'(quick, cleanup) {
    const { benchColdStarts, coldStartRequirements, coldStartTable } = await import('./cold-start.ts')
    const starts = await benchColdStarts(quick ? 5 : 21, cleanup)
    return { table: coldStartTable(starts), requirements: coldStartRequirements(starts), figures: starts }
  },
}

const usage = `usage: npm run bench -- ${Object.keys(benches).join('|')} [--quick] [--json FILE]`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } },
})
const bench = benches[positionals.join(' ')]
if (!bench) {
  console.error(usage)
  process.exit(2)
}

const undo: (() => Promise<void>)[] = []
let cleaning: Promise<void> | undefined
async function undoAll(): Promise<void> {
  for (let step = undo.pop(); step; step = undo.pop()) await step()
}
const cleanUp = () => (cleaning ??= undoAll())
process.once('SIGINT', () => void cleanUp().finally(() => process.exit(130)))

try {
  const { table, requirements, figures } = await bench(values.quick, (step) => undo.push(step))
  console.log(`${table}\n\n${verdicts(requirements)}`)
  if (values.json) await writeFile(values.json, `${JSON.stringify({ node: process.version, ...figures, requirements }, undefined, 2)}\n`)
  if (requirements.some(({ met }) => !met)) process.exitCode = 1
} finally {
  await cleanUp()
}
