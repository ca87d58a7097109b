// Where a local Postgres lives and under which account it runs. Postgres refuses to run as root, so root lends it an unprivileged account;
// everything that account has to reach must then lie in folders that others may enter.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { ConfigError } from '../../shared/errors.ts'

const run = promisify(execFile)

/** The account that Postgres runs under when we are root; undefined: our own. */
export type Account = { readonly uid: number; readonly gid: number } | undefined

/** Another account may not be able to enter our working directory, and must not inherit our environment, which holds secrets. */
export const childEnvironment = { cwd: '/', env: { LC_ALL: 'C', TZ: 'UTC' } }

export const instead = 'set DATABASE_URL to use a Postgres server of your own instead'

/**
 * The folder of a project's local run, Postgres included. As root it is outside the project, because the unprivileged account that Postgres is lent
 * can't be expected to enter the project's folder (/root is closed to it).
 */
export function defaultDataDir(projectDir: string): string {
  const project = path.resolve(projectDir)
  if (process.getuid?.() !== 0) return path.join(project, '.tokay')
  return path.join('/var/lib/tokay', createHash('sha256').update(project).digest('hex').slice(0, 12))
}

/**
 * Makes the base folder when it is absent. As root others may enter it, whatever the umask says.
 * Answers its real path: Postgres reports its data folder as it was given, so there must be one spelling.
 * @throws ConfigError when this account can't make it or write to it.
 */
export async function openBaseDir(baseDir: string): Promise<string> {
  const wanted = path.resolve(baseDir)
  try {
    const firstMade = await fs.mkdir(wanted, { recursive: true, mode: 0o755 })
    if (firstMade && process.getuid?.() === 0) {
      for (let dir = wanted; dir.length >= firstMade.length; dir = path.dirname(dir)) await fs.chmod(dir, 0o755)
    }
    await fs.access(wanted, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK)
    return await fs.realpath(wanted)
  } catch (cause) {
    throw new ConfigError(
      [`the local Postgres can't use ${wanted} (${(cause as Error).message}): give --data-dir a folder that this account may write to`],
      { cause },
    )
  }
}

/**
 * Postgres refuses to run as root, so root lends it an unprivileged account: the owner of an existing data folder, else a named one (initdb looks the name up).
 * @throws ConfigError when there is none, or it can't enter the base folder, or the data folder is another account's.
 */
export async function lendAccount(base: string): Promise<Account> {
  const owner = await fs.stat(path.join(base, 'data')).catch(() => undefined)
  const self = process.getuid?.()
  if (self !== 0) {
    if (owner && self !== undefined && owner.uid !== self) {
      throw new ConfigError([
        `${base}/data belongs to uid ${owner.uid}, this process is uid ${self}: start as that account, or give --data-dir a folder of your own`,
      ])
    }
    return undefined
  }
  const account = owner && owner.uid !== 0 ? { uid: owner.uid, gid: owner.gid } : await namedAccount()
  try {
    await run('test', ['-x', base], { ...account, cwd: '/' })
  } catch (cause) {
    throw new ConfigError(
      [
        `as root Postgres runs under uid ${account.uid}, which may not enter ${base}: give --data-dir a folder that others may enter (such as one under /var/lib or /var/tmp), or ${instead}`,
      ],
      { cause },
    )
  }
  return account
}

async function namedAccount(): Promise<NonNullable<Account>> {
  for (const name of ['postgres', 'node', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all(['-u', '-g'].map(async (flag) => Number((await run('id', [flag, name])).stdout)))
      if (uid && gid) return { uid, gid }
    } catch {
      // this system has no account of that name
    }
  }
  throw new ConfigError([
    `Postgres refuses to run as root and there is no account named postgres, node or nobody to run it under: add one, or ${instead}`,
  ])
}
