// Puts parked batches into the database: exactly once, oldest first, in merged transactions, removed only after the commit.
//
//   queue empty -> done (no database is woken)
//   one batch first: while the circuit is open this is the probe, under its lease
//     committed        -> the circuit is closed; then up to 10 at a time, until the queue is empty or the time is up
//     not available    -> wait, one batch again, for the length of the run
//     refused          -> one by one, to find which
//
// A batch that the database will never take is set aside under its reason. Everything else stays queued until it is in.

import { confirmGaps } from '../db/statements.ts'
import { CircuitOpenError } from '../errors.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import { mergeBatches, rowCount } from './batch.ts'
import type { Received } from './parked-writes.ts'
import { write, type WriteTools } from './write-or-park.ts'

const mergedBatches = 10
const probeEveryMs = 5_000

export type ReplayResult = { readonly replayed: number; readonly rows: number; readonly setAside: number; readonly left: number }

/** Runs until the queue is empty, the deadline is near or `signal` aborts. Throws only when the queue itself fails. */
export async function replayParked(
  tools: WriteTools,
  request: { deadlineAtMs: number; signal?: AbortSignal; onProgress?: (replayed: number, left: number) => void },
): Promise<ReplayResult> {
  const { parked, clock, log } = tools
  const total = { replayed: 0, rows: 0, setAside: 0 }
  let left = await parked.depth()
  const hadSome = left > 0
  let merge = 1
  while (left > 0 && !request.signal?.aborted && clock.nowMs() < request.deadlineAtMs) {
    const received = await parked.receive(merge)
    if (received.length === 0) break
    const verdict = await replay(received, tools, request)
    switch (verdict.kind) {
      case 'committed':
        total.replayed += received.length
        total.rows += received.reduce((sum, r) => sum + rowCount(r.write.batch), 0)
        merge = mergedBatches
        break
      case 'refused':
        // one of them is bad, or too much for one transaction: go one by one, and only then is a batch itself to blame
        if (received.length > 1) {
          await parked.release(receiptsOf(received))
          merge = 1
        } else {
          await parked.setAside(received[0] as Received, verdict.reason)
          total.setAside += 1
          log.error({
            event: 'parked-write.set-aside',
            collector: received[0]?.write.collector,
            reason: verdict.reason,
            error: verdict.error,
          })
        }
        break
      case 'unavailable':
        await parked.release(receiptsOf(received))
        merge = 1
        if (clock.nowMs() + verdict.waitMs >= request.deadlineAtMs) return { ...total, left: await parked.depth() }
        await clock.sleep(verdict.waitMs, request.signal)
        break
      default:
        verdict satisfies never
    }
    left = await parked.depth()
    request.onProgress?.(total.replayed, left)
  }
  if (hadSome && left === 0)
    await tools.database
      .query(confirmGaps, { deadlineAtMs: request.deadlineAtMs })
      .catch((error: unknown) => log.warn({ event: 'gaps.unconfirmed', error }))
  if (total.replayed > 0) log.info({ event: 'parked-writes.replayed', batches: total.replayed, rows: total.rows, left })
  return { ...total, left }
}

type Verdict =
  | { readonly kind: 'committed' }
  | { readonly kind: 'refused'; readonly reason: string; readonly error: unknown }
  | { readonly kind: 'unavailable'; readonly waitMs: number }

async function replay(
  received: readonly Received[],
  tools: WriteTools,
  { deadlineAtMs, signal }: { deadlineAtMs: number; signal?: AbortSignal },
): Promise<Verdict> {
  try {
    await write(mergeBatches(received.map((r) => r.write.batch)), tools, { deadlineAtMs, late: true, mayProbe: true, signal })
  } catch (error) {
    const failure = classifyFailure(error)
    if (failure.keeps === 'quarantine') return { kind: 'refused', reason: failure.class, error }
    return {
      kind: 'unavailable',
      waitMs: error instanceof CircuitOpenError ? Math.min(Math.max(error.retryAfterMs, 50), probeEveryMs) : probeEveryMs,
    }
  }
  await tools.parked.remove(receiptsOf(received))
  return { kind: 'committed' }
}

const receiptsOf = (received: readonly Received[]) => received.map((r) => r.receipt)
