// The estimate is about the stack that is deployed: its ticks, alarms and metrics are counted in the template, and its sums are checked by hand.

import { describe, expect, it } from 'vitest'
import { settingsFromContext } from '../../infra/settings-from-context.ts'
import { parseSettings } from '../../shared/config.ts'
import { alarmMetrics, awakeHours, costTable, monthlyCost, runsAMonth } from '../../shared/monthly-cost.ts'
import { synthesise, targetOf } from './synth.ts'

const minutesAMonth = 43_800

const off = { enabled: false }
const none = { dexes: off, 'top-pools': off, 'new-pools': off, trades: off }
const hourly = { everyMinutes: 60 }

describe.each([
  ['the whole stack', {}],
  ['health alone', { collectors: 'none' }],
  ['some collectors, at other times', { tokay: { collectors: { dexes: off, trades: { everyMinutes: 2 } }, health: { everyMinutes: 10 } } }],
])('%s', (_, context) => {
  const whole = { alertEmail: 'you@example.com', ...context }
  const stack = synthesise(whole)
  const { settings } = settingsFromContext(whole)

  it('runs as often as the schedules tick', () => {
    const ticks = new Map<string, number>()
    for (const [, { Properties: schedule }] of stack.ofType('AWS::Scheduler::Schedule')) {
      const name = stack.resources[targetOf(schedule['Target'].Arn) as string]?.Properties['FunctionName'].replace('tokay-dev-', '')
      const [, minute] = /^cron\((\S+) \* /.exec(schedule['ScheduleExpression']) ?? []
      ticks.set(name, (ticks.get(name) ?? 0) + minutesAMonth / Number(minute?.split('/')[1] ?? 60))
    }
    expect(ticks.size).toBeGreaterThan(0)
    expect(Object.fromEntries(Object.entries(runsAMonth(settings)).filter(([, runs]) => runs > 0))).toEqual(Object.fromEntries(ticks))
  })

  it('counts the metrics that its alarms read', () => {
    const read = stack
      .ofType('AWS::CloudWatch::Alarm')
      .flatMap(([, { Properties: a }]) => (a['MetricName'] ? [a] : a['Metrics'].filter((m: any) => m.MetricStat)))
    expect(alarmMetrics(settings)).toBe(read.length)
  })
})

describe('the sum', () => {
  const settings = parseSettings({})

  it('of the defaults is a few dollars, and next to nothing within the free tier', () => {
    const { usd, usdInFreeTier, lines } = monthlyCost(settings)
    expect(usd).toBeCloseTo(
      lines.reduce((sum, line) => sum + line.usd, 0),
      10,
    )
    expect(usd).toBeGreaterThan(8)
    expect(usd).toBeLessThan(12)
    expect(usdInFreeTier).toBeGreaterThan(0)
    expect(usdInFreeTier).toBeLessThan(1)
    for (const line of lines) expect(line.usdInFreeTier).toBeLessThanOrEqual(line.usd)
  })

  it('has the prices of the list: a line by hand', () => {
    const lines = Object.fromEntries(monthlyCost(settings).lines.map((line) => [line.what.replace(/[\d,.]+/, 'n'), line.usd]))
    // 730 x (1 + 12 + 12 + 12) collections, twice 43,800, and 730: 115,340 runs at $0.20 a million
    expect(lines['Lambda: n requests']).toBeCloseTo(0.023, 3)
    // (27,010 x 15 s + 43,800 x 0.2 s + 43,800 x 1 s + 730 x 3 s) x 0.25 GB
    expect(lines['Lambda: n GB-seconds']).toBeCloseTo(114_975 * 0.0000133334, 2)
    expect(lines['CloudWatch: n metrics']).toBeCloseTo(3, 10)
    expect(lines['CloudWatch: publishing them']).toBeCloseTo(0.438, 10)
    expect(lines['CloudWatch: n metrics in alarms']).toBeCloseTo(1, 10)
  })

  it('is less without the dashboard, and health alone is the least', () => {
    const without = monthlyCost(parseSettings({ aws: { dashboard: false } }))
    expect(monthlyCost(settings).usd - without.usd).toBeCloseTo(3, 10)
    expect(monthlyCost(parseSettings({ collectors: none, aws: { dashboard: false } })).usd).toBeLessThan(without.usd)
  })
})

describe('a database that scales to zero', () => {
  it.each([
    ['is awake all month at the defaults', {}, 730],
    ['is awake all month by the health check alone', { collectors: none }, 730],
    ['may sleep all month when nobody asks it', { collectors: none, health: { probe: 'piggyback' } }, 0],
    [
      // dexes at :00, trades at :03 and the look that follows it at :04 keep it awake until :09, the upkeep from :30 to :35
      'sleeps between hourly collectors when the health check does not wake it',
      { collectors: { dexes: hourly, 'top-pools': hourly, 'new-pools': hourly, trades: hourly }, health: { probe: 'piggyback' } },
      (730 * 14) / 60,
    ],
  ])('%s', (_, written, hours) => {
    expect(awakeHours(parseSettings(written))).toBeCloseTo(hours, 6)
  })
})

describe('the table', () => {
  it('begins with the sum, and says what it can not know', () => {
    const settings = parseSettings({
      alerts: { phone: '+15555550100' },
      aws: { vpc: { id: 'vpc-0a1b2c3d', subnetIds: ['subnet-0a1b2c3d'] } },
    })
    const text = costTable('tokay-dev', monthlyCost(settings))

    expect(text).toMatch(/^tokay-dev costs about \$\d+\.\d\d a month, \$0\.\d\d within the free tier/)
    expect(text).toContain('kept awake 730 of 730 hours, 183 compute hours at 0.25 CU, $19.34 on Launch')
    expect(text).toContain('a NAT gateway is $32.85')
    expect(text).toContain('Text messages: by country')
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(200)
  })
})
