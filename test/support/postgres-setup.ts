// One Postgres for a whole test run: TOKAY_TEST_DATABASE_URL when set, else an embedded one in a folder that the run makes and removes.
// A run that was killed leaves its server behind; the next run finds the folder by the dead process's id in its name, stops it and removes it.

import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { TestProject } from 'vitest/node'
import { startPostgres } from '../../cli/local/embedded-postgres.ts'
import { isAlive } from '../../cli/local/postgres-users.ts'

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string
  }
}

const prefix = 'tokay-test-run-'

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env['TOKAY_TEST_DATABASE_URL']
  if (given) {
    project.provide('databaseUrl', given)
    return undefined
  }
  await removeLeftovers()
  const baseDir = await fs.mkdtemp(path.join(os.tmpdir(), `${prefix}${process.pid}-`))
  // As root the server runs under another account, which must be able to enter.
  await fs.chmod(baseDir, 0o755)
  const postgres = await startPostgres({ baseDir })
  project.provide('databaseUrl', postgres.url)
  return async () => {
    await postgres.stop()
    await fs.rm(baseDir, { recursive: true, force: true })
  }
}

async function removeLeftovers(): Promise<void> {
  for (const name of await fs.readdir(os.tmpdir())) {
    const pid = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : 0
    if (!(pid > 0) || isAlive(pid)) continue
    const baseDir = path.join(os.tmpdir(), name)
    try {
      if (existsSync(path.join(baseDir, 'data', 'postmaster.pid'))) await (await startPostgres({ baseDir })).stop()
      await fs.rm(baseDir, { recursive: true, force: true })
    } catch (error) {
      // Another run may be removing it, or it is another user's: neither is this run's failure.
      console.warn(`${baseDir} of an earlier test run could not be removed: ${String(error)}`)
    }
  }
}
