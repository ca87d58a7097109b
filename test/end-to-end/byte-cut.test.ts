// The short form of the byte-cut sweep; `npm run soak` cuts at every byte.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cutHows, directions, sum, sweep, sweepSettings } from '../support/byte-cuts.ts'
import { openFragileDatabase, openLane, type FragileDatabase } from '../support/write-path.ts'

/** Primes, so that the cuts fall into every kind of message; the answers are a tenth of what is sent. */
const stepBytes = { 'to-server': 223, 'to-client': 19 }

describe('the connection cut after k bytes', () => {
  let postgres: FragileDatabase
  beforeAll(async () => {
    postgres = await openFragileDatabase()
  })
  afterAll(() => postgres.remove())

  it('at any of about 150 points, in either direction, by FIN or RST: each row is in exactly once', async () => {
    const made = await postgres.database('byte_cut')
    const { server, folder } = postgres
    const swept = await Promise.all(
      directions.flatMap((direction) =>
        cutHows.map(async (how, i) => {
          const writer = `${direction === 'to-server' ? 'a' : 'b'}${i}`
          const lane = await openLane({ ...made, server, folder, writer, settings: sweepSettings })
          const counts = await sweep(lane, { direction, how, fromBytes: 0, stepBytes: stepBytes[direction] })
          const judgement = await lane.judge()
          await lane.close()
          return { counts, judgement }
        }),
      ),
    )
    const counts = sum(swept.map((lane) => lane.counts))
    expect(counts.cuts).toBeGreaterThan(120)
    // else the sweep has not met what it is for: a retry, a commit that the client could not know of, a replay
    expect(Math.min(counts.written, counts.foundApplied, counts.parked)).toBeGreaterThan(0)
    for (const { judgement } of swept) expect(judgement).toMatchObject({ rowsLost: 0, rowsDoubled: 0, rowsHalfWritten: 0 })
    expect(swept.reduce((rows, { judgement }) => rows + judgement.rowsOffered, 0)).toBe((counts.cuts + 8) * 5)
  }, 60_000)
})
