// What of the parked writes the database refuses for a reason that a person has to end, such as a missing migration: the item `refusals`,
// by stream. The replayer writes it when a refusal begins and ends, so that the health check can tell why the queue does not empty.

import type { Decision } from './state-table.ts'

export type Refusal = {
  /** Class of the failure. */
  readonly class: string
  readonly message: string
  readonly sinceMs: number
}

export type Refusals = Readonly<Record<string, Refusal>>

/** The stream's batches are refused. Unchanged while it is the same class. */
export function refused(stored: Refusals | undefined, stream: string, refusal: Refusal): Decision<Refusals, void> {
  const isKnown = stored?.[stream]?.class === refusal.class
  return { data: isKnown ? undefined : { ...stored, [stream]: refusal }, result: undefined }
}

/** A batch of the stream went in; without a stream: nothing is parked any more. */
export function accepted(stored: Refusals | undefined, stream?: string): Decision<Refusals, void> {
  const left = Object.fromEntries(Object.entries(stored ?? {}).filter(([name]) => stream !== undefined && name !== stream))
  const isSame = Object.keys(left).length === Object.keys(stored ?? {}).length
  return { data: isSame ? undefined : left, result: undefined }
}
