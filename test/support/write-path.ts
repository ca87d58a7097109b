// The real write path for a test that disturbs it: the local run's own tools through a proxy of their own, over a server that may be killed,
// as a role that is bound by limits.

import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { openAdminSession, withAdminSession, type AdminSession } from '../../cli/local/admin-session.ts'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import type { FaultPlace } from '../../cli/local/faults.ts'
import { startFragilePostgres, type FragilePostgres } from '../../cli/local/fragile-postgres.ts'
import { batchOf, judge, storedLines, type BatchId, type Judgement } from '../../cli/local/offered-rows.ts'
import { openTools, type LocalTools } from '../../cli/runtime.ts'
import { replayParked, type ReplayResult } from '../../shared/collect/replay-parked.ts'
import { writeOrPark, type Outcome } from '../../shared/collect/write-or-park.ts'
import type { Settings } from '../../shared/config.ts'
import { migrate } from '../../shared/db/migrate.ts'
import type { Driver } from '../../shared/db/neon-host.ts'
import type { LogEvent } from '../../shared/log.ts'

const schema = 'tokay_simulator'
const role = { name: 'workload', password: 'workload' }

export type FragileDatabase = {
  readonly server: FragilePostgres
  readonly folder: string
  /** Makes a database with the collectors' tables, owned by the workload's role. */
  database(name: string, options?: { tablespace?: string }): Promise<{ adminUrl: string; workloadUrl: string }>
  /** The server stops, its folder goes. */
  remove(): Promise<void>
}

/** A server of its own: nobody else's tests are on it. */
export async function openFragileDatabase(): Promise<FragileDatabase> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-fragile-'))
  // as root, Postgres runs under another account, which must be able to enter
  await fs.chmod(folder, 0o755)
  const server = await startFragilePostgres({ baseDir: path.join(folder, 'postgres') })
  await withAdminSession(server.url, (admin) => admin.sql(`create role ${role.name} login password '${role.password}'`))
  return {
    server,
    folder,
    async database(name, { tablespace } = {}) {
      const on = tablespace === undefined ? '' : ` tablespace ${tablespace}`
      await withAdminSession(server.url, (admin) => admin.sql(`create database ${name} owner ${role.name}${on}`))
      const adminUrl = urlOf(server.url, { database: name })
      const workloadUrl = urlOf(server.url, { database: name, ...role })
      await migrate({ url: workloadUrl, schema, connectForMs: 10_000 })
      return { adminUrl, workloadUrl }
    },
    async remove() {
      await server.stop()
      await fs.rm(folder, { recursive: true, force: true })
    },
  }
}

export function urlOf(serverUrl: string, to: { database: string; name?: string; password?: string }): string {
  const url = new URL(serverUrl)
  url.pathname = `/${to.database}`
  if (to.name !== undefined) url.username = to.name
  if (to.password !== undefined) url.password = to.password
  return url.href
}

export type Lane = {
  readonly writer: string
  /** What this program connects to. */
  readonly proxy: FaultProxy
  /** Beyond what stands before the server, where its COMMIT can be met alone. */
  readonly behind: FaultProxy | undefined
  readonly tools: LocalTools
  readonly place: FaultPlace
  readonly events: readonly LogEvent[]
  readonly offered: readonly BatchId[]
  /** The next batch of this lane. Its trades can be made too large for the room that is left on a page. */
  write(options?: { ballastBytes?: number }): Promise<Outcome>
  /** Until nothing is parked, for `forMs` at most. */
  drain(forMs: number): Promise<ReplayResult>
  /** This lane's rows against the tables. */
  judge(): Promise<Judgement>
  /** The last batch's alone. */
  judgeLast(): Promise<Judgement>
  close(): Promise<void>
}

/** How an instance reaches the server. `commitAnswer`: see FaultPlace. Its proxies end with the lane; `close` ends what stands between them. */
export type Way = {
  readonly proxy: FaultProxy
  readonly url: string
  readonly driver?: Driver
  readonly behind?: FaultProxy
  readonly commitAnswer?: string
  close?(): Promise<void>
}

/**
 * One instance of the program, with a proxy, a state table and parked files of its own. `writer`: a hexadecimal name. `way`: how it reaches the
 * server, by default through the proxy alone. The proxy ends with the lane.
 */
export async function openLane(options: {
  server: FragilePostgres
  adminUrl: string
  workloadUrl: string
  folder: string
  writer: string
  settings: Settings
  way?: Way
}): Promise<Lane> {
  const { server, adminUrl, writer, settings, way } = options
  const proxy = way?.proxy ?? (await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } }))
  const dataDir = path.join(options.folder, `lane-${writer}`)
  await fs.mkdir(dataDir, { recursive: true })
  const events: LogEvent[] = []
  const keep = (event: LogEvent) => void events.push(event)
  const tools = await openTools({
    settings,
    source: { name: 'simulator', baseUrl: 'http://127.0.0.1:9', close: async () => {} },
    databaseUrl: way?.url ?? proxy.url(options.workloadUrl),
    driver: way?.driver ?? 'pg',
    dataDir,
    log: { info: keep, warn: keep, error: keep },
  })
  const offered: BatchId[] = []
  // kept open: a sweep asks thousands of times
  let watch: Promise<AdminSession> | undefined
  return {
    writer,
    proxy,
    tools,
    behind: way?.behind,
    place: {
      proxy,
      server,
      adminUrl,
      role: role.name,
      database: new URL(adminUrl).pathname.slice(1),
      schema,
      ...(way?.commitAnswer === undefined ? {} : { commitAnswer: way.commitAnswer }),
    },
    events,
    offered,
    write({ ballastBytes = 0 } = {}) {
      const id = { writer, number: offered.length }
      offered.push(id)
      const nowMs = Date.now()
      const run = { collector: 'lane', runId: String(id.number), table: 'trades' as const, deadlineAtMs: nowMs + 20_000 }
      const { pools, trades } = batchOf(id, nowMs)
      const maker = ballastBytes > 0 ? randomBytes(ballastBytes / 2).toString('hex') : null
      return writeOrPark({ pools, trades: trades.map((trade) => ({ ...trade, maker })) }, tools, run)
    },
    drain: (forMs) => replayParked(tools, { deadlineAtMs: Date.now() + forMs }),
    async judge() {
      const { text, values } = storedLines(schema)
      const stored = await withAdminSession(adminUrl, (admin) => admin.sql(text, values))
      return judge(
        offered,
        stored.filter((row) => String(row['batch']).startsWith(`${writer}-`)),
      )
    },
    async judgeLast() {
      const id = offered.at(-1) as BatchId
      const { text, values } = storedLines(schema, id)
      watch ??= openAdminSession(adminUrl)
      return judge([id], await (await watch).sql(text, values))
    },
    async close() {
      await (await watch)?.end()
      await proxy.mode({ kind: 'reset' })
      await tools.close()
      await way?.close?.()
      await proxy.close()
      await way?.behind?.close()
      await fs.rm(dataDir, { recursive: true, force: true })
    },
  }
}
