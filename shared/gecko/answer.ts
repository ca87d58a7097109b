// What an HTTP answer of the API means: a JSON body, or which failure. Status and body are judged together, because a 429 also comes as HTTP 200.
//
//   429 anywhere                        rate-limited   wait max(Retry-After, own floor): `Retry-After: 0` has been seen
//   10002 10005 10010 10011, 401        unauthorized   key missing, plan too small, key of the other host
//   403, 1020                           blocked        a firewall refuses this address
//   404, 422                            not-found      422: candles of a pool of more than two tokens
//   408, 5xx (mostly HTML)              unavailable
//   other 4xx                           bad-request    such as 31 addresses
//   redirects, no JSON, other codes     UnexpectedResponseError

import { GeckoApiError, UnexpectedResponseError, type GeckoFailure } from '../errors.ts'

/** `text` is the whole body. */
export type Answer = {
  readonly status: number
  readonly contentType: string | null
  readonly retryAfter: string | null
  readonly text: string
}

export type AnswerContext = {
  /** What was asked, such as "GET /networks/eth/dexes of api.geckoterminal.com". */
  readonly operation: string
  readonly nowMs: number
  /** Least wait after a 429. */
  readonly rateLimitedForMs: number
  /** Never shown, even if the API repeats it. */
  readonly secret: string | undefined
}

/** However long the API says: then one call finds out. A garbled Retry-After must not end collecting. */
const longestWaitMs = 3_600_000

/** The body of a good answer. @throws GeckoApiError, UnexpectedResponseError */
export function readAnswer(answer: Answer, context: AnswerContext): unknown {
  const { status, text } = answer
  const json = parseJson(text)
  const said = json && errorIn(json.value)
  if (status < 200 || status >= 300 || said) {
    const failure = failureOf(status, said?.code)
    const code = said?.code !== undefined && said.code !== status ? ` with code ${said.code}` : ''
    const words = said?.message ? `: "${excerpt(said.message, context.secret)}"` : ''
    const what = `${context.operation} answered ${status}${code}${words}`
    if (failure === undefined) throw new UnexpectedResponseError(`${what}; ${adviceOnUnexpected(status)}`)
    const askedForMs = retryAfterMs(answer.retryAfter, context.nowMs)
    const waitMs = failure === 'rate-limited' ? Math.max(askedForMs ?? 0, context.rateLimitedForMs) : askedForMs
    throw new GeckoApiError(`${what}; ${adviceOn(failure, said?.code, json !== undefined, waitMs)}`, {
      failure,
      status,
      ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }),
    })
  }
  if (!json) {
    const found = text.trim() === '' ? 'an empty body' : `${answer.contentType ?? 'no content type'}, "${excerpt(text, context.secret)}"`
    throw new UnexpectedResponseError(`${context.operation} answered ${status} with something that is not complete JSON: ${found}`)
  }
  return json.value
}

/** Seconds or an HTTP date. Undefined when missing or garbled. */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  if (header === null || header.trim() === '') return undefined
  const ms = /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, Math.ceil(ms)), longestWaitMs)
}

function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    // Not JSON is an ordinary finding here: the caller names it.
    return undefined
  }
}

type SaidError = { code: number | undefined; message: string | undefined }

/** CoinGecko's `status` or `error`, GeckoTerminal's `errors`. A body with `data` is an answer whatever else it has. */
function errorIn(body: unknown): SaidError | undefined {
  if (!isObject(body) || (body['data'] !== undefined && body['data'] !== null)) return undefined
  const { status, errors, error } = body
  if (isObject(status) && 'error_code' in status) return { code: codeOf(status['error_code']), message: textOf(status['error_message']) }
  if (Array.isArray(errors)) {
    const first: unknown = errors[0]
    return isObject(first)
      ? { code: codeOf(first['status']), message: textOf(first['title']) ?? textOf(first['detail']) }
      : { code: undefined, message: textOf(first) }
  }
  if (error === undefined || error === null) return undefined
  return errorIn(error) ?? { code: undefined, message: textOf(error) }
}

function failureOf(status: number, code: number | undefined): GeckoFailure | undefined {
  if (status === 429 || code === 429) return 'rate-limited'
  if (code !== undefined && code >= 10_000 && code < 10_100) return 'unauthorized'
  if (code === 1020) return 'blocked'
  const decisive = status >= 200 && status < 300 ? code : status
  if (decisive === undefined || decisive < 400 || decisive > 599) return undefined
  if (decisive === 401) return 'unauthorized'
  if (decisive === 403) return 'blocked'
  if (decisive === 404 || decisive === 422) return 'not-found'
  if (decisive === 408 || decisive >= 500) return 'unavailable'
  return 'bad-request'
}

function adviceOn(failure: GeckoFailure, code: number | undefined, isJson: boolean, waitMs: number | undefined): string {
  switch (failure) {
    case 'rate-limited':
      return `waiting ${Math.ceil((waitMs ?? 0) / 1000)} s; lower gecko.requestsPerMinute if this repeats`
    case 'blocked':
      return 'this address is refused, as shared cloud addresses often are: set GECKO_API_KEY and gecko.baseUrl to https://api.coingecko.com/api/v3/onchain'
    case 'unauthorized':
      if (code === 10_002) return 'no key was received: set GECKO_API_KEY'
      if (code === 10_005) return "the key's plan does not include this: take a bigger plan or ask for less"
      if (code === 10_010 || code === 10_011) {
        return 'the key belongs to the other host: demo keys go with api.coingecko.com, pro keys with pro-api.coingecko.com (gecko.baseUrl)'
      }
      return 'check GECKO_API_KEY, and that gecko.baseUrl is the host that the key is for'
    case 'not-found':
      return isJson ? 'check the network, DEX, pool or token' : "that is not the API's own answer: check gecko.baseUrl"
    case 'bad-request':
      return 'the request is wrong for this API: asking again gives the same'
    case 'unavailable':
      return 'the API is in trouble: it is asked again later'
    case 'not-sent':
      return 'nothing was sent'
    default:
      return failure satisfies never
  }
}

const adviceOnUnexpected = (status: number) =>
  status >= 300 && status < 400
    ? 'redirects are not followed, a key must not go elsewhere: check gecko.baseUrl'
    : 'that is not what its documentation says'

/** Part of a body for a message: one line, bounded, without the secret. */
export function excerpt(text: string, secret: string | undefined): string {
  const shown = (secret ? text.replaceAll(secret, '***') : text).slice(0, 10_000)
  const line = shown
    .toWellFormed()
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
  return line.length > 160 ? `${line.slice(0, 160).toWellFormed()}…` : line
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const textOf = (value: unknown) => (typeof value === 'string' ? value : undefined)
const codeOf = (value: unknown) => {
  const code = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof code === 'number' && Number.isFinite(code) ? code : undefined
}
