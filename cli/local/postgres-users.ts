// Who uses a local Postgres: one file per start in `<base>/users`, so that whoever leaves last stops the server and nobody stops it under another.
//
//   absent --enter--> using --beginLeaving--> leaving --left--> absent
//
// A leaver marks itself first and looks for users then; a starter enters first and looks for leavers then. So of two that meet, at least one sees the other:
// the leaver lets the server run, or the starter waits until the leaver is done. A process that was killed is told from a later one with its pid by its start time.

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'

const leavingSuffix = '.leaving'

/** Whether a process has this id; a zombie counts. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** What tells a living process from a later one with the same id (Linux: its start in clock ticks since boot; elsewhere always '0'); undefined for none and for a zombie. */
export function processStart(pid: number): string | undefined {
  if (!isAlive(pid)) return undefined
  if (process.platform !== 'linux') return '0'
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined // it ended in between
  }
}

export type PostgresUser = {
  /** Marks this user as leaving. True when no other living process uses the server: it is ours to stop. */
  beginLeaving(): Promise<boolean>
  /** Whether somebody else is about to stop the server. */
  someoneLeaves(): Promise<boolean>
  left(): Promise<void>
}

/** Enters this process as a user of the server in `baseDir`. */
export async function enter(baseDir: string): Promise<PostgresUser> {
  const folder = path.join(baseDir, 'users')
  const own = `${process.pid}-${processStart(process.pid)}-${randomBytes(3).toString('hex')}`
  const file = path.join(folder, own)
  await fs.mkdir(folder, { recursive: true })
  await fs.writeFile(file, '')

  async function others(): Promise<string[]> {
    const names = (await fs.readdir(folder)).filter((name) => !name.startsWith(own))
    const living: string[] = []
    for (const name of names) {
      const [pid, start] = name.replace(leavingSuffix, '').split('-')
      if (processStart(Number(pid)) === start) living.push(name)
      else await fs.rm(path.join(folder, name), { force: true })
    }
    return living
  }

  return {
    async beginLeaving() {
      await fs.rename(file, file + leavingSuffix)
      return (await others()).every((name) => name.endsWith(leavingSuffix))
    },
    someoneLeaves: async () => (await others()).some((name) => name.endsWith(leavingSuffix)),
    async left() {
      await fs.rm(file, { force: true })
      await fs.rm(file + leavingSuffix, { force: true })
    },
  }
}
