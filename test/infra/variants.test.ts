// The stack's other shapes: health alone, in a VPC, with state that is kept, with a key, beside another stage.

import { describe, expect, it } from 'vitest'
import { type Resource, synthesise, targetOf } from './synth.ts'

const email = { alertEmail: 'you@example.com' }
const whole = synthesise(email)
const typesOf = (s: typeof whole) => new Set(Object.values(s.resources).map((r) => r.Type))
const ownFunctions = (s: typeof whole) =>
  s.ofType('AWS::Lambda::Function').flatMap(([, fn]) => (fn.Properties['FunctionName'] ? [fn.Properties] : []))
const namesOf = (s: typeof whole, type: string, property: string) => s.ofType(type).map(([, r]) => r.Properties[property] as string)

describe('health alone', () => {
  const alone = synthesise({ ...email, collectors: 'none' })

  it('is the health check with its tick, state, metrics, alarms and alerts, and nothing that collects, parks or migrates', () => {
    expect(ownFunctions(alone).map((fn) => fn['FunctionName'])).toEqual(['tokay-dev-health-check'])
    expect(alone.ofType('AWS::Scheduler::Schedule')).toHaveLength(1)
    expect(namesOf(alone, 'AWS::SQS::Queue', 'QueueName')).toEqual(['tokay-dev-lost-events'])
    expect(namesOf(alone, 'AWS::DynamoDB::Table', 'TableName')).toEqual(['tokay-dev-state'])
    expect(typesOf(alone)).not.toContain('Custom::Trigger')
    expect(alone.ofType('AWS::CloudWatch::Alarm').length).toBeGreaterThan(2)
    expect(alone.ofType('AWS::CloudWatch::Dashboard')).toHaveLength(1)
  })

  it('its function is told of no queue, and may touch none but that of lost events', () => {
    const [fn] = ownFunctions(alone)
    expect(Object.keys(fn?.['Environment'].Variables).toSorted()).toEqual([
      'ALERT_TOPIC_ARN',
      'DATABASE_URL_PARAMETER',
      'STATE_TABLE',
      'TOKAY_SETTINGS',
    ])
    const settings = JSON.parse(fn?.['Environment'].Variables.TOKAY_SETTINGS)
    expect(Object.values(settings.collectors)).toEqual(Array.from({ length: 4 }, () => ({ enabled: false })))
  })

  it('is also what cdk.json makes when it switches every collector off', () => {
    const off = { enabled: false }
    const collectors = { dexes: off, 'top-pools': off, 'new-pools': off, trades: off }
    expect(Object.keys(synthesise({ ...email, tokay: { collectors } }).resources).toSorted()).toEqual(
      Object.keys(alone.resources).toSorted(),
    )
  })
})

