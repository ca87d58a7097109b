// The HTTP client of GeckoTerminal's API, public or on CoinGecko's hosts: same paths and shapes, another base URL and key header.
// One call: gate (breaker, budget) -> request under one timeout from connecting to the last byte -> answer.ts says what it means -> gate learns the outcome.
// Only 'unavailable' is tried again, here and nowhere above: retries at two layers multiply.

import type { Clock, Random } from '../clock.ts'
import { ConfigError, DeadlineExceededError, GeckoApiError, UnexpectedResponseError } from '../errors.ts'
import type { Log } from '../log.ts'
import { backoffMs } from '../resilience/backoff.ts'
import { excerpt, readAnswer, type Answer } from './answer.ts'
import type { CallBounds, CallOutcome, GeckoGate } from './rate-limit.ts'

export type GeckoPage = {
  readonly body: unknown
  /** When the API answered: the rows' time of observation. */
  readonly observedAtMs: number
}

export type GetOptions = CallBounds & {
  /** Once for each request that is sent, retries included. */
  readonly onCall?: (() => void) | undefined
}

export type GeckoClient = {
  /**
   * The JSON body under `path`, such as "/networks/eth/dexes". `data` in it is not checked here: parse does.
   * @throws GeckoApiError, UnexpectedResponseError, or the signal's reason
   */
  get(path: string, query?: Readonly<Record<string, string | number>>, options?: GetOptions): Promise<GeckoPage>
}

export type GeckoClientOptions = {
  /** Without a trailing path of an endpoint, such as "https://api.geckoterminal.com/api/v2". */
  readonly baseUrl: string
  readonly apiKey?: string | undefined
  /** One request, from connecting to the last byte. */
  readonly timeoutMs: number
  /** Least wait after a 429. */
  readonly rateLimitedForMs: number
  /** `response-date`: the answer's Date header says when it was observed, for replays of recorded answers. Default: the clock. */
  readonly observedAt?: 'clock' | 'response-date'
  readonly gate: GeckoGate
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** The last version that GeckoTerminal published. */
const accept = 'application/json;version=20230302'
/** The largest recorded answer has 0.3 MB. */
const maxBodyBytes = 10_000_000
const attempts = 3
const backoff = { baseMs: 500, capMs: 5_000 }

/** @throws ConfigError when the base URL or the key can't be used; it holds neither's value */
export function createGeckoClient(options: GeckoClientOptions): GeckoClient {
  const { apiKey, timeoutMs, gate, clock, random } = options
  const base = checkedBase(options.baseUrl, apiKey)
  const host = base.host
  const header = apiKey === undefined ? undefined : keyHeader(base)
  if (apiKey !== undefined && header === undefined) {
    options.log.warn({
      event: 'gecko.key_unused',
      host,
      meaning: 'the key is sent over https to api.coingecko.com or pro-api.coingecko.com only',
    })
  }
  const headers = { accept, ...(apiKey !== undefined && header !== undefined ? { [header]: apiKey } : {}) }

  async function call(url: URL, operation: string, { deadlineAtMs = Infinity, signal, onCall }: GetOptions): Promise<GeckoPage> {
    const pass = await gate.admit(operation, { deadlineAtMs, signal })
    let outcome: CallOutcome = { kind: 'inconclusive' }
    try {
      const leftMs = deadlineAtMs - clock.nowMs()
      if (leftMs <= 0) throw new DeadlineExceededError(`${operation} was not sent: the deadline has passed`)
      onCall?.()
      const { answer, date } = await exchange(
        url,
        operation,
        headers,
        { forMs: Math.min(timeoutMs, leftMs), wantedMs: timeoutMs, signal },
        apiKey,
      )
      const nowMs = clock.nowMs()
      const body = readAnswer(answer, { operation, nowMs, rateLimitedForMs: options.rateLimitedForMs, secret: apiKey })
      outcome = { kind: 'answered' }
      return { body, observedAtMs: options.observedAt === 'response-date' ? dateOf(date, operation) : nowMs }
    } catch (error) {
      if (error instanceof GeckoApiError) outcome = outcomeOf(error)
      throw error
    } finally {
      await gate.record(pass, outcome)
    }
  }

  return {
    async get(path, query = {}, bounds = {}) {
      const url = urlOf(base, path, query)
      const operation = `GET ${path}${url.search} of ${host}`
      let unavailable: GeckoApiError | undefined
      for (let attempt = 1; ; attempt++) {
        try {
          return await call(url, operation, bounds)
        } catch (error) {
          if (!(error instanceof GeckoApiError)) throw error
          // A breaker that opened between two attempts is a consequence: the cause is worth more.
          if (error.failure === 'not-sent') throw unavailable ?? error
          if (error.failure !== 'unavailable' || attempt === attempts) throw error
          unavailable = error
          const waitMs = Math.max(backoffMs(attempt, backoff, random), error.retryAfterMs ?? 0)
          if (waitMs > backoff.capMs || clock.nowMs() + waitMs >= (bounds.deadlineAtMs ?? Infinity)) throw error
          await clock.sleep(waitMs, bounds.signal)
          bounds.signal?.throwIfAborted()
        }
      }
    },
  }
}

/** By host. Undefined elsewhere and without TLS: a key goes to nobody but the two hosts that issue keys. */
export function keyHeader(base: URL): 'x-cg-demo-api-key' | 'x-cg-pro-api-key' | undefined {
  if (base.protocol !== 'https:') return undefined
  if (base.hostname === 'api.coingecko.com') return 'x-cg-demo-api-key'
  if (base.hostname === 'pro-api.coingecko.com') return 'x-cg-pro-api-key'
  return undefined
}

/** fetch would show a URL with a password, and a key with a line break, in its own errors: both are refused before. */
function checkedBase(baseUrl: string, apiKey: string | undefined): URL {
  const problems: string[] = []
  const base = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (!base || !['http:', 'https:'].includes(base.protocol)) problems.push('gecko.baseUrl is not an http or https URL')
  else if (base.username || base.password || base.search || base.hash) {
    problems.push('gecko.baseUrl must have no user, password, query or fragment; a key goes into GECKO_API_KEY')
  }
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    problems.push('GECKO_API_KEY is empty or has characters that no key has, such as a line break at its end')
  }
  if (!base || problems.length > 0) throw new ConfigError(problems)
  return base
}

