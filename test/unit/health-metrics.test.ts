// The figures of a look: as metrics, and as a row of the history. What is not known is left out.

import { describe, expect, it } from 'vitest'
import { assess } from '../../shared/health/assess.ts'
import type { Look } from '../../shared/health/checks/judge.ts'
import { recentOf, remember, type Recent } from '../../shared/health/memory/memory.ts'
import { metricsOf, type Metric } from '../../shared/health/metrics.ts'
import type { Observation } from '../../shared/health/observation.ts'
import { sampleOf } from '../../shared/health/sample.ts'
import { metricNames } from '../../shared/names.ts'
import { bucketMs } from '../../shared/resilience/histogram.ts'
import {
  answering,
  assessed,
  away,
  collectorState,
  lookedAtMs,
  minuteMs,
  observed,
  openBreaker,
  operations,
  recently,
  settings,
} from '../support/observed.ts'

type Given = { seen?: Partial<Observation>; recent?: Parameters<typeof recently>[0] }
const look = ({ seen, recent }: Given = {}): Look => ({ observation: observed(seen), recent: recently(recent), settings })
const metricsFor = (given: Given = {}) => metricsOf(look(given), assessed(given))
const metric = (name: Metric['name'], given: Given = {}) => metricsFor(given).find((m) => m.name === name)
const valueOf = (name: Metric['name'], given: Given = {}) => {
  const found = metric(name, given)
  return found && 'value' in found ? found.value : undefined
}
const asleep = { kind: 'not-asked', why: 'it sleeps' } as const
/** Nothing was seen: neither the database nor the state table answered, and nothing is remembered. */
const blind: Given = {
  seen: { database: asleep, stateAnswers: false, collectors: {}, parked: undefined },
  recent: recentOf(undefined, lookedAtMs),
}

