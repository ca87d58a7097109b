// The fault matrix and the byte-cut sweep over Neon's HTTPS, in their short form (`npm run soak` has every fault and every byte), and `npm start` over it.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { faults } from '../../cli/local/faults.ts'
import { directions, sum, sweep, sweepSettings } from '../support/byte-cuts.ts'
import { tokay } from '../support/command.ts'
import { createDatabase } from '../support/database.ts'
import { faultMatrix } from '../support/fault-matrix.ts'
import { openNeonWay } from '../support/neon-way.ts'
import { openFragileDatabase, openLane, type FragileDatabase } from '../support/write-path.ts'

/** A network that cuts, a lost answer to a COMMIT, sessions that are ended. */
const few = faults.filter(({ name }) => ['reset', 'drop-answer', 'terminate'].includes(name))

faultMatrix({ over: "Neon's HTTPS", faults: few, report: 'fault-matrix-neon', openWay: openNeonWay })

describe("over Neon's HTTPS, cut after k bytes", () => {
  let postgres: FragileDatabase
  beforeAll(async () => {
    postgres = await openFragileDatabase()
  })
  afterAll(() => postgres.remove())

  it("before Neon's proxy or behind it, in either direction: each row is in exactly once", async () => {
    const made = await postgres.database('byte_cut')
    const { server, folder } = postgres
    const swept = await Promise.all(
      (['before', 'behind'] as const).flatMap((place, p) =>
        directions.map(async (direction, d) => {
          const way = await openNeonWay(server.port, made.workloadUrl)
          const lane = await openLane({ ...made, server, folder, writer: `e${p}${d}`, settings: sweepSettings, way })
          const proxy = place === 'before' ? way.proxy : way.behind
          const stepBytes = direction === 'to-server' ? 509 : 53
          const counts = await sweep({ ...lane, proxy }, { direction, how: p === d ? 'fin' : 'rst', fromBytes: 0, stepBytes })
          const judgement = await lane.judge()
          await lane.close()
          return { counts, judgement }
        }),
      ),
    )
    const counts = sum(swept.map((lane) => lane.counts))
    expect(counts.cuts).toBeGreaterThan(40)
    expect(Math.min(counts.written, counts.foundApplied, counts.parked)).toBeGreaterThan(0)
    for (const { judgement } of swept) expect(judgement).toMatchObject({ rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
  }, 60_000)
})

describe("npm start over Neon's driver", () => {
  it('runs the collectors through a local server that speaks its protocol, and migrates beside it', async () => {
    const database = await createDatabase()
    const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-neon-'))
    const args = ['start', '--source', 'simulator', '--once', '--json', '--driver', 'neon', '--data-dir', dataDir]
    const { code, stdout, stderr } = await tokay(args, { DATABASE_URL: database.url }).finished
    expect(code, stderr).toBe(0)
    expect(stderr).toContain('driver neon, over a server on port')
    const { tables, collectors } = JSON.parse(stdout) as {
      tables: Record<string, { rows: number }>
      collectors: Record<string, { inserted: number; parked: number }>
    }
    expect(tables['trades']?.rows).toBe(collectors['trades']?.inserted)
    expect(tables['trades']?.rows).toBeGreaterThan(0)
    expect(Object.values(collectors).map(({ parked }) => parked)).toEqual([0, 0, 0, 0])
    await database.drop()
    await fs.rm(dataDir, { recursive: true, force: true })
  })
})
