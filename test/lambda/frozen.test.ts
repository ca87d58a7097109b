// What happens to a function between its events, and when Lambda takes it away in the middle of one: nothing is lost, nothing is left running.
// All tests share one stage, and find its database reachable, its circuit closed and its queue empty.

import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CollectResult } from '../../shared/collect/collect.ts'
import { stateKeys } from '../../shared/names.ts'
import { closedAtFirst } from '../../shared/resilience/circuit-breaker.ts'
import { bundleAll, type Bundles } from '../support/bundles.ts'
import { startLocalStage, type LocalStage } from '../support/local-stage.ts'
import { databaseUrl } from '../support/postgres.ts'

let bundles: Bundles
let stage: LocalStage

beforeAll(async () => {
  bundles = await bundleAll()
  stage = await startLocalStage({ bundles, databaseUrl: databaseUrl() })
  await stage.functions.migrate.invoke()
})
beforeEach(async () => {
  await stage.proxy.mode({ kind: 'pass' })
  // a function that was killed may have left a failure that nobody met, and messages that nobody sees for 60 s
  stage.aws.forgetFailures()
  stage.aws.passTime(61_000)
  await stage.functions.replay.invoke()
  // an instance whose view of the circuit is up to 5 s old writes everything and leaves the circuit as it is
  const circuit = (await stage.state.list()).find(({ key }) => key === stateKeys.databaseBreaker)
  if (circuit) await stage.state.compareAndSet(circuit.key, circuit.version, closedAtFirst)
  // an instance goes by its view of the circuit for up to 5 s
  await stage.functions.collect.kill()
})
afterAll(async () => {
  await stage.close()
  await bundles.remove()
})

let ticks = 0
const tick = (collector: string) => ({ collector, scheduledAt: new Date(Date.UTC(2025, 8, 15) + ++ticks * 300_000).toISOString() })
const collected = { kind: 'ran', outcome: 'complete' }
const inTheEnd = (claim: () => void) => vi.waitFor(claim, { timeout: 10_000, interval: 5 })

async function expectNothingLost() {
  const { served, stored, differences } = await stage.compare()
  expect(differences).toEqual([])
  expect(stored).toBe(served)
}

describe('a connection that is lost while its function is frozen', () => {
  it.each([
    ['the server ends the session', () => stage.terminateSessions()],
    ['the network resets it', () => stage.proxy.mode({ kind: 'reset' })],
    ['a proxy hangs up', () => stage.proxy.mode({ kind: 'fin' })],
    ['it vanishes in silence', () => stage.proxy.mode({ kind: 'blackhole' })],
  ])('%s: the next event runs in the same process on a new connection, and no attempt fails', async (_name, lose) => {
    const { functions, proxy } = stage
    const first = await functions.collect.invoke(tick('top-pools'))
    const accepted = proxy.accepted
    await lose()
    await proxy.mode({ kind: 'pass' })
    const second = await functions.collect.invoke(tick('top-pools'))

    expect(second).toMatchObject({ pid: first.pid, payload: { ...collected, counts: { parked: 0 } } })
    const { client } = (second as unknown as { payload: CollectResult & { kind: 'ran' } }).payload
    expect(client.failures).toEqual({})
    expect(proxy.accepted).toBe(accepted + 1)
  })
})

describe('a function that has answered', () => {
  it('has nothing left to do: thawed without an event it says nothing, asks nothing and lives on', async () => {
    const { functions, proxy, aws, gecko } = stage
    const { collect, health, replay } = functions
    const pids = new Set<number>()
    for (const invoked of [await collect.invoke(tick('top-pools')), await health.invoke(), await replay.invoke()]) pids.add(invoked.pid)
    await proxy.mode({ kind: 'refuse' })
    for (const invoked of [await collect.invoke(tick('trades')), await collect.invoke(tick('top-pools'))]) pids.add(invoked.pid)
    const seen = () => ({ aws: aws.requests.length, api: gecko.served.requests(), connections: proxy.accepted })
    const lines = () => Object.values(functions).flatMap((fn) => fn.logs)
    const [before, linesBefore] = [seen(), new Set(lines())]
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    // nothing tells that nothing happens; whatever retries or polls here does so within 0.1 s
    await new Promise((resolve) => setTimeout(resolve, 400))

    expect(pids.size).toBe(3)
    expect(seen()).toEqual(before)
    // its sockets' news arrives: the outage has cut them while it was frozen
    expect(lines().filter((line) => !linesBefore.has(line) && !line.includes('database.idle-connection-lost'))).toEqual([])
    for (const pid of pids) expect(() => process.kill(pid, 0)).not.toThrow()
  })
})

