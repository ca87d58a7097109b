// The server that the benchmark writes to, near and far: an embedded Postgres that it starts and removes, or DATABASE_URL.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { startPostgres } from '../../cli/local/embedded-postgres.ts'
import { median } from './statistics.ts'

export type Distance = { readonly name: 'near' | 'far'; readonly url: string; readonly queryMs: number }

/** What is to be undone, in reverse. */
export type Cleanup = (undo: () => Promise<void>) => void

export async function startServer(cleanup: Cleanup): Promise<string> {
  const given = process.env['DATABASE_URL']
  if (given) return given
  const baseDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-bench-'))
  cleanup(() => fs.rm(baseDir, { recursive: true, force: true }))
  // as root the server runs under another account, which must be able to enter
  await fs.chmod(baseDir, 0o755)
  const server = await startPostgres({ baseDir })
  cleanup(() => server.stop())
  return server.url
}

/** The same server as it is, and about 3 ms away. `through`: what stands before it, and speaks another protocol. */
export async function distancesTo(url: string, cleanup: Cleanup, through = url): Promise<readonly Distance[]> {
  const { hostname, port } = new URL(through)
  const proxy = fork(path.join(import.meta.dirname, 'delay-proxy.ts'), [hostname, port || '5432', '1.5'])
  cleanup(async () => void proxy.kill())
  const [proxyPort] = (await once(proxy, 'message')) as [number]
  const far = new URL(through)
  far.hostname = '127.0.0.1'
  far.port = String(proxyPort)
  return [
    { name: 'near', url: through, queryMs: await queryMs(url) },
    { name: 'far', url: far.href, queryMs: through === url ? await queryMs(far.href) : Number.NaN },
  ]
}

/** The median of the smallest query: the round trip as a client sees it. */
async function queryMs(url: string): Promise<number> {
  const client = new Client({ connectionString: url })
  await client.connect()
  const times: number[] = []
  for (let n = 0; n < 200; n++) {
    const startedMs = performance.now()
    await client.query('select 1')
    times.push(performance.now() - startedMs)
  }
  await client.end()
  return median(times.slice(100))
}
