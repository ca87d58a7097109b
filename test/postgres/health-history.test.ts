// The health check's history on a real Postgres: looks in, hours summed up, whatever comes late, twice or at once.

import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mergeBatches } from '../../shared/collect/batch.ts'
import { replayParked } from '../../shared/collect/replay-parked.ts'
import { parseSettings } from '../../shared/config.ts'
import { readHistory, storeHealth } from '../../shared/health/history.ts'
import type { SampleRow } from '../../shared/model.ts'
import { countMs, histogramOf, type OpenHistogram } from '../../shared/resilience/histogram.ts'
import { createMemoryParkedWrites, parkedWrite } from '../support/memory-parked-writes.ts'
import { dex, incident, sample } from '../support/rows.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { createWriteTools } from '../support/write-tools.ts'
import { connect, createTables, limits, statementsOf, type Tables } from '../support/tables.ts'

const settings = parseSettings({})
const [minuteMs, hourMs] = [60_000, 3_600_000]
/** A full hour, three hours ago: the server's own clock decides what is old. */
const hour = Math.floor(Date.now() / hourMs) * hourMs - 3 * hourMs
const look = (minute: number, row: Partial<SampleRow> = {}) => sample({ atMs: hour + minute * minuteMs, ...row })

let tables: Tables
beforeEach(async () => void (tables = await createTables('health')))
afterEach(async () => tables.drop())

const looks = () => tables.sql<{ at: Date; is_up: boolean }>('select at, is_up from health_samples order by at')
const hours = () => tables.sql('select * from health_hours order by hour')
const history = (nowMs = Date.now()) =>
  readHistory((statements) => tables.database.transaction(statements, limits), { nowMs, targetPercent: 99.5 })

const createTools = (parked = createMemoryParkedWrites()) => createWriteTools(tables, settings, parked)

describe('a look', () => {
  it('comes back as it went in, with its hour summed up beside it', async () => {
    await tables.write({ samples: [look(7)] })

    const { looks: past, hours: pastHours } = await history(hour + 8 * minuteMs)
    const { latency: _buckets, ...row } = look(7)
    expect(past).toEqual([row])
    expect(pastHours).toEqual([
      {
        atMs: hour,
        knownMinutes: 1,
        upMinutes: 1,
        breakerOpenMinutes: 0,
        worstStatus: 0,
        calls: 40,
        failed: 0,
        // 30 calls of up to 8 ms, 11 of up to 16 ms
        latency: { p50Ms: expect.closeTo(7.31, 2), p95Ms: expect.closeTo(14.62, 2), p99Ms: expect.closeTo(14.62, 2), count: 41 },
        connectLatency: { p50Ms: expect.closeTo(3.65, 2), p95Ms: expect.closeTo(3.65, 2), p99Ms: expect.closeTo(3.65, 2), count: 1 },
        lockWaitMs: 0,
        connectionsPercent: 12.5,
        parked: 0,
        collectorLagS: 0,
        databaseBytes: 8_000_000,
        xidAge: 1_200,
      },
    ])
  })

  it('in which nothing is known but that the database did not answer is stored all the same', async () => {
    const blind = look(7, {
      isUp: false,
      status: null,
      connectMs: null,
      queryMs: null,
      lockWaitMs: null,
      calls: 0,
      connectionsPercent: null,
      parked: null,
      collectorLagS: null,
      breakerOpenS: null,
      databaseBytes: null,
      xidAge: null,
      latency: {},
    })
    await tables.write({ samples: [blind] })
    expect((await history(hour + 8 * minuteMs)).hours).toMatchObject([
      { knownMinutes: 1, upMinutes: 0, worstStatus: null, latency: null, connectLatency: null, lockWaitMs: null, databaseBytes: null },
    ])
  })
})