describe('a function that is killed', () => {
  it.each([
    [
      'while the API answers',
      () => stage.gecko.fail({ kind: 'hang' }),
      () => expect(stage.gecko.served.requests()['top_pools']).toMatchObject({ hang: 1 }),
    ],
    [
      'before its rows are sent',
      () => stage.proxy.mode({ kind: 'hold', direction: 'to-server', at: 'insert into' }),
      () => expect(stage.proxy.held).toBe(1),
    ],
    [
      'behind a commit whose answer it never saw',
      () => stage.proxy.mode({ kind: 'hold', direction: 'to-client', at: 'COMMIT' }),
      () => expect(stage.proxy.held).toBe(1),
    ],
    [
      'while it parks',
      async () => {
        await stage.proxy.mode({ kind: 'refuse' })
        stage.aws.failNext('sqs', 'hang', 2)
      },
      () => expect(stage.aws.requests).toContain('sqs SendMessage'),
    ],
  ])('%s loses nothing: once its claim has ended, the next tick collects every row', async (_name, fault, happened) => {
    const { functions, proxy, aws, endClaim } = stage
    aws.requests.length = 0
    await fault()
    const cut = functions.collect.invoke(tick('top-pools'))
    await inTheEnd(happened)
    await functions.collect.kill()
    expect(await cut).toMatchObject({ failed: { errorType: 'Runtime.ExitError' } })
    await proxy.mode({ kind: 'pass' })

    expect(await functions.collect.invoke(tick('top-pools'))).toMatchObject({ payload: { kind: 'skipped', why: 'leased' } })
    await endClaim('top-pools')
    expect(await functions.collect.invoke(tick('top-pools'))).toMatchObject({ payload: { ...collected, counts: { fetched: 20 } } })
    expect(await functions.replay.invoke()).toMatchObject({ payload: { left: 0 } })
    await expectNothingLost()
  })

  it('replaying, behind a commit whose answer it never saw: the batch comes back after 60 s and changes nothing', async () => {
    const { functions, proxy, aws, parked, sql } = stage
    await proxy.mode({ kind: 'refuse' })
    expect(await functions.collect.invoke(tick('trades'))).toMatchObject({ payload: collected })
    const waiting = parked.messages.length
    await proxy.mode({ kind: 'hold', direction: 'to-client', at: 'COMMIT' })
    const cut = functions.replay.invoke()
    await inTheEnd(() => expect(proxy.held).toBe(1))
    await functions.replay.kill()
    await cut
    expect(parked.messages).toHaveLength(waiting)
    const rows = () => sql('select (select count(*) from trades) as trades, (select count(*) from pool_snapshots) as snapshots')
    const committed = await rows()

    await proxy.mode({ kind: 'pass' })
    aws.passTime(61_000)
    expect(await functions.replay.invoke()).toMatchObject({ payload: { replayed: waiting, left: 0 } })
    expect(await rows()).toEqual(committed)
    await expectNothingLost()
  })
})

describe('a function whose database swallows everything', () => {
  it('gives up on time: the batch is parked long before its time is over, and replayed later', async () => {
    const { functions, proxy, parked } = stage
    await functions.collect.invoke(tick('top-pools'))
    await proxy.mode({ kind: 'blackhole' })
    const outage = await functions.collect.invoke(tick('trades'))

    expect(outage).toMatchObject({ payload: { ...collected, client: { failures: { connection: expect.any(Number) } } } })
    expect(outage.tookMs).toBeLessThan(15_000)
    expect(parked.messages.length).toBeGreaterThan(0)
    await proxy.mode({ kind: 'pass' })
    expect(await functions.replay.invoke()).toMatchObject({ payload: { left: 0, setAside: 0 } })
    await expectNothingLost()
  })
})
