import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSqliteStateTable } from '../../cli/local/sqlite-state-table.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { stateTableSuite } from './state-table-suite.ts'

const root = path.resolve(import.meta.dirname, '../..')
let folder = ''
let files = 0
const freshPath = () => path.join(folder, `state-${++files}.db`)

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tokay-state-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

stateTableSuite('memory', async () => createMemoryStateTable())
stateTableSuite('SQLite', async () => createSqliteStateTable(freshPath()))

/** A process that opens the file and increments one item `times` times. Resolves with its exit code and what it said. */
async function incrementElsewhere(file: string, times: number): Promise<{ code: number | null; said: string }> {
  const program = `
    import { createSqliteStateTable } from ${JSON.stringify(path.join(root, 'cli/local/sqlite-state-table.ts'))}
    import { updateItem } from ${JSON.stringify(path.join(root, 'shared/state/state-table.ts'))}
    import { systemClock } from ${JSON.stringify(path.join(root, 'shared/clock.ts'))}
    const table = createSqliteStateTable(process.argv[1])
    const increment = (data) => ({ data: { count: (data?.count ?? 0) + 1 }, result: undefined })
    for (let i = 0; i < ${times}; i++) await updateItem(table, 'budget:gecko', increment, { clock: systemClock, random: Math.random })
    await table.close()`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, file], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  child.stdout.on('data', (text) => (said += text))
  child.stderr.on('data', (text) => (said += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, said }
}

describe('state table in a SQLite file', () => {
  it('two processes that open the same new file and increment at once lose nothing', async () => {
    const file = freshPath()
    const ends = await Promise.all([incrementElsewhere(file, 150), incrementElsewhere(file, 150)])
    expect(ends).toEqual([
      { code: 0, said: '' },
      { code: 0, said: '' },
    ])
    const table = createSqliteStateTable(file)
    expect(await table.list()).toEqual([{ key: 'budget:gecko', version: 300, data: { count: 300 } }])
    await table.close()
  })

  it('a change is there after closing and opening again', async () => {
    const file = freshPath()
    const before = createSqliteStateTable(file)
    await before.compareAndSet('alerts', 0, { n: 1 })
    await before.close()
    await before.close()
    const after = createSqliteStateTable(file)
    expect(await after.list()).toEqual([{ key: 'alerts', version: 1, data: { n: 1 } }])
    await after.close()
  })

  it.each(['is new', 'could be read by others before'])('a file that %s is readable by its owner only', async (which) => {
    const file = freshPath()
    if (which !== 'is new') writeFileSync(file, '', { mode: 0o644 })
    const table = createSqliteStateTable(file)
    await table.compareAndSet('alerts', 0, {})
    const modes = readdirSync(folder)
      .filter((name) => name.startsWith(path.basename(file)))
      .toSorted()
      .map((name) => [name.slice(path.basename(file).length), (statSync(path.join(folder, name)).mode & 0o777).toString(8)])
    expect(modes).toEqual([
      ['', '600'],
      ['-shm', '600'],
      ['-wal', '600'],
    ])
    await table.close()
  })

  it('a file that is no SQLite file is refused with its name and what to do, and stays as it was', () => {
    const file = freshPath()
    writeFileSync(file, 'these are notes\n'.repeat(500))
    expect(() => createSqliteStateTable(file)).toThrow(
      `could not open the state table ${file}: the file is damaged or is no SQLite file (file is not a database). ` +
        `Stop every process that uses it, move it away together with ${file}-wal and ${file}-shm, and start again`,
    )
    expect(statSync(file).size).toBe(8000)
  })

  it('a file that was overwritten in its middle is refused with its name and what to do', async () => {
    const file = freshPath()
    const table = createSqliteStateTable(file)
    for (let i = 0; i < 40; i++) await table.compareAndSet(`item:${i}`, 0, { text: 'x'.repeat(500) })
    await table.close()
    const pageBytes = 4096
    const handle = openSync(file, 'r+')
    writeSync(handle, Buffer.alloc(statSync(file).size - pageBytes, 0xee), 0, null, pageBytes)
    closeSync(handle)
    expect(() => createSqliteStateTable(file)).toThrow(`could not open the state table ${file}: the file is damaged or is no SQLite file`)
  })

  it('a path that cannot be opened is refused with its name', () => {
    expect(() => createSqliteStateTable(folder)).toThrow(`could not open the state table ${folder}: `)
  })
})
