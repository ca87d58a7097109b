// An API that answers nonsense, on real parts: an HTTP server in front of the simulator, the real client, a real Postgres.
// Whatever comes, the run says in one sentence what was wrong, nothing that is stored is wrong, and what came before the trouble is kept.

import * as fs from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLocalRun, type LocalRun } from '../../cli/local-run.ts'
import { compareServed } from '../../cli/local/compare-served.ts'
import { startGeckoSimulator, type GeckoSimulator } from '../../cli/local/gecko-simulator.ts'
import { openTools, type LocalTools } from '../../cli/runtime.ts'
import { systemClock } from '../../shared/clock.ts'
import { parseSettings } from '../../shared/config.ts'
import type { LogEvent } from '../../shared/log.ts'
import type { CollectorState } from '../../shared/state/claim.ts'
import { createDatabase } from '../support/database.ts'

const settingsWith = (rateLimitedForMs: number) =>
  parseSettings({
    networks: ['solana', 'eth'],
    gecko: { requestsPerMinute: 1_000, timeoutMs: 500, rateLimitedForMs },
    collectors: { 'new-pools': { maxPages: 2 } },
    breaker: { openForMs: 100, maxOpenForMs: 100, leaseForMs: 12_000 },
  })

type Answer = (response: ServerResponse) => void

const json = { 'content-type': 'application/json; charset=utf-8' }
const as200 =
  (body: string): Answer =>
  (response) =>
    void response.writeHead(200, json).end(body)
const answers = {
  garbage: as200('{"data":[{"id":"solana_\u0007, <oops'),
  html: (response) => void response.writeHead(503, { 'content-type': 'text/html' }).end('<html><h1>503 Service Unavailable</h1></html>'),
  'rate limit': as200('{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}'),
  'no data': as200('{"meta":{}}'),
  'empty list': as200('{"data":[]}'),
  'cut off': (response) => {
    response.writeHead(200, { ...json, 'content-length': '1000' })
    response.write('{"data":[{"id":"sol', () => response.destroy())
  },
  hang: () => {},
} satisfies Record<string, Answer>

