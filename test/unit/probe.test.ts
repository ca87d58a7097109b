// What the probe asks, when, and what it makes of silence: over databases that answer by a script. What Postgres itself answers: health-*.test.ts.

import { describe, expect, it } from 'vitest'
import { DatabaseError, type Database } from '../../shared/db/database.ts'
import { ConfigError } from '../../shared/errors.ts'
import type { Observation } from '../../shared/health/observation.ts'
import { probe, type Look, type ProbeTools } from '../../shared/health/probe.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createFakeDatabase, lost, refused, unreachable, type Scripted } from '../support/fake-database.ts'

const nowMs = Date.parse('2025-09-15T06:45:00Z')
const minuteMs = 60_000

const hung = () =>
  new DatabaseError('connect: no connection to the database within 2500 ms', {
    statement: 'connect',
    applied: 'not-sent',
    errno: 'CONNECT_TIMEOUT',
  })

/** Databases in the order in which they are opened, the last one for ever; and what was asked of them. */
function scripted(...scripts: readonly (readonly Scripted[])[]) {
  const opened: { connectForMs: number; asked: () => readonly string[]; isEnded: boolean }[] = []
  const openDatabase = ({ connectForMs }: { connectForMs: number }): Database => {
    const database = createFakeDatabase(...(scripts[Math.min(opened.length, scripts.length - 1)] ?? []))
    const entry = { connectForMs, asked: () => database.attempts.map((a) => a.statements.at(-1)?.name ?? ''), isEnded: false }
    opened.push(entry)
    return { ...database, end: async () => void (entry.isEnded = true) }
  }
  return { opened, openDatabase }
}

async function seen(
  tools: Partial<ProbeTools> & Pick<ProbeTools, 'openDatabase'>,
  look: Partial<Look> = {},
  items: Readonly<Record<string, unknown>> = {},
): Promise<Observation> {
  const state = createMemoryStateTable()
  for (const [key, data] of Object.entries(items)) await state.compareAndSet(key, 0, data)
  const parked = { depth: async () => 0 }
  return probe({ state, parked, clock: createFakeClock(nowMs), wakeForMs: 12_000, ...tools }, { mode: 'active', structure: false, ...look })
}

const collector = (fields: object = {}) => ({ lastSuccessAtMs: nowMs - minuteMs, lastOutcome: 'complete', ...fields })
const open = { state: 'open', epoch: 1, openedAtMs: nowMs - minuteMs, retryAtMs: nowMs, streak: 1, token: null, reason: null }
const noRow: Scripted = [{}]

describe('the probe', () => {
  it('looks at the queue and the state table also while the database is away, and ends its connection', async () => {
    const { opened, openDatabase } = scripted([unreachable()])
    const found = await seen({ openDatabase, parked: { depth: async () => 7 } }, {}, { 'breaker:database': open })
    expect(found).toMatchObject({
      atMs: nowMs,
      database: { kind: 'unreachable', failure: 'refused', message: 'connect: connect ECONNREFUSED 127.0.0.1:5432' },
      structure: null,
      breaker: open,
      parked: 7,
      stateAnswers: true,
    })
    expect(opened).toMatchObject([{ connectForMs: 2_500, isEnded: true }])
  })

  it('says of each part that it could not be asked, and throws for none', async () => {
    const away = () => Promise.reject(new Error('away'))
    const tools = { parked: { depth: away }, state: { list: away }, receivers: away, openDatabase: scripted([unreachable()]).openDatabase }
    expect(await seen(tools, { structure: true })).toMatchObject({
      parked: undefined,
      stateAnswers: false,
      collectors: {},
      receivers: { unseen: 'away' },
      database: { kind: 'unreachable' },
    })
  })

  it('has no queue where there is none', async () => {
    const { openDatabase } = scripted([unreachable()])
    const found = await probe(
      { openDatabase, state: createMemoryStateTable(), clock: createFakeClock(nowMs), wakeForMs: 12_000 },
      { mode: 'active', structure: true },
    )
    expect(found).toMatchObject({ parked: null, receivers: null })
  })

  it('takes a wrong URL for what it is, and shows none of it', async () => {
    const openDatabase = () => {
      throw new ConfigError(['DATABASE_URL is not a URL'])
    }
    expect((await seen({ openDatabase })).database).toMatchObject({
      kind: 'unreachable',
      failure: 'settings',
      message: 'DATABASE_URL is not a URL',
    })
  })

  it('says what of the state table is open', async () => {
    const items = {
      'breaker:stream:trades': { ...open, openedAtMs: nowMs - 5 },
      'breaker:stream:pools': { state: 'closed', epoch: 1, failedAtMs: [] },
      'collector:trades': collector(),
      'budget:gecko': { tokens: 3 },
      refusals: { trades: { class: 'schema' } },
    }
    expect(await seen({ openDatabase: scripted([unreachable()]).openDatabase }, {}, items)).toMatchObject({
      lockedSinceMs: { trades: nowMs - 5 },
      collectors: { trades: collector() },
      budget: { tokens: 3 },
      refusals: { trades: { class: 'schema' } },
    })
  })
})

