// Who is told when the health check can't speak: whether each alarm can be heard, is about something that exists, and says what to do.

import { describe, expect, it } from 'vitest'
import { metricNames } from '../../shared/names.ts'
import { type Resource, synthesise, targetOf } from './synth.ts'

const stack = synthesise({ alertEmail: 'you@example.com', alertPhone: '+15555550100' })
const alone = synthesise({ alertEmail: 'you@example.com', collectors: 'none' })
const alarmsOf = (s: typeof stack) => s.ofType('AWS::CloudWatch::Alarm').map(([, alarm]) => alarm.Properties)
const alarmNamed = (name: string, s = stack) => alarmsOf(s).find((a) => a['AlarmName'] === name) as Record<string, any>

type MetricRead = { namespace: string; name: string; dimensions: Record<string, unknown> }
/** Every metric that an alarm reads, which is what CloudWatch bills. */
const readBy = (alarm: Record<string, any>): MetricRead[] => {
  const plain = alarm['MetricName'] ? [alarm] : alarm['Metrics'].flatMap((m: any) => (m.MetricStat ? [m.MetricStat.Metric] : []))
  return plain.map((m: any) => ({
    namespace: m.Namespace,
    name: m.MetricName,
    dimensions: Object.fromEntries((m.Dimensions ?? []).map((d: any) => [d.Name, d.Value])),
  }))
}

