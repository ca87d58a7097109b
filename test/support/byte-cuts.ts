// The byte-cut sweep: one write after the other through the real write path, each with its connection cut after another number of bytes. What
// the client is told is the same whether the server has committed or not, so only the tables can say whether a row is lost or there twice.

import { expect } from 'vitest'
import type { CutHow, Direction } from '../../cli/local/fault-proxy.ts'
import { parseSettings } from '../../shared/config.ts'
import type { Lane } from './write-path.ts'

/** Back-offs without waiting; everything else as usual. */
export const sweepSettings = parseSettings({ retry: { baseMs: 1, capMs: 1 } })

export type SweepCounts = {
  readonly cuts: number
  /** The second attempt wrote it, or found it written: that one the client could not know. */
  readonly written: number
  readonly foundApplied: number
  /** The retry budget was used up: a cut at each write is more trouble than it allows for. */
  readonly parked: number
}

/**
 * Cuts this lane's writes after `fromBytes`, and every `stepBytes` from there, until a write has no byte left to cut at.
 * Each starts on a warm connection; what is parked is replayed at once.
 */
export async function sweep(
  lane: Lane,
  points: { direction: Direction; how: CutHow; fromBytes: number; stepBytes: number },
): Promise<SweepCounts> {
  const { direction, how, fromBytes, stepBytes } = points
  const counts = { cuts: 0, written: 0, foundApplied: 0, parked: 0 }
  await lane.write()
  for (let afterBytes = fromBytes; ; afterBytes += stepBytes) {
    const cutsBefore = lane.proxy.cuts
    await lane.proxy.mode({ kind: 'cut', direction, afterBytes, how })
    const outcome = await lane.write()
    await lane.proxy.mode({ kind: 'pass' })
    if (lane.proxy.cuts === cutsBefore) {
      expect(outcome.kind).toBe('written')
      return counts
    }
    counts.cuts++
    if (outcome.kind === 'parked') {
      counts.parked++
      // committed without anybody's knowledge, or not at all
      expect(await lane.judgeLast()).toMatchObject({ rowsDoubled: 0, rowsHalfWritten: 0 })
      expect(await lane.drain(20_000)).toMatchObject({ left: 0, setAside: 0 })
    } else if (outcome.inserted === 0) counts.foundApplied++
    else counts.written++
  }
}

export const sum = (all: readonly SweepCounts[]): SweepCounts =>
  all.reduce((a, b) => ({
    cuts: a.cuts + b.cuts,
    written: a.written + b.written,
    foundApplied: a.foundApplied + b.foundApplied,
    parked: a.parked + b.parked,
  }))

export const directions: readonly Direction[] = ['to-server', 'to-client']
export const cutHows: readonly CutHow[] = ['fin', 'rst']
