// The work that a drill disturbs: every 100 ms a batch of unique rows goes the way of all writes, whatever became of the ones before, as on a
// schedule; what is parked is replayed as the local run does it.

import { replayParked } from '../../shared/collect/replay-parked.ts'
import { writeOrPark } from '../../shared/collect/write-or-park.ts'
import type { LocalTools } from '../runtime.ts'
import { batchOf, type BatchId } from './offered-rows.ts'

export type Workload = {
  /** Every batch so far, whatever became of it. */
  readonly offered: readonly BatchId[]
  /** When a batch was committed that was offered at `sinceMs` or later; undefined when none was until `untilMs`. */
  written(sinceMs: number, untilMs: number): Promise<number | undefined>
  /** Offers no more; resolves when each batch is committed or parked. @throws when one could be neither */
  finish(): Promise<void>
  /** When nothing was parked any more and the circuit was closed; undefined: not until `untilMs`. */
  drained(untilMs: number): Promise<number | undefined>
  stop(): Promise<void>
}

const defaultOfferEveryMs = 100
/** As many batches as a few collectors have in hand. Beyond that an offer is left out. */
const mostInFlight = 20
const runForMs = 55_000
const lookEveryMs = 50

/** `writer`: see BatchId. `onStep` is told of each batch: that it is offered, and what became of it. */
export function startWorkload(
  tools: LocalTools,
  options: {
    writer: string
    signal: AbortSignal
    offerEveryMs?: number
    onStep?: (id: BatchId, step: 'offered' | 'written' | 'parked') => void
  },
): Workload {
  const { offerEveryMs = defaultOfferEveryMs, onStep } = options
  const { clock } = tools
  const offered: BatchId[] = []
  const flights = new Set<Promise<void>>()
  const stopped = new AbortController()
  const signal = AbortSignal.any([options.signal, stopped.signal])
  const finished = new AbortController()
  const offering = AbortSignal.any([signal, finished.signal])
  let failed: unknown
  let newest = { offeredAtMs: -1, committedAtMs: -1 }

  async function offer(): Promise<void> {
    const id = { writer: options.writer, number: offered.length }
    offered.push(id)
    onStep?.(id, 'offered')
    const offeredAtMs = clock.nowMs()
    const run = { collector: 'drill', runId: String(id.number), table: 'trades' as const, deadlineAtMs: offeredAtMs + runForMs }
    const { kind } = await writeOrPark(batchOf(id, offeredAtMs), tools, run)
    onStep?.(id, kind)
    if (kind === 'written' && offeredAtMs > newest.offeredAtMs) newest = { offeredAtMs, committedAtMs: clock.nowMs() }
  }

  async function offerAll(): Promise<void> {
    while (!offering.aborted) {
      if (flights.size < mostInFlight) {
        const flight: Promise<void> = offer()
          .catch((error: unknown) => void (failed ??= error))
          .finally(() => flights.delete(flight))
        flights.add(flight)
      }
      await clock.sleep(offerEveryMs, offering)
    }
  }

  async function replayAll(): Promise<void> {
    while (!signal.aborted) {
      if ((await tools.parked.depth()) > 0) await replayParked(tools, { deadlineAtMs: clock.nowMs() + runForMs, signal })
      await clock.sleep(lookEveryMs, signal)
    }
  }

  async function whenTrue(isTrue: () => boolean | Promise<boolean>, untilMs: number): Promise<boolean> {
    while (!signal.aborted && clock.nowMs() < untilMs) {
      if (await isTrue()) return true
      await clock.sleep(lookEveryMs, signal)
    }
    return false
  }

  const work = Promise.all([offerAll(), replayAll()])
  work.catch((error: unknown) => void (failed ??= error)) // thrown by finish

  return {
    offered,
    async written(sinceMs, untilMs) {
      return (await whenTrue(() => newest.offeredAtMs >= sinceMs, untilMs)) ? newest.committedAtMs : undefined
    },
    async finish() {
      finished.abort()
      await Promise.all(flights)
      if (failed !== undefined) throw failed
    },
    async drained(untilMs) {
      const isDrained = async () => (await tools.parked.depth()) === 0 && !(await tools.database.isOpen())
      return (await whenTrue(isDrained, untilMs)) ? clock.nowMs() : undefined
    },
    async stop() {
      finished.abort()
      stopped.abort()
      await Promise.allSettled([work, ...flights])
    },
  }
}
