// The port of metrics: a handful of numbers, published once a run by the health check alone. Each name costs money on CloudWatch.
// A value that is not known is left out: a 0 would say that all is well, and an alarm on missing data can see that nobody knows.

import type { MetricName } from '../names.ts'
import { bucketMs, countOf, entriesOf } from '../resilience/histogram.ts'
import type { SampleRow } from '../model.ts'
import type { Assessment } from './check.ts'
import { errorShare, upShare } from './checks/client.ts'
import type { Look } from './checks/judge.ts'
import { sampleOf } from './sample.ts'

/** `distribution`: many values of one minute, from which percentiles can be asked for; each value once, with how often it was. */
export type Metric = {
  readonly name: MetricName
  readonly unit: 'Count' | 'Milliseconds' | 'Seconds' | 'Percent' | 'None'
} & ({ readonly value: number } | { readonly distribution: readonly { readonly value: number; readonly count: number }[] })

export interface Metrics {
  /** One call for all of them. A value that is not a finite number is left out and logged: it would make the whole call fail. */
  publishMetrics(namespace: string, metrics: readonly Metric[]): Promise<void>
}

/** What a look says, at most one of each name. The heartbeat is always there: it says that somebody looked. */
export function metricsOf(look: Look, assessment: Assessment): readonly Metric[] {
  const sample: SampleRow = sampleOf(look, assessment)
  const { availability, operations } = look.recent
  return [
    { name: 'Heartbeat', unit: 'Count', value: 1 },
    ...known('Availability', 'Percent', percent(upShare(availability.hour))),
    ...known('HealthStatus', 'None', sample.status),
    ...latencies(sample),
    ...known('ConnectLatency', 'Milliseconds', sample.connectMs),
    ...known('LockWait', 'Milliseconds', sample.lockWaitMs),
    ...known('ErrorRate', 'Percent', percent(errorShare(operations.fiveMinutes))),
    ...known('BreakerOpenTime', 'Seconds', sample.breakerOpenS),
    ...known('ConnectionUtilization', 'Percent', sample.connectionsPercent),
    ...known('CollectorLag', 'Seconds', sample.collectorLagS),
  ]
}

const percent = (share: number | null) => (share === null ? null : 100 * share)

const known = (name: MetricName, unit: Metric['unit'], value: number | null): readonly Metric[] =>
  value === null ? [] : [{ name, unit, value }]

/** Of the clients since the last look, and of the look itself: at most one value for each bucket. */
function latencies({ latency }: SampleRow): readonly Metric[] {
  if (countOf(latency) === 0) return []
  const distribution = entriesOf(latency).map(([bucket, count]) => ({ value: bucketMs(bucket), count }))
  return [{ name: 'QueryLatency', unit: 'Milliseconds', distribution }]
}