describe('the metrics of a look', () => {
  it('are the ten that there are, in one list, each once', () => {
    expect(metricsFor().map(({ name }) => name)).toEqual([...metricNames])
  })

  it('of a database that is well', () => {
    expect(metricsFor()).toEqual([
      { name: 'Heartbeat', unit: 'Count', value: 1 },
      { name: 'Availability', unit: 'Percent', value: 100 },
      { name: 'HealthStatus', unit: 'None', value: 0 },
      // the look's own 8 ms
      { name: 'QueryLatency', unit: 'Milliseconds', distribution: [{ value: bucketMs(20), count: 1 }] },
      { name: 'ConnectLatency', unit: 'Milliseconds', value: 3 },
      { name: 'LockWait', unit: 'Milliseconds', value: 0 },
      { name: 'ErrorRate', unit: 'Percent', value: 0 },
      { name: 'BreakerOpenTime', unit: 'Seconds', value: 0 },
      { name: 'ConnectionUtilization', unit: 'Percent', value: expect.closeTo(7.22, 2) },
      { name: 'CollectorLag', unit: 'Seconds', value: 0 },
    ])
  })

  it('of a look that saw nothing are the heartbeat alone', () => {
    expect(metricsOf(look(blind), { ...assessed(blind), status: 'unknown' })).toEqual([{ name: 'Heartbeat', unit: 'Count', value: 1 }])
  })

  it('have what the clients measured since the last look, and the look itself', () => {
    const sinceLastLook = { operations: operations({ calls: 6 }), latency: { 20: 5, 44: 1 } }
    expect(metric('QueryLatency', { recent: { sinceLastLook } })).toEqual({
      name: 'QueryLatency',
      unit: 'Milliseconds',
      distribution: [
        { value: bucketMs(20), count: 6 },
        { value: bucketMs(44), count: 1 },
      ],
    })
    expect(metric('QueryLatency', { seen: { database: away }, recent: { sinceLastLook } })).toMatchObject({
      distribution: [{ count: 5 }, { count: 1 }],
    })
    expect(metric('QueryLatency', { seen: { database: away } })).toBe(undefined)
  })

  it('take the longest wait for a lock: of a session now, or of our own writes that gave up since the last look', () => {
    const session = {
      pid: 1,
      lockType: 'relation',
      mode: 'RowExclusiveLock',
      relation: 'trades',
      blockedBy: [2],
      application: null,
      query: null,
    }
    const blocked = [700, 4_000].map((waitMs) => ({ ...session, waitMs }))
    const gaveUp = { sinceLastLook: { operations: operations({ calls: 2, failures: { 'lock-timeout': 2 } }), latency: {} } }
    expect(valueOf('LockWait', { seen: { database: answering({ blocked }) } })).toBe(4_000)
    expect(valueOf('LockWait', { recent: gaveUp })).toBe(1_500)
    expect(valueOf('LockWait', { seen: { database: answering({ blocked }) }, recent: gaveUp })).toBe(4_000)
    expect(valueOf('LockWait', { seen: { database: away }, recent: gaveUp })).toBe(1_500)
    expect(valueOf('LockWait', { seen: { database: away } })).toBe(undefined)
    // what they met before the last look was told then
    const earlier = { operations: { fiveMinutes: operations({ calls: 2, failures: { 'lock-timeout': 2 } }) } }
    expect(valueOf('LockWait', { recent: earlier })).toBe(0)
  })

  it('have the rates of their stretches', () => {
    const recent = {
      availability: { ...recently().availability, hour: { knownMinutes: 40, upMinutes: 30 } },
      operations: { fiveMinutes: operations({ calls: 60, refused: 10, failed: 5 }) },
    }
    expect(valueOf('Availability', { recent })).toBe(75)
    expect(valueOf('ErrorRate', { recent })).toBe(10)
    expect(valueOf('ErrorRate', { recent: { operations: { fiveMinutes: operations({ calls: 7, refused: 7 }) } } })).toBe(undefined)
  })

  it('say how long the circuit is open by now', () => {
    expect(valueOf('BreakerOpenTime', { seen: { breaker: openBreaker({ openedAtMs: lookedAtMs - 61_400 }) } })).toBe(61)
    expect(valueOf('BreakerOpenTime', { seen: { breaker: openBreaker({ openedAtMs: lookedAtMs + 5_000 }) } })).toBe(0)
    expect(valueOf('BreakerOpenTime', { seen: { stateAnswers: false, breaker: undefined } })).toBe(undefined)
  })

  it('say how far the slowest collector is behind its own interval, of those that are enabled and have ever come to an end', () => {
    const lag = (...states: readonly Partial<ReturnType<typeof collectorState>>[]) => {
      const names = ['trades', 'new-pools', 'dexes'] as const
      const collectors = Object.fromEntries(states.map((state, n) => [names[n], collectorState(state)]))
      return valueOf('CollectorLag', { seen: { collectors } })
    }
    const ended = (agoMinutes: number, more = {}) => ({ lastSuccessAtMs: lookedAtMs - agoMinutes * minuteMs, ...more })
    expect(lag(ended(4), ended(5))).toBe(0)
    expect(lag(ended(12), ended(6))).toBe(7 * 60)
    expect(lag(ended(12, { intervalFactor: 2.2 }))).toBe(2 * 60)
    expect(lag(ended(1), ended(2), ended(61))).toBe(60)
    expect(lag({ lastSuccessAtMs: null }, ended(12))).toBe(7 * 60)
    expect(lag({ lastSuccessAtMs: null })).toBe(undefined)
  })

  it('leave the connections out when they were not seen, and say 100 % when nobody is let in any more', () => {
    expect(valueOf('ConnectionUtilization', { seen: { database: away } })).toBe(undefined)
    expect(valueOf('ConnectionUtilization', { seen: { database: { ...away, failure: 'saturated' } as typeof away } })).toBe(100)
    expect(valueOf('ConnectionUtilization', { seen: { database: answering({ connections: { used: 97 } }) } })).toBe(100)
  })

  it('have the time of a connection, but not that of a database that had to wake', () => {
    expect(valueOf('ConnectLatency', { seen: { database: answering({}, { connectMs: null }) } })).toBe(undefined)
    expect(valueOf('ConnectLatency', { seen: { database: answering({}, { connectMs: 900, woke: true }) } })).toBe(undefined)
  })

  it('have 0, 1 and 2 for a status, and nothing for none', () => {
    const statusOf = (status: 'healthy' | 'degraded' | 'critical' | 'unknown') =>
      metricsOf(look(), { ...assessed(), status }).flatMap((m) => (m.name === 'HealthStatus' && 'value' in m ? [m.value] : []))
    expect([statusOf('healthy'), statusOf('degraded'), statusOf('critical'), statusOf('unknown')]).toEqual([[0], [1], [2], []])
  })

  it('are finite numbers, whatever was seen', () => {
    const strange: readonly Given[] = [
      blind,
      { seen: { database: away, breaker: openBreaker() } },
      { seen: { database: answering({ connections: { max: 3, reserved: 3, used: 0 } }, { queryMs: 0 }) } },
      { recent: recentOf(undefined, 0) },
    ]
    const numbers = strange.flatMap(metricsFor).flatMap((m) => ('value' in m ? [m.value] : m.distribution.flatMap(Object.values)))
    expect(numbers.filter((n) => !Number.isFinite(n))).toEqual([])
  })
})

