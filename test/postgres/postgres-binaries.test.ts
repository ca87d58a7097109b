// What the user has to change is said in one message, and nothing is changed or left behind. And the binaries are brought to where they can run.

import * as fs from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { defaultDataDir, startPostgres, type LocalPostgres, type PostgresOptions } from '../../cli/local/embedded-postgres.ts'
import { nativeFolder } from '../../cli/local/postgres-binaries.ts'
import { ConfigError } from '../../shared/errors.ts'

const isRoot = process.getuid?.() === 0

/** Holds every folder of this file; others may enter it. */
let home: string

beforeAll(async () => {
  home = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-test-binaries-')))
  await fs.chmod(home, 0o755)
})

afterAll(() => fs.rm(home, { recursive: true, force: true }))

async function start(options: PostgresOptions): Promise<LocalPostgres> {
  const postgres = await startPostgres(options)
  onTestFinished(() => postgres.stop())
  return postgres
}

async function problemOf(options: PostgresOptions): Promise<string> {
  const error = await start(options).then(
    () => new Error('it started'),
    (reason: unknown) => reason,
  )
  if (error instanceof ConfigError) return error.message
  throw error
}

describe('one message says what to change', () => {
  it('a data folder of another major version is named with both versions, and is not touched', async () => {
    const baseDir = path.join(home, 'old')
    await fs.mkdir(path.join(baseDir, 'data'), { recursive: true })
    await fs.writeFile(path.join(baseDir, 'data', 'PG_VERSION'), '15\n')
    const problem = await problemOf({ baseDir })
    expect(problem).toContain(`${baseDir}/data was made by Postgres 15, this is Postgres 18`)
    expect(problem).toContain('--data-dir')
    expect(problem).toContain('pg_dump')
    expect(await fs.readdir(path.join(baseDir, 'data'))).toEqual(['PG_VERSION'])
  })

  it('a data folder that somebody else made is refused', async () => {
    const baseDir = path.join(home, 'foreign')
    await fs.mkdir(path.join(baseDir, 'data'), { recursive: true })
    await fs.writeFile(path.join(baseDir, 'data', 'photo.jpg'), '')
    expect(await problemOf({ baseDir })).toContain('is not a data folder of the embedded Postgres')
    expect(await fs.readdir(path.join(baseDir, 'data'))).toEqual(['photo.jpg'])
  })

  it('a given port that another program has is named', async () => {
    const other = net.createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void other.close())
    const { port } = other.address() as net.AddressInfo
    const baseDir = path.join(home, 'port')
    expect(await problemOf({ baseDir, port })).toBe(
      `port ${port} on 127.0.0.1 is taken by another program: end it, or give Postgres another port or none`,
    )
    expect(await fs.readdir(path.join(baseDir, 'users'))).toEqual([])
  })

  it('a platform without a package of binaries is told to set DATABASE_URL', () => {
    expect(() => nativeFolder('sunos', 'sparc')).toThrow(ConfigError)
    expect(() => nativeFolder('sunos', 'sparc')).toThrow(/@embedded-postgres\/sunos-sparc.*DATABASE_URL/)
    expect(() => nativeFolder('win32', 'mips')).toThrow(/@embedded-postgres\/windows-mips/)
  })

  it('a package that holds no binaries is told apart from a server that does not start', async () => {
    const native = path.join(home, 'empty', 'native')
    await fs.mkdir(native, { recursive: true })
    expect(await problemOf({ baseDir: path.join(home, 'none'), native })).toContain('does not hold the embedded Postgres: run npm ci')
  })

  it('binaries that this system can not run (musl) are told to set DATABASE_URL', async () => {
    const native = await fakeBinaries('musl', { postgres: '#!/lib/ld-of-another-libc\n' })
    expect(await problemOf({ baseDir: path.join(home, 'musl-base'), native })).toMatch(/does not run on this system .*musl.*DATABASE_URL/)
  })

  it.each([
    'initdb: error: could not write to file "base/1": No space left on device',
    'FATAL:  could not extend file "base/1/2691": wrote only 4096 of 8192 bytes at block 10\nHINT:  Check free disk space.',
  ])('a full disk during initdb is said, and nothing half-made stays: %s', async (said) => {
    const native = await fakeBinaries('full', {
      postgres: '#!/bin/sh\necho "postgres (PostgreSQL) 18.4"\n',
      initdb: `#!/bin/sh\necho half > "$2/base"\ncat >&2 <<'END'\n${said}\nEND\nexit 1\n`,
    })
    const baseDir = path.join(home, 'full-base')
    expect(await problemOf({ baseDir, native })).toContain('the disk is full')
    expect(await fs.readdir(baseDir)).toEqual([])
  })

  it('a base folder that is a file is named', async () => {
    const file = path.join(home, 'a-file')
    await fs.writeFile(file, '')
    expect(await problemOf({ baseDir: file })).toContain(`can't use ${file}`)
  })

  it.runIf(isRoot)('a base folder that the lent account may not enter is named', async () => {
    const closed = path.join(home, 'closed')
    await fs.mkdir(closed, { mode: 0o700 })
    const problem = await problemOf({ baseDir: path.join(closed, 'base') })
    expect(problem).toContain(`may not enter ${closed}/base`)
    expect(problem).toContain('--data-dir')
  })
})

describe('the binaries', () => {
  it('are copied when the lent account can not reach them, or npm made none of their links', async () => {
    const folder = path.join(home, 'closed-package')
    await fs.mkdir(folder, { mode: 0o700 })
    const native = path.join(folder, 'native')
    await fs.cp(nativeFolder(), native, { recursive: true, verbatimSymlinks: true })
    const links = JSON.parse(await fs.readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as { target: string }[]
    for (const link of links) await fs.rm(path.join(folder, link.target), { force: true })
    const baseDir = path.join(home, 'copied')
    const first = await start({ baseDir, native })
    const client = new Client({ connectionString: first.url })
    await client.connect()
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }])
    await client.end()
    await first.stop()
    const copies = async () => (await fs.readdir(baseDir)).filter((name) => name.startsWith('binaries-'))
    expect(await copies()).toHaveLength(1)
    await (await start({ baseDir, native })).stop()
    expect(await copies()).toHaveLength(1)
  })
})

describe('the default folder', () => {
  it.runIf(isRoot)('of root is outside the project, which the lent account may not reach', () => {
    expect(defaultDataDir('/root/tokay')).toMatch(/^\/var\/lib\/tokay\/[0-9a-f]{12}$/)
    expect(defaultDataDir('/root/tokay')).not.toBe(defaultDataDir('/root/other'))
  })

  it.skipIf(isRoot)('of an ordinary account is in the project', () => {
    expect(defaultDataDir('/home/me/tokay')).toBe('/home/me/tokay/.tokay')
  })
})

/** A package whose programs are scripts. */
async function fakeBinaries(name: string, scripts: Record<string, string>): Promise<string> {
  const native = path.join(home, name, 'native')
  await fs.mkdir(path.join(native, 'bin'), { recursive: true })
  for (const [file, text] of Object.entries(scripts)) await fs.writeFile(path.join(native, 'bin', file), text, { mode: 0o755 })
  return native
}