describe('an API that answers nonsense', () => {
  let database: Awaited<ReturnType<typeof createDatabase>>
  let simulator: GeckoSimulator
  let front: ReturnType<typeof createServer>
  /** Instead of the simulator's, for paths that hold the text. */
  let bad: { readonly pathIncludes: string; readonly answer: Answer } | undefined
  let dataDir: string
  let tools: LocalTools
  let run: LocalRun
  let events: LogEvent[]

  beforeEach(async () => {
    database = await createDatabase()
    simulator = await startGeckoSimulator({ clock: systemClock, limitPerMinute: 10_000, cacheForMs: 0 })
    const { origin } = new URL(simulator.baseUrl)
    bad = undefined
    front = createServer(async (request, response) => {
      if (bad && request.url?.includes(bad.pathIncludes)) return bad.answer(response)
      const answer = await fetch(origin + request.url)
      response.writeHead(answer.status, json)
      await pipeline(Readable.fromWeb(answer.body as ReadableStream), response)
    })
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
    dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-bad-api-'))
    events = []
    await open(1_000)
  })
  afterEach(async () => {
    await tools.close()
    front.closeAllConnections()
    await new Promise((resolve) => front.close(resolve))
    await simulator.close()
    await database.drop()
    await fs.rm(dataDir, { recursive: true })
  })

  async function open(rateLimitedForMs: number) {
    const keep = (event: LogEvent) => void events.push(event)
    tools = await openTools({
      settings: settingsWith(rateLimitedForMs),
      source: { name: 'simulator', baseUrl: `http://127.0.0.1:${(front.address() as AddressInfo).port}/api/v2`, close: async () => {} },
      databaseUrl: database.url,
      dataDir,
      log: { info: keep, warn: keep, error: keep },
    })
    run = createLocalRun({ tools, databaseUrl: database.url, notifier: { publish: async () => {} }, signal: new AbortController().signal })
    await run.migrate()
  }
  const collect = () => run.collect('new-pools', Date.now(), { force: true })
  /** `deferred` for as long as the API's circuit is open. */
  const outcomeOfNext = async () => {
    const result = await collect()
    const outcome = result?.kind === 'ran' ? result.outcome : undefined
    expect(outcome).toMatch(/^(deferred|complete)$/)
    return outcome
  }
  const limits = { attemptForMs: 10_000, statementForMs: 9_000, lockForMs: 1_000 }
  const compare = () => compareServed(simulator.served, (statement) => tools.directDatabase.query(statement, limits))
  const state = async () => (await tools.state.list()).find((item) => item.key === 'collector:new-pools')?.data as CollectorState

  it.each([
    ['garbage', 'failed', /answered 200 with something that is not complete JSON/],
    ['html', 'failed', /answered 503; the API is in trouble/],
    ['rate limit', 'failed', /answered 200 with code 429: "You've exceeded the Rate Limit\."; waiting 1 s/],
    ['no data', 'failed', /expected .+ under "data", found /],
    ['cut off', 'failed', /failed: /],
    ['hang', 'failed', /no complete answer within 500 ms \(gecko\.timeoutMs\)/],
  ] as const)(
    '%s: the run has %s and says why in one line, nothing is stored; then a healthy API makes it whole',
    async (kind, outcome, problem) => {
      bad = { pathIncludes: '/', answer: answers[kind] }
      const result = await collect()
      expect(result).toMatchObject({ kind: 'ran', outcome, counts: { fetched: 0, inserted: 0, rejected: 0, parked: 0 } })
      const said = result?.kind === 'ran' ? result.problem : ''
      expect(said).toMatch(problem)
      expect(said).toMatch(/^solana: .{20,400}$/)
      expect(await compare()).toEqual({ served: 0, stored: 0, differences: [] })
      expect(await state()).toMatchObject({ cursor: {}, fetchFailures: 1, lastOutcome: outcome })

      bad = undefined
      await expect.poll(outcomeOfNext, { timeout: 10_000, interval: 50 }).toBe('complete')
      const { served, stored, differences } = await compare()
      expect(differences).toEqual([])
      expect(stored).toBe(served)
      expect(stored).toBeGreaterThan(40)
      expect(await state()).toMatchObject({ fetchFailures: 0, lastOutcome: 'complete' })
    },
    30_000,
  )

  it.each(['garbage', 'html', 'rate limit', 'no data', 'cut off', 'hang'] as const)(
    '%s for one network: what the other gave before is stored, and the run is partial',
    async (kind) => {
      bad = { pathIncludes: '/eth/', answer: answers[kind] }
      expect(await collect()).toMatchObject({ outcome: 'partial', problem: expect.stringMatching(/^eth: /) })
      const { served, stored, differences } = await compare()
      expect(differences).toEqual([])
      expect(stored).toBe(served)
      expect(stored).toBeGreaterThan(20)
      expect(Object.keys((await state()).cursor as object)).toEqual(['solana'])
      expect(events.filter((event) => event.event === 'fetch.failed')).toHaveLength(1)
    },
    30_000,
  )

  it('an empty list is an answer: the run is complete, and what the cursor knows stays', async () => {
    await collect()
    const before = (await state()).cursor
    bad = { pathIncludes: '/', answer: answers['empty list'] }
    expect(await collect()).toMatchObject({ outcome: 'complete', problem: null, counts: { fetched: 0 } })
    expect((await state()).cursor).toEqual(before)
    bad = undefined
    expect(await collect()).toMatchObject({ outcome: 'complete' })
    expect((await compare()).differences).toEqual([])
  })

  it('a rate limit is not asked again while it lasts: the next run is deferred, and that is no failure of the collector', async () => {
    await tools.close()
    await open(65_000)
    bad = { pathIncludes: '/', answer: answers['rate limit'] }
    expect(await collect()).toMatchObject({ outcome: 'failed', counts: { apiCalls: 1 } })
    expect(await collect()).toMatchObject({
      outcome: 'deferred',
      problem: expect.stringMatching(/^solana: .* was not sent: /),
      counts: { apiCalls: 0 },
    })
    expect(await state()).toMatchObject({ fetchFailures: 1, lastOutcome: 'deferred' })
  })

  it('the comparison behind all this can fail: a row too few, one too many, a value that differs', async () => {
    await collect()
    const [stranger] = await tools.directDatabase.query(
      {
        name: 'spoil',
        text: `update pools set name = 'spoilt' where pool_sk = (select min(pool_sk) from pools) returning address`,
        values: [],
      },
      limits,
    )
    await tools.directDatabase.query(
      { name: 'spoil', text: `delete from dexes where dex = (select min(dex) from dexes)`, values: [] },
      limits,
    )
    const { served, stored, differences } = await compare()
    expect(stored).toBe(served - 1)
    expect(differences.map((line) => line.split(' | ')[0])).toEqual([
      'served, not stored: dexes',
      'served, not stored: pools',
      'stored, not served: pools',
    ])
    expect(differences[2]).toContain(`${String(stranger?.['address'])} | spoilt`)
  })
})
