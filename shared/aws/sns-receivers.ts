// Who would get an alert: an email counts once the link in its mail was clicked. Needs sns:ListSubscriptionsByTopic on the topic.

import { ListSubscriptionsByTopicCommand, SNSClient } from '@aws-sdk/client-sns'
import type { Receivers } from '../health/observation.ts'
import { type AwsTarget, awsCall, awsClientSettings } from './aws-client.ts'

/** What SNS says in the place of an ARN until the link was clicked. */
const pendingArn = 'PendingConfirmation'

/** Counts the topic's subscriptions each time it is called. One that was taken back through its mail's link counts as nothing. */
export function snsReceivers(options: { topicArn: string; aws?: AwsTarget }): () => Promise<Receivers> {
  const TopicArn = options.topicArn
  const client = new SNSClient(awsClientSettings(options.aws))
  return async () => {
    let [confirmed, pending] = [0, 0]
    let NextToken: string | undefined
    do {
      const page = await awsCall(`listing the receivers of SNS topic ${TopicArn}`, (call) =>
        client.send(new ListSubscriptionsByTopicCommand({ TopicArn, ...(NextToken && { NextToken }) }), call),
      )
      for (const { SubscriptionArn } of page.Subscriptions ?? []) {
        if (SubscriptionArn === pendingArn) pending++
        else if (SubscriptionArn?.startsWith('arn:')) confirmed++
      }
      NextToken = page.NextToken
    } while (NextToken)
    return { confirmed, pending }
  }
}
