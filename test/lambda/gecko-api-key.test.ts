// The API key as the functions get it: from SSM, by the name that the stack gives, and again after a while. Sent it is to CoinGecko's own hosts
// alone, so what shows that it was read is that the client refuses one with a line break at its end.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts'

const name = '/tokay/dev/gecko-api-key'
const brokenKey = 'CG-key-of-a-test\n'
const refused = 'GECKO_API_KEY is empty or has characters that no key has'

let aws: FakeAws

beforeEach(async () => {
  aws = await startFakeAws()
  const environment = {
    AWS_ENDPOINT_URL: aws.target.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
    TOKAY_SETTINGS: JSON.stringify({ gecko: { baseUrl: 'https://api.coingecko.com/api/v3/onchain' } }),
    STATE_TABLE: 'tokay-dev-state',
    DATABASE_URL_PARAMETER: '/tokay/dev/database-url',
    GECKO_API_KEY_PARAMETER: name,
    PARKED_QUEUE_URL: aws.addQueue('parked').url,
    DEAD_LETTERS_QUEUE_URL: aws.addQueue('dead-letters').url,
  }
  for (const [key, value] of Object.entries(environment)) vi.stubEnv(key, value)
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-11-21T12:00:00Z') })
  vi.resetModules()
})
afterEach(async () => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  await aws.close()
})

const readings = () => aws.requests.filter((request) => request === 'ssm GetParameter').length

describe("the API's key", () => {
  it('is read once for five minutes of runs, and then again, so that a replaced key needs no deploy', async () => {
    const { collectTools } = await import('../../functions/runtime.ts')
    aws.parameters.set(name, 'CG-key-of-a-test')
    await collectTools()
    aws.parameters.set(name, brokenKey)
    vi.setSystemTime(Date.parse('2026-11-21T12:04:59Z'))
    await collectTools()
    expect(readings()).toBe(1)

    vi.setSystemTime(Date.parse('2026-11-21T12:05:00Z'))
    await expect(collectTools()).rejects.toThrow(refused)
    expect(readings()).toBe(2)
  })

  it('that was never stored fails the run with the command that stores it, and the next run asks again', async () => {
    const { collectTools } = await import('../../functions/runtime.ts')
    await expect(collectTools()).rejects.toThrow(`aws ssm put-parameter --type SecureString --name ${name}`)

    aws.parameters.set(name, 'CG-key-of-a-test')
    await expect(collectTools()).resolves.toBeDefined()
  })

  it('that is known is used on while SSM is away', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const { collectTools } = await import('../../functions/runtime.ts')
    aws.parameters.set(name, 'CG-key-of-a-test')
    await collectTools()
    aws.parameters.clear()
    vi.setSystemTime(Date.parse('2026-11-21T13:00:00Z'))

    await expect(collectTools()).resolves.toBeDefined()
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ event: 'gecko.key_not_read' }))
  })

  it('is not asked for where the stack names none', async () => {
    vi.stubEnv('GECKO_API_KEY_PARAMETER', undefined)
    const { collectTools } = await import('../../functions/runtime.ts')
    await collectTools()

    expect(readings()).toBe(0)
  })
})
