// The policy over 12 simulated months: every incident is found, nothing else is told, and nobody is told too often. And what flapping costs.
// The looks are made by hand from a model of the world, with the bounds of the checks: 525,600 ticks in a few seconds.

import { describe, expect, it } from 'vitest'
import type { JudgedLook } from '../../shared/health/alert/looks.ts'
import { alertRules } from '../../shared/health/alert/state.ts'
import { threeOfFive } from '../../shared/health/check.ts'
import { check, connect, createEngine, look, minuteMs, runWithLooks, seeded, startAtMs } from '../support/alerts.ts'

const monthMinutes = 30 * 24 * 60
const opsPerMinute = 12
const noise = 0.002

type Incident = {
  readonly kind: string
  readonly from: number
  readonly minutes: number
  /** Of a probe or an operation in that minute of it. */
  readonly failing: (minute: number) => number
}

const shapes: readonly { kind: string; minutes: number; perMonth: number; failing: (minute: number) => number }[] = [
  { kind: 'outage of 2 min', minutes: 2, perMonth: 2, failing: () => 1 },
  { kind: 'outage of 5 min', minutes: 5, perMonth: 2, failing: () => 1 },
  { kind: 'outage of 15 min', minutes: 15, perMonth: 2, failing: () => 1 },
  { kind: 'outage of 60 min', minutes: 60, perMonth: 1, failing: () => 1 },
  { kind: '30 % errors for 20 min', minutes: 20, perMonth: 2, failing: () => 0.3 },
  { kind: '3 % errors for 12 h', minutes: 720, perMonth: 1, failing: () => 0.03 },
  { kind: 'flapping for 40 min', minutes: 40, perMonth: 1, failing: (minute) => (minute % 8 < 4 ? 1 : 0) },
]

/** Each month's incidents in a random order, each somewhere in its own part of the month, a day away from the next. */
function incidentsOf(month: number, random: () => number): readonly Incident[] {
  const kinds = shapes.flatMap((shape) => Array.from({ length: shape.perMonth }, () => shape))
  const order = kinds.map((shape) => ({ shape, at: random() })).toSorted((a, b) => a.at - b.at)
  const part = Math.floor(monthMinutes / order.length)
  return order.map(({ shape: { kind, minutes, failing } }, n) => ({
    kind,
    minutes,
    failing,
    from: month * monthMinutes + n * part + Math.floor(random() * (part - 1_440 - minutes)),
  }))
}

/** Failed operations by minute, and their sums over the last minutes. */
function createOperations(total: number) {
  const sums = new Int32Array(total + 1)
  let known = 0
  return {
    add(failed: number) {
      sums[known + 1] = (sums[known] as number) + failed
      known++
    },
    over(minutes: number) {
      const span = Math.min(minutes, known)
      const failed = (sums[known] as number) - (sums[known - span] as number)
      return { failed, rate: span === 0 ? 0 : failed / (span * opsPerMinute) }
    },
  }
}

