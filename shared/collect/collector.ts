// What a collector is: what to fetch, how to parse it, which rows it makes. One file each; the rest is collect.ts's.
// A collector reads the API page by page and yields each page as it comes. It never writes, retries or catches a database error.

import type { Settings } from '../config.ts'
import type { Rows, Statement } from '../db/database.ts'
import type { GeckoClient } from '../gecko/client.ts'
import type { Batch, Parsed, Reject } from '../model.ts'
import type { CollectorName } from '../names.ts'

/** Where a collector's streams stand, as JSON: kept in the state table, given back at the next run. */
export type Cursor = Readonly<Record<string, unknown>>

export type Page = {
  readonly rows: Partial<Batch>
  /** Items of the collector's own kind that the API sent, those that were rejected included. */
  readonly fetched: number
  readonly rejected: number
  /** Of any kind, for the log. */
  readonly rejects: readonly Reject[]
  readonly drift: readonly string[]
  /** Streams that have moved. Taken over only when the page's rows are committed or parked. */
  readonly cursor: Cursor
}

/** A part that could not be fetched, such as one network; the collector goes on with the others. */
export type FetchFailure = { readonly what: string; readonly error: unknown }

export type FetchContext = {
  readonly settings: Settings
  readonly gecko: GeckoClient
  readonly cursor: Cursor
  /** Reads through the resilient client. Throws when the database can't be asked. */
  readonly query: (statement: Statement) => Promise<Rows>
  readonly warn: (event: { event: string } & Record<string, unknown>) => void
  readonly deadlineAtMs: number
  readonly signal: AbortSignal | undefined
}

export type Collector = {
  readonly name: CollectorName
  /** The table of the collector's own kind of rows, for its counts. */
  readonly table: 'dexes' | 'pools' | 'trades'
  fetch(context: FetchContext): AsyncIterable<Page | FetchFailure>
}

/** A page of what one answer held. */
export function pageOf(parsed: Parsed<unknown>, kind: Reject['kind'], rows: Partial<Batch>, cursor: Cursor = {}): Page {
  const { items, rejects, drift } = parsed
  return { rows, fetched: items, rejected: rejects.filter((reject) => reject.kind === kind).length, rejects, drift, cursor }
}

/** A page that only moves the cursor, or brings what was found out along the way. */
export const noItems = (rows: Partial<Batch>, cursor: Cursor): Page => ({ rows, fetched: 0, rejected: 0, rejects: [], drift: [], cursor })

export const isFailure = (item: Page | FetchFailure): item is FetchFailure => 'error' in item
