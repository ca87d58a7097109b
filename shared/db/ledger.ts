// The ledger of batches that are in: what makes statements that are not idempotent safe to repeat.
//
// Its entry is the first statement of the transaction that writes the batch, so that both are in or neither is. An entry that is there already
// fails the transaction before any other statement has run: users' statements need no guard of their own, and none can be forgotten.
// The function stands in migration 0002 and speaks by SQLSTATE, which is what both drivers pass on:
//
//   TK001   the batch is in: the answer of this call
//   TK002   an earlier attempt of the same batch still runs, and holds the entry: no contention, it ends by itself. Tried again shortly
//   25P01   not inside a transaction (a BEGIN that failed alone): nothing was entered

import { createHash } from 'node:crypto'
import { DatabaseError, type Statement } from './database.ts'

export type LedgerEntry = {
  /** A uuid that is the same for each attempt at this batch, and for no other batch: see `batchIdOf`. */
  readonly batchId: string
  /** Which part, where a batch is too large for one transaction. From 0, the default. */
  readonly chunk?: number
  /** How many rows it brings, for the record. */
  readonly rows: number
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * A batch's id, from what it is: where it came from, when, and its content as JSON. The same batch has the same id in every process and in
 * every delivery of a message. The time belongs to it, or the same content on two days would be taken for one batch: when it was fetched
 * or sent, never when it is written.
 */
export function batchIdOf(batch: { readonly source: string; readonly atMs: number; readonly content: unknown }): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([batch.source, batch.atMs, batch.content]))
    .digest()
  // RFC 9562: version 8 is a uuid whose bits the application defines.
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x80, 6)
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8)
  return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Throws a TypeError for what can only be a mistake of the caller: before anything is sent, and never with a value from a row. */
export function assertEntry({ batchId, chunk = 0, rows }: LedgerEntry, statements: readonly Statement[]): void {
  if (!uuid.test(batchId)) throw new TypeError('exactlyOnce: batchId is no uuid; make it with batchIdOf')
  const isCount = (n: number) => Number.isInteger(n) && n >= 0 && n <= 2 ** 31 - 1
  if (!isCount(chunk)) throw new TypeError('exactlyOnce: chunk is no whole number from 0')
  if (!isCount(rows)) throw new TypeError('exactlyOnce: rows is no whole number from 0')
  // the batch would count as applied for ever, and nothing of it would be in
  if (statements.length === 0) throw new TypeError('exactlyOnce: no statement was given')
}

/** Idempotent by (batch_id, chunk): the second one fails, with whatever stands behind it. */
export const enterLedger = ({ batchId, chunk = 0, rows }: LedgerEntry): Statement => ({
  name: 'enter_ledger',
  text: 'select enter_ledger($1::uuid, $2::int, $3::int)',
  values: [batchId, chunk, rows],
})

export const isAlreadyApplied = (error: unknown): boolean => error instanceof DatabaseError && error.sqlState === 'TK001'
