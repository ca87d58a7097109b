// The port of parked writes: batches that could not be written wait here, durably, until replay-parked has committed them.
// A parked write is data, never SQL: the tables of its batch name the statements, its schema version says how to read them.
// Two implementations: SQS on AWS, files in the local run.

import type { Batch } from '../model.ts'

/** 2: holds looks or outages of the health check as well. Older code would not see them, and lose them. */
export type SchemaVersion = 1 | 2
export const newestVersion: SchemaVersion = 2

/** The oldest that says all of it: what older code can replay, it may, while two releases run side by side. */
export const versionOf = ({ samples, incidents }: Batch): SchemaVersion => (samples.length + incidents.length > 0 ? 2 : 1)

export type ParkedWrite = {
  readonly id: string
  /** An older version is upgraded when read, a newer one stays queued for newer code. */
  readonly schemaVersion: SchemaVersion
  readonly collector: string
  readonly runId: string
  readonly parkedAtMs: number
  /** Class of the failure, such as `connection` or `circuit-open`. */
  readonly reason: string
  readonly batch: Batch
}

/** `receipt` names this delivery to remove, release or set aside. */
export type Received = { readonly write: ParkedWrite; readonly receipt: string }

export interface ParkedWrites {
  /** Durable when it resolves. Throws when it can't be made so: then the caller must fail loudly, with its cursor unmoved. */
  park(write: ParkedWrite): Promise<void>
  /** How many wait. Cheap; wakes no database. */
  depth(): Promise<number>
  /** Oldest first. What is received is not received again until it is released, or its holder is gone. */
  receive(max: number): Promise<readonly Received[]>
  /** After the commit. Idempotent. */
  remove(receipts: readonly string[]): Promise<void>
  /** Gives them back at once. */
  release(receipts: readonly string[]): Promise<void>
  /** Out of the queue to the dead-letter place, with the reason: for what the database will never take. */
  setAside(received: Received, reason: string): Promise<void>
}
