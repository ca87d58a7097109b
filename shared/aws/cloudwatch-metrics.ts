// Metrics on CloudWatch: one PutMetricData for all, no dimension (each combination would be a metric of its own to pay).
// One value that CloudWatch refuses costs the whole call: it is left out here, and named in the log.

import { CloudWatchClient, type MetricDatum, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch'
import type { Metric, Metrics } from '../health/metrics.ts'
import { consoleLog, type Log } from '../log.ts'
import { type AwsTarget, awsCall, awsClientSettings } from './aws-client.ts'

/** Of one datum; more go into several of the same name, which CloudWatch adds up. */
const maxValues = 150
/** Neither NaN nor an infinity, nor outside of +-2^360. */
const isSendable = (value: number) => Math.abs(value) <= 2 ** 360

export function cloudwatchMetrics(options: { aws?: AwsTarget; log?: Log } = {}): Metrics {
  const client = new CloudWatchClient(awsClientSettings(options.aws))
  const log = options.log ?? consoleLog
  return {
    async publishMetrics(namespace, metrics) {
      const names = metrics.filter((metric) => !isWhole(metric)).map(({ name }) => name)
      if (names.length > 0) log.warn({ event: 'metrics.left_out', names })
      const MetricData = metrics.flatMap(toData)
      if (MetricData.length === 0) return
      await awsCall(`publishing ${MetricData.length} metrics to CloudWatch namespace ${namespace}`, () =>
        client.send(new PutMetricDataCommand({ Namespace: namespace, MetricData })),
      )
    },
  }
}

const isCounted = ({ value, count }: { value: number; count: number }) => isSendable(value) && isSendable(count) && count > 0

const isWhole = (metric: Metric) => ('value' in metric ? isSendable(metric.value) : metric.distribution.every(isCounted))

function toData(metric: Metric): readonly MetricDatum[] {
  const { name, unit } = metric
  if ('value' in metric) return isSendable(metric.value) ? [{ MetricName: name, Unit: unit, Value: metric.value }] : []
  const counted = metric.distribution.filter(isCounted)
  return Array.from({ length: Math.ceil(counted.length / maxValues) }, (_, n) => {
    const some = counted.slice(n * maxValues, (n + 1) * maxValues)
    return { MetricName: name, Unit: unit, Values: some.map(({ value }) => value), Counts: some.map(({ count }) => count) }
  })
}
