// Every fault in every phase, and a cut after every single byte, through a pooler: before it, and between it and the server.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { faults } from '../../cli/local/faults.ts'
import { cutHows, directions, sum, sweep, sweepSettings } from '../support/byte-cuts.ts'
import { faultMatrix } from '../support/fault-matrix.ts'
import { noPgbouncer, startPoolerForWrites, throughPgbouncer, wayThrough } from '../support/pgbouncer.ts'
import { openFragileDatabase, openLane, type FragileDatabase } from '../support/write-path.ts'

/** The answers are a tenth of what is sent. */
const lanes = { 'to-server': 3, 'to-client': 1 }

describe.skipIf(noPgbouncer)('in transaction mode', () => {
  faultMatrix({ over: `pg ${throughPgbouncer}`, faults, report: 'fault-matrix-pgbouncer', openFront: startPoolerForWrites })

  describe(`pg ${throughPgbouncer}, cut after every single byte`, () => {
    let postgres: FragileDatabase
    beforeAll(async () => {
      postgres = await openFragileDatabase()
    })
    afterAll(() => postgres.remove())

    it.each(['before', 'behind'] as const)(
      '%s the pooler, in either direction, by FIN or RST: each row is in exactly once',
      async (place) => {
        const made = await postgres.database(`byte_cut_${place}`)
        const { server, folder } = postgres
        const plan = directions.flatMap((direction) =>
          cutHows.flatMap((how) =>
            Array.from({ length: lanes[direction] }, (_, fromBytes) => ({ direction, how, fromBytes, stepBytes: lanes[direction] })),
          ),
        )
        const swept = await Promise.all(
          plan.map(async (points, i) => {
            const { pooler, ...way } = await wayThrough(place, server.port, made.workloadUrl)
            const lane = await openLane({ ...made, server, folder, writer: `e${i}`, settings: sweepSettings, way })
            const counts = await sweep(lane, points)
            const judgement = await lane.judge()
            await lane.close()
            await pooler.stop()
            return { counts, judgement }
          }),
        )
        const counts = sum(swept.map((lane) => lane.counts))
        console.log(place, counts)
        expect(counts.cuts).toBeGreaterThan(8_000)
        expect(Math.min(counts.written, counts.foundApplied, counts.parked)).toBeGreaterThan(0)
        for (const { judgement } of swept) expect(judgement).toMatchObject({ rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
      },
      1_800_000,
    )
  })
})
