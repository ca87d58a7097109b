// `tokay export`: a table as CSV or JSON lines, to stdout or into a file. One page is in memory at a time, and the next is asked for once the
// reader has taken the last.
//
// A file is written beside its place as FILE.part and moved there whole: whoever finds FILE has all of it. Who closes the pipe has read enough.

import { lstat, open, rename, rm } from 'node:fs/promises'
import type { Row } from '../shared/db/database.ts'
import {
  type ExportRange,
  type ExportTable,
  type ExportTableName,
  exportPage,
  exportTables,
  keyOf,
} from '../shared/db/export-statements.ts'
import { ConfigError } from '../shared/errors.ts'
import { grouped } from './output.ts'
import { type ReadChoice, readLimits, withReadDatabase } from './read-database.ts'

export type ExportOptions = ReadChoice &
  ExportRange & {
    readonly format: 'csv' | 'jsonl'
    /** Default: stdout. */
    readonly out?: string
  }

const pageRows = 5_000

/** Answers the exit code: 0 also when the reader of stdout has gone, 130 when it was broken off. */
export async function exportTable(name: ExportTableName, options: ExportOptions, signal: AbortSignal): Promise<number> {
  const { network, from, to } = options
  const table: ExportTable = exportTables[name]
  if (network !== undefined && table.network === undefined)
    throw new ConfigError([`--network: rows of ${name} belong to no single network; leave it out`])
  if (from !== undefined && to !== undefined && Date.parse(from) >= Date.parse(to)) throw new ConfigError(['--from must be before --to'])
  return await withReadDatabase(options, signal, async (database) => {
    const sink = await (options.out === undefined ? toStdout() : toFile(options.out))
    const progress = showProgress(name, options.out !== undefined)
    let rows = 0
    try {
      for (let after: readonly string[] | undefined; ;) {
        const page = await database.query(exportPage(name, options, { limit: pageRows, ...(after ? { after } : {}) }), readLimits)
        signal.throwIfAborted()
        // not before the first page is there: where it can't be read nothing comes out
        const header = options.format === 'csv' && after === undefined ? `${table.columns.map(([column]) => column).join(',')}\n` : ''
        const text = header + page.map((row) => lineOf[options.format](table, row)).join('')
        if (text !== '') await sink.write(text)
        rows += page.length
        progress(rows)
        if (page.length < pageRows) break
        after = keyOf(name, page.at(-1) as Row)
      }
      signal.throwIfAborted()
      await sink.finish()
    } catch (error) {
      await sink.drop()
      if (options.out === undefined && (error as NodeJS.ErrnoException).code === 'EPIPE') return 0
      throw error
    } finally {
      progress(undefined)
    }
    console.error(`${grouped(rows)} rows of ${name}${options.out === undefined ? '' : ` in ${options.out}`}`)
    return 0
  })
}

type Sink = {
  /** Resolves when it has been taken. */
  write(text: string): Promise<void>
  finish(): Promise<void>
  /** Leaves nothing of it, as far as that can be. */
  drop(): Promise<void>
}

function toStdout(): Sink {
  // told to whoever writes; without a listener it would end the process with a stack trace
  process.stdout.on('error', () => {})
  return {
    write: (text) => new Promise((resolve, reject) => void process.stdout.write(text, (error) => (error ? reject(error) : resolve()))),
    finish: async () => {},
    drop: async () => {},
  }
}

async function toFile(file: string): Promise<Sink> {
  const part = `${file}.part`
  try {
    const there = await lstat(file).catch(() => undefined) // what is not there, or can't be looked at, the next call judges
    // it would be replaced, and /dev/null is needed by others
    if (there && !there.isFile()) throw new Error('there is something that is no plain file')
    const handle = await open(part, 'w')
    return {
      write: (text) => handle.appendFile(text),
      async finish() {
        await handle.sync()
        await handle.close()
        await rename(part, file)
      },
      async drop() {
        // neither may stand in place of why it is dropped
        await handle.close().catch(() => {})
        await rm(part, { force: true }).catch(() => {})
      },
    }
  } catch (cause) {
    throw new ConfigError([`--out: ${file} can't be written: ${(cause as Error).message}`], { cause })
  }
}

const lineOf: Readonly<Record<ExportOptions['format'], (table: ExportTable, row: Row) => string>> = { csv: csvLine, jsonl: jsonLine }

/** Quoted as RFC 4180 has it, lines end as everywhere on Unix. NULL is nothing at all, an empty text is `""`: as COPY writes and reads it. */
function csvLine({ columns }: ExportTable, row: Row): string {
  const cells = columns.map(([column]) => {
    const value = row[column] as string | null
    if (value === null) return ''
    return value === '' || /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
  })
  return `${cells.join(',')}\n`
}

/** Numerics are strings: as JSON numbers most readers would round them. */
function jsonLine({ columns }: ExportTable, row: Row): string {
  const members = columns.map(([column, kind]) => {
    const value = row[column] as string | null
    const isJson = value === null || kind === 'integer' || kind === 'json'
    return `"${column}":${isJson ? value : JSON.stringify(value)}`
  })
  return `{${members.join(',')}}\n`
}

/** One line that is written over, on a terminal that does not show the rows themselves. `undefined` ends it. */
function showProgress(name: string, isFile: boolean): (rows: number | undefined) => void {
  if (!process.stderr.isTTY || (process.stdout.isTTY && !isFile)) return () => {}
  const startedAtMs = performance.now()
  return (rows) => {
    const perSecond = rows === undefined ? 0 : Math.round((rows * 1_000) / Math.max(1, performance.now() - startedAtMs))
    process.stderr.write(`\r\u001b[K${rows === undefined ? '' : `${name}: ${grouped(rows)} rows, ${grouped(perSecond)} rows/s`}`)
  }
}
