// What has to fit on AWS: how long a function may run, how many connections all of them may hold, and the rules between these and the settings.
// Broken here, it is one line at synthesis; found later, it is a run that is killed in mid-write or a database that refuses everybody.

import { enabledCollectors, type Settings } from '../shared/config.ts'
import { parkedHiddenForS, parkingForMs } from '../shared/names.ts'

/** In seconds. */
export function timeouts(settings: Settings) {
  const everyMinutes = enabledCollectors(settings).map((name) => settings.collectors[name].everyMinutes)
  return {
    // Over before the next tick of its kind. Most of it is waiting for the API's budget.
    collect: Math.min(...everyMinutes, 2) * 60 - 5,
    // Beyond the next tick: between two runs nobody would look for a database that is back. Two at once are safe, the lease lets one probe.
    replayParked: 75,
    healthCheck: 50,
    // A migration may rewrite a table. What it does not finish is rolled back as a whole and tried again.
    migrate: 300,
    maintain: 300,
  } as const
}

/** What the health check needs after the look at the database: publishing metrics and alerts, each with one slow call. */
const tellingForMs = 10_000

/**
 * At the worst: every function twice, because a tick may be delivered twice or begin before the last run is over. An instance has one connection.
 * `collect` counts once for each collector, because they run beside each other.
 */
export function mostConnections(settings: Settings): number {
  const collectors = enabledCollectors(settings).length
  if (collectors === 0) return 2
  const { reservedConcurrency } = settings.aws
  const collecting = reservedConcurrency > 0 ? Math.min(2 * collectors, reservedConcurrency) : 2 * collectors
  const others = ['replay-parked', 'health-check', 'migrate', 'maintain'].length
  return collecting + 2 * others
}

/** The rest is for people, for other programs, and for what a server keeps for its superuser. */
const connectionShare = 0.7

/** Every rule that only AWS has and that these settings break. */
export function problemsOnAws(settings: Settings): readonly string[] {
  const { database, retry, gecko, aws } = settings
  const seconds = timeouts(settings)
  const collectors = enabledCollectors(settings).length
  const problems: string[] = []

  const connections = mostConnections(settings)
  if (aws.connectionLimit > 0 && connections > Math.floor(aws.connectionLimit * connectionShare)) {
    problems.push(
      `aws.connectionLimit: the functions may hold ${connections} connections at once, above 70 % of the ${aws.connectionLimit} that the database allows; ` +
        'raise its limit, put a pooler before it, or enable fewer collectors',
    )
  }
  if (aws.reservedConcurrency > 0 && aws.reservedConcurrency < collectors) {
    problems.push(
      `aws.reservedConcurrency (${aws.reservedConcurrency}) must be 0 or at least the number of collectors (${collectors}), or their ticks are thrown away`,
    )
  }

  if (aws.geckoApiKeyParameter !== 'none' && !/^https:\/\/(pro-)?api\.coingecko\.com\//.test(`${gecko.baseUrl}/`)) {
    problems.push(
      'aws.geckoApiKeyParameter: the key is sent to CoinGecko alone; set gecko.baseUrl to https://api.coingecko.com/api/v3/onchain or https://pro-api.coingecko.com/api/v3/onchain',
    )
  }

  const mustFit = (what: string, needsMs: number, where: string, hasMs: number) => {
    if (needsMs > hasMs) problems.push(`${what} may take ${needsMs / 1000} s, ${where} has ${hasMs / 1000} s`)
  }
  if (collectors > 0) {
    mustFit(
      'one request and one write (gecko.timeoutMs, database.attemptForMs) and parking',
      gecko.timeoutMs + database.attemptForMs + parkingForMs,
      'a run of collect, which ends before the next tick of its collector,',
      seconds.collect * 1000,
    )
    mustFit(
      'a write with its repeats (database.attemptForMs, retry.attempts, retry.capMs)',
      retry.attempts * database.attemptForMs + (retry.attempts - 1) * retry.capMs,
      'a parked batch, which the queue gives to another replayer after that,',
      parkedHiddenForS * 1000,
    )
  }
  mustFit(
    'connecting to a sleeping database (database.wakeForMs) and telling of it',
    database.wakeForMs + tellingForMs,
    'a run of the health check',
    seconds.healthCheck * 1000,
  )
  return problems
}
