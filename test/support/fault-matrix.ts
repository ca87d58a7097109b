// Every fault, in every phase of a write, through the real write path on a real server. For each fault seven instances of the program are brought
// to seven points, the fault strikes them all, ends, and each instance's rows are compared with the tables.
//
//   connect        a new connection's first bytes have not arrived yet
//   begin          the connection is warm, the transaction's bytes are on their way
//   mid-statement  the server is at work on the third table
//   commit sent    everything else was answered, COMMIT is on its way
//   commit reply   the server has committed, its answer is on its way
//   idle           the connection is in the pool; the write comes while the fault is in force
//   check-out      every connection is in use, the write waits for one
//
// What became of each write is left in node_modules/.cache, under the report's name.

import * as fs from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openAdminSession, withAdminSession, type AdminSession } from '../../cli/local/admin-session.ts'
import { startFaultProxy } from '../../cli/local/fault-proxy.ts'
import type { EndFault, Fault } from '../../cli/local/faults.ts'
import { mountSmallDisk, smallDiskIsPossible } from '../../cli/local/small-disk.ts'
import { systemClock } from '../../shared/clock.ts'
import type { Outcome } from '../../shared/collect/write-or-park.ts'
import { parseSettings } from '../../shared/config.ts'
import { openFragileDatabase, openLane, type FragileDatabase, type Lane, type Way } from './write-path.ts'

const phases = ['connect', 'begin', 'mid-statement', 'commit sent', 'commit reply', 'idle', 'check-out'] as const
type Phase = (typeof phases)[number]

/** A fraction of the usual times, in the same order. */
const settings = parseSettings({
  database: { poolMax: 2, connectForMs: 1_000, wakeForMs: 1_000, lockForMs: 700, statementForMs: 1_000, attemptForMs: 1_400 },
  retry: { baseMs: 10, capMs: 50 },
  breaker: { openForMs: 200, maxOpenForMs: 400, leaseForMs: 1_500 },
})
/** Longer than an attempt where that matters: what the client has given up, the server may still commit. */
const holdForMs = (fault: Fault) => (fault.name === 'freeze' ? 1_700 : fault.name === 'lock' ? 900 : 250)

const waitsForWrites = new Set(['lock', 'deadlock'])

/** Held by the test, it stops the gated lanes' inserts of trades, in the middle of their transactions. */
const gate = 4_242
const gated = 'gated'

/** Something that listens before the server, such as a pooler. `reset`: it drops what one fault has left behind, before the next. */
export type Front = { readonly port: number; reset(): Promise<unknown>; stop(): Promise<void> }

/**
 * `openFront`: what each instance's proxy leads to instead of the server; asked once a database. `openWay`: a way of each instance's own.
 * `report`: the file's name.
 */
