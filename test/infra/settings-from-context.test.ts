import { describe, expect, it } from 'vitest'
import { settingsFromContext } from '../../infra/settings-from-context.ts'
import { parseSettings } from '../../shared/config.ts'

const from = (context: Record<string, unknown>) => settingsFromContext(context)

describe('settings of a stack', () => {
  it('-c stage and -c alertEmail win over cdk.json', () => {
    const { settings } = from({
      tokay: { stage: 'dev', alerts: { email: 'old@example.com' } },
      stage: 'prod',
      alertEmail: 'you@example.com',
    })

    expect(settings.stage).toBe('prod')
    expect(settings.alerts).toEqual({ email: 'you@example.com' })
  })

  it('without a receiver of alerts nothing is synthesised, and the message lists every other problem as well', () => {
    expect(() => from({ tokay: { stage: 'Prod', networks: [], nets: [] } })).toThrow(
      [
        '4 settings are wrong:',
        '  - stage: must be 1-20 lower-case letters, digits or dashes, a letter first',
        '  - networks: Too small: expected array to have >=1 items',
        '  - nets is not a setting; check its spelling',
        '  - nobody would receive an alert: add -c alertEmail=you@example.com, or tokay.alerts.email in cdk.json',
      ].join('\n'),
    )
  })

  it('a phone alone is a receiver', () => {
    expect(from({ alertPhone: '+15555550100' }).settings.alerts).toEqual({ phone: '+15555550100' })
  })

  it('a phone that is no number is refused without being repeated', () => {
    expect(() => from({ alertEmail: 'you@example.com', alertPhone: '0555 0100' })).toThrow(
      'alerts.phone: must be a phone number such as "+15555550100"',
    )
  })

  it('the functions are given the settings as written, without the receivers', () => {
    const { input } = from({ tokay: { networks: ['base'], alerts: { phone: '+15555550100' } }, alertEmail: 'you@example.com' })

    expect(JSON.parse(input)).toEqual({ networks: ['base'] })
  })

  it('settings that no function environment can hold are refused before a deploy fails on them', () => {
    const pools = Array.from({ length: 60 }, (_, i) => ({ network: 'solana', address: `${'A'.repeat(40)}${i}` }))

    expect(() => from({ tokay: { collectors: { trades: { pools } } }, alertEmail: 'you@example.com' })).toThrow(
      /the settings take \d+ bytes, a function's environment has room for 3000/,
    )
  })

  it('a misspelled -c option is refused, with those that there are; keys of the CDK are its own', () => {
    const cdk = { '@aws-cdk/core:target-partitions': ['aws'], 'aws:cdk:bundling-stacks': [], 'acknowledged-issue-numbers': [34892] }

    expect(() => from({ ...cdk, alertEmail: 'you@example.com', alertMail: 'you@example.com' })).toThrow(
      /^-c alertMail= is not an option; there are stage, alertEmail, alertPhone, collectors, connectionLimit$/,
    )
    expect(from({ ...cdk, alertEmail: 'you@example.com' }).settings.stage).toBe('dev')
  })

  it('-c collectors=none switches all of them off, and a list all others; what cdk.json says of them stays', () => {
    const tokay = { collectors: { trades: { everyMinutes: 2, enabled: false } } }
    const enabled = (collectors: string) => {
      const { settings, input } = from({ tokay, collectors, alertEmail: 'you@example.com' })
      expect(parseSettings(JSON.parse(input)).collectors).toEqual(settings.collectors)
      expect(settings.collectors.trades.everyMinutes).toBe(2)
      return Object.entries(settings.collectors).flatMap(([name, collector]) => (collector.enabled ? [name] : []))
    }

    expect(enabled('none')).toEqual([])
    expect(enabled('trades,dexes')).toEqual(['dexes', 'trades'])
  })

  it.each(['pools', 'trades,', ''])('-c collectors=%s is refused with the names that there are', (collectors) => {
    expect(() => from({ collectors, alertEmail: 'you@example.com' })).toThrow(
      `-c collectors=${collectors} must be "none", or names with commas between them, of dexes, top-pools, new-pools, trades`,
    )
  })

  it('-c connectionLimit is a number, and text is refused', () => {
    expect(from({ alertEmail: 'you@example.com', connectionLimit: '100' }).settings.aws.connectionLimit).toBe(100)
    expect(() => from({ alertEmail: 'you@example.com', connectionLimit: 'many' })).toThrow('aws.connectionLimit')
  })

  it('problems of the settings, of -c and of the receivers are told in one message', () => {
    expect(() => from({ stage: 'Prod', collectors: 'all', colour: 'blue', alertPhone: '5', tokay: { aws: { logDays: 8 } } })).toThrow(
      /^5 settings are wrong:\n {2}- -c colour=.*\n {2}- -c collectors=all .*\n {2}- stage: .*\n {2}- aws\.logDays: .*\n {2}- alerts\.phone: /,
    )
    expect(() => from({ connectionLimit: '10', alertEmail: 'nobody' })).toThrow(
      /^2 settings are wrong:\n {2}- aws\.connectionLimit: the functions may hold 16 connections .*\n {2}- alerts\.email: must be an email address$/,
    )
  })

  it('what only the deployment has to know is kept from the functions', () => {
    const { input } = from({ tokay: { aws: { keepState: true } }, alertEmail: 'you@example.com', connectionLimit: '100' })

    expect(JSON.parse(input)).toEqual({})
  })

  it('a VPC without subnets, and subnets without a VPC, are refused', () => {
    const message = 'aws.vpc needs both id and subnetIds'
    expect(() => from({ tokay: { aws: { vpc: { id: 'vpc-0a1b2c3d' } } }, alertEmail: 'you@example.com' })).toThrow(message)
    expect(() => from({ tokay: { aws: { vpc: { subnetIds: ['subnet-0a1b2c3d'] } } }, alertEmail: 'you@example.com' })).toThrow(message)
  })

  it.each(['tokay/dev/url', '/aws/url', '/tokay/*', '/tokay/<env>/url', '/tokay//url', ''])(
    '"%s" is no name of a parameter',
    (databaseUrlParameter) => {
      expect(() => from({ tokay: { aws: { databaseUrlParameter } }, alertEmail: 'you@example.com' })).toThrow(
        'aws.databaseUrlParameter: must be the name of an SSM parameter',
      )
    },
  )
})
