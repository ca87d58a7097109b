// `tokay drill`: the proof of "nothing is lost" on the user's own machine. Each fault meets the real write path (client, breaker, parking,
// replay, with the settings of cdk.json) over an embedded Postgres in a folder that is thrown away, and the tables are counted afterwards.

import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { styleText } from 'node:util'
import type { Settings } from '../shared/config.ts'
import { migrate } from '../shared/db/migrate.ts'
import { ConfigError } from '../shared/errors.ts'
import type { Log } from '../shared/log.ts'
import { withAdminSession } from './local/admin-session.ts'
import { drillRound, type Score } from './local/drill-round.ts'
import { startFaultProxy } from './local/fault-proxy.ts'
import { faults, type Fault } from './local/faults.ts'
import { startFragilePostgres, type FragilePostgres } from './local/fragile-postgres.ts'
import { mountSmallDisk, smallDiskIsPossible } from './local/small-disk.ts'
import { openTools, readSettings } from './runtime.ts'

export type DrillOptions = {
  /** Names; default: all that this machine can do. */
  readonly faults?: readonly string[]
  /** How long each fault is held. */
  readonly holdS?: number
  readonly list?: boolean
  readonly json?: boolean
}

const defaultHoldS = 4

/** Answers the exit code: 1 when a row was lost, doubled or half-written, or a fault was not recovered from. */
export async function drill(options: DrillOptions, signal: AbortSignal): Promise<number> {
  const { json = false, holdS = defaultHoldS } = options
  if (options.list) {
    if (json) console.log(JSON.stringify({ faults: faults.map(({ name, kind, does }) => ({ fault: name, kind, does })) }))
    else for (const { name, does } of faults) console.log(`${name.padEnd(nameWidth)} ${does}`)
    return 0
  }
  const chosen = chooseFaults(options.faults)
  const write = (line: string) => (json ? console.error(line) : console.log(line))
  const left = faults.filter((fault) => options.faults === undefined && !chosen.includes(fault))
  for (const { name } of left) write(`${name} is left out: only root on Linux can do it`)
  write(
    `${chosen.length} faults, each held for ${holdS} s; offered, lost, doubled and half-written are rows, fresh and drained are seconds`,
  )
  write(styleText('bold', line(columns)))

  await using open = new AsyncDisposableStack()
  const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-drill-'))
  open.defer(() => fs.rm(dataDir, { recursive: true, force: true }))
  // as root, Postgres runs under another account, which must be able to enter
  await fs.chmod(dataDir, 0o755)
  const baseDir = path.join(dataDir, 'postgres')
  const server = await startFragilePostgres({ baseDir })
  const role = { name: 'drill', password: randomBytes(12).toString('hex') }
  await withAdminSession(server.url, (admin) => admin.sql(`create role ${role.name} login password '${role.password}'`))
  const disk = chosen.some((fault) => fault.onSmallDisk) ? await mountSmallDisk({ baseDir, adminUrl: server.url }) : undefined
  open.defer(async () => {
    await server.stop()
    await disk?.unmount()
  })

  const settings = readSettings()
  const scores: Score[] = []
  for (const [at, fault] of chosen.entries()) {
    if (signal.aborted) break
    const show = progress(json, `${at + 1}/${chosen.length} ${fault.name}`)
    const score = await oneFault({
      fault,
      server,
      role,
      settings,
      dataDir,
      tablespace: disk?.tablespace,
      holdForMs: holdS * 1_000,
      signal,
      show,
    })
    show('')
    // what a stop has cut short proves nothing
    if (signal.aborted) break
    scores.push(score)
    write(styleText(isGood(score) ? 'reset' : 'red', line(cellsOf(score))))
  }
  if (json) console.log(JSON.stringify({ faults: scores }))
  const bad = scores.filter((score) => !isGood(score))
  write(
    bad.length === 0
      ? `${scores.reduce((sum, score) => sum + score.rowsOffered, 0)} rows offered: none lost, none doubled, none half-written`
      : `not all is well: ${bad.map((score) => score.fault).join(', ')}`,
  )
  return bad.length === 0 && !signal.aborted ? 0 : 1
}

