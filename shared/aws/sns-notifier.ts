// Alerts through SNS: one Publish for all receivers, with a text for each protocol. The `severity` attribute is what the phone's subscription filters on.

import { PublishCommand, SNSClient } from '@aws-sdk/client-sns'
import { toSmsPart, toSubject } from '../health/alert/message-limits.ts'
import type { Notifier } from '../health/alert/notifier.ts'
import { type AwsTarget, awsCall, awsClientSettings } from './aws-client.ts'

/** SNS takes 256 KiB for all texts together; the mail's is in it twice, at up to 4 bytes a character. Nobody reads more at 3 am. */
const maxEmailChars = 20_000

export function snsNotifier(options: { topicArn: string; aws?: AwsTarget }): Notifier {
  const client = new SNSClient(awsClientSettings(options.aws))
  return {
    async publish({ subject, email, sms, severity }) {
      const body = email.length > maxEmailChars ? `${email.slice(0, maxEmailChars)}\n(cut here)` : email
      await awsCall(`publishing the alert "${toSubject(subject)}" to SNS topic ${options.topicArn}`, (call) =>
        client.send(
          new PublishCommand({
            TopicArn: options.topicArn,
            Subject: toSubject(subject),
            MessageStructure: 'json',
            Message: JSON.stringify({ default: body, email: body, sms: toSmsPart(sms) }),
            MessageAttributes: {
              severity: { DataType: 'String', StringValue: severity },
              'AWS.SNS.SMS.SMSType': { DataType: 'String', StringValue: 'Transactional' },
            },
          }),
          call,
        ),
      )
    },
  }
}
