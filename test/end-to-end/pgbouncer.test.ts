// The fault matrix and the byte-cut sweep through a pooler, in their short form; `npm run soak` has every fault and every byte.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { faults } from '../../cli/local/faults.ts'
import { directions, sum, sweep, sweepSettings } from '../support/byte-cuts.ts'
import { faultMatrix } from '../support/fault-matrix.ts'
import { noPgbouncer, startPoolerForWrites, throughPgbouncer, wayThrough } from '../support/pgbouncer.ts'
import { openFragileDatabase, openLane, type FragileDatabase } from '../support/write-path.ts'

/** One of each kind: a lost COMMIT, a server that is killed, sessions that are ended. */
const few = faults.filter(({ name }) => ['drop-answer', 'kill', 'terminate'].includes(name))

describe.skipIf(noPgbouncer)('in transaction mode', () => {
  faultMatrix({ over: `pg ${throughPgbouncer}`, faults: few, report: 'fault-matrix-pgbouncer', openFront: startPoolerForWrites })

  describe(`pg ${throughPgbouncer}, cut after k bytes`, () => {
    let postgres: FragileDatabase
    beforeAll(async () => {
      postgres = await openFragileDatabase()
    })
    afterAll(() => postgres.remove())

    it('before the pooler or behind it, in either direction: each row is in exactly once', async () => {
      const made = await postgres.database('byte_cut')
      const { server, folder } = postgres
      const swept = await Promise.all(
        (['before', 'behind'] as const).flatMap((place, p) =>
          directions.map(async (direction, d) => {
            const { pooler, ...way } = await wayThrough(place, server.port, made.workloadUrl)
            const lane = await openLane({ ...made, server, folder, writer: `d${p}${d}`, settings: sweepSettings, way })
            const stepBytes = direction === 'to-server' ? 401 : 37
            const counts = await sweep(lane, { direction, how: p === d ? 'fin' : 'rst', fromBytes: 0, stepBytes })
            const judgement = await lane.judge()
            await lane.close()
            await pooler.stop()
            return { counts, judgement }
          }),
        ),
      )
      const counts = sum(swept.map((lane) => lane.counts))
      expect(counts.cuts).toBeGreaterThan(60)
      expect(Math.min(counts.written, counts.foundApplied, counts.parked)).toBeGreaterThan(0)
      for (const { judgement } of swept) expect(judgement).toMatchObject({ rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
    }, 60_000)
  })
})
