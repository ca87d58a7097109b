// Which rows of a batch are refused, and everything else written: halves are tried until a refused row is alone.
// No time, no randomness, no I/O of its own: `attempt` writes. Rows depend on no other row of their batch, so any part can be written alone.
//
// A bad row among n costs at most 2 x log2(n) attempts more than the first one, because each refused part is tried as two halves.
// A part that is too large for a limit of the server goes the same way, and leaves nothing behind: both halves are written.

import type { Batch } from '../model.ts'
import { halves, rowCount } from './batch.ts'

/** One row, alone in its batch, and why it was refused. */
export type RefusedRow<Reason> = { readonly part: Batch; readonly reason: Reason }

export type Bisected<Reason> =
  | { readonly kind: 'done'; readonly refused: readonly RefusedRow<Reason>[] }
  /** More than `maxRefused` rows were refused; parts of the batch were not tried. What refuses so many is no bad row. */
  | { readonly kind: 'too-many'; readonly reason: Reason }

/**
 * Tries the whole batch first. `attempt` answers undefined when the part is written, or the reason why it is refused; what it throws goes up,
 * and then any part may or may not be written.
 */
export async function bisect<Reason>(
  batch: Batch,
  attempt: (part: Batch) => Promise<Reason | undefined>,
  { maxRefused }: { maxRefused: number },
): Promise<Bisected<Reason>> {
  const refused: RefusedRow<Reason>[] = []
  // the next one to try is the last: the first half of a part before the second
  const untried: Batch[] = [batch]
  for (let part = untried.pop(); part; part = untried.pop()) {
    const reason = await attempt(part)
    if (reason === undefined) continue
    if (rowCount(part) > 1) {
      const [first, second] = halves(part)
      untried.push(second, first)
      continue
    }
    if (refused.length === maxRefused) return { kind: 'too-many', reason }
    refused.push({ part, reason })
  }
  return { kind: 'done', refused }
}
