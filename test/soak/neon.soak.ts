// Every fault in every phase over Neon's HTTPS, and a request and its answer cut at every single byte; between Neon's proxy and Postgres at every fifth.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { faults } from '../../cli/local/faults.ts'
import { cutHows, directions, sum, sweep, sweepSettings } from '../support/byte-cuts.ts'
import { faultMatrix } from '../support/fault-matrix.ts'
import { openNeonWay } from '../support/neon-way.ts'
import { openFragileDatabase, openLane, type FragileDatabase } from '../support/write-path.ts'

faultMatrix({ over: "Neon's HTTPS", faults, report: 'fault-matrix-neon', openWay: openNeonWay })

/** Requests are ten times as long as answers. */
const lanes = { 'to-server': 4, 'to-client': 1 }

describe("over Neon's HTTPS, cut after k bytes", () => {
  let postgres: FragileDatabase
  beforeAll(async () => {
    postgres = await openFragileDatabase()
  })
  afterAll(() => postgres.remove())

  it.each([
    { place: 'before', every: 1, least: 10_000 },
    // what goes over there is what goes over pg, in pieces
    { place: 'behind', every: 5, least: 2_000 },
  ] as const)("$place Neon's proxy, in either direction, by FIN or RST: each row is in exactly once", async ({ place, every, least }) => {
    const made = await postgres.database(`byte_cut_${place}`)
    const { server, folder } = postgres
    const plan = directions.flatMap((direction) =>
      cutHows.flatMap((how) =>
        Array.from({ length: lanes[direction] }, (_, i) => ({
          direction,
          how,
          fromBytes: i * every,
          stepBytes: lanes[direction] * every,
        })),
      ),
    )
    const swept = await Promise.all(
      plan.map(async (points, i) => {
        const way = await openNeonWay(server.port, made.workloadUrl)
        const lane = await openLane({ ...made, server, folder, writer: `f${i.toString(16)}`, settings: sweepSettings, way })
        const counts = await sweep({ ...lane, proxy: place === 'before' ? way.proxy : way.behind }, points)
        const judgement = await lane.judge()
        await lane.close()
        return { counts, judgement }
      }),
    )
    const counts = sum(swept.map((lane) => lane.counts))
    console.log(place, counts)
    expect(counts.cuts).toBeGreaterThan(least)
    expect(Math.min(counts.written, counts.foundApplied, counts.parked)).toBeGreaterThan(0)
    for (const { judgement } of swept) expect(judgement).toMatchObject({ rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
  })
})