describe('twelve months of a database', () => {
  it('132 incidents, and noise in between: each is found, nothing else is told, at most 30 messages a month', () => {
    const random = seeded(20250915)
    const months = 12
    const incidents = Array.from({ length: months }, (_, month) => incidentsOf(month, random)).flat()
    expect(incidents).toHaveLength(132)
    const operations = createOperations(months * monthMinutes)
    const engine = createEngine()
    const found = new Map<Incident, number>()
    let [messages, falseAlarms, next] = [0, 0, 0]
    for (let minute = 0; minute < months * monthMinutes; minute++) {
      while (next < incidents.length && minute >= (incidents[next] as Incident).from + (incidents[next] as Incident).minutes) next++
      const now = incidents[next]
      const incident = now && minute >= now.from ? now : undefined
      const failing = incident ? incident.failing(minute - incident.from) : noise
      let failed = 0
      for (let n = 0; n < opsPerMinute; n++) if (random() < failing) failed++
      operations.add(failed)
      const [five, half, hour, six, three] = [5, 30, 60, 360, 4_320].map((minutes) => operations.over(minutes))
      const isBurning = (long: typeof five, short: typeof five, burn: number) =>
        (long?.rate ?? 0) > burn * 0.005 && (short?.rate ?? 0) > burn * 0.005 && (long?.failed ?? 0) >= 10
      const hot = isBurning(hour, five, 14.4) ? 'critical' : isBurning(six, half, 6) || isBurning(three, six, 1) ? 'warning' : 'ok'
      const isBudgetClear = !isBurning(hour, five, 0.8 * 14.4) && !isBurning(six, half, 0.8 * 6) && !isBurning(three, six, 0.8)
      const hasErrors = (five?.rate ?? 0) > 0.1 && (five?.failed ?? 0) >= 3
      const atMs = startAtMs + minute * minuteMs
      let firstIsUp: boolean | undefined = random() >= failing
      // nothing to see and nothing to remember: such a run changes nothing
      if (firstIsUp && !hasErrors && hot === 'ok' && Object.keys(engine.state?.courses ?? {}).length === 0) continue
      const looksAt = (lookAtMs: number): JudgedLook => {
        const isUp = firstIsUp ?? random() >= failing
        firstIsUp = undefined
        const explained = isUp ? {} : { inhibitedBy: 'connect' }
        return look(lookAtMs, [
          connect(isUp),
          check('error-rate', hasErrors ? 'critical' : 'ok', { isClear: (five?.rate ?? 0) <= 0.08, ...explained }),
          check('error-budget', hot, { isClear: isBudgetClear, ...explained }),
        ])
      }
      for (const { subject } of runWithLooks(engine, atMs, looksAt)) {
        messages++
        if (subject.startsWith('[RECOVERED]') || subject.startsWith('[STILL')) continue
        // what it leaves behind belongs to an incident: the error budget's warning looks back over 6 h
        const lingersFor = subject.startsWith('[WARNING]') ? 360 : 10
        const cause = incidents.findLast(({ from, minutes }) => from <= minute && minute <= from + minutes + lingersFor)
        if (!cause) falseAlarms++
        else if (!found.has(cause)) found.set(cause, minute - cause.from)
      }
    }
    const delays = (kind: string) =>
      [...found]
        .filter(([incident]) => incident.kind === kind)
        .map(([, delay]) => delay)
        .toSorted((a, b) => a - b)
    const median = (kind: string) => delays(kind)[Math.floor(delays(kind).length / 2)]
    expect(Object.fromEntries(shapes.map(({ kind }) => [kind, median(kind)]))).toEqual({
      'outage of 2 min': 0,
      'outage of 5 min': 0,
      'outage of 15 min': 0,
      'outage of 60 min': 0,
      '30 % errors for 20 min': 1,
      '3 % errors for 12 h': 189,
      'flapping for 40 min': 0,
    })
    expect(falseAlarms).toBe(0)
    expect(found.size).toBe(132)
    expect(messages / months).toBeLessThanOrEqual(30)
    for (const { kind } of shapes.filter(({ kind: name }) => name.startsWith('outage')))
      expect(Math.max(...delays(kind)), kind).toBeLessThanOrEqual(1)
  }, 60_000)
})

describe('flapping', () => {
  const hours = 8
  /** Messages of 8 h in which the database is up for some minutes, then down for some. */
  function messagesOf(up: number, down: number, looksAgain: boolean): { told: number; naive: number } {
    const engine = createEngine()
    let [told, naive, was] = [0, 0, true]
    for (let minute = 0; minute < hours * 60; minute++) {
      const isUp = minute % (up + down) < up
      if (isUp !== was) naive++
      was = isUp
      const atMs = startAtMs + minute * minuteMs
      const looked = (lookAtMs: number) => look(lookAtMs, [connect(isUp, { hold: threeOfFive })])
      told += looksAgain
        ? runWithLooks(engine, atMs, looked).filter(isTurn).length
        : engine.run(atMs, looked(atMs).assessment.checks).filter(isTurn).length
    }
    return { told, naive }
  }
  /** A reminder that it still goes on is no turn. */
  const isTurn = ({ subject }: { subject: string }) => !subject.startsWith('[STILL')

  it.each([
    { up: 7, down: 5, naive: 79, told: 3 },
    { up: 12, down: 6, naive: 52, told: 7 },
    { up: 20, down: 5, naive: 38, told: 9 },
  ])('up $up min, down $down min for 8 h: $told messages instead of $naive', ({ up, down, naive, told }) => {
    expect(messagesOf(up, down, false)).toEqual({ naive, told })
  })

  it.each([
    { up: 7, down: 5, atMost: 4 },
    { up: 12, down: 6, atMost: 8 },
    { up: 20, down: 5, atMost: 10 },
  ])('looking again at once, up $up min and down $down min tell at most $atMost times', ({ up, down, atMost }) => {
    expect(messagesOf(up, down, true).told).toBeLessThanOrEqual(atMost)
  })

  it('a third time within the hour is called flapping', () => {
    expect(alertRules.flappingAfter).toBe(3)
  })
})
