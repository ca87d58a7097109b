// What a month on AWS costs with these settings: what runs how often, times list prices of us-east-1 (November 2026). Pure, and an estimate:
// how long a run takes and how much it logs are averages, said below, and what lies outside of AWS is said in words.

import { enabledCollectors, isHealthAlone, type Settings } from './config.ts'
import { metricNames } from './names.ts'

export type CostLine = {
  readonly what: string
  readonly usd: number
  /** For an account that uses nothing else of it. */
  readonly usdInFreeTier: number
}

export type MonthlyCost = {
  readonly lines: readonly CostLine[]
  readonly usd: number
  readonly usdInFreeTier: number
  /** What has no AWS price, or none that is known here. */
  readonly notes: readonly string[]
}

const hoursAMonth = 730
const minutesAMonth = hoursAMonth * 60

/** Of an average run: time that is billed, kB that are logged (Lambda's own three lines are one), and requests. A collector mostly waits for the API's budget. */
const averageRun = {
  collect: { seconds: 15, logKb: 2, sqs: 0, tableReads: 12, tableWrites: 12 },
  'replay-parked': { seconds: 0.2, logKb: 1, sqs: 1, tableReads: 0, tableWrites: 0 },
  'health-check': { seconds: 1, logKb: 1.2, sqs: 1, tableReads: 6, tableWrites: 6 },
  maintain: { seconds: 3, logKb: 2, sqs: 0, tableReads: 3, tableWrites: 0 },
} as const
export type ScheduledFunction = keyof typeof averageRun
const scheduledFunctions = Object.keys(averageRun) as ScheduledFunction[]

/** What every function has; CPU comes with it. */
export const functionMemoryMb = 256

/** Ticks a month, by function. */
export function runsAMonth(settings: Settings): Readonly<Record<ScheduledFunction, number>> {
  const every = (minutes: number) => minutesAMonth / minutes
  const collects = !isHealthAlone(settings)
  return {
    collect: intervals(settings).reduce((sum, everyMinutes) => sum + every(everyMinutes), 0),
    'replay-parked': collects ? every(1) : 0,
    'health-check': every(settings.health.everyMinutes),
    maintain: collects ? every(60) : 0,
  }
}

/** Metrics that alarms read: what CloudWatch bills, not the alarms. */
export const alarmMetrics = (settings: Settings) => (isHealthAlone(settings) ? 4 : 10)

export function monthlyCost(settings: Settings): MonthlyCost {
  const runs = runsAMonth(settings)
  const total = (of: (name: ScheduledFunction) => number) => scheduledFunctions.reduce((sum, name) => sum + runs[name] * of(name), 0)
  const invocations = total(() => 1)

  const lines: CostLine[] = []
  /** `usd` a piece, after the first `free` ones of a month. */
  const charge = (what: string, pieces: number, usd: number, free: number) =>
    lines.push({ what, usd: pieces * usd, usdInFreeTier: Math.max(0, pieces - free) * usd })

  charge(`Lambda: ${thousands(invocations)} requests`, invocations, 0.2 / 1e6, 1e6)
  const gbSeconds = total((name) => averageRun[name].seconds) * (functionMemoryMb / 1024)
  charge(`Lambda: ${thousands(gbSeconds)} GB-seconds`, gbSeconds, 0.0000133334, 400_000)
  charge(`CloudWatch: ${metricNames.length} metrics`, metricNames.length, 0.3, 10)
  charge('CloudWatch: publishing them', runs['health-check'], 0.01 / 1000, 1e6)
  charge(`CloudWatch: ${alarmMetrics(settings)} metrics in alarms`, alarmMetrics(settings), 0.1, 10)
  if (settings.aws.dashboard) charge('CloudWatch: 1 dashboard', 1, 3, 3)
  const logGb = total((name) => averageRun[name].logKb) / 1e6
  charge(
    `CloudWatch: ${logGb.toFixed(1)} GB of logs, kept ${settings.aws.logDays} days`,
    logGb,
    0.5 + (0.03 * settings.aws.logDays) / 30,
    5,
  )
  charge(
    'DynamoDB: reads and writes',
    1,
    total((name) => averageRun[name].tableReads * 0.125 + averageRun[name].tableWrites * 0.625) / 1e6,
    0,
  )
  const sqs = total((name) => averageRun[name].sqs)
  if (!isHealthAlone(settings)) charge(`SQS: ${thousands(sqs)} requests`, sqs, 0.4 / 1e6, 1e6)
  charge('EventBridge Scheduler', invocations, 1 / 1e6, 14e6)

  const sum = (of: (line: CostLine) => number) => lines.reduce((all, line) => all + of(line), 0)
  return { lines, usd: sum((l) => l.usd), usdInFreeTier: sum((l) => l.usdInFreeTier), notes: notesOn(settings) }
}

