import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { openSource } from '../../cli/source.ts'
import { parseSettings } from '../../shared/config.ts'
import { ConfigError } from '../../shared/errors.ts'

const at = (baseUrl: string) => parseSettings({ gecko: { baseUrl } })
const nowhere = at('http://127.0.0.1:9/api/v2')

describe('the source of data', () => {
  const toClose: (() => Promise<unknown> | void)[] = []
  afterEach(async () => {
    for (const close of toClose.splice(0)) await close()
  })

  it('is the live API when that answers, even with a refusal', async () => {
    const server = createServer((_, answer) => answer.writeHead(429).end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    toClose.push(() => void server.close())
    const { source, says } = await openSource({}, at(`http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v2`))
    expect(source.name).toBe('live')
    expect(says).toContain('the live API at 127.0.0.1')
  })

  it('is the simulator when the live API can not be reached, and it says so and why', async () => {
    const { source, says } = await openSource({}, nowhere)
    toClose.push(() => source.close())
    expect(source.name).toBe('simulator')
    expect(says).toMatch(/^source: the built-in simulator, because the live API at 127\.0\.0\.1:9 can't be reached \(.+\)$/)
  })

  it('never falls back when the live API was asked for: it is refused with the way out', async () => {
    await expect(openSource({ source: 'live' }, nowhere)).rejects.toThrow(ConfigError)
    await expect(openSource({ source: 'live' }, nowhere)).rejects.toThrow('run with --source simulator')
  })
})