describe('silence', () => {
  it('instead of the vitals is a database that hangs, however well it has connected', async () => {
    const { opened, openDatabase } = scripted([noRow, lost()])
    expect((await seen({ openDatabase })).database).toMatchObject({ kind: 'unreachable', failure: 'reset' })
    expect(opened[0]?.asked()).toEqual(['ping', 'vitals'])
  })

  it('behind the vitals leaves unseen what was not seen yet, and is waited for once', async () => {
    const { opened, openDatabase } = scripted([noRow, refused('55P03'), [], noRow, lost()])
    const found = await seen({ openDatabase }, { structure: true })
    expect(found.database).toMatchObject({
      kind: 'answers',
      vitals: { unseen: expect.stringMatching(/^another session has locked what it reads for longer than 300 ms: /) },
    })
    const unseen = { unseen: 'write: Connection terminated unexpectedly' }
    expect(found).toMatchObject({ sequences: unseen, statements: unseen, app: unseen })
    expect(opened[0]?.asked()).toEqual(['ping', 'vitals', 'catalog_locks', 'structure', 'sequences'])
  })
})

describe('a database that hangs at the first try', () => {
  it('is given the time to wake when nothing was heard of it for four minutes', async () => {
    const { opened, openDatabase } = scripted([hung()], [noRow, refused('55P03')])
    const found = await seen({ openDatabase }, {}, { 'collector:trades': collector({ lastSuccessAtMs: nowMs - 4 * minuteMs }) })
    expect(found.database).toMatchObject({ kind: 'answers', woke: true })
    expect(opened.map((o) => [o.connectForMs, o.isEnded])).toEqual([
      [2_500, true],
      [12_000, true],
    ])
  })

  it.each([
    ['a collector has written since', { 'collector:trades': collector({ lastSuccessAtMs: nowMs - 4 * minuteMs + 1 }) }],
    ['its circuit is open: somebody has waited for long already', { 'breaker:database': open }],
  ])('is not when %s', async (_why, items) => {
    const { opened, openDatabase } = scripted([hung()])
    expect((await seen({ openDatabase }, {}, items)).database).toMatchObject({ kind: 'unreachable', failure: 'hung' })
    expect(opened.length).toBe(1)
  })

  it('is not when it hangs behind its first answer: it was awake', async () => {
    const { opened, openDatabase } = scripted([noRow, hung()])
    expect((await seen({ openDatabase })).database).toMatchObject({ kind: 'unreachable', failure: 'hung' })
    expect(opened.length).toBe(1)
  })

  it('is not when it has said why', async () => {
    const { opened, openDatabase } = scripted([refused('57P03', { message: 'the database system is starting up' })])
    expect((await seen({ openDatabase })).database).toMatchObject({ kind: 'unreachable', failure: 'starting' })
    expect(opened.length).toBe(1)
  })
})

describe('piggyback', () => {
  const asleep = { 'collector:trades': collector({ lastSuccessAtMs: nowMs - 2 * minuteMs }) }
  const look = { mode: 'piggyback', structure: true } as const

  it('leaves the database asleep when nobody has it awake and nothing looks wrong', async () => {
    const { opened, openDatabase } = scripted([noRow])
    const found = await seen({ openDatabase }, look, asleep)
    expect(found.database).toEqual({ kind: 'not-asked', why: 'left asleep: no collector has run for a while, and nothing looks wrong' })
    expect(found).toMatchObject({ structure: null, sequences: null, statements: null, app: null })
    expect(opened).toEqual([])
  })

  it.each(['failed', 'deferred'])(
    "leaves it asleep while runs end as %s for the API's sake: else every minute would wake it",
    async (lastOutcome) => {
      const { opened, openDatabase } = scripted([noRow])
      const states = { 'collector:trades': collector({ lastSuccessAtMs: nowMs - 60 * minuteMs, lastOutcome }) }
      expect((await seen({ openDatabase }, look, states)).database.kind).toBe('not-asked')
      expect(opened).toEqual([])
    },
  )

  it.each<[string, object, object]>([
    ['a collector has finished within a minute and a half', { 'collector:trades': collector({ lastSuccessAtMs: nowMs - 90_000 }) }, {}],
    ['a collector runs', { 'collector:trades': collector({ lastSuccessAtMs: 0, lease: { runId: 'r', untilMs: nowMs + 1 } }) }, {}],
    ['the circuit is open', { ...asleep, 'breaker:database': open }, {}],
    ["a table's circuit is open", { ...asleep, 'breaker:stream:trades': open }, {}],
    ['a batch waits', asleep, { parked: { depth: async () => 1 } }],
    ['the queue can not be asked', asleep, { parked: { depth: () => Promise.reject(new Error('away')) } }],
    ['the state table can not be asked', asleep, { state: { list: () => Promise.reject(new Error('away')) } }],
  ])('asks when %s', async (_why, items, tools) => {
    const { openDatabase } = scripted([unreachable()])
    expect((await seen({ openDatabase, ...tools }, look, items as Record<string, unknown>)).database).toMatchObject({ kind: 'unreachable' })
  })
})
