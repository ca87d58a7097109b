import { chmod, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { startFragilePostgres, type FragilePostgres } from '../../cli/local/fragile-postgres.ts'
import { bundleAll, type Bundles } from '../support/bundles.ts'
import { outageOfMany } from '../support/local-outage.ts'
import { startLocalStage, type LocalStage } from '../support/local-stage.ts'

let folder: string
let postgres: FragilePostgres
let bundles: Bundles
let stage: LocalStage

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'tokay-local-lambda-'))
  // as root the server runs under another account, which must be able to enter
  await chmod(folder, 0o755)
  postgres = await startFragilePostgres({ baseDir: folder })
  bundles = await bundleAll()
})
afterEach(async () => {
  await stage.close()
  await bundles.remove()
  await postgres.stop()
  await rm(folder, { recursive: true })
})

const tick = (hour: number) => ({ collector: 'top-pools', scheduledAt: `2025-09-15T0${hour}:45:00Z` })

async function expectNothingLost() {
  const { served, stored, differences } = await stage.compare()
  expect(differences).toEqual([])
  expect(stored).toBe(served)
}

it('twenty instances without a database: one connection a lease, everything is parked, and afterwards every row is stored once', async () => {
  stage = await startLocalStage({ bundles, databaseUrl: postgres.url, timeoutMs: { 'replay-parked': 20_000 } })
  await stage.functions.migrate.invoke()
  const outage = await outageOfMany(stage, { collects: 20, replays: 20 })

  expect(outage).toMatchObject({ ticked: { ran: 4, skipped: 16 }, circuitsOpened: 1, failed: [] })
  expect(outage.probes).toBeGreaterThan(5)
  expect(outage.connections).toBe(outage.probes)
  expect(outage.replayed).toBe(outage.waiting)
  await expectNothingLost()
})

it('a database that is frozen in mid-write and a queue that hangs: the run fails before its time is up, and the next tick has every row', async () => {
  // fetching ends 20 s before the time does, so it has 1 s
  stage = await startLocalStage({
    bundles,
    databaseUrl: postgres.url,
    timeoutMs: { collect: 21_000, 'replay-parked': 20_000 },
    settings: { database: {}, breaker: {}, retry: {} },
  })
  const { functions, aws } = stage
  await functions.migrate.invoke()
  await functions.collect.invoke(tick(1))
  await postgres.freeze()
  aws.failNext('sqs', 'hang', 100)
  const cut = await functions.collect.invoke(tick(2))
  expect(cut).toMatchObject({ failed: { errorType: 'Error', errorMessage: expect.stringContaining('sending a parked write') } })
  postgres.thaw()
  aws.forgetFailures()

  expect(await functions.collect.invoke(tick(3))).toMatchObject({ payload: { kind: 'ran', outcome: 'complete', counts: { fetched: 20 } } })
  await functions.replay.invoke()
  await expectNothingLost()
})