/** `?` and `#` in an address stay part of the path. */
function urlOf(base: URL, path: string, query: Readonly<Record<string, string | number>>): URL {
  const url = new URL(base)
  url.pathname = base.pathname.replace(/\/+$/, '') + encodeURI(path.toWellFormed()).replaceAll('?', '%3F').replaceAll('#', '%23')
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value))
  return url
}

type Time = { readonly forMs: number; readonly wantedMs: number; readonly signal: AbortSignal | undefined }

/** One request and its whole body under one timer. */
async function exchange(
  url: URL,
  operation: string,
  headers: Record<string, string>,
  { forMs, wantedMs, signal }: Time,
  secret: string | undefined,
): Promise<{ answer: Answer; date: string | null }> {
  const controller = new AbortController()
  const abort = () => controller.abort()
  let isTimedOut = false
  const timer = setTimeout(() => {
    isTimedOut = true
    abort()
  }, forMs)
  signal?.addEventListener('abort', abort, { once: true })
  if (signal?.aborted) abort()
  try {
    const response = await fetch(url, { headers, redirect: 'manual', signal: controller.signal })
    const answer = {
      status: response.status,
      contentType: response.headers.get('content-type'),
      retryAfter: response.headers.get('retry-after'),
      text: await boundedText(response, operation),
    }
    return { answer, date: response.headers.get('date') }
  } catch (error) {
    if (error instanceof UnexpectedResponseError) throw error
    signal?.throwIfAborted()
    // Our own haste says nothing about the API: it does not count against it.
    if (isTimedOut && forMs < wantedMs) {
      throw new DeadlineExceededError(`${operation}: no complete answer within ${forMs} ms, all that the deadline left`, { cause: error })
    }
    if (isTimedOut) throw unavailable(`${operation}: no complete answer within ${forMs} ms (gecko.timeoutMs)`, error)
    throw unavailable(`${operation} failed: ${excerpt(networkReason(error), secret)}`, error)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}

async function boundedText(response: Response, operation: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Leaving the loop early closes the connection.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBodyBytes)
      throw new UnexpectedResponseError(`${operation} answered ${response.status} with more than ${maxBodyBytes} bytes`)
    chunks.push(chunk)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
}

/** fetch says "fetch failed" or "terminated"; what happened is in the cause. */
function networkReason(error: unknown): string {
  const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(reason instanceof Error)) return String(reason)
  const code = 'code' in reason && typeof reason.code === 'string' && !reason.message.includes(reason.code) ? ` (${reason.code})` : ''
  return `${reason.message || 'no connection'}${code}`
}

const unavailable = (message: string, cause: unknown) => new GeckoApiError(message, { failure: 'unavailable', cause })

function outcomeOf({ failure, retryAfterMs }: GeckoApiError): CallOutcome {
  if (failure === 'unavailable') return { kind: 'unavailable' }
  return failure === 'rate-limited' ? { kind: 'rate-limited', retryAfterMs: retryAfterMs ?? 0 } : { kind: 'answered' }
}

function dateOf(header: string | null, operation: string): number {
  const atMs = header === null ? Number.NaN : Date.parse(header)
  if (Number.isNaN(atMs))
    throw new UnexpectedResponseError(`${operation} answered without a readable Date header: a replay takes its time from it`)
  return atMs
}
