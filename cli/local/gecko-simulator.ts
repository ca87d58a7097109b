// GeckoTerminal on this machine: an HTTP server with the API's paths, shapes, limits and habits over a seeded market.
// The same seed and clock give the same bodies. Each URL's answer is cached for a while, as the real one is: pages that were made at different
// moments overlap or leave pools out while new ones arrive. Beyond the limit come 429s; faults come on demand or at a rate.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Clock } from '../../shared/clock.ts'
import { answerWithFault, createFaults, rateLimitJson, type Fault } from './simulator/faults.ts'
import { listen } from './simulator/listen.ts'
import { createMarket } from './simulator/market.ts'
import { knownNetworks } from './simulator/networks.ts'
import { answerTo, errorJson, type Shown } from './simulator/routes.ts'
import { words } from './simulator/seeded.ts'
import { createRecord, type Served } from './simulator/served.ts'

export type { Fault, FaultKind } from './simulator/faults.ts'
export type { Served, ServedDex, ServedPool, ServedToken, ServedTrade } from './simulator/served.ts'

export type GeckoSimulatorOptions = {
  readonly clock: Clock
  readonly seed?: number
  /** 0, the default: a free one. */
  readonly port?: number
  /** Ids; solana, eth, bsc, polygon_pos and base by default. An id that is not known gets an EVM market of its own. */
  readonly networks?: readonly string[]
  readonly rates?: {
    /** By network; solana 26, others fewer. */
    readonly newPoolsPerMinute?: Readonly<Record<string, number>>
    /** Of Solana's busiest pool, the others in proportion; 40. Above 60, a pool polled every 5 minutes has more trades than the API shows. */
    readonly tradesPerMinute?: number
  }
  /** Requests in any 60 s, faults not counted; 30. */
  readonly limitPerMinute?: number
  /** 60,000, as the public API. 0: no cache. */
  readonly cacheForMs?: number
  /** Before each answer; 0. */
  readonly latencyMs?: number
  /** Share of requests that meet a passing fault (not 403, not hang); 0. */
  readonly faultRate?: number
  /** False: nothing that was served is kept but the request counts. */
  readonly remember?: boolean
}

export type GeckoSimulator = {
  /** Without a slash at its end. */
  readonly baseUrl: string
  /** What was served, to compare with what was stored. */
  readonly served: Served
  /** The next matching request, or the next `count`, fail so. */
  fail(fault: Fault): void
  /** Ends every connection. Idempotent. */
  close(): Promise<void>
}

const basePath = '/api/v2'

/** What one URL gives until its cache time is over. */
type Body = { readonly endpoint: string; readonly status: number; readonly text: string; readonly shown: Shown }

/** Rejects when the port is taken. */
export async function startGeckoSimulator(options: GeckoSimulatorOptions): Promise<GeckoSimulator> {
  const { clock, seed = 1, limitPerMinute = 30, cacheForMs = 60_000, latencyMs = 0 } = options
  const market = createMarket(seed, options.networks ?? knownNetworks.map((network) => network.id), {
    newPoolsPerMinute: options.rates?.newPoolsPerMinute ?? {},
    tradesPerMinute: options.rates?.tradesPerMinute ?? 40,
  })
  const chance = words(`faults:${seed}`)
  const faults = createFaults(options.faultRate ?? 0, () => chance() / 2 ** 32)
  const record = createRecord(options.remember ?? true)
  const cache = new Map<string, Body>()
  const takenAtMs: number[] = []

  function bodyOf(url: URL, nowMs: number): Body {
    for (const [key, { shown }] of cache) if (nowMs - shown.atMs >= cacheForMs) cache.delete(key)
    const key = url.pathname + url.search
    const cached = cache.get(key)
    if (cached) return cached
    // Whole seconds: the Date header can't say more, and it is what tells when a body was made.
    const atMs = Math.floor(nowMs / 1000) * 1000
    const path = url.pathname.startsWith(`${basePath}/`) ? url.pathname.slice(basePath.length) : ''
    const { json, ...answer } = answerTo(market, path, url.searchParams, atMs)
    const body = { ...answer, text: JSON.stringify(json) }
    if (answer.status === 200 && cacheForMs > 0) cache.set(key, body)
    return body
  }

  /** False when 60 s already hold all the requests that they may. */
  function take(nowMs: number): boolean {
    while (takenAtMs[0] !== undefined && takenAtMs[0] <= nowMs - 60_000) takenAtMs.shift()
    if (takenAtMs.length >= limitPerMinute) return false
    takenAtMs.push(nowMs)
    return true
  }

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (latencyMs > 0) await clock.sleep(latencyMs)
    const nowMs = clock.nowMs()
    const url = new URL(request.url ?? '/', 'http://simulator')
    const body = bodyOf(url, nowMs)
    const fault = faults.next(url.pathname + url.search)
    if (fault) return record.count(body.endpoint, answerWithFault(response, fault, body.text))
    if (!take(nowMs)) {
      record.count(body.endpoint, '429')
      // The real one says 0 as well, and refuses the call that believes it.
      response.writeHead(429, { 'content-type': 'application/json; charset=utf-8', 'retry-after': '0' }).end(JSON.stringify(rateLimitJson))
      return
    }
    record.count(body.endpoint, String(body.status))
    response.once('finish', () => record.shown(body.shown))
    response
      .writeHead(body.status, {
        'content-type': 'application/json; charset=utf-8',
        'cache-control': 'max-age=30, public, must-revalidate, s-maxage=60',
        date: new Date(body.shown.atMs).toUTCString(),
        age: String(Math.floor((nowMs - body.shown.atMs) / 1000)),
      })
      .end(body.text)
  }

  const server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error)
      response.writeHead(500, { 'content-type': 'application/json' }).end(JSON.stringify(errorJson(500, `the simulator failed: ${reason}`)))
    })
  })
  const { port, close } = await listen(server, options.port ?? 0)
  return { baseUrl: `http://127.0.0.1:${port}${basePath}`, served: record.served, fail: (fault) => faults.add(fault), close }
}