describe('in a VPC', () => {
  const vpc = { id: 'vpc-0a1b2c3d', subnetIds: ['subnet-0a1b2c3d', 'subnet-0b1b2c3d'] }
  const inVpc = synthesise({ ...email, tokay: { aws: { vpc } } })

  it('every function runs in the named subnets behind one security group that lets nobody in', () => {
    const [[groupId, group] = []] = inVpc.ofType('AWS::EC2::SecurityGroup')
    expect(group?.Properties).not.toHaveProperty('SecurityGroupIngress')
    expect(ownFunctions(inVpc).length).toBeGreaterThan(3)
    for (const fn of ownFunctions(inVpc)) {
      expect(fn['VpcConfig'].SubnetIds).toEqual(vpc.subnetIds)
      expect(fn['VpcConfig'].SecurityGroupIds.map(targetOf)).toEqual([groupId])
    }
  })

  it("Lambda may attach interfaces by a function's role, and the function's own code may not", () => {
    const policies = inVpc.ofType('AWS::IAM::Policy').map(([, p]) => p.Properties['PolicyDocument'].Statement as Record<string, any>[])
    const onInterfaces = policies.map((statements) => statements.filter((s) => String(s['Action']).includes('ec2:')))
    const holders = onInterfaces.filter((statements) => statements.length > 0)
    expect(holders).toHaveLength(ownFunctions(inVpc).length)
    for (const [allow, deny] of holders) {
      expect([allow?.['Effect'], deny?.['Effect']]).toEqual(['Allow', 'Deny'])
      expect(deny?.['Action']).toEqual(allow?.['Action'])
      expect(JSON.stringify(deny?.['Condition'])).toMatch(/^\{"ArnEquals":\{"lambda:SourceFunctionArn":.*:function:tokay-dev-/)
    }
  })

  it('by default there is none', () => {
    expect([...typesOf(whole)].filter((type) => type.startsWith('AWS::EC2::'))).toEqual([])
    for (const fn of ownFunctions(whole)) expect(fn).not.toHaveProperty('VpcConfig')
  })
})

describe('settings of the deployment', () => {
  const stateful = new Set(['AWS::DynamoDB::Table', 'AWS::SQS::Queue'])
  const policiesOf = (s: typeof whole) =>
    Object.values(s.resources).filter((r) => stateful.has(r.Type)) as (Resource & { DeletionPolicy: string })[]
  const nameOf = ({ Properties: p }: Resource) => (p['TableName'] ?? p['QueueName']) as string

  it('asked to be kept, state and parked writes outlive the stack, but not a creation that failed; by default nothing does', () => {
    const kept = synthesise({ ...email, tokay: { aws: { keepState: true } } })
    expect(policiesOf(kept).map((r) => [nameOf(r), r.DeletionPolicy])).toEqual([
      ['tokay-dev-state', 'RetainExceptOnCreate'],
      ['tokay-dev-lost-events', 'Delete'],
      ['tokay-dev-parked-writes', 'RetainExceptOnCreate'],
      ['tokay-dev-parked-writes-dead-letters', 'RetainExceptOnCreate'],
    ])
    expect(new Set(policiesOf(whole).map((r) => r.DeletionPolicy))).toEqual(new Set(['Delete']))
  })

  it('parameters, log retention, reservation and dashboard are as asked', () => {
    const s = synthesise({
      ...email,
      stage: 'prod',
      tokay: {
        gecko: { baseUrl: 'https://api.coingecko.com/api/v3/onchain' },
        aws: {
          databaseUrlParameter: '/shared/postgres/<stage>',
          geckoApiKeyParameter: '/shared/gecko',
          logDays: 90,
          reservedConcurrency: 6,
          dashboard: false,
        },
      },
    })
    for (const fn of ownFunctions(s)) expect(fn['Environment'].Variables.DATABASE_URL_PARAMETER).toBe('/shared/postgres/prod')
    const told = ownFunctions(s).filter((fn) => fn['Environment'].Variables.GECKO_API_KEY_PARAMETER === '/shared/gecko')
    expect(told.map((fn) => fn['FunctionName'])).toEqual(['tokay-prod-collect'])
    const readers = s.ofType('AWS::IAM::Policy').filter(([, p]) => JSON.stringify(p.Properties).includes(':parameter/shared/gecko'))
    expect(readers.map(([id]) => id)).toEqual([expect.stringMatching(/^Collect/)])
    expect(new Set(namesOf(s, 'AWS::Logs::LogGroup', 'RetentionInDays'))).toEqual(new Set([90]))
    const reserved = ownFunctions(s).filter((fn) => fn['ReservedConcurrentExecutions'] !== undefined)
    expect(reserved.map((fn) => [fn['FunctionName'], fn['ReservedConcurrentExecutions']])).toEqual([['tokay-prod-collect', 6]])
    expect(typesOf(s)).not.toContain('AWS::CloudWatch::Dashboard')
  })

  it("a named RDS instance's own figures stand on the dashboard, and no metric is paid for them", () => {
    const s = synthesise({ ...email, tokay: { aws: { rdsInstance: 'pools-1' } } })
    const body = JSON.stringify(s.ofType('AWS::CloudWatch::Dashboard'))
    for (const name of ['CPUUtilization', 'FreeStorageSpace', 'FreeableMemory', 'DatabaseConnections'])
      expect(body).toContain(`\\"AWS/RDS\\",\\"${name}\\",\\"DBInstanceIdentifier\\",\\"pools-1\\"`)
    expect(JSON.stringify(whole.ofType('AWS::CloudWatch::Dashboard'))).not.toContain('AWS/RDS')
  })
})

describe('two stages of one account', () => {
  it('share no name', () => {
    const named = (s: typeof whole) => JSON.stringify(s.resources).match(/"(?:\/[a-z/]+\/)?tokay-[a-z]+(?:-[a-z-]+)?"|"Tokay\/\w+"/g) ?? []
    const prod = synthesise({ ...email, stage: 'prod' })
    const dev = new Set(named(whole))

    expect(dev.size).toBeGreaterThan(15)
    expect(dev).toContain('"tokay-dev"')
    expect(dev).toContain('"Tokay/dev"')
    expect(named(prod).filter((name) => dev.has(name))).toEqual([])
  })

  it('the template names no account and no region, so that one synthesis serves all', () => {
    const text = JSON.stringify(whole.resources)
    // alone: the hash of an asset may have twelve digits in a row
    expect(text).not.toMatch(/(?<![0-9a-f])\d{12}(?![0-9a-f])/)
    expect(text).not.toMatch(/\b(us|eu|ap)-[a-z]+-\d\b/)
  })
})
