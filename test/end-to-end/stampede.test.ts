// The short form of the stampede; `npm run soak` has 10,000 rounds.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { stampede } from '../support/stampede.ts'

describe('thirty instances in five processes at one circuit', () => {
  it('each lease of 300 rounds has exactly one probe, whatever becomes of its prober', async () => {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-stampede-'))
    const result = await stampede({ file: path.join(folder, 'state.db'), rounds: 300, processes: 5, instances: 6, every: 30 })
    expect(result).toEqual({
      // ten rounds each have a second lease: after a frozen prober, after a late one
      probesPerLease: { 1: 320 },
      probesWithinLease: { 0: 300 },
      verdicts: {
        'late success: none': 10,
        'failure in time: reopened': 10,
        'late failure: none': 10,
        'success in time: closed': 10,
        'failure of all: opened': 10,
        'failure of all: none': 290,
      },
    })
    await fs.rm(folder, { recursive: true })
  }, 120_000)
})