describe('alarms', () => {
  it.each([
    ['the whole stack', stack],
    ['health alone', alone],
  ])('of %s: each can publish, when it begins and when it ends, to every topic that it names', (_, s) => {
    const topicsOf = (alarm: Record<string, any>) => [...alarm['AlarmActions'], ...alarm['OKActions']].map(targetOf) as string[]
    const topics = new Set(alarmsOf(s).flatMap(topicsOf))
    expect(topics.size).toBeGreaterThan(0)
    for (const topic of topics) {
      expect(s.resources[topic]?.Type).toBe('AWS::SNS::Topic')
      expect(s.resources[topic]?.Properties).not.toHaveProperty('KmsMasterKeyId')
      const allows = s
        .ofType('AWS::SNS::TopicPolicy')
        .filter(([, p]) => p.Properties['Topics'].some((t: unknown) => targetOf(t) === topic))
        .flatMap(([, p]) => p.Properties['PolicyDocument'].Statement)
      expect(allows).toMatchObject([
        {
          Effect: 'Allow',
          Action: 'sns:Publish',
          Principal: { Service: 'cloudwatch.amazonaws.com' },
          Resource: { Ref: topic },
          Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } },
        },
      ])
      expect(allows[0].Condition.ArnLike['aws:SourceArn']['Fn::Join'][1].at(-1)).toBe(':alarm:tokay-dev-*')
    }
    for (const alarm of alarmsOf(s)) {
      expect(alarm['AlarmName']).toMatch(/^tokay-dev-/)
      expect(new Set(topicsOf(alarm))).toEqual(topics)
    }
  })

  it('each says what it means and what to do, within what CloudWatch takes, and has decided what silence of its metric means', () => {
    const longest = { alertEmail: 'you@example.com', stage: 'a'.repeat(20) }
    for (const alarm of [...alarmsOf(stack), ...alarmsOf(alone), ...alarmsOf(synthesise(longest))]) {
      const text = JSON.stringify(alarm['AlarmDescription'])
      expect(text).toContain('aws ')
      expect(text.length).toBeLessThan(900)
      expect(['breaching', 'notBreaching', 'ignore']).toContain(alarm['TreatMissingData'])
    }
    expect(new Set(alarmsOf(stack).map((alarm) => alarm['AlarmName'])).size).toBe(alarmsOf(stack).length)
  })

  it('own metrics in alarms and on the dashboard are metrics that the health check publishes, in its namespace and without a dimension', () => {
    const inAlarms = alarmsOf(stack)
      .flatMap(readBy)
      .filter((m) => !m.namespace.startsWith('AWS/'))
    expect(inAlarms.map((m) => m.name)).toEqual(['Heartbeat', 'HealthStatus'])
    expect(inAlarms.every((m) => m.namespace === 'Tokay/dev' && Object.keys(m.dimensions).length === 0)).toBe(true)

    const [[, dashboard] = []] = stack.ofType('AWS::CloudWatch::Dashboard')
    const shown = [...JSON.stringify(dashboard?.Properties['DashboardBody']).matchAll(/\\"Tokay\/dev\\\\?",\\\\?"(\w+)/g)].map((m) => m[1])
    expect(new Set(shown)).toEqual(new Set(metricNames))
  })

  it('metrics of Lambda and SQS in alarms are those of functions and queues in the same stack', () => {
    const theirs = alarmsOf(stack)
      .flatMap(readBy)
      .filter((m) => m.namespace.startsWith('AWS/'))
    expect(theirs.length).toBeGreaterThan(3)
    for (const { namespace, dimensions } of theirs) {
      const [id] = Object.values(dimensions).map(targetOf)
      expect(stack.resources[id as string]?.Type).toBe(namespace === 'AWS/Lambda' ? 'AWS::Lambda::Function' : 'AWS::SQS::Queue')
    }
  })

  it('all own metrics, and all metrics that alarms read, fit into what CloudWatch gives for nothing', () => {
    expect(metricNames.length).toBeLessThanOrEqual(10)
    expect(alarmsOf(stack).flatMap(readBy).length).toBeLessThanOrEqual(10)
    const dashboards = stack.ofType('AWS::CloudWatch::Dashboard')
    expect(dashboards).toHaveLength(1)
    // a free one shows fifty at most
    const shown = JSON.stringify(dashboards).match(/\\"stat\\"|\[\\"Tokay/g) ?? []
    expect(shown.length).toBeGreaterThan(20)
    expect(shown.length).toBeLessThanOrEqual(50)
  })

  it('errors of every function count, and a function that did not run does not hide those of the others', () => {
    const alarm = alarmNamed('tokay-dev-functions-fail')
    const functions = stack
      .ofType('AWS::Lambda::Function')
      .filter(([, fn]) => fn.Properties['FunctionName'])
      .map(([id]) => id)
    expect(functions.length).toBeGreaterThan(3)

    expect(readBy(alarm).map((m) => [m.name, targetOf(m.dimensions['FunctionName'])])).toEqual(functions.map((id) => ['Errors', id]))
    const [{ Expression }] = alarm['Metrics']
    expect(Expression).toBe(functions.map((_, i) => `FILL(errors${i}, 0)`).join(' + '))
  })

  it('a health check that is silent for two of three minutes is an alarm, because missing minutes are filled with 0', () => {
    expect(alarmNamed('tokay-dev-health-check-is-silent')).toMatchObject({
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 1,
      EvaluationPeriods: 3,
      DatapointsToAlarm: 2,
      TreatMissingData: 'breaching',
      Metrics: [
        { Expression: 'FILL(runs, 0)' },
        { Id: 'runs', MetricStat: { Metric: { Namespace: 'Tokay/dev', MetricName: 'Heartbeat' }, Period: 60, Stat: 'SampleCount' } },
      ],
    })
  })

  it.each([
    [1, 300, 6],
    [10, 600, 3],
    [60, 3600, 2],
  ])('with a tick every %i minutes, critical for long is judged in periods of %i s, %i of them', (everyMinutes, period, periods) => {
    const s = synthesise({ alertEmail: 'you@example.com', tokay: { health: { everyMinutes } } })
    expect(alarmNamed('tokay-dev-critical-for-long', s)).toMatchObject({
      MetricName: 'HealthStatus',
      Statistic: 'Minimum',
      Threshold: 2,
      Period: period,
      EvaluationPeriods: periods,
      DatapointsToAlarm: periods,
      TreatMissingData: 'ignore',
    })
  })
})

describe('who is told', () => {
  const subscriptions = (s: typeof stack) =>
    s.ofType('AWS::SNS::Subscription').map(([, { Properties: p }]: [string, Resource]) => ({
      to: p['Protocol'],
      topic: s.resources[targetOf(p['TopicArn']) as string]?.Properties['TopicName'],
      filter: p['FilterPolicy'],
    }))

  it('the email gets every alert and alarm, and is confirmed once', () => {
    expect(subscriptions(stack).filter(({ to }) => to === 'email')).toEqual([{ to: 'email', topic: 'tokay-dev-alerts', filter: undefined }])
  })

  it('the phone gets critical alerts, and alarms by a topic without a filter: no filter of SNS matches a message without attributes', () => {
    expect(subscriptions(stack).filter(({ to }) => to === 'sms')).toEqual([
      { to: 'sms', topic: 'tokay-dev-alerts', filter: { severity: ['critical'] } },
      { to: 'sms', topic: 'tokay-dev-alarms-by-phone', filter: undefined },
    ])
  })

  it('without a phone there is one topic', () => {
    expect(alone.ofType('AWS::SNS::Topic').map(([, t]) => t.Properties['TopicName'])).toEqual(['tokay-dev-alerts'])
  })
})
