// Where alerts go: an email, and a phone for critical ones.
//
//   health check -> topic -> email; with severity `critical` -> phone
//   alarms       -> topic -> email
//   alarms       -> topic for the phone alone -> phone
//
// Two topics, because an alarm's message has no attributes at all, and a filter policy of SNS never matches such a message, not even by
// `exists: false`. The second has no email: it would have to be confirmed twice.
// Not encrypted with a KMS key: alarms can't publish to a topic under the AWS-managed key, and a key of one's own costs $1 a month.

import { ArnFormat, Stack } from 'aws-cdk-lib'
import type { Alarm } from 'aws-cdk-lib/aws-cloudwatch'
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions'
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { SubscriptionFilter, Topic } from 'aws-cdk-lib/aws-sns'
import { EmailSubscription, SmsSubscription } from 'aws-cdk-lib/aws-sns-subscriptions'
import { Construct } from 'constructs'

export type AlertTopicProps = {
  /** Names of the stack's alarms begin with it. */
  readonly stackName: string
  readonly email?: string | undefined
  /** E.164. */
  readonly phone?: string | undefined
}

export class AlertTopic extends Construct {
  /** What the health check publishes to. */
  readonly topic: Topic
  readonly #topics: readonly Topic[]

  constructor(scope: Construct, id: string, { stackName, email, phone }: AlertTopicProps) {
    super(scope, id)
    this.topic = makeTopic(this, 'Topic', stackName, `${stackName}-alerts`)
    if (email) this.topic.addSubscription(new EmailSubscription(email))
    if (!phone) {
      this.#topics = [this.topic]
      return
    }
    const severity = SubscriptionFilter.stringFilter({ allowlist: ['critical'] })
    this.topic.addSubscription(new SmsSubscription(phone, { filterPolicy: { severity } }))
    const byPhone = makeTopic(this, 'PhoneTopic', stackName, `${stackName}-alarms-by-phone`)
    byPhone.addSubscription(new SmsSubscription(phone))
    this.#topics = [this.topic, byPhone]
  }

  /** Tells everybody when it begins, and again when it is over: who was woken may sleep. */
  tellOf(alarm: Alarm): void {
    const actions = this.#topics.map((topic) => new SnsAction(topic))
    alarm.addAlarmAction(...actions)
    alarm.addOkAction(...actions)
  }
}

function makeTopic(scope: Construct, id: string, stackName: string, topicName: string): Topic {
  // SNS puts the first ten letters of the display name before every text message, and refuses text messages without one.
  const topic = new Topic(scope, id, { topicName, displayName: 'Tokay' })
  // Said explicitly: as soon as a topic has any policy of its own, SNS's default one is gone, and without this line every alarm is silent.
  topic.addToResourcePolicy(
    new PolicyStatement({
      sid: 'AlarmsOfThisStack',
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['sns:Publish'],
      resources: [topic.topicArn],
      conditions: {
        StringEquals: { 'aws:SourceAccount': Stack.of(scope).account },
        ArnLike: { 'aws:SourceArn': alarmArns(scope, stackName) },
      },
    }),
  )
  return topic
}

const alarmArns = (scope: Construct, stackName: string) =>
  Stack.of(scope).formatArn({
    service: 'cloudwatch',
    resource: 'alarm',
    resourceName: `${stackName}-*`,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  })
