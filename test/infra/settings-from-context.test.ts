import { describe, expect, it } from 'vitest'
import { settingsFromContext } from '../../infra/settings-from-context.ts'

const from = (context: Record<string, unknown>) => settingsFromContext((key) => context[key])

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
})