export function faultMatrix(options: {
  over: string
  faults: readonly Fault[]
  report: string
  openFront?: (workloadUrl: string) => Promise<Front>
  openWay?: (serverPort: number, workloadUrl: string) => Promise<Way>
}): void {
  describe(`a write over ${options.over} whose fault strikes in any phase`, () => {
    let postgres: FragileDatabase
    const fronts: Record<string, Front> = {}
    let disk: Awaited<ReturnType<typeof mountSmallDisk>> | undefined
    const urls: Record<string, { adminUrl: string; workloadUrl: string }> = {}
    const matrix: Record<string, Record<string, string>> = {}
    let lanes = 0

    async function prepare(name: string, place: { tablespace?: string } = {}) {
      const made = await postgres.database(name, place)
      await withAdminSession(made.adminUrl, (admin) =>
        admin.sql(`
        alter database ${name} set deadlock_timeout = '100ms';
        create function tokay_simulator.wait_at_gate() returns trigger language plpgsql as
          $$ begin
            if current_setting('application_name') = '${gated}' then perform pg_catalog.pg_advisory_xact_lock_shared(${gate}); end if;
            return null;
          end $$;
        create trigger gate before insert on tokay_simulator.trades execute function tokay_simulator.wait_at_gate()`),
      )
      if (options.openFront) fronts[made.workloadUrl] = await options.openFront(made.workloadUrl)
      return made
    }

    beforeAll(async () => {
      postgres = await openFragileDatabase()
      urls['usual'] = await prepare('matrix')
      if (!smallDiskIsPossible() || !options.faults.some((fault) => fault.onSmallDisk)) return
      disk = await mountSmallDisk({ baseDir: path.join(postgres.folder, 'postgres'), adminUrl: postgres.server.url, sizeMb: 24 })
      urls['small-disk'] = await prepare('matrix_small', disk)
    })
    afterAll(async () => {
      for (const front of Object.values(fronts)) await front.stop()
      await postgres.server.stop()
      await disk?.unmount()
      await postgres.remove()
      await fs.writeFile(`node_modules/.cache/${options.report}.json`, JSON.stringify(matrix, null, 2))
    })

    /** Sessions that wait at the gate. */
    const atGate = (admin: AdminSession) =>
      admin
        .sql<{ n: number }>(
          `select count(*)::int as n from pg_stat_activity where wait_event = 'advisory' and datname = current_database()`,
        )
        .then((rows) => rows[0]?.n)

    /** Brings each lane to its phase, all at once: what is held must not run out of its own time before the fault comes. */
    async function bringToPhases(fault: Fault, lane: Record<Phase, Lane>, admin: AdminSession) {
      const writes = {} as Record<Phase, Promise<Outcome>[]>
      const start = (phase: Phase) => void (writes[phase] ??= []).push(lane[phase].write({ ballastBytes: fault.onSmallDisk ? 6_000 : 0 }))
      const warm = phases.filter((phase) => phase !== 'connect').map((phase) => lane[phase].write())
      expect(new Set((await Promise.all(warm)).map(({ kind }) => kind))).toEqual(new Set(['written']))
      await admin.sql(`select pg_advisory_lock(${gate})`)
      await lane.connect.proxy.mode({ kind: 'hold', direction: 'to-server', at: 0 })
      await lane.begin.proxy.mode({ kind: 'hold', direction: 'to-server', at: 0 })
      const { 'commit sent': sent, 'commit reply': reply } = lane
      await (sent.behind ?? sent.proxy).mode({ kind: 'hold', direction: 'to-server', at: 'commit' })
      await reply.proxy.mode({ kind: 'hold', direction: 'to-client', at: reply.place.commitAnswer ?? 'COMMIT' })
      const held = ['connect', 'begin', 'commit sent', 'commit reply'] as const
      for (const phase of [...held, 'mid-statement', 'check-out', 'check-out', 'check-out'] as const) start(phase)
      const areHeld = () => held.every((phase) => lane[phase].proxy.held + (lane[phase].behind?.held ?? 0) === 1)
      // of the check-out's three, two have a connection
      await vi.waitUntil(async () => areHeld() && (await atGate(admin)) === 3, { timeout: 5_000, interval: 5 })
      for (const phase of phases) expect([phase, failuresOf(lane[phase])]).toEqual([phase, []])
      return { writes, startIdle: () => start('idle') }
    }

    async function strike(fault: Fault, all: readonly Lane[]): Promise<EndFault> {
      if (fault.kind !== 'network') return fault.begin((all[0] as Lane).place)
      const ends = await Promise.all(all.map((lane) => fault.begin(lane.place)))
      return async () => void (await Promise.all(ends.map((end) => end())))
    }

    const failuresOf = (lane: Lane) => lane.events.filter((e) => e.event === 'database.attempt-failed').map((e) => String(e['class']))
    const told = (outcomes: readonly Outcome[], lane: Lane) => [...outcomes.map((outcome) => outcome.kind), ...failuresOf(lane)].join(', ')

    it.each(options.faults)('$name: each row is in exactly once, with the rest of its batch', async (fault) => {
      const made = urls[fault.onSmallDisk ? 'small-disk' : 'usual']
      if (!made) return
      const opened = await Promise.all(
        phases.map(async (phase) => {
          const writer = (++lanes).toString(16)
          const isGated = phase === 'mid-statement' || phase === 'check-out'
          const workloadUrl = `${made.workloadUrl}?application_name=${isGated ? gated : 'free'}`
          const port = fronts[made.workloadUrl]?.port ?? postgres.server.port
          const way = await (options.openWay ?? throughProxy)(port, workloadUrl)
          return [
            phase,
            await openLane({ ...made, workloadUrl, server: postgres.server, folder: postgres.folder, writer, settings, way }),
          ] as const
        }),
      )
      const lane = Object.fromEntries(opened) as Record<Phase, Lane>
      const all = opened.map(([, each]) => each)
      const admin = await openAdminSession(made.adminUrl)
      const { writes, startIdle } = await bringToPhases(fault, lane, admin)

      const striking = strike(fault, all)
      // a lock waits for the transactions that are held here: they have to go on before it is in force
      await (waitsForWrites.has(fault.name) ? Promise.race([striking, systemClock.sleep(100)]) : striking)
      await admin.end()
      await Promise.all(all.map((each) => each.behind?.mode({ kind: 'pass' })))
      if (fault.kind !== 'network') await Promise.all(all.map((each) => each.proxy.mode({ kind: 'pass' })))
      startIdle()
      const end = await striking
      await systemClock.sleep(holdForMs(fault))
      await end()

      const row: Record<string, string> = {}
      for (const phase of phases) row[phase] = told(await Promise.all(writes[phase]), lane[phase])
      matrix[fault.name] = row
      // before anything is written again: what an attempt has left behind is a whole batch or nothing
      const between = await Promise.all(all.map((each) => each.judge()))
      expect(between.map(({ rowsDoubled, rowsHalfWritten }) => [rowsDoubled, rowsHalfWritten])).toEqual(all.map(() => [0, 0]))
      const left = await Promise.all(all.map((each) => each.drain(15_000)))
      expect(left.map((result) => [result.left, result.setAside])).toEqual(all.map(() => [0, 0]))
      const judged = await Promise.all(all.map((each) => each.judge()))
      expect(Object.fromEntries(phases.map((phase, i) => [phase, judged[i]]))).toEqual(
        Object.fromEntries(
          phases.map((phase, i) => [
            phase,
            { rowsOffered: (all[i] as Lane).offered.length * 5, rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 },
          ]),
        ),
      )
      await Promise.all(all.map((each) => each.close()))
      await fronts[made.workloadUrl]?.reset()
    })
  })
}

async function throughProxy(port: number, workloadUrl: string): Promise<Way> {
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port } })
  return { proxy, url: proxy.url(workloadUrl) }
}
