// Serves the status page on this machine, to this machine. Nothing can be changed through it.

import fs from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { toHealthJson } from '../../../shared/health/report-formats.ts'
import type { Log } from '../../../shared/log.ts'
import { fragment, page } from './render.ts'
import type { StatusView } from './status-view.ts'

export type StatusPage = { readonly url: string; close(): Promise<void> }

const asset = (name: string) => fs.readFile(path.join(import.meta.dirname, name), 'utf8')

/** `port` 0: a free one. Throws EADDRINUSE when another process has it. */
export async function serveStatusPage(options: { port: number; view: () => StatusView; log: Log }): Promise<StatusPage> {
  const [css, js] = await Promise.all([asset('page.css'), asset('page.js')])
  const answer = (pathname: string): Answer | undefined => {
    const view = options.view()
    switch (pathname) {
      case '/':
        return { type: 'text/html; charset=utf-8', body: page(view).text }
      case '/fragment':
        return { type: 'text/html; charset=utf-8', body: fragment(view).text }
      case '/page.css':
        return { type: 'text/css; charset=utf-8', body: css }
      case '/page.js':
        return { type: 'text/javascript; charset=utf-8', body: js }
      case '/report.json':
        return view.report
          ? { type: 'application/json', body: JSON.stringify(view.report, null, 2) }
          : { type: 'application/json', status: 503, body: '{"status":"UNKNOWN","message":"The first health check has not ended."}' }
      case '/health':
        return view.report
          ? {
              type: 'application/health+json',
              status: view.report.status === 'CRITICAL' ? 503 : 200,
              body: JSON.stringify(toHealthJson(view.report), null, 2),
            }
          : { type: 'application/health+json', status: 503, body: '{"status":"fail","output":"The first health check has not ended."}' }
      default:
        return undefined
    }
  }

  const respond = (request: http.IncomingMessage, response: http.ServerResponse) => {
    const { host = '' } = request.headers
    // another site's page whose name was made to lead here must not read it
    if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(host)) return void response.writeHead(421).end(`not for ${host}`)
    if (request.method !== 'GET' && request.method !== 'HEAD') return void response.writeHead(405, { allow: 'GET, HEAD' }).end()
    const found = answer(new URL(request.url ?? '/', 'http://localhost').pathname)
    if (!found) return void response.writeHead(404, { 'content-type': 'text/plain' }).end('There is no such page.')
    response.writeHead(found.status ?? 200, {
      'content-type': found.type,
      'cache-control': 'no-store',
      'content-security-policy':
        "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:",
      'x-content-type-options': 'nosniff',
    })
    response.end(request.method === 'HEAD' ? undefined : found.body)
  }
  const server = http.createServer((request, response) => {
    try {
      respond(request, response)
    } catch (error) {
      // a page that can't be drawn must not end the collectors
      options.log.error({ event: 'status-page.failed', url: request.url, error })
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' })
      response.end('The page could not be drawn; the log says why.')
    }
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options.port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

type Answer = { readonly type: string; readonly status?: number; readonly body: string }
