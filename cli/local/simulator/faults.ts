// The ways in which the API, or what stands before it, has been seen to fail.

import type { ServerResponse } from 'node:http'
import { errorJson } from './routes.ts'

/** Those that a background rate draws from. */
const passing = [
  '429',
  /** Status 200, and the refusal in the body: `{"status":{"error_code":429,…}}`. */
  '429-as-200',
  /** Status 200 with `errors` and without `data`. */
  '429-as-200-errors',
  /** An error page of the firewall, in HTML. */
  '503-html',
  '500',
  /** The connection is reset before an answer. */
  'reset',
  /** Status 200, JSON by its header, not by its body. */
  'garbage',
  /** Status 200 and not one byte. */
  'empty',
  /** The connection ends in the middle of the body. */
  'truncated',
  /** A JSON object without `data`. */
  'no-data',
] as const
export type FaultKind =
  | (typeof passing)[number]
  /** The firewall refuses this address. */
  | '403'
  /** No answer, for as long as the client waits. */
  | 'hang'

export type Fault = {
  readonly kind: FaultKind
  /** So many requests fail; 1 by default. */
  readonly count?: number
  /** Only requests whose path and query contain this. */
  readonly pathIncludes?: string
  /** The Retry-After header of a 429 or 503. */
  readonly retryAfter?: string
}

/** Faults that were asked for, first come first served, and a background rate of passing ones. */
export function createFaults(rate: number, random: () => number) {
  const queued: { fault: Fault; left: number }[] = []
  return {
    add(fault: Fault) {
      queued.push({ fault, left: fault.count ?? 1 })
    },
    /** The fault that this request meets, if any. */
    next(url: string): Fault | undefined {
      const at = queued.findIndex(({ fault }) => url.includes(fault.pathIncludes ?? ''))
      const entry = queued[at]
      if (entry) {
        entry.left -= 1
        if (entry.left <= 0) queued.splice(at, 1)
        return entry.fault
      }
      return rate > 0 && random() < rate ? { kind: passing[Math.floor(random() * passing.length)]! } : undefined
    },
  }
}

export const rateLimitJson = { status: { error_code: 429, error_message: "You've exceeded the Rate Limit." } }
const json = { 'content-type': 'application/json; charset=utf-8' }
const html = { 'content-type': 'text/html; charset=UTF-8', server: 'cloudflare' }

/** Answers as the fault does; `body` is what the request would have got. Returns the status for the count, or the kind where there is none. */
export function answerWithFault(response: ServerResponse, fault: Fault, body: string): string {
  const retryAfter = fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter }
  const send = (status: number, headers: Record<string, string>, text: string) => {
    response.writeHead(status, { ...headers, ...retryAfter }).end(text)
    return String(status)
  }
  switch (fault.kind) {
    case '429':
      return send(429, json, JSON.stringify(rateLimitJson))
    case '429-as-200':
      return send(200, json, JSON.stringify(rateLimitJson))
    case '429-as-200-errors':
      return send(200, json, JSON.stringify(errorJson(429, 'Rate Limited')))
    case '403':
      return send(
        403,
        html,
        '<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>error code: 1020</body></html>',
      )
    case '503-html':
      return send(
        503,
        html,
        '<html><head><title>503 Service Temporarily Unavailable</title></head><body><center>cloudflare</center></body></html>',
      )
    case '500':
      return send(500, json, JSON.stringify(errorJson(500, 'Internal Server Error')))
    case 'garbage':
      return send(200, json, '{"data":[{"id":"solana_\u0007, <oops')
    case 'empty':
      return send(200, json, '')
    case 'no-data':
      return send(200, json, '{"meta":{}}')
    case 'truncated':
      response.writeHead(200, { ...json, 'content-length': String(Buffer.byteLength(body)) })
      response.write(body.slice(0, Math.floor(body.length / 2)), () => response.destroy())
      return fault.kind
    case 'reset':
      response.socket?.resetAndDestroy()
      return fault.kind
    case 'hang':
      return fault.kind
    default:
      return fault.kind satisfies never
  }
}
