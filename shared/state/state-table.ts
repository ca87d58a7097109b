// The small state table: what guards the database does not live in it.
// A few versioned items, read whole at the start of an invocation and changed only by compare-and-set, so that it is reachable when Postgres is not.
// Implementations: DynamoDB on AWS, SQLite in the local run, memory in unit tests. One conformance suite holds for all.

import type { Clock, Random } from '../clock.ts'

/** `data` is JSON. `version` starts at 1 and grows by 1 with each change. */
export type StateItem = { readonly key: string; readonly version: number; readonly data: unknown }

export interface StateTable {
  /** Every item, read consistently: a change that returned before is seen. */
  list(): Promise<readonly StateItem[]>
  /** Stores `data` at `expectedVersion + 1`, only if the item still has `expectedVersion` (0: it does not exist). False when somebody else was first. */
  compareAndSet(key: string, expectedVersion: number, data: unknown): Promise<boolean>
  close(): Promise<void>
}

/** What a protocol decides: `data` undefined leaves the item as it is. */
export type Decision<Data, Result> = { readonly data: Data | undefined; readonly result: Result }

const conflictTries = 25

/**
 * Runs a pure protocol over one item: read, decide, compare-and-set; on a conflict again with fresh data, after a jittered pause.
 * Throws when the table can't be reached, or after 25 conflicts in a row.
 */
export async function updateItem<Data, Result>(
  table: Pick<StateTable, 'list' | 'compareAndSet'>,
  key: string,
  decide: (data: Data | undefined) => Decision<Data, Result>,
  tools: { clock: Clock; random: Random; known?: StateItem | undefined },
): Promise<Result> {
  let item = tools.known
  for (let conflicts = 0; conflicts < conflictTries; conflicts++) {
    if (conflicts > 0 || !item) item = (await table.list()).find((i) => i.key === key)
    const { data, result } = decide(item?.data as Data | undefined)
    if (data === undefined || (await table.compareAndSet(key, item?.version ?? 0, data))) return result
    await tools.clock.sleep(tools.random() * Math.min(5 * 2 ** conflicts, 200))
  }
  throw new Error(`state item ${key}: gave up after ${conflictTries} conflicting changes`)
}
