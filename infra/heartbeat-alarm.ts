// The dead-man's switch: the one alert that the health check can't send itself.
// FILL makes a missing minute a 0. Without it CloudWatch looks further back for real points and takes twice as long to notice.

import { Duration } from 'aws-cdk-lib'
import { Alarm, ComparisonOperator, MathExpression, Metric, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'

/** The health check publishes it at every run, whatever it finds; its being there is the heartbeat. */
const heartbeatMetric = 'DatabaseAvailable'

export class HeartbeatAlarm extends Construct {
  constructor(scope: Construct, id: string, props: { stackName: string; namespace: string; everyMinutes: number; topic: ITopic }) {
    super(scope, id)
    const period = Duration.minutes(props.everyMinutes)
    const runs = new Metric({ namespace: props.namespace, metricName: heartbeatMetric, statistic: Stats.SAMPLE_COUNT, period })
    const alarm = new Alarm(this, 'Alarm', {
      alarmName: `${props.stackName}-health-check-is-silent`,
      alarmDescription: `The health check has stopped reporting: until it is back nobody is told of a failure. Look at the log group /aws/lambda/${props.stackName}-health-check.`,
      metric: new MathExpression({ expression: 'FILL(runs, 0)', usingMetrics: { runs }, label: 'health check runs', period }),
      threshold: 1,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      // Two of three: one late run is no alarm, and a dead check is told within about three ticks.
      evaluationPeriods: 3,
      datapointsToAlarm: 2,
      treatMissingData: TreatMissingData.BREACHING,
    })
    alarm.addAlarmAction(new SnsAction(props.topic))
    alarm.addOkAction(new SnsAction(props.topic))
  }
}
