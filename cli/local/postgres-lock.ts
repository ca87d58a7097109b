// Postgres' own lock file, `<data>/postmaster.pid`, and whether the process it names is a server of that folder.

import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { isAlive } from './postgres-users.ts'

const run = promisify(execFile)

/** Line 1 is the server's pid, line 4 its port. */
export async function readLock(data: string): Promise<{ pid: number; port: number | undefined; text: string } | undefined> {
  const text = await fs.readFile(path.join(data, 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n')
  const pid = Number(lines[0])
  return pid > 0 ? { pid, port: Number(lines[3]) || undefined, text } : undefined
}

/**
 * Postgres refuses for ever to start on a lock file whose pid was given to another program after a reboot, or is a zombie that nobody reaps
 * (node as a container's process 1). Neither is a lock. Dropping the file is safe: Postgres still finds living children by the folder's shared memory.
 */
export async function dropForeignLock(data: string): Promise<void> {
  const lock = await readLock(data)
  if (!lock || !isAlive(lock.pid) || (await isServerOf(lock.pid, data))) return
  const file = path.join(data, 'postmaster.pid')
  const aside = `${file}.${process.pid}`
  try {
    await fs.rename(file, aside)
    // A rival may have dropped it before us and started: then this is the new server's lock, which has to go back.
    if ((await fs.readFile(aside, 'utf8')) !== lock.text) await fs.link(aside, file)
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error // the rival did the rest, too
  }
  await fs.rm(aside, { force: true })
}

/** A server stands in its data folder. A zombie stands nowhere. */
export async function isServerOf(pid: number, data: string): Promise<boolean> {
  if (process.platform === 'linux') {
    try {
      return (await fs.readlink(`/proc/${pid}/cwd`)) === data
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ENOENT' // another account's process: Postgres passes over that by itself
    }
  }
  if (process.platform === 'win32') return true // not known; Postgres itself decides
  const { stdout } = await run('ps', ['-o', 'stat=,comm=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  return /postgres/.test(stdout) && !stdout.startsWith('Z')
}
