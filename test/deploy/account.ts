// What is in the account, by CloudFormation's names of the types: through the SDK where the project has a client for it, else in the service's own words.

import { CloudWatchClient, DescribeAlarmsCommand, ListDashboardsCommand } from '@aws-sdk/client-cloudwatch'
import { DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb'
import { GetFunctionConfigurationCommand, LambdaClient, ListFunctionsCommand } from '@aws-sdk/client-lambda'
import { ListSubscriptionsCommand, ListTopicsCommand, SNSClient } from '@aws-sdk/client-sns'
import { ListQueuesCommand, SQSClient } from '@aws-sdk/client-sqs'
import type { AwsTarget } from '../../shared/aws/aws-client.ts'
import { account as accountId } from './emulator.ts'

type Schedule = { Name: string; ScheduleExpression: string; Target: { Arn: string } }

export function openAccount(target: AwsTarget) {
  const [cloudwatch, dynamodb, sns, sqs] = [CloudWatchClient, DynamoDBClient, SNSClient, SQSClient].map((Client) => new Client(target)) as [
    CloudWatchClient,
    DynamoDBClient,
    SNSClient,
    SQSClient,
  ]
  const lambda = new LambdaClient(target)

  /** For services whose client is no dependency of the project. The emulator looks at what a signature is for, not at who made it. */
  async function ask(service: string, pathname: string, init: { headers?: Record<string, string>; body?: string } = {}) {
    const credential = `Credential=testing/20250915/us-east-1/${service}/aws4_request`
    const response = await fetch(target.endpoint + pathname, {
      method: init.body === undefined ? 'GET' : 'POST',
      ...init,
      headers: { ...init.headers, authorization: `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=host, Signature=0` },
    })
    if (!response.ok) throw new Error(`${service} ${pathname} answers ${response.status}: ${await response.text()}`)
    return response
  }
  const query = async (service: string, form: string, element: string) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const xml = await (await ask(service, '/', { body: form, headers })).text()
    return [...xml.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, 'g'))].map((match) => match[1] as string)
  }

  const alarms = async () => (await cloudwatch.send(new DescribeAlarmsCommand({ MaxRecords: 100 }))).MetricAlarms ?? []
  const subscriptions = async () => (await sns.send(new ListSubscriptionsCommand({}))).Subscriptions ?? []
  const schedules = async () => ((await (await ask('scheduler', '/schedules')).json()) as { Schedules: Schedule[] }).Schedules
  const logGroups = async () => {
    const headers = { 'x-amz-target': 'Logs_20140328.DescribeLogGroups', 'content-type': 'application/x-amz-json-1.1' }
    const answer = await ask('logs', '/', { headers, body: '{}' })
    return ((await answer.json()) as { logGroups: { logGroupName: string }[] }).logGroups
  }

  return {
    alarms,
    subscriptions,
    schedules,
    environment: async (FunctionName: string): Promise<Record<string, string>> =>
      (await lambda.send(new GetFunctionConfigurationCommand({ FunctionName }))).Environment?.Variables ?? {},
    /** An object of the bucket that the CDK uploads bundles to. */
    asset: async (key: string) => Buffer.from(await (await ask('s3', `/cdk-hnb659fds-assets-${accountId}-us-east-1/${key}`)).arrayBuffer()),
    /** Sorted names of everything that a stack can leave behind. */
    async inventory(): Promise<Record<string, string[]>> {
      const names: Record<string, readonly (string | undefined)[]> = {
        'AWS::CloudFormation::Stack': await query('cloudformation', 'Action=DescribeStacks&Version=2010-05-15', 'StackName'),
        'AWS::CloudWatch::Alarm': (await alarms()).map((alarm) => alarm.AlarmName),
        'AWS::CloudWatch::Dashboard': ((await cloudwatch.send(new ListDashboardsCommand({}))).DashboardEntries ?? []).map(
          (board) => board.DashboardName,
        ),
        'AWS::DynamoDB::Table': (await dynamodb.send(new ListTablesCommand({}))).TableNames ?? [],
        'AWS::IAM::Role': await query('iam', 'Action=ListRoles&Version=2010-05-08&MaxItems=1000', 'RoleName'),
        'AWS::Lambda::Function': ((await lambda.send(new ListFunctionsCommand({}))).Functions ?? []).map((fn) => fn.FunctionName),
        'AWS::Logs::LogGroup': (await logGroups()).map((group) => group.logGroupName),
        'AWS::SNS::Subscription': (await subscriptions()).map((subscription) => subscription.SubscriptionArn),
        'AWS::SNS::Topic': ((await sns.send(new ListTopicsCommand({}))).Topics ?? []).map((topic) => topic.TopicArn),
        'AWS::SQS::Queue': (await sqs.send(new ListQueuesCommand({}))).QueueUrls ?? [],
        'AWS::Scheduler::Schedule': (await schedules()).map((schedule) => schedule.Name),
      }
      return Object.fromEntries(Object.entries(names).map(([type, some]) => [type, some.map(String).toSorted()]))
    },
  }
}

export type Account = ReturnType<typeof openAccount>
