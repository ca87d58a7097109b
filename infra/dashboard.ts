// One page for who was woken: is it well, since when not, what waits, what to do. The lines in the graphs are the settings' thresholds.
// The metrics are the health check's own, by the names it publishes, and those that Lambda and SQS give for nothing.

import { Duration } from 'aws-cdk-lib'
import {
  type Alarm,
  AlarmStatusWidget,
  Color,
  Dashboard as CloudWatchDashboard,
  GraphWidget,
  type HorizontalAnnotation,
  type IMetric,
  Metric,
  SingleValueWidget,
  Stats,
  TextWidget,
} from 'aws-cdk-lib/aws-cloudwatch'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'
import type { Settings } from '../shared/config.ts'
import { type MetricName, stageNames } from '../shared/names.ts'
import type { TokayFunction } from './tokay-function.ts'

export type DashboardProps = {
  readonly settings: Settings
  readonly functions: readonly TokayFunction[]
  /** None in a stack without collectors. */
  readonly parked?: { readonly queue: IQueue; readonly deadLetters: IQueue } | undefined
  readonly alarms: readonly Alarm[]
}

export class Dashboard extends Construct {
  constructor(scope: Construct, id: string, { settings, functions, parked, alarms }: DashboardProps) {
    super(scope, id)
    const { stack, metricNamespace } = stageNames(settings.stage)
    const { thresholds, everyMinutes } = settings.health
    const period = Duration.minutes(Math.max(1, everyMinutes))
    const own = (metricName: MetricName, statistic: string, label: string) =>
      new Metric({ namespace: metricNamespace, metricName, statistic, label, period })

    const dashboard = new CloudWatchDashboard(this, 'Dashboard', { dashboardName: stack, defaultInterval: Duration.hours(12) })
    dashboard.addWidgets(
      new SingleValueWidget({
        title: 'Now',
        width: 16,
        height: 4,
        sparkline: true,
        metrics: [
          own('HealthStatus', Stats.MAXIMUM, 'status: 0 healthy, 1 degraded, 2 critical'),
          own('Availability', Stats.AVERAGE, 'availability %'),
          own('BreakerOpenTime', Stats.MAXIMUM, 'circuit open for s'),
          own('Heartbeat', Stats.SAMPLE_COUNT, 'health checks'),
        ],
      }),
      new AlarmStatusWidget({ title: 'Alarms', width: 8, height: 4, alarms: [...alarms] }),
    )
    dashboard.addWidgets(
      graph(
        'Query time, ms',
        ['p50', 'p95', 'p99'].map((p) => own('QueryLatency', p, p)),
        line(thresholds.queryMs, 'slow'),
      ),
      graph('Lock wait, ms', [own('LockWait', Stats.MAXIMUM, 'longest')], line(thresholds.lockWaitMs, 'warning')),
      graph('Errors, % of operations', [own('ErrorRate', Stats.MAXIMUM, 'error rate')], line(thresholds.errorRatePercent, 'critical')),
    )
    dashboard.addWidgets(
      graph(
        'Connections, % of what the server allows',
        [own('ConnectionUtilization', Stats.MAXIMUM, 'in use')],
        line(thresholds.connectionsPercent, 'warning'),
      ),
      graph('Connecting, ms', [own('ConnectLatency', Stats.MAXIMUM, 'slowest')]),
      graph(
        'Circuit breaker, s open',
        [own('BreakerOpenTime', Stats.MAXIMUM, 'open for')],
        line(thresholds.breakerOpenForMs / 1000, 'critical'),
      ),
    )
    if (settings.aws.rdsInstance !== 'none') {
      const ofMachine = (metricName: string, statistic: string) =>
        new Metric({
          namespace: 'AWS/RDS',
          metricName,
          statistic,
          dimensionsMap: { DBInstanceIdentifier: settings.aws.rdsInstance },
          label: metricName,
          period: Duration.minutes(1),
        })
      dashboard.addWidgets(
        graph("The database's machine: CPU, %", [ofMachine('CPUUtilization', Stats.MAXIMUM)]),
        // Aurora has no disk of its own size: the line is then empty
        graph('Free memory and disk, bytes', [ofMachine('FreeableMemory', Stats.MINIMUM), ofMachine('FreeStorageSpace', Stats.MINIMUM)]),
        graph('Its connections', [ofMachine('DatabaseConnections', Stats.MAXIMUM)]),
      )
    }
    const fromFunctions = (title: string, metricOf: (target: TokayFunction) => IMetric) => graph(title, functions.map(metricOf))
    const label = ({ shortName }: TokayFunction) => ({ label: shortName, period: Duration.minutes(5) })
    const errors = fromFunctions('Errors of functions', (f) => f.fn.metricErrors({ ...label(f), statistic: Stats.SUM }))
    const throttles = fromFunctions('Throttles', (f) => f.fn.metricThrottles({ ...label(f), statistic: Stats.SUM }))
    const durations = fromFunctions('Run time, ms', (f) => f.fn.metricDuration({ ...label(f), statistic: Stats.MAXIMUM }))
    if (parked) {
      const every = { statistic: Stats.MAXIMUM, period: Duration.minutes(5) }
      dashboard.addWidgets(
        graph('Parked batches', [
          parked.queue.metricApproximateNumberOfMessagesVisible({ ...every, label: 'waiting' }),
          parked.queue.metricApproximateNumberOfMessagesNotVisible({ ...every, label: 'being written' }),
          parked.deadLetters.metricApproximateNumberOfMessagesVisible({ ...every, label: 'set aside' }),
        ]),
        graph('Oldest parked batch, s', [parked.queue.metricApproximateAgeOfOldestMessage({ ...every, label: 'age' })]),
        graph('Collectors, s behind', [own('CollectorLag', Stats.MAXIMUM, 'slowest collector')]),
      )
    }
    dashboard.addWidgets(errors, throttles, durations)
    dashboard.addWidgets(new TextWidget({ width: 24, height: 6, markdown: runbook(stack, parked !== undefined) }))
  }
}

const graph = (title: string, left: IMetric[], ...leftAnnotations: HorizontalAnnotation[]) =>
  new GraphWidget({ title, left, leftAnnotations, width: 8, height: 6, leftYAxis: { min: 0, showUnits: false } })

const line = (value: number, label: string): HorizontalAnnotation => ({ value, label, color: Color.RED })

function runbook(stack: string, withParked: boolean): string {
  const steps = [
    `What is wrong, and what to do: \`aws lambda invoke --function-name ${stack}-health-check /dev/stdout\``,
    `What happened: \`aws logs tail /aws/lambda/${stack}-health-check --since 1h\``,
    ...(withParked
      ? [
          'The database is away: mend it there. Nothing is lost, batches are parked for 14 days and written within seconds of its return.',
          `The database answers, and batches stay parked: \`aws logs tail /aws/lambda/${stack}-replay-parked --since 1h\``,
          'A collector is behind: its last error is in the health report. 429 or 403: the API limits this address, use a key.',
        ]
      : []),
  ]
  return ['## Do now', ...steps.map((step, i) => `${i + 1}. ${step}`)].join('\n')
}