describe('an hour', () => {
  it('takes the highest of what is high, the last size, and the sum of what is counted', async () => {
    await tables.write({
      samples: [
        look(1, {
          status: 2,
          lockWaitMs: 1_500,
          connectionsPercent: 91,
          parked: 12,
          collectorLagS: 300,
          calls: 3,
          failed: 2,
          breakerOpenS: 40,
        }),
        look(3, { databaseBytes: 9_000_000, xidAge: 1_300 }),
        look(2, { databaseBytes: 8_500_000, status: null }),
        look(4, { databaseBytes: null }),
      ],
    })
    expect((await history(hour + 8 * minuteMs)).hours).toMatchObject([
      {
        worstStatus: 2,
        lockWaitMs: 1_500,
        connectionsPercent: 91,
        parked: 12,
        collectorLagS: 300,
        calls: 123,
        failed: 2,
        breakerOpenMinutes: 1,
        databaseBytes: 9_000_000,
        xidAge: 1_300,
      },
    ])
  })

  it('counts a minute once: up when every look of it that knows says so, unknown when none knows', async () => {
    const at = (minute: number, second: number, isUp: boolean | null) =>
      look(minute, { atMs: hour + minute * minuteMs + second * 1_000, isUp })
    await tables.write({
      samples: [at(1, 0, true), at(1, 3, true), at(2, 0, true), at(2, 3, false), at(3, 0, null), at(3, 3, true), at(4, 0, null)],
    })
    expect((await history(hour + 8 * minuteMs)).hours).toMatchObject([{ knownMinutes: 3, upMinutes: 2 }])
    expect((await history(hour + 8 * minuteMs)).availability).toMatchObject({
      hour: { knownMinutes: 3, upMinutes: 2 },
      day: { knownMinutes: 3, upMinutes: 2 },
      month: { knownMinutes: 3, upMinutes: 2 },
    })
  })

  it('of which the looks come in any order, in any number of transactions, is the same', async () => {
    const all = Array.from({ length: 60 }, (_, n) => look(n, { isUp: n % 7 !== 0, connectMs: n, latency: { [n]: n + 1 }, calls: n }))
    await tables.write({ samples: all })
    const expected = await hours()
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(all, { minLength: 60 }), fc.integer({ min: 1, max: 25 }), async (shuffled, size) => {
        await tables.sql('truncate health_samples, health_hours')
        for (let from = 0; from < shuffled.length; from += size) await tables.write({ samples: shuffled.slice(from, from + size) })
        expect(await hours()).toEqual(expected)
      }),
      { numRuns: 8 },
    )
  })

  it('that is written twice, whole or in part, stays as it is', async () => {
    const all = Array.from({ length: 10 }, (_, n) => look(n))
    await tables.write({ samples: all })
    const expected = [await looks(), await hours()]
    await tables.write({ samples: all })
    await tables.write({ samples: all.slice(3, 6) })
    expect([await looks(), await hours()]).toEqual(expected)
  })

  it('that four write at once loses none of their looks', async () => {
    const writers = Array.from({ length: 4 }, () => connect(tables.name))
    await Promise.all(
      writers.map(async (writer, n) => {
        for (let minute = n; minute < 60; minute += 4)
          await writer.transaction(statementsOf(mergeBatches([{ samples: [look(minute)] }])), limits)
      }),
    )
    await Promise.all(writers.map((writer) => writer.end()))
    expect(await hours()).toMatchObject([{ known_minutes: 60, up_minutes: 60, calls: 2_400 }])
  })

  it('waits for a writer that has not committed yet, and then has the looks of both', async () => {
    const [writer, second] = [connect(tables.name), statementsOf(mergeBatches([{ samples: [look(2)] }]))]
    await tables.sql('begin')
    for (const { text, values } of statementsOf(mergeBatches([{ samples: [look(1)] }]))) await tables.sql(text, values)
    const written = writer.transaction(second, limits)
    const waiting = 'select from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))'
    await expect.poll(async () => (await tables.sql(waiting)).length, { timeout: 5_000, interval: 20 }).toBe(1)
    await tables.sql('commit')
    await written
    expect(await hours()).toMatchObject([{ known_minutes: 2 }])
    await writer.end()
  })

  it('has the connections in the buckets that the clients use for theirs', async () => {
    const connects = [0, 0.1, 0.25, 0.26, 0.5, 1, 1.5, 3.7, 12, 99.5, 500, 2_000.5, 4_100, 16_000, 99_000]
    await tables.write({ samples: connects.map((connectMs, n) => look(n, { connectMs, latency: histogramOf([connectMs]) })) })
    const [row] = await tables.sql<{ latency: number[]; connect_latency: number[] }>('select latency, connect_latency from health_hours')
    expect(row?.connect_latency).toEqual(row?.latency.slice(0, row.connect_latency.length))
    expect(row?.latency).toHaveLength(65)
  })

  it('of which some looks are gone is not made smaller by one that comes late', async () => {
    await tables.write({ samples: Array.from({ length: 30 }, (_, n) => look(n)) })
    await tables.sql('delete from health_samples')
    await tables.write({ samples: [look(40)] })
    expect(await hours()).toMatchObject([{ known_minutes: 30 }])
  })
})