function chooseFaults(names: readonly string[] | undefined): readonly Fault[] {
  if (process.platform === 'win32') throw new ConfigError(['the drill needs Linux or macOS: it stops and kills the server by signals'])
  const impossible = (fault: Fault) => (fault.onSmallDisk ?? false) && !smallDiskIsPossible()
  if (names === undefined) return faults.filter((fault) => !impossible(fault))
  return names.map((name) => {
    const fault = faults.find((f) => f.name === name)
    if (!fault) throw new ConfigError([`there is no fault ${JSON.stringify(name)}: --list shows them`])
    if (impossible(fault))
      throw new ConfigError([`the fault ${name} needs a small file system of its own: only root on Linux can mount one`])
    return fault
  })
}

/** A database, a proxy, a state table and parked files of its own, so that no fault leaves anything to the next. */
async function oneFault(options: {
  fault: Fault
  server: FragilePostgres
  role: { name: string; password: string }
  settings: Settings
  dataDir: string
  tablespace: string | undefined
  holdForMs: number
  signal: AbortSignal
  show: (phase: string) => void
}): Promise<Score> {
  const { fault, server, role, settings, signal, holdForMs } = options
  const database = `drill_${fault.name.replaceAll('-', '_')}`
  const on = fault.onSmallDisk ? ` tablespace ${options.tablespace}` : ''
  await using open = new AsyncDisposableStack()
  await withAdminSession(server.url, (admin) => admin.sql(`create database ${database} owner ${role.name}${on}`))
  open.defer(() => withAdminSession(server.url, async (admin) => void (await admin.sql(`drop database ${database} with (force)`))))
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } })
  open.defer(() => proxy.close())

  const adminUrl = new URL(server.url)
  adminUrl.pathname = `/${database}`
  const workloadUrl = new URL(adminUrl)
  workloadUrl.username = role.name
  workloadUrl.password = role.password
  let refused = 0
  const log: Log = {
    info() {},
    warn: (event) => void (event.event === 'database.attempt-failed' && event['errno'] === 'ECONNREFUSED' && refused++),
    error() {},
  }
  const dataDir = path.join(options.dataDir, fault.name)
  await fs.mkdir(dataDir)
  const databaseUrl = proxy.url(workloadUrl.href)
  const source = { name: 'simulator' as const, baseUrl: 'http://127.0.0.1:9', close: async () => {} }
  const tools = await openTools({ settings, source, databaseUrl, dataDir, log })
  open.defer(() => tools.close())
  await migrate({ url: databaseUrl, schema: tools.schema, connectForMs: settings.database.connectForMs })
  const place = { proxy, server, adminUrl: adminUrl.href, role: role.name, database, schema: tools.schema }
  return await drillRound({ fault, place, tools, holdForMs, signal, refusedConnects: () => refused, onPhase: options.show })
}

const isGood = (score: Score) =>
  score.rowsLost + score.rowsDoubled + score.rowsHalfWritten === 0 && score.secondsToFreshWrites !== null && score.secondsToDrained !== null

const nameWidth = Math.max(...faults.map(({ name }) => name.length)) + 1
const columns = ['fault', 'offered', 'lost', 'doubled', 'half', 'fresh', 'drained', 'connections']
const line = ([name = '', ...cells]: readonly string[]) =>
  name.padEnd(nameWidth) + cells.map((cell, i) => cell.padStart((columns[i + 1] as string).length + 2)).join('')

function cellsOf(score: Score): readonly string[] {
  const seconds = (s: number | null) => (s === null ? 'never' : s.toFixed(1))
  const { fault, rowsOffered, rowsLost, rowsDoubled, rowsHalfWritten, connectionsOpened } = score
  const counts = [rowsOffered, rowsLost, rowsDoubled, rowsHalfWritten].map(String)
  return [fault, ...counts, seconds(score.secondsToFreshWrites), seconds(score.secondsToDrained), String(connectionsOpened)]
}

/** One line that is written over, on a terminal only. */
function progress(json: boolean, what: string): (phase: string) => void {
  const stream = json ? process.stderr : process.stdout
  if (!stream.isTTY) return () => {}
  return (phase) => void stream.write(`\r\u001b[K${phase === '' ? '' : styleText('dim', `${what}: ${phase}`)}`)
}
