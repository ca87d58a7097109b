// What has to fit on AWS, one rule at a time: the defaults fit, and the first value that does not is refused with both numbers.

import { describe, expect, it } from 'vitest'
import { mostConnections, problemsOnAws, timeouts } from '../../infra/limits.ts'
import { parseSettings } from '../../shared/config.ts'
import { parkedHiddenForS } from '../../shared/names.ts'

const problems = (written: object) => problemsOnAws(parseSettings(written))
const off = { enabled: false }
const none = { dexes: off, 'top-pools': off, 'new-pools': off, trades: off }

describe('limits', () => {
  it('the defaults keep all of them', () => {
    expect(problems({})).toEqual([])
    expect(problems({ collectors: none })).toEqual([])
  })

  it('counts every function twice, and collect twice for each collector', () => {
    expect(mostConnections(parseSettings({}))).toBe(16)
    expect(mostConnections(parseSettings({ collectors: { dexes: off } }))).toBe(14)
    expect(mostConnections(parseSettings({ collectors: none }))).toBe(2)
    expect(mostConnections(parseSettings({ aws: { reservedConcurrency: 5 } }))).toBe(13)
    expect(mostConnections(parseSettings({ aws: { reservedConcurrency: 100 } }))).toBe(16)
  })

  it('refuses more than 70 % of the stated connections, and not one less', () => {
    expect(problems({ aws: { connectionLimit: 23 } })).toEqual([])
    expect(problems({ aws: { connectionLimit: 22 } })).toEqual([
      'aws.connectionLimit: the functions may hold 16 connections at once, above 70 % of the 22 that the database allows; ' +
        'raise its limit, put a pooler before it, or enable fewer collectors',
    ])
    expect(problems({ aws: { connectionLimit: 3 }, collectors: none })).toEqual([])
  })

  it('refuses a reservation that throws ticks of a collector away', () => {
    expect(problems({ aws: { reservedConcurrency: 4 } })).toEqual([])
    expect(problems({ aws: { reservedConcurrency: 3 } })).toEqual([
      'aws.reservedConcurrency (3) must be 0 or at least the number of collectors (4), or their ticks are thrown away',
    ])
  })

  it('refuses a key that would be sent to nobody', () => {
    const aws = { geckoApiKeyParameter: '/tokay/<stage>/gecko-api-key' }
    expect(problems({ aws })).toEqual([expect.stringMatching(/^aws\.geckoApiKeyParameter: the key is sent to CoinGecko alone/)])
    for (const host of ['api', 'pro-api'])
      expect(problems({ aws, gecko: { baseUrl: `https://${host}.coingecko.com/api/v3/onchain` } })).toEqual([])
  })

  it('refuses a request and a write that do not fit into a run with the parking of what was fetched', () => {
    // 55 s for a collector that ticks every minute, 5 of them for parking
    const fast = { trades: { everyMinutes: 1 } }
    expect(timeouts(parseSettings({ collectors: fast })).collect).toBe(55)
    expect(problems({ collectors: fast, gecko: { timeoutMs: 40_000 } })).toEqual([])
    expect(problems({ collectors: fast, gecko: { timeoutMs: 40_001 } })).toEqual([
      'one request and one write (gecko.timeoutMs, database.attemptForMs) and parking may take 55.001 s, ' +
        'a run of collect, which ends before the next tick of its collector, has 55 s',
    ])
  })

  it('refuses writes that outlast the hiding of a parked batch: two replayers would write the same', () => {
    expect(parkedHiddenForS).toBe(60)
    // three attempts and two waits of 5 s
    const database = (attemptForMs: number) => ({ database: { attemptForMs }, breaker: { leaseForMs: 60_000 } })
    expect(problems(database(16_666))).toEqual([])
    expect(problems(database(16_667))).toEqual([
      'a write with its repeats (database.attemptForMs, retry.attempts, retry.capMs) may take 60.001 s, ' +
        'a parked batch, which the queue gives to another replayer after that, has 60 s',
    ])
    expect(problems({ ...database(16_667), collectors: none })).toEqual([])
  })

  it('refuses a wake-up that leaves the health check no time to tell of it', () => {
    expect(problems({ database: { wakeForMs: 40_000 } })).toEqual([])
    expect(problems({ database: { wakeForMs: 40_001 } })).toEqual([
      'connecting to a sleeping database (database.wakeForMs) and telling of it may take 50.001 s, a run of the health check has 50 s',
    ])
  })

  it('no function may run longer than Lambda lets it', () => {
    for (const seconds of Object.values(timeouts(parseSettings({})))) expect(seconds).toBeLessThanOrEqual(900)
  })
})
