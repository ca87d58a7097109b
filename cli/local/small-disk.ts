// A disk that is small enough to be filled up: a tmpfs of its own, as a tablespace. Only root on Linux can mount one.

import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { withAdminSession } from './admin-session.ts'

const run = promisify(execFile)

/** Room for a database (8 MB), and for the rows of a few minutes. */
const defaultSizeMb = 48

export const smallDiskIsPossible = () => process.platform === 'linux' && process.getuid?.() === 0

/** @param baseDir of the embedded Postgres; the disk lies in it and belongs to the server's account */
export async function mountSmallDisk(options: {
  baseDir: string
  adminUrl: string
  sizeMb?: number
}): Promise<{ tablespace: string; unmount(): Promise<void> }> {
  const { baseDir, adminUrl, sizeMb = defaultSizeMb } = options
  const disk = path.join(baseDir, 'small-disk')
  const folder = path.join(disk, 'tablespace')
  const tablespace = 'small_disk'
  await fs.mkdir(disk)
  await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'tokay-small-disk', disk])
  const { uid, gid } = await fs.stat(path.join(baseDir, 'data'))
  await fs.mkdir(folder, { mode: 0o700 })
  await fs.chown(folder, uid, gid)
  await withAdminSession(adminUrl, (admin) => admin.sql(`create tablespace ${tablespace} location '${folder}'`))
  return {
    tablespace,
    /** After the server has stopped, or when nothing lies on it any more. */
    async unmount() {
      await run('umount', [disk])
      await fs.rmdir(disk)
    },
  }
}
