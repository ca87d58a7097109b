// What the health check can't tell by itself: that it is silent, that its word did not get through, that functions die before they can speak.
// Everything else is the health check's to tell: once, with hysteresis, recovery and a repeat.
//
// CloudWatch bills an alarm by the metrics it reads, $0.10 each, and ten are free. The whole stack reads exactly ten. So there is none for
// throttles and for ticks that a schedule dropped: both end, after a minute, in the queue of lost events, which has one.

import { Duration } from 'aws-cdk-lib'
import { Alarm, ComparisonOperator, type IMetric, MathExpression, Metric, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'
import type { Settings } from '../shared/config.ts'
import { type MetricName, stageNames } from '../shared/names.ts'
import type { AlertTopic } from './alert-topic.ts'
import type { TokayFunction } from './tokay-function.ts'

export type AlarmsProps = {
  readonly settings: Settings
  readonly functions: readonly TokayFunction[]
  readonly lostEvents: IQueue
  /** None in a stack without collectors. */
  readonly parked?: { readonly queue: IQueue; readonly deadLetters: IQueue } | undefined
  readonly alerts: AlertTopic
}

type AlarmOf = {
  /** Behind the stack's name; the topic lets alarms of such names publish. */
  readonly name: string
  /** What it means, and what to do. Its reader was woken by it. */
  readonly meaning: string
  readonly metric: IMetric
  readonly rule: 'below' | 'at least'
  readonly threshold: number
  /** Bad periods, out of so many. */
  readonly bad: number
  readonly of: number
  /** Decided for each alarm: what silence of its metric means. */
  readonly whenMissing: TreatMissingData
}

/** Value of the metric HealthStatus. */
const critical = 2

/** The health check has told long before. This is for the message that did not arrive. */
const criticalForMinutes = 30

/** Parked batches are written within a minute of the database's return, and the health check tells of an outage. Here neither has happened. */
const parkedForHours = 4

export class Alarms extends Construct {
  readonly all: Alarm[] = []

  constructor(scope: Construct, id: string, { settings, functions, lostEvents, parked, alerts }: AlarmsProps) {
    super(scope, id)
    const { stack, metricNamespace } = stageNames(settings.stage)
    const { everyMinutes } = settings.health
    const fiveMinutes = Duration.minutes(5)
    const own = (metricName: MetricName, statistic: string, period: Duration) =>
      new Metric({ namespace: metricNamespace, metricName, statistic, period })

    const add = (alarmId: string, alarm: AlarmOf) => {
      const made = new Alarm(this, alarmId, {
        alarmName: `${stack}-${alarm.name}`,
        alarmDescription: alarm.meaning,
        metric: alarm.metric,
        comparisonOperator:
          alarm.rule === 'below' ? ComparisonOperator.LESS_THAN_THRESHOLD : ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        threshold: alarm.threshold,
        datapointsToAlarm: alarm.bad,
        evaluationPeriods: alarm.of,
        treatMissingData: alarm.whenMissing,
      })
      alerts.tellOf(made)
      this.all.push(made)
    }

    const tick = Duration.minutes(everyMinutes)
    add('Heartbeat', {
      name: 'health-check-is-silent',
      meaning:
        `The health check has stopped reporting: until it is back nobody is told of a failure. See why it fails: aws logs tail /aws/lambda/${stack}-health-check --since 1h. ` +
        'No log at all: its schedule is gone or disabled, or the account has no Lambda concurrency left.',
      // FILL makes a missing minute a 0. Without it CloudWatch looks further back for real points and takes twice as long to notice.
      metric: new MathExpression({
        expression: 'FILL(runs, 0)',
        usingMetrics: { runs: own('Heartbeat', Stats.SAMPLE_COUNT, tick) },
        label: 'health check runs',
        period: tick,
      }),
      rule: 'below',
      threshold: 1,
      // One late run is no alarm, and a dead check is told within about three ticks.
      bad: 2,
      of: 3,
      whenMissing: TreatMissingData.BREACHING,
    })

    // As many looks as fit into the time, and at least two, so that a slow tick is not judged by one.
    const look = Duration.minutes(Math.max(5, everyMinutes))
    const looks = Math.max(2, Math.ceil(criticalForMinutes / look.toMinutes()))
    add('Critical', {
      name: 'critical-for-long',
      meaning:
        `The health check has found something critical for ${looks * look.toMinutes()} minutes and has sent an alert about it. If you have not seen that alert, its way is broken: look for "health.unpublished" ` +
        `in /aws/lambda/${stack}-health-check. What is wrong: aws lambda invoke --function-name ${stack}-health-check /dev/stdout`,
      // The lowest of a period: one good look ends it.
      metric: own('HealthStatus', Stats.MINIMUM, look),
      rule: 'at least',
      threshold: critical,
      bad: looks,
      of: looks,
      // Silence is the other alarm's to tell, and proves neither that it is over nor that it goes on.
      whenMissing: TreatMissingData.IGNORE,
    })

    const errors = Object.fromEntries(
      functions.map(({ fn }, i) => [`errors${i}`, fn.metricErrors({ statistic: Stats.SUM, period: fiveMinutes })]),
    )
    add('Errors', {
      name: 'functions-fail',
      meaning:
        `Functions have ended with an error or a timeout in each of the last three periods of 5 minutes. Which, and why: aws logs tail /aws/lambda/${stack}-<function> --since 1h --filter-pattern ERROR, ` +
        `for ${functions.map(({ shortName }) => shortName).join(', ')}. A failed run loses no rows: its cursor stays, and what it had in hand is parked.`,
      metric: new MathExpression({
        // Filled, because a sum with a missing part is missing itself: maintain runs once an hour.
        expression: Object.keys(errors)
          .map((key) => `FILL(${key}, 0)`)
          .join(' + '),
        usingMetrics: errors,
        label: 'errors of all functions',
        period: fiveMinutes,
      }),
      rule: 'at least',
      threshold: 1,
      bad: 3,
      of: 3,
      whenMissing: TreatMissingData.NOT_BREACHING,
    })

    add('LostEvents', {
      name: 'events-are-lost',
      meaning:
        'Three or more ticks or asynchronous calls were lost within 15 minutes: throttled, refused, or failed for good. If functions-fail tells as well, begin there. Else look for throttles: ' +
        `raise the account's limit of concurrent executions, or aws.reservedConcurrency. What was lost: aws sqs receive-message --queue-url ${lostEvents.queueUrl}`,
      // Arrivals, not depth: a tick is not repeated, so nobody empties this queue, and an alarm that stays on tells nothing new.
      metric: lostEvents.metricNumberOfMessagesSent({ statistic: Stats.SUM, period: Duration.minutes(15) }),
      rule: 'at least',
      threshold: 3,
      bad: 1,
      of: 1,
      // A queue that nobody uses reports nothing.
      whenMissing: TreatMissingData.NOT_BREACHING,
    })

    if (!parked) return
    add('DeadLetters', {
      name: 'writes-are-set-aside',
      meaning:
        'Parked writes that can never be written as they are (unreadable, or their rows are refused) wait among the dead letters, and are gone after 14 days. Read the reason: ' +
        `aws sqs receive-message --queue-url ${parked.deadLetters.queueUrl} --message-attribute-names reason`,
      metric: parked.deadLetters.metricApproximateNumberOfMessagesVisible({ statistic: Stats.MAXIMUM, period: fiveMinutes }),
      rule: 'at least',
      threshold: 1,
      bad: 1,
      of: 1,
      whenMissing: TreatMissingData.NOT_BREACHING,
    })
    add('ParkedTooLong', {
      name: 'writes-wait-too-long',
      meaning: `A parked write has waited for ${parkedForHours} hours; after 14 days it is gone. If the database is away, that is why. If it answers, replay-parked does not get on: aws logs tail /aws/lambda/${stack}-replay-parked --since 1h`,
      metric: parked.queue.metricApproximateAgeOfOldestMessage({ statistic: Stats.MAXIMUM, period: fiveMinutes }),
      rule: 'at least',
      threshold: parkedForHours * 3600,
      bad: 3,
      of: 3,
      whenMissing: TreatMissingData.NOT_BREACHING,
    })
  }
}
