// What others look for in a template: cdk-nag's packs AwsSolutions and Serverless, and cfn-lint where it is installed.
// Here and not in the app, so that nobody's deploy is stopped by a lint. What is accepted is written down with its reason, and no more than that.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { type App, Validations } from 'aws-cdk-lib'
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag'
import { describe, expect, it } from 'vitest'
import { buildStack, forget, synthesise } from './synth.ts'

/** Everything that a stack can have. */
const largest = {
  alertEmail: 'you@example.com',
  alertPhone: '+15555550100',
  tokay: {
    gecko: { baseUrl: 'https://api.coingecko.com/api/v3/onchain' },
    aws: {
      geckoApiKeyParameter: '/tokay/<stage>/gecko-api-key',
      reservedConcurrency: 8,
      keepState: true,
      vpc: { id: 'vpc-0a1b2c3d', subnetIds: ['subnet-0a1b2c3d', 'subnet-0b1b2c3d'] },
    },
  },
}

type Accepted = { readonly rule: string; readonly on: readonly string[]; readonly reason: string }

const functions = ['HealthCheck', 'ReplayParked', 'Collect', 'Migrate', 'Maintain']
const queues = ['LostEvents', 'ParkedWrites', 'ParkedWritesDeadLetters']
const topics = ['Alerts/Topic', 'Alerts/PhoneTopic']
const subscriptions = ['Alerts/Topic/you@example.com', 'Alerts/Topic/+15555550100', 'Alerts/PhoneTopic/+15555550100']

const accepted: readonly Accepted[] = [
  {
    rule: 'AwsSolutions-IAM5[Resource::*]',
    on: functions.map((name) => `${name}/Role/DefaultPolicy`),
    reason:
      'PutMetricData (health check) knows no resource and is held to its namespace. The network interfaces of a function in a VPC know none either, ' +
      'and are denied to its own code.',
  },
  {
    rule: 'AwsSolutions-DDB3',
    on: ['State'],
    reason:
      'Point-in-time recovery of cursors and circuits has no use: lost, they cost a repeated fetch. An old state put back would be worse.',
  },
  {
    rule: 'AwsSolutions-SQS3',
    on: queues,
    reason:
      'Two of them are dead-letter queues. From parked writes nothing may leave by the number of receives: an outage is many of them.',
  },
  {
    rule: 'Serverless-SQSRedrivePolicy',
    on: queues,
    reason:
      'Two of them are dead-letter queues. From parked writes nothing may leave by the number of receives: an outage is many of them.',
  },
  {
    rule: 'AwsSolutions-SNS3',
    on: topics,
    reason:
      'Its publishers are CloudWatch and one role, both over TLS. A Deny beside their Allow is one more way for every alarm to be silent.',
  },
  {
    rule: 'Serverless-SNSRedrivePolicy',
    on: subscriptions,
    reason: 'SNS itself tries mail and text messages 50 times within 6 hours. An alert that is older than that helps nobody.',
  },
  {
    rule: 'Serverless-LambdaDLQ',
    on: functions.map((name) => `${name}/Function`),
    reason: 'They have a destination on failure, which holds the error as well as the event, and which this rule does not know.',
  },
  {
    rule: 'Serverless-LambdaTracing',
    on: functions.map((name) => `${name}/Function`),
    reason: 'Ticks every minute would be more traces than are free, and each run logs what it did.',
  },
]

describe('cdk-nag', () => {
  it('finds what is accepted for a written reason, and nothing else', { timeout: 60_000 }, () => {
    const built = buildStack(largest)
    const app = built.node.root as App
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app))
    // it throws as soon as something is found, and some of what is accepted is
    expect(() => app.synth()).toThrow('AwsSolutions')

    const report = JSON.parse(readFileSync(path.join(app.outdir, 'validation-report.json'), 'utf8'))
    forget(built)
    const found = report.pluginReports.flatMap((pack: any) =>
      pack.violations.flatMap((v: any) => v.violatingConstructs.map((c: any) => `${v.ruleName} on ${c.constructPath}`)),
    )
    expect(found.toSorted()).toEqual(accepted.flatMap(({ rule, on }) => on.map((at) => `${rule} on tokay-dev/${at}/Resource`)).toSorted())
    for (const { reason } of accepted) expect(reason.length).toBeGreaterThan(50)
  })
})

const cfnLint = spawnSync('cfn-lint', ['--version']).status === 0
/** A dependency that a GetAtt implies already: the construct library writes both. */
const known = ['W3005']

describe('cfn-lint', () => {
  // A Python program that not everybody has; the construct library's own check of the template runs at every synthesis.
  it.skipIf(!cfnLint)('has nothing to say about the largest stack and about health alone', { timeout: 60_000 }, () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'tokay-template-'))
    try {
      const files = [largest, { alertEmail: 'you@example.com', collectors: 'none' }].map((context, i) => {
        const file = path.join(folder, `${i}.json`)
        writeFileSync(file, JSON.stringify({ Resources: synthesise(context).resources }))
        return file
      })
      expect(execFileSync('cfn-lint', ['--ignore-checks', ...known, '--', ...files], { encoding: 'utf8' })).toBe('')
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
