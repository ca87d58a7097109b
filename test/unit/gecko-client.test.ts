// The API client against a real HTTP server: what each kind of answer, silence and broken connection becomes, and what the gate hears of it.

import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Clock } from '../../shared/clock.ts'
import { ConfigError, DeadlineExceededError, GeckoApiError, UnexpectedResponseError } from '../../shared/errors.ts'
import { createGeckoClient, keyHeader, type GeckoClientOptions } from '../../shared/gecko/client.ts'
import type { CallOutcome, GeckoGate } from '../../shared/gecko/rate-limit.ts'
import type { LogEvent } from '../../shared/log.ts'

const start = Date.UTC(2026, 9, 4, 12, 0, 0)
const key = 'CG-madeUpKeyForTests0123456789'
const cleanUps: (() => Promise<void> | void)[] = []

afterEach(async () => {
  vi.unstubAllGlobals()
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

/** Answers the nth request with the nth listener, further ones with the last. */
async function serve(...listeners: RequestListener[]): Promise<{ baseUrl: string; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    listeners[Math.min(requests.length, listeners.length) - 1]?.(request, response)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  cleanUps.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v2`, requests }
}

const answer =
  (status: number, body: string | object, headers: Record<string, string> = {}): RequestListener =>
  (_request, response) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    response.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/html' : 'application/json', ...headers }).end(text)
  }

const good = answer(200, { data: [] })
const busyPage = '<html><head><title>503 Service\n Temporarily Unavailable</title></head></html>'

const said = (code: number) => ({ status: { error_code: code, error_message: `words for ${code}` } })

const resetMidBody = (_request: IncomingMessage, response: ServerResponse) => {
  response.writeHead(200, { 'content-length': '1000', 'content-type': 'application/json' })
  response.write('{"data":[', () => response.socket?.resetAndDestroy())
}

const hang: RequestListener = () => {}
const drip: RequestListener = (_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => response.write(' '), 20)
  response.on('close', () => clearInterval(timer))
}

/** Sleeping takes no time and is written down. */
function testClock(): Clock & { sleptMs: number[] } {
  let nowMs = start
  const sleptMs: number[] = []
  return {
    sleptMs,
    nowMs: () => nowMs,
    async sleep(forMs) {
      sleptMs.push(forMs)
      nowMs += forMs
    },
  }
}

function client(baseUrl: string, options: Partial<GeckoClientOptions> = {}) {
  const outcomes: CallOutcome[] = []
  const events: LogEvent[] = []
  const clock = testClock()
  const note = (event: LogEvent) => void events.push(event)
  const gate: GeckoGate = {
    async admit() {
      return { admission: { verdict: 'pass', epoch: 0 } }
    },
    async record(_pass, outcome) {
      outcomes.push(outcome)
    },
  }
  const log = { info: note, warn: note, error: note }
  const gecko = createGeckoClient({ baseUrl, timeoutMs: 5_000, rateLimitedForMs: 65_000, gate, clock, random: () => 0.5, log, ...options })
  return { gecko, outcomes, events, clock }
}

async function failureOf(work: Promise<unknown>): Promise<Error> {
  return work.then(
    () => {
      throw new Error('expected a failure, got an answer')
    },
    (error: Error) => error,
  )
}

/** One call that fails: its error and what the gate heard. */
async function failOnce(listener: RequestListener, options: Partial<GeckoClientOptions> = {}) {
  const { baseUrl, requests } = await serve(listener)
  const { gecko, outcomes, clock } = client(baseUrl, options)
  const error = await failureOf(gecko.get('/networks/eth/dexes', { page: 1 }))
  const { failure, status, retryAfterMs } = error as GeckoApiError
  return { error, failure, status, retryAfterMs, outcomes, requests, clock, message: error.message }
}

describe('a good answer', () => {
  it('gives the body as it is and the time of the answer, and tells the gate', async () => {
    const { baseUrl, requests } = await serve(answer(200, { data: [{ id: 'x' }] }))
    const { gecko, outcomes } = client(baseUrl)
    const page = await gecko.get('/networks/solana/new_pools', { page: 2, include: 'base_token,dex' })
    expect(page).toEqual({ body: { data: [{ id: 'x' }] }, observedAtMs: start })
    expect(outcomes).toEqual([{ kind: 'answered' }])
    expect(requests[0]?.url).toBe('/api/v2/networks/solana/new_pools?page=2&include=base_token%2Cdex')
    expect(requests[0]?.headers.accept).toBe('application/json;version=20230302')
  })

  it('a replay takes the time of observation from the Date header', async () => {
    const { baseUrl } = await serve(answer(200, { data: [] }, { date: 'Thu, 28 Aug 2025 22:11:36 GMT' }))
    const { gecko } = client(baseUrl, { observedAt: 'response-date' })
    expect((await gecko.get('/networks')).observedAtMs).toBe(Date.UTC(2025, 7, 28, 22, 11, 36))
  })

  it('a replay without a readable Date header is refused', async () => {
    const { error } = await failOnce(answer(200, { data: [] }, { date: 'yesterday' }), { observedAt: 'response-date' })
    expect(error).toBeInstanceOf(UnexpectedResponseError)
    expect(error.message).toContain('without a readable Date header')
  })

  it('a base URL may end with a slash, and odd characters of an address stay part of the path', async () => {
    const { baseUrl, requests } = await serve(good)
    await client(`${baseUrl}/`).gecko.get('/networks/sui/pools/0x2::a::B?c#d e/trades')
    expect(requests[0]?.url).toBe('/api/v2/networks/sui/pools/0x2::a::B%3Fc%23d%20e/trades')
  })

  it('every request that is sent is counted, retries included', async () => {
    const { baseUrl } = await serve(answer(503, busyPage), good)
    let calls = 0
    await client(baseUrl).gecko.get('/networks', {}, { onCall: () => void calls++ })
    expect(calls).toBe(2)
  })
})

describe('the rate limit', () => {
  const tooMany = { status: { error_code: 429, error_message: 'slow down' } }
  const shapes: ReadonlyArray<readonly [string, RequestListener]> = [
    ['status 429', answer(429, 'Too many', { 'retry-after': '0' })],
    ['status 200 with a status document', answer(200, tooMany, { 'retry-after': '0' })],
    ['status 200 with an errors document', answer(200, { errors: [{ status: '429', title: 'Rate limited' }] }, { 'retry-after': '0' })],
    ['status 200 with the code as text', answer(200, { status: { error_code: '429' } })],
    ['status 200 with an error that holds the status', answer(200, { error: { status: { error_code: 429 } }, data: null })],
    ['status 403 with code 429', answer(403, tooMany)],
  ]
  for (const [name, listener] of shapes) {
    it(`${name} is a rate limit, waits at least our own floor and is not asked again`, async () => {
      const { failure, retryAfterMs, outcomes, requests, clock, message } = await failOnce(listener)
      expect({ failure, retryAfterMs }).toEqual({ failure: 'rate-limited', retryAfterMs: 65_000 })
      expect(outcomes).toEqual([{ kind: 'rate-limited', retryAfterMs: 65_000 }])
      expect(requests).toHaveLength(1)
      expect(clock.sleptMs).toEqual([])
      expect(message).toContain('GET /networks/eth/dexes?page=1 of 127.0.0.1')
      expect(message).toContain('waiting 65 s')
    })
  }

  const waits: ReadonlyArray<readonly [string, string, number]> = [
    ['7', 'seconds below the floor', 65_000],
    ['90', 'seconds above the floor', 90_000],
    ['1.5', 'a fraction of a second', 65_000],
    ['Sun, 04 Oct 2026 12:02:00 GMT', 'a date two minutes ahead', 120_000],
    ['Sun, 04 Oct 2026 11:00:00 GMT', 'a date in the past', 65_000],
    ['soon', 'garbled', 65_000],
    ['99999999', 'three years', 3_600_000],
  ]
  for (const [header, meaning, waitMs] of waits) {
    it(`Retry-After ${header} (${meaning}) means ${waitMs} ms`, async () => {
      expect((await failOnce(answer(429, tooMany, { 'retry-after': header }))).retryAfterMs).toBe(waitMs)
    })
  }

  it('an answer with data is an answer, whatever else it has', async () => {
    const { baseUrl } = await serve(answer(200, { data: [], ...tooMany }))
    expect((await client(baseUrl).gecko.get('/networks')).body).toEqual({ data: [], ...tooMany })
  })
})

describe('refusals, which are signs of life and are not asked again', () => {
  const refusals: ReadonlyArray<readonly [string, RequestListener, string, string]> = [
    ['403 HTML of a firewall', answer(403, '<html>Attention Required!</html>'), 'blocked', 'set GECKO_API_KEY'],
    ['code 1020', answer(200, said(1020)), 'blocked', 'this address is refused'],
    ['401', answer(401, {}), 'unauthorized', 'check GECKO_API_KEY'],
    ['code 10002', answer(401, said(10_002)), 'unauthorized', 'no key was received'],
    ['code 10005', answer(403, said(10_005)), 'unauthorized', "the key's plan"],
    ['code 10010', answer(400, said(10_010)), 'unauthorized', 'the key belongs to the other host'],
    ['code 10011 with status 200', answer(200, said(10_011)), 'unauthorized', 'the key belongs to the other host'],
    [
      '404',
      answer(404, { errors: [{ status: '404', title: 'Not Found' }] }),
      'not-found',
      '"Not Found"; check the network, DEX, pool or token',
    ],
    ['404 HTML', answer(404, '<html></html>'), 'not-found', 'check gecko.baseUrl'],
    ['404 in the body', answer(200, { errors: [{ status: '404', title: 'Not Found' }] }), 'not-found', 'with code 404'],
    ['422', answer(422, { errors: [{ status: '422', title: 'Unsupported' }] }), 'not-found', 'Unsupported'],
    ['400', answer(400, { errors: [{ status: '400', title: 'Too many addresses' }] }), 'bad-request', 'Too many addresses'],
    ['414', answer(414, ''), 'bad-request', 'the request is wrong'],
  ]
  for (const [name, listener, failure, words] of refusals) {
    it(`${name} is ${failure}`, async () => {
      const refused = await failOnce(listener)
      expect(refused.error).toBeInstanceOf(GeckoApiError)
      expect(refused.failure).toBe(failure)
      expect(refused.message).toContain(words)
      expect(refused.outcomes).toEqual([{ kind: 'answered' }])
      expect(refused.requests).toHaveLength(1)
    })
  }
})

describe('answers that make no sense', () => {
  const bodies: ReadonlyArray<readonly [string, RequestListener, string]> = [
    ['HTML', answer(200, '<html>Welcome</html>'), 'text/html, "<html>Welcome</html>"'],
    ['an empty body', answer(200, ''), 'an empty body'],
    ['JSON cut off', answer(200, '{"data":[{"id":"eth_0x'), 'not complete JSON'],
    ['no content', (_request, response) => void response.writeHead(204).end(), 'an empty body'],
    ['an error without a code', answer(200, { error: 'something' }), '"something"'],
    ['an error with a code that means nothing', answer(200, { status: { error_code: 7 } }), 'with code 7'],
    ['a redirect', answer(302, '', { location: 'http://127.0.0.1:1/' }), 'redirects are not followed'],
  ]
  for (const [name, listener, words] of bodies) {
    it(`${name} is an unexpected response, says nothing about availability and is not asked again`, async () => {
      const { error, outcomes, requests, message } = await failOnce(listener)
      expect(error).toBeInstanceOf(UnexpectedResponseError)
      expect(message).toContain(words)
      expect(outcomes).toEqual([{ kind: 'inconclusive' }])
      expect(requests).toHaveLength(1)
    })
  }

  it('more than 10 MB are not read', async () => {
    let written = 0
    const { error, message } = await failOnce((request, response) => {
      response.writeHead(200)
      const more = () => {
        while (!response.destroyed && written < 200_000_000) {
          written += 1_000_000
          if (!response.write(' '.repeat(1_000_000))) return
        }
        response.end()
      }
      response.on('drain', more)
      request.on('error', () => {})
      more()
    })
    expect(error).toBeInstanceOf(UnexpectedResponseError)
    expect(message).toContain('more than 10000000 bytes')
    expect(written).toBeLessThan(100_000_000)
  })

  it('the excerpt in the message is one short line', async () => {
    const { message } = await failOnce(answer(200, `<html>\r\n\0${'long '.repeat(5_000)}`))
    expect(message.length).toBeLessThan(400)
    expect(message).not.toMatch(/[\r\n\0]/)
  })
})

describe('an API that is unavailable', () => {
  const failures: ReadonlyArray<readonly [string, RequestListener]> = [
    ['503 HTML', answer(503, busyPage)],
    ['500 JSON', answer(500, { errors: [{ status: '500', title: 'Internal' }] })],
    ['520', answer(520, 'error code: 520')],
    ['408', answer(408, '')],
    ['status 200 with code 500', answer(200, { status: { error_code: 500, error_message: 'Internal' } })],
    ['a reset before the answer', (request) => void request.socket.resetAndDestroy()],
    ['a reset in the middle of the body', resetMidBody],
    [
      'a connection closed in the middle of a chunked body',
      (_request, response) => void response.write('{"data":[', () => response.socket?.end()),
    ],
  ]
  for (const [name, listener] of failures) {
    it(`${name} is asked three times, each counts against the breaker`, async () => {
      const { failure, outcomes, requests, clock, message } = await failOnce(listener)
      expect(failure).toBe('unavailable')
      expect(requests).toHaveLength(3)
      expect(outcomes).toEqual([{ kind: 'unavailable' }, { kind: 'unavailable' }, { kind: 'unavailable' }])
      expect(clock.sleptMs).toEqual([250, 500])
      expect(message).toContain('GET /networks/eth/dexes?page=1 of 127.0.0.1')
    })
  }

  it('a second try that is answered is the answer', async () => {
    const { baseUrl } = await serve(resetMidBody, good)
    const { gecko, outcomes } = client(baseUrl)
    expect((await gecko.get('/networks')).body).toEqual({ data: [] })
    expect(outcomes).toEqual([{ kind: 'unavailable' }, { kind: 'answered' }])
  })

  it('a refused connection names its cause', async () => {
    const { baseUrl } = await serve(good)
    for (const cleanUp of cleanUps.splice(0)) await cleanUp()
    const error = await failureOf(client(baseUrl).gecko.get('/networks'))
    expect((error as GeckoApiError).failure).toBe('unavailable')
    expect(error.message).toContain('ECONNREFUSED')
  })

  it('a host name that does not resolve is unavailable, not a wrong request', async () => {
    const error = await failureOf(client('http://api.tokay.invalid/api/v2').gecko.get('/networks'))
    expect((error as GeckoApiError).failure).toBe('unavailable')
    expect(error.message).toMatch(/GET \/networks of api\.tokay\.invalid failed: .*(ENOTFOUND|EAI_AGAIN)/)
  })

  it('a short Retry-After of a 503 is waited for, a long one ends the attempts and is handed on', async () => {
    expect((await failOnce(answer(503, busyPage, { 'retry-after': '2' }))).clock.sleptMs).toEqual([2_000, 2_000])
    const long = await failOnce(answer(503, busyPage, { 'retry-after': '120' }))
    expect(long.requests).toHaveLength(1)
    expect(long.retryAfterMs).toBe(120_000)
  })
})

describe('time', () => {
  for (const [name, listener] of [
    ['a server that never answers', hang],
    ['a body that never ends', drip],
  ] as const) {
    it(`${name} costs the timeout and no more, and the error names operation and limit`, async () => {
      const { failure, outcomes, message } = await failOnce(listener, { timeoutMs: 150 })
      expect(failure).toBe('unavailable')
      expect(message).toMatch(
        /^GET \/networks\/eth\/dexes\?page=1 of 127\.0\.0\.1:\d+: no complete answer within 150 ms \(gecko\.timeoutMs\)$/,
      )
      expect(outcomes).toHaveLength(3)
    })
  }

  it('a wait that reaches the deadline is not begun: the failure itself is thrown', async () => {
    const { baseUrl, requests } = await serve(answer(503, busyPage))
    const { gecko, clock } = client(baseUrl)
    const error = await failureOf(gecko.get('/networks', {}, { deadlineAtMs: start + 250 }))
    expect((error as GeckoApiError).failure).toBe('unavailable')
    expect(clock.sleptMs).toEqual([])
    expect(requests).toHaveLength(1)
  })

  it('a call cut short by the deadline says nothing about the API', async () => {
    const { baseUrl } = await serve(hang)
    const { gecko, outcomes } = client(baseUrl)
    const error = await failureOf(gecko.get('/networks', {}, { deadlineAtMs: start + 100 }))
    expect(error).toBeInstanceOf(DeadlineExceededError)
    expect(error.message).toContain('within 100 ms, all that the deadline left')
    expect(outcomes).toEqual([{ kind: 'inconclusive' }])
  })

  it('after the deadline nothing is sent', async () => {
    const { baseUrl, requests } = await serve(good)
    let calls = 0
    const error = await failureOf(client(baseUrl).gecko.get('/networks', {}, { deadlineAtMs: start, onCall: () => void calls++ }))
    expect(error).toBeInstanceOf(DeadlineExceededError)
    expect(requests).toHaveLength(0)
    expect(calls).toBe(0)
  })

  it('an abort during a call ends it with its reason, and the gate hears that nothing is known', async () => {
    const controller = new AbortController()
    const { baseUrl } = await serve(() => controller.abort(new Error('stopping')))
    const { gecko, outcomes } = client(baseUrl)
    const error = await failureOf(gecko.get('/networks', {}, { signal: controller.signal }))
    expect(error.message).toBe('stopping')
    expect(outcomes).toEqual([{ kind: 'inconclusive' }])
  })
})

describe('the gate', () => {
  it('a call that the gate refuses is not sent', async () => {
    const { baseUrl, requests } = await serve(good)
    const gate: GeckoGate = {
      async admit(operation) {
        throw new GeckoApiError(`${operation} was not sent: no budget`, { failure: 'not-sent', retryAfterMs: 4_000 })
      },
      async record() {},
    }
    const error = await failureOf(client(baseUrl, { gate }).gecko.get('/networks', { page: 1 }))
    expect(error.message).toMatch(/^GET \/networks\?page=1 of 127\.0\.0\.1:\d+ was not sent: no budget$/)
    expect(requests).toHaveLength(0)
  })

  it('when the breaker opens between two attempts, the failure that opened it is thrown', async () => {
    const { baseUrl, requests } = await serve(answer(503, busyPage))
    let asked = 0
    const gate: GeckoGate = {
      async admit() {
        if (++asked > 1) throw new GeckoApiError('open', { failure: 'not-sent' })
        return { admission: { verdict: 'pass', epoch: 0 } }
      },
      async record() {},
    }
    const error = await failureOf(client(baseUrl, { gate }).gecko.get('/networks'))
    expect((error as GeckoApiError).failure).toBe('unavailable')
    expect(requests).toHaveLength(1)
  })
})

describe('the API key', () => {
  it('is sent in the header of its host, over https, and to nobody else', () => {
    expect(keyHeader(new URL('https://api.coingecko.com/api/v3/onchain'))).toBe('x-cg-demo-api-key')
    expect(keyHeader(new URL('https://pro-api.coingecko.com/api/v3/onchain'))).toBe('x-cg-pro-api-key')
    for (const url of [
      'https://api.geckoterminal.com/api/v2',
      'http://api.coingecko.com/',
      'https://api.coingecko.com.example/',
      'http://127.0.0.1:1/',
    ]) {
      expect(keyHeader(new URL(url))).toBeUndefined()
    }
  })

  it('goes out with the request', async () => {
    const sent: Record<string, unknown>[] = []
    vi.stubGlobal('fetch', async (_url: URL, init: { headers: Record<string, unknown> }) => {
      sent.push(init.headers)
      return new Response('{"data":[]}')
    })
    await client('https://api.coingecko.com/api/v3/onchain', { apiKey: key }).gecko.get('/networks')
    await client('https://pro-api.coingecko.com/api/v3/onchain', { apiKey: key }).gecko.get('/networks')
    expect(sent).toEqual([
      { accept: 'application/json;version=20230302', 'x-cg-demo-api-key': key },
      { accept: 'application/json;version=20230302', 'x-cg-pro-api-key': key },
    ])
  })

  it('for another host is not sent, and the log says so once, without it', async () => {
    const { baseUrl, requests } = await serve(good)
    const { gecko, events } = client(baseUrl, { apiKey: key })
    await gecko.get('/networks')
    expect(Object.values(requests[0]?.headers ?? {})).not.toContain(key)
    expect(events.map((e) => e.event)).toEqual(['gecko.key_unused'])
    expect(inspect(events)).not.toContain(key)
  })

  it('never appears in an error, even when the API repeats it', async () => {
    for (const listener of [
      answer(401, { status: { error_code: 10_002, error_message: `bad key ${key}` } }),
      answer(400, { errors: [{ status: '400', title: key }] }),
      answer(200, `<html>${key}</html>`),
      answer(200, { error: key }),
    ]) {
      const { error } = await failOnce(listener, { apiKey: key })
      expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(key)
      expect(error.message).toContain('***')
    }
  })

  it('with a line break is refused before fetch could show it', () => {
    for (const apiKey of [`${key}\n`, '', `${key}ü`]) {
      const make = () => client('https://api.coingecko.com/api/v3/onchain', { apiKey })
      expect(make).toThrow(ConfigError)
      expect(make).toThrow('GECKO_API_KEY is empty or has characters that no key has')
      expect(make).not.toThrow(key)
    }
  })

  it('in the base URL is refused without being shown', () => {
    for (const baseUrl of [
      `https://user:${key}@api.coingecko.com/`,
      `https://api.coingecko.com/?x_cg_demo_api_key=${key}`,
      `ftp://${key}/`,
      key,
    ]) {
      const make = () => client(baseUrl)
      expect(make).toThrow(ConfigError)
      expect(make).not.toThrow(key)
    }
  })
})
