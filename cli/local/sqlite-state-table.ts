// The state table of the local run: one SQLite file, through Node's own node:sqlite. Several processes may use the file at once:
// readers never wait (WAL), a change is one conditional statement, and a writer waits its turn for at most `busyForMs`.
// The calls are synchronous underneath; each takes well under a millisecond, a change about one fsync.

import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { StateTable } from '../../shared/state/state-table.ts'

/** How long a change waits for another process's. Theirs take milliseconds, so more than this is a stopped process that holds the lock. */
const busyForMs = 1_000

/** SQLite's primary result code; the extended ones have it in their last byte. */
const resultCode = (error: unknown) => Number((error as { errcode?: number }).errcode) & 0xff
const corrupt = 11
const isBusy = (error: unknown) => resultCode(error) === 5
const isDamage = (error: unknown) => [corrupt, 26].includes(resultCode(error))

/**
 * Opens the file, and makes it (0600) when it is not there. A change is on disk when `compareAndSet` returns.
 * @throws Error that names the file and what to do, when it is damaged, is no SQLite file or can't be opened; also later, from each call.
 */
export function createSqliteStateTable(path: string): StateTable {
  const attempt = <T>(attempted: string, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw new Error(`${attempted} the state table ${path}: ${remedy(error, path)}`, { cause: error })
    }
  }

  const database = attempt('could not open', () => openPatiently(path))
  const statements = attempt('could not open', () => ({
    list: database.prepare('select key, version, data from state_item order by key'),
    create: database.prepare('insert into state_item (key, version, data) values (?, 1, ?) on conflict (key) do nothing'),
    change: database.prepare('update state_item set version = version + 1, data = ? where key = ? and version = ?'),
  }))

  return {
    async list() {
      return attempt('could not read', () =>
        statements.list.all().map((row) => ({ key: String(row['key']), version: Number(row['version']), data: parse(row) })),
      )
    },
    async compareAndSet(key, expectedVersion, data) {
      const json = JSON.stringify(data)
      return attempt(`could not change ${key} in`, () => {
        const { changes } = expectedVersion === 0 ? statements.create.run(key, json) : statements.change.run(json, key, expectedVersion)
        return Number(changes) === 1
      })
    },
    async close() {
      if (database.isOpen) database.close()
    },
  }
}

/** Turning a new file to WAL fails at once, in spite of the busy timeout, when another process does the same at that moment (seen: 2 of 40 times). */
function openPatiently(path: string): DatabaseSync {
  const giveUpAtMs = performance.now() + busyForMs
  for (;;) {
    try {
      return open(path)
    } catch (error) {
      if (!isBusy(error) || performance.now() > giveUpAtMs) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10 + Math.random() * 20)
    }
  }
}

function open(path: string): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  makePrivate(path)
  const database = new DatabaseSync(path, { timeout: busyForMs })
  try {
    database.exec('pragma journal_mode = wal')
    // said, not left to how SQLite was built: `normal` may lose the last changes with the power, and a cursor or a lease would go back
    database.exec('pragma synchronous = full')
    database.exec(
      'create table if not exists state_item (key text primary key, version integer not null, data text not null) strict, without rowid',
    )
    const found = database.prepare('pragma quick_check(1)').get()?.['quick_check']
    if (found !== 'ok') throw Object.assign(new Error(String(found)), { errcode: corrupt })
  } catch (error) {
    database.close()
    throw error
  }
  return database
}

/**
 * The file's mode before SQLite opens it: SQLite gives its own files beside it (-wal, -shm) the same.
 * A file that is there is never opened here: closing it again would drop the locks that this process holds on it through SQLite.
 */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    chmodSync(path, 0o600)
  }
}

function parse(row: Record<string, unknown>): unknown {
  try {
    return JSON.parse(String(row['data']))
  } catch (error) {
    throw Object.assign(new Error(`item ${String(row['key'])} is not JSON`, { cause: error }), { errcode: corrupt })
  }
}

function remedy(error: unknown, path: string): string {
  const message = error instanceof Error ? error.message : String(error)
  return isDamage(error)
    ? `the file is damaged or is no SQLite file (${message}). Stop every process that uses it, move it away together with ${path}-wal and ` +
        `${path}-shm, and start again: a new one is made. No collected row is lost; cursors start anew, so rows are fetched once more.`
    : `${message}. Check that the path is a file that this user may read and write, that the disk has room and that no stopped process holds it.`
}
