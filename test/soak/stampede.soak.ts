import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { stampede } from '../support/stampede.ts'

it('thirty instances in five processes: each lease of 10,000 rounds has exactly one probe, whatever becomes of its prober', async () => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-stampede-'))
  const result = await stampede({ file: path.join(folder, 'state.db'), rounds: 10_000, processes: 5, instances: 6, every: 100 })
  console.log(result)
  expect(result).toEqual({
    probesPerLease: { 1: 10_200 },
    probesWithinLease: { 0: 10_000 },
    verdicts: {
      'late success: none': 100,
      'failure in time: reopened': 100,
      'late failure: none': 100,
      'success in time: closed': 100,
      'failure of all: opened': 100,
      'failure of all: none': 2_900,
    },
  })
  await fs.rm(folder, { recursive: true })
})