describe('what is old', () => {
  const stored = (ago: string) => tables.sql(`update health_samples set stored_at = now() - interval '${ago}'`)

  it('goes when the next look is written: looks two days after they were stored, and their hour stays', async () => {
    const daysAgo = (days: number, minute: number) => look(minute, { atMs: hour - days * 24 * hourMs + minute * minuteMs })
    await tables.write({ samples: [daysAgo(3, 1), daysAgo(3, 2)] })
    await stored('50 hours')
    // parked for three days
    await tables.write({ samples: [daysAgo(3, 30)] })
    expect((await looks()).map(({ at }) => at.getTime())).toEqual([daysAgo(3, 30).atMs])
    expect(await hours()).toMatchObject([{ known_minutes: 3 }])
  })

  it('goes a thousand at a time, so that no write waits for a long backlog', async () => {
    await tables.sql(`
      insert into health_samples (at, calls, failed, latency, stored_at)
      select at, 0, 0, '{}', at from generate_series(now() - interval '5 days', now() - interval '3 days', interval '1 minute') at`)
    const before = (await looks()).length
    await tables.write({ samples: [look(1)] })
    expect((await looks()).length).toBe(before - 1_000 + 1)
  })

  it('goes after 400 days where it is an hour, and is not made again', async () => {
    await tables.sql(`insert into health_hours (hour, known_minutes, up_minutes, breaker_open_minutes, calls, failed, latency, connect_latency)
      select now() - ago * interval '1 day', 60, 60, 0, 0, 0, '{}', '{}' from unnest(array[399, 401, 500]) ago`)
    await tables.write({ samples: [look(1), look(1, { atMs: hour - 450 * 24 * hourMs })] })
    expect(await tables.sql(`select count(*)::int as n from health_hours where hour < now() - interval '2 days'`)).toEqual([{ n: 1 }])
  })
})

describe('through an outage', () => {
  it('looks are parked without asking the database, replayed, and there once, however often they are delivered', async () => {
    const tools = createTools()
    const down = Array.from({ length: 5 }, (_, n) => look(10 + n, { isUp: false, status: 2, connectMs: null, queryMs: null, latency: {} }))
    for (const one of down) await storeHealth({ samples: [one] }, tools)
    expect(await looks()).toEqual([])
    expect(tools.parked.waiting.map(({ collector, reason, batch }) => [collector, reason, batch.samples.length])).toEqual(
      down.map(() => ['health-check', 'database-away', 1]),
    )
    // a look is told by its own alert: no warning for its parking
    expect(tools.log.events.map(({ event }) => event)).toEqual([])

    await storeHealth({ samples: [look(15)] }, tools)
    for (const write of tools.parked.waiting) await tools.parked.park(write)
    expect(await replayParked(tools, { deadlineAtMs: Date.now() + 60_000 })).toMatchObject({ left: 0, setAside: 0, quarantined: 0 })
    expect((await looks()).map(({ is_up }) => is_up)).toEqual([false, false, false, false, false, true])
    expect((await history(hour + 20 * minuteMs)).hours).toMatchObject([{ knownMinutes: 6, upMinutes: 1, worstStatus: 2 }])
  })

  it('a look that can not be written although the database answered is parked', async () => {
    const tools = createTools()
    await tables.sql('alter table health_samples rename to gone')
    await storeHealth({ samples: [look(1)] }, tools)
    expect(tools.parked.waiting.map(({ reason }) => reason)).toEqual(['schema'])
  })

  it('a batch that was parked before there were looks is replayed', async () => {
    const old = parkedWrite('1', { dexes: [dex()] })
    const { samples: _samples, incidents: _incidents, ...batch } = old.batch
    const tools = createTools(createMemoryParkedWrites({ ...old, batch } as typeof old))
    expect(await replayParked(tools, { deadlineAtMs: Date.now() + 60_000 })).toMatchObject({ replayed: 1, rows: 1, left: 0 })
    expect(await tables.sql('select dex from dexes')).toEqual([{ dex: 'raydium' }])
  })

  it('a look that let the database sleep does not wake it', async () => {
    const tools = createTools()
    await storeHealth({ samples: [look(1, { isUp: null, queryMs: null }), look(2, { isUp: true, queryMs: null })] }, tools)
    expect([await looks(), tools.parked.waiting]).toEqual([[], []])
  })

  it('its report is stored once, the later end staying', async () => {
    const tools = createTools()
    const [first, last] = [incident({ report: '{"n":1}' }), incident({ endedAtMs: incident().endedAtMs + minuteMs, report: '{"n":2}' })]
    for (const one of [first, last, first]) await storeHealth({ incidents: [one] }, tools)
    expect((await history()).incidents).toEqual([{ startedAtMs: last.startedAtMs, endedAtMs: last.endedAtMs, report: { n: 2 } }])
  })
})

