// The byte-cut sweep at every byte of a write, both directions, by FIN and RST.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cutHows, directions, sum, sweep, sweepSettings } from '../support/byte-cuts.ts'
import { openFragileDatabase, openLane, type FragileDatabase } from '../support/write-path.ts'

/** The answers are a tenth of what is sent. */
const lanes = { 'to-server': 3, 'to-client': 1 }

describe('the connection cut after every single byte', () => {
  let postgres: FragileDatabase
  beforeAll(async () => {
    postgres = await openFragileDatabase()
  })
  afterAll(() => postgres.remove())

  it('in either direction, by FIN or RST: each row is in exactly once', async () => {
    const made = await postgres.database('byte_cut')
    const { server, folder } = postgres
    const plan = directions.flatMap((direction) =>
      cutHows.flatMap((how) =>
        Array.from({ length: lanes[direction] }, (_, fromBytes) => ({ direction, how, fromBytes, stepBytes: lanes[direction] })),
      ),
    )
    const swept = await Promise.all(
      plan.map(async (points, i) => {
        const lane = await openLane({ ...made, server, folder, writer: `c${i}`, settings: sweepSettings })
        const counts = await sweep(lane, points)
        const judgement = await lane.judge()
        await lane.close()
        return { counts, judgement }
      }),
    )
    const counts = sum(swept.map((lane) => lane.counts))
    console.log(counts)
    expect(counts.cuts).toBeGreaterThan(10_000)
    expect(Math.min(counts.written, counts.foundApplied, counts.parked)).toBeGreaterThan(0)
    for (const { judgement } of swept) expect(judgement).toMatchObject({ rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
  })
})
