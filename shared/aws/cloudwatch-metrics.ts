// Metrics on CloudWatch: one PutMetricData for all, no dimension (each combination would be a metric of its own to pay).

import { CloudWatchClient, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch'
import type { Metrics } from '../health/metrics.ts'
import { consoleLog, type Log } from '../log.ts'
import { type AwsTarget, awsCall, awsClientSettings } from './aws-client.ts'

export function cloudwatchMetrics(options: { aws?: AwsTarget; log?: Log } = {}): Metrics {
  const client = new CloudWatchClient(awsClientSettings(options.aws))
  const log = options.log ?? consoleLog
  return {
    async publishMetrics(namespace, metrics) {
      const finite = metrics.filter((m) => Number.isFinite(m.value))
      if (finite.length < metrics.length) {
        log.warn({ event: 'metrics.left_out', names: metrics.filter((m) => !Number.isFinite(m.value)).map((m) => m.name) })
      }
      if (finite.length === 0) return
      const MetricData = finite.map((m) => ({ MetricName: m.name, Value: m.value, Unit: m.unit }))
      await awsCall(`publishing ${finite.length} metrics to CloudWatch namespace ${namespace}`, () =>
        client.send(new PutMetricDataCommand({ Namespace: namespace, MetricData })),
      )
    },
  }
}