describe('read back', () => {
  it('minutes that nobody looked at are unknown: they are neither up nor down, and use no budget', async () => {
    // half an hour of looks, three minutes of them down
    await tables.write({ samples: Array.from({ length: 30 }, (_, n) => look(2 * n, { isUp: n >= 3 })) })
    const { availability, budgetLeft } = await history(hour + 60 * minuteMs)
    expect(availability.day).toEqual({ knownMinutes: 30, upMinutes: 27 })
    // 10 % of what is known, of 0.5 % that is allowed
    expect(budgetLeft).toBe(0)
  })

  it('without a look nothing is known', async () => {
    expect(await history()).toEqual({
      availability: {
        hour: { knownMinutes: 0, upMinutes: 0 },
        day: { knownMinutes: 0, upMinutes: 0 },
        week: { knownMinutes: 0, upMinutes: 0 },
        month: { knownMinutes: 0, upMinutes: 0 },
      },
      budgetLeft: null,
      latency: { day: null, week: null, month: null },
      looks: [],
      hours: [],
      incidents: [],
    })
  })

  it('percentiles of a month are those of its calls, within 9 %', async () => {
    const random = seededRandom(5)
    const durations: number[] = []
    const samples = Array.from({ length: 200 }, (_, n) => {
      const latency: OpenHistogram = {}
      for (let call = 0; call < 50; call++) {
        // log-normal around 20 ms, with a tail of locks
        const ms = 20 * Math.exp(gaussian(random)) + (random() < 0.03 ? 1_500 * random() : 0)
        durations.push(ms)
        countMs(latency, ms)
      }
      return look(0, { atMs: hour - n * 3 * hourMs, latency })
    })
    await tables.write({ samples })
    const sorted = durations.toSorted((a, b) => a - b)
    const exact = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] as number
    const { month, week, day } = (await history()).latency
    expect(month?.count).toBe(10_000)
    for (const [share, ms] of [
      [0.5, month?.p50Ms],
      [0.95, month?.p95Ms],
      [0.99, month?.p99Ms],
    ] as const) {
      expect(Math.abs((ms ?? 0) / exact(share) - 1)).toBeLessThanOrEqual(0.09)
    }
    // one look in three hours, the first of them three hours ago
    expect([week?.count, day?.count]).toEqual([55 * 50, 7 * 50])
  })

  it('an hour and two days of looks are small', async () => {
    const latency = Object.fromEntries(Array.from({ length: 65 }, (_, bucket) => [bucket, 123_456]))
    await tables.write({ samples: Array.from({ length: 60 }, (_, n) => look(n, { latency })) })
    const [sizes] = await tables.sql<{ look: number; hour: number }>(
      `select (select max(pg_column_size(s.*)) from health_samples s)::int as look, (select max(pg_column_size(h.*)) from health_hours h)::int as hour`,
    )
    expect(sizes?.look).toBeLessThan(500)
    expect(sizes?.hour).toBeLessThan(800)
  })
})

const gaussian = (random: () => number) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
