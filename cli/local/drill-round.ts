// One round of the drill: the workload runs, a fault begins, is held, and ends; then how long until a fresh batch is written, and until nothing
// waits any more; then the tables are compared with what was offered.

import type { LocalTools } from '../runtime.ts'
import { withAdminSession } from './admin-session.ts'
import { startWorkload } from './drill-workload.ts'
import type { Fault, FaultPlace } from './faults.ts'
import { judge, storedLines, type BatchId, type Judgement } from './offered-rows.ts'

export type Score = { readonly fault: string } & Judgement & {
    /** From the fault's end to the commit of a batch that was offered after it; null: not within 90 s. */
    readonly secondsToFreshWrites: number | null
    /** From the fault's end until nothing is parked and the circuit is closed; null: not within 90 s. */
    readonly secondsToDrained: number | null
    /** While the fault lasted, refused ones included. */
    readonly connectionsOpened: number
  }

const recoverWithinMs = 90_000
/** Ordinary work before the fault: connections are warm, partitions made. */
const warmForMs = 500

export async function drillRound(options: {
  fault: Fault
  place: FaultPlace
  tools: LocalTools
  holdForMs: number
  signal: AbortSignal
  /** Connects that found nobody so far: the proxy sees only what it accepts. */
  refusedConnects: () => number
  onPhase: (phase: string) => void
}): Promise<Score> {
  const { fault, place, tools, holdForMs, signal, refusedConnects, onPhase } = options
  const { clock } = tools
  const opened = () => place.proxy.accepted + refusedConnects()
  const workload = startWorkload(tools, { writer: 'd', signal })
  try {
    onPhase('working')
    if ((await workload.written(0, clock.nowMs() + recoverWithinMs)) === undefined)
      throw new Error(`drill ${fault.name}: nothing could be written before the fault began`)
    await clock.sleep(warmForMs, signal)

    const openedBefore = opened()
    onPhase('the fault begins')
    const end = await fault.begin(place)
    await clock.sleep(holdForMs, signal)
    const connectionsOpened = opened() - openedBefore
    // as others see the tables while the fault lasts; a server that is stopped shows nothing to anybody
    const halfDuring = fault.kind === 'process' ? 0 : (await judgeTables(place, workload.offered)).rowsHalfWritten
    onPhase('the fault ends')
    await end()
    const endedAtMs = clock.nowMs()
    const freshAtMs = await workload.written(endedAtMs, endedAtMs + recoverWithinMs)

    onPhase('fresh batches are written; what was parked follows')
    await workload.finish()
    const drainedAtMs = await workload.drained(endedAtMs + recoverWithinMs)
    const after = await judgeTables(place, workload.offered)
    const seconds = (atMs: number | undefined) => (atMs === undefined ? null : Math.round((atMs - endedAtMs) / 100) / 10)
    return {
      fault: fault.name,
      ...after,
      rowsHalfWritten: Math.max(halfDuring, after.rowsHalfWritten),
      secondsToFreshWrites: seconds(freshAtMs),
      secondsToDrained: seconds(drainedAtMs),
      connectionsOpened,
    }
  } finally {
    await workload.stop()
  }
}

async function judgeTables({ adminUrl, schema }: FaultPlace, offered: readonly BatchId[]): Promise<Judgement> {
  const { text, values } = storedLines(schema)
  const stored = await withAdminSession(adminUrl, (admin) => admin.sql(text, values))
  return judge(offered, stored)
}
