// Five minutes of trouble: eight writers, each a process, on one data folder and one database behind one proxy; every few seconds a fault of the
// table, and now and then a writer that is killed and replaced. At the end the history of what was vouched for against the tables.
//
// SOAK_SECONDS shortens or lengthens it, SOAK_SEED repeats its faults. The history stays in node_modules/.cache/soak-history.jsonl.

import { fork, type ChildProcess } from 'node:child_process'
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withAdminSession } from '../../cli/local/admin-session.ts'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { faults } from '../../cli/local/faults.ts'
import { judge, storedLines, type BatchId } from '../../cli/local/offered-rows.ts'
import { mountSmallDisk, smallDiskIsPossible } from '../../cli/local/small-disk.ts'
import { words } from '../../cli/local/simulator/seeded.ts'
import { systemClock } from '../../shared/clock.ts'
import type { WriterMessage } from '../support/soak-writer.ts'
import { openFragileDatabase, type FragileDatabase } from '../support/write-path.ts'

const forMs = Number(process.env['SOAK_SECONDS'] ?? 300) * 1_000
const seed = process.env['SOAK_SEED'] ?? String(Date.now())
const writers = 8
const history = path.resolve('node_modules/.cache/soak-history.jsonl')
const schema = 'tokay_simulator'

type Line = { readonly writer: string; readonly number: number; readonly step: 'offered' | 'written' | 'parked' }
type Writer = { readonly child: ChildProcess; readonly said: WriterMessage[] }

describe('five minutes of faults', () => {
  let postgres: FragileDatabase
  let disk: Awaited<ReturnType<typeof mountSmallDisk>> | undefined
  let proxy: FaultProxy
  const started: Writer[] = []

  beforeAll(async () => {
    mkdirSync(path.dirname(history), { recursive: true })
    rmSync(history, { force: true })
    postgres = await openFragileDatabase()
    if (smallDiskIsPossible())
      disk = await mountSmallDisk({ baseDir: path.join(postgres.folder, 'postgres'), adminUrl: postgres.server.url, sizeMb: 256 })
    proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: postgres.server.port } })
  })
  afterAll(async () => {
    for (const { child } of started) child.kill('SIGKILL')
    await proxy.close()
    await postgres.server.stop()
    await disk?.unmount()
    await postgres.remove()
  })

  it('loses nothing that a writer has vouched for, doubles nothing, and leaves no batch half-written', async () => {
    const made = await postgres.database('soak', disk)
    const dataDir = path.join(postgres.folder, 'writers')
    await fs.mkdir(dataDir)
    const next = words(`soak:${seed}`)
    const upTo = (n: number) => next() % n
    const note = (what: object) => appendFileSync(history, `${JSON.stringify({ atMs: Date.now(), ...what })}\n`)
    note({ seed })

    function startWriter(): Writer {
      const writer = (started.length + 1).toString(16)
      const child = fork(path.resolve('test/support/soak-writer.ts'), [writer, proxy.url(made.workloadUrl), dataDir, history], {
        execArgv: [],
      })
      const said: WriterMessage[] = []
      child.on('message', (message: WriterMessage) => void said.push(message))
      const one = { child, said }
      started.push(one)
      return one
    }

    const living = Array.from({ length: writers }, startWriter)
    const place = { proxy, server: postgres.server, adminUrl: made.adminUrl, role: 'workload', database: 'soak', schema }
    const possible = faults.filter((fault) => disk !== undefined || !fault.onSmallDisk)
    const met: Record<string, number> = {}
    let kills = 0
    const untilMs = Date.now() + forMs
    await systemClock.sleep(3_000)
    while (Date.now() < untilMs) {
      const fault = possible[upTo(possible.length)] as (typeof possible)[number]
      met[fault.name] = (met[fault.name] ?? 0) + 1
      note({ fault: fault.name, begins: true })
      const end = await fault.begin(place)
      await systemClock.sleep(500 + upTo(1_500))
      if (upTo(4) === 0) {
        kills++
        const victim = upTo(living.length)
        note({ killed: living[victim]?.child.pid })
        living[victim]?.child.kill('SIGKILL')
        living[victim] = startWriter()
      }
      await systemClock.sleep(500 + upTo(1_500))
      await end()
      note({ fault: fault.name, ends: true })
      await systemClock.sleep(1_000 + upTo(5_000))
    }

    for (const { child } of living) child.send('finish')
    const drainedByMs = Date.now() + 150_000
    const isOver = () => living.every(({ said }) => said.includes('drained') || said.some((message) => typeof message === 'object'))
    while (!isOver() && Date.now() < drainedByMs) await systemClock.sleep(100)
    expect(living.map(({ said }) => said)).toEqual(living.map(() => ['finished', 'drained']))

    const { text, values } = storedLines(schema)
    const stored = await withAdminSession(made.adminUrl, (admin) => admin.sql(text, values))
    const { vouchedFor, unresolved } = readHistory()
    // killed with a batch in hand: nobody has said anything of it, but it is there as a whole or not at all
    const there = new Set(stored.map((row) => String(row['batch'])))
    const halfway = unresolved.filter(({ writer, number }) => there.has(`${writer}-${number}`))
    const judgement = judge([...vouchedFor, ...halfway], stored)
    console.log({
      seed,
      faults: met,
      writersKilled: kills,
      ...judgement,
      batchesUnresolved: unresolved.length,
      ofThemThere: halfway.length,
      connections: proxy.accepted,
    })
    expect(judgement).toMatchObject({ rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
    expect(vouchedFor.length).toBeGreaterThan(forMs / 100)
  })
})

function readHistory(): { vouchedFor: readonly BatchId[]; unresolved: readonly BatchId[] } {
  const offered = new Map<string, BatchId>()
  const vouched = new Set<string>()
  for (const line of readFileSync(history, 'utf8').trim().split('\n')) {
    const { writer, number, step } = JSON.parse(line) as Line
    if (step === 'offered') offered.set(`${writer}-${number}`, { writer, number })
    else if (step === 'written' || step === 'parked') vouched.add(`${writer}-${number}`)
  }
  const all = [...offered]
  return {
    vouchedFor: all.filter(([key]) => vouched.has(key)).map(([, id]) => id),
    unresolved: all.filter(([key]) => !vouched.has(key)).map(([, id]) => id),
  }
}
