// Where alerts go: one topic, an email, and a phone for critical ones.
// Not encrypted with a KMS key: alarms can't publish to a topic under the AWS-managed key, and a key of one's own costs $1 a month.

import { ArnFormat, Stack } from 'aws-cdk-lib'
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
  readonly topic: Topic

  constructor(scope: Construct, id: string, { stackName, email, phone }: AlertTopicProps) {
    super(scope, id)
    // SNS puts the first ten letters of the display name before every text message, and refuses text messages without one.
    this.topic = new Topic(this, 'Topic', { topicName: `${stackName}-alerts`, displayName: 'Tokay' })
    if (email) this.topic.addSubscription(new EmailSubscription(email))
    if (phone) {
      // An alarm's own message has no severity at all, and is always critical here.
      const severity = new SubscriptionFilter(['critical', { exists: false }])
      this.topic.addSubscription(new SmsSubscription(phone, { filterPolicy: { severity } }))
    }
    // Said explicitly: as soon as a topic has any policy of its own, SNS's default one is gone, and without this line every alarm is silent.
    this.topic.addToResourcePolicy(
      new PolicyStatement({
        sid: 'AlarmsOfThisStack',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [this.topic.topicArn],
        conditions: {
          StringEquals: { 'aws:SourceAccount': Stack.of(this).account },
          ArnLike: { 'aws:SourceArn': alarmArns(this, stackName) },
        },
      }),
    )
  }
}

const alarmArns = (scope: Construct, stackName: string) =>
  Stack.of(scope).formatArn({
    service: 'cloudwatch',
    resource: 'alarm',
    resourceName: `${stackName}-*`,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  })