function notesOn(settings: Settings): string[] {
  const hours = awakeHours(settings)
  const neon = `If the database is on Neon: kept awake ${Math.round(hours)} of ${hoursAMonth} hours, ${Math.round(hours / 4)} compute hours at 0.25 CU, $${((hours / 4) * 0.106).toFixed(2)} on Launch (the free plan has 100 compute hours).`
  return [
    neon,
    ...(settings.aws.vpc.id ? ['VPC: a NAT gateway is $32.85, and $0.045 a GB; nothing if the subnets have one already.'] : []),
    ...(settings.alerts.phone
      ? ['Text messages: by country, in the US about $0.01 each. SNS stops at $1 a month until you raise its limit.']
      : []),
    'SSM parameters, mails and the alerts themselves cost nothing at this volume.',
  ]
}

/** A database that scales to zero falls asleep after so many idle minutes. */
const asleepAfterMinutes = 5

const minutesADay = 1440

/**
 * Hours a month in which something keeps the database awake, minute by minute over a day. An empty parked queue wakes nobody. A `piggyback` look
 * wakes nobody either, but the one in the minute after a collector's keeps it awake for longer.
 */
export function awakeHours(settings: Settings): number {
  const { everyMinutes, probe } = settings.health
  const collects = intervals(settings).flatMap(minutesOf)
  const maintains = collects.length > 0 ? minutesOf(60, 30) : []
  const follow = new Set(collects.map((minute) => (minute + 1) % minutesADay))
  const looks = minutesOf(everyMinutes, 0).filter((minute) => probe === 'active' || follow.has(minute))
  const awake = new Set<number>()
  for (const at of [...collects, ...maintains, ...looks]) {
    for (let minute = at; minute < at + asleepAfterMinutes; minute++) awake.add(minute % minutesADay)
  }
  return (awake.size / minutesADay) * hoursAMonth
}

/** Of a day, those of a schedule. */
function minutesOf(everyMinutes: number, offset: number): number[] {
  const minutes: number[] = []
  for (let at = offset % everyMinutes; at < minutesADay; at += everyMinutes) minutes.push(at)
  return minutes
}

const intervals = (settings: Settings) => enabledCollectors(settings).map((name) => settings.collectors[name].everyMinutes)

const thousands = (count: number) => Math.round(count).toLocaleString('en-US')

/** For people, one line a cost. */
export function costTable(system: string, { lines, usd, usdInFreeTier, notes }: MonthlyCost): string {
  const money = (amount: number) => amount.toFixed(2).padStart(11)
  const width = Math.max(...lines.map(({ what }) => what.length))
  const row = (what: string, ...amounts: readonly string[]) => `  ${what.padEnd(width)}${amounts.join('')}`
  return [
    `${system} costs about $${usd.toFixed(2)} a month, $${usdInFreeTier.toFixed(2)} within the free tier (list prices of us-east-1):`,
    row('', 'a month'.padStart(11), 'free tier'.padStart(11)),
    ...lines.map((line) => row(line.what, money(line.usd), money(line.usdInFreeTier))),
    row('all', money(usd), money(usdInFreeTier)),
    ...notes.map((note) => `  ${note}`),
  ].join('\n')
}