describe('the row of a look', () => {
  it('has what was seen', () => {
    const sinceLastLook = { operations: operations({ calls: 9, failed: 2 }), latency: { 24: 7 } }
    expect(sampleOf(look({ recent: { sinceLastLook } }), assessed())).toEqual({
      atMs: lookedAtMs,
      isUp: true,
      status: 0,
      connectMs: 3,
      queryMs: 8,
      lockWaitMs: 0,
      calls: 9,
      failed: 2,
      connectionsPercent: expect.closeTo(7.22, 2),
      parked: 0,
      collectorLagS: 0,
      breakerOpenS: 0,
      databaseBytes: 1_073_741_824,
      xidAge: 50_000_000,
      latency: { 20: 1, 24: 7 },
    })
  })

  it('has null for what was not', () => {
    expect(sampleOf(look(blind), { ...assessed(blind), status: 'unknown' })).toEqual({
      atMs: lookedAtMs,
      isUp: null,
      status: null,
      connectMs: null,
      queryMs: null,
      lockWaitMs: null,
      calls: 0,
      failed: 0,
      connectionsPercent: null,
      parked: null,
      collectorLagS: null,
      breakerOpenS: null,
      databaseBytes: null,
      xidAge: null,
      latency: {},
    })
  })

  it('says up or down as the memory does, from what the look saw', () => {
    const isUp = (seen: Partial<Observation>, recent: Partial<Recent> = {}) => sampleOf(look({ seen, recent }), assessed({ seen })).isUp
    const served = { sinceLastLook: { operations: operations({ calls: 3 }), latency: {} } }
    expect([isUp({ database: away }), isUp({ database: asleep }), isUp({ database: asleep }, served)]).toEqual([false, null, true])
  })

  it('is of whole numbers where its column is', () => {
    const seen = { database: answering({ connections: { used: 31 } }), breaker: openBreaker({ openedAtMs: lookedAtMs - 1_234 }) }
    const observation = observed({ ...seen, collectors: { trades: collectorState({ lastSuccessAtMs: lookedAtMs - 999_999 }) } })
    const recent = recentOf(remember(undefined, observation), lookedAtMs)
    const row = sampleOf({ observation, recent, settings }, assess(observation, recent, { settings }))
    const whole = [row.status, row.calls, row.failed, row.parked, row.collectorLagS, row.breakerOpenS, row.databaseBytes, row.xidAge]
    expect(whole.filter((n) => n !== null && !Number.isInteger(n))).toEqual([])
  })
})
