// One HTTP request a transaction, over connections that are kept. Node's own client rather than fetch, which does not say whether a connection
// stood when it failed, hides its sockets, and can't be closed.
//
// While a container is frozen no FIN is read and no timer runs. So before a kept connection is used, a turn of the event loop reads what has
// arrived meanwhile, and one that was idle for long by wall time is replaced: neither costs a round trip.

import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import { DatabaseError, type ConnectionCounters } from './database.ts'
import { failureOfAnswer, failureOfRequest, tooLarge, unansweredWithin } from './neon-failure.ts'
import { ownErrno } from './pg-failure.ts'

export type NeonRequests = {
  /** Answers the body of a 200. Throws DatabaseError for everything else. `statements` names what is sent, for errors. */
  post(request: {
    readonly headers: Readonly<Record<string, string>>
    readonly body: string
    readonly statements: string
    readonly withinMs: number
  }): Promise<string>
  connections(): ConnectionCounters
  /** Destroys what is open. */
  destroy(): void
}

/** Neon has moved its own limit from 1 MB to 64 MB; beyond a few MB a batch gains nothing. */
const maxRequestBytes = 8_000_000
/** Above Neon's own limit of 10 MB, after which it answers 507. */
const maxAnswerBytes = 32_000_000

export function openNeonRequests(options: {
  endpoint: URL
  /** Requests at once; others wait, within their time. */
  most: number
  connectForMs: number
  idleForMs: number
  clock: Clock
}): NeonRequests {
  const { endpoint, most, connectForMs, idleForMs, clock } = options
  const isSecure = endpoint.protocol === 'https:'
  const { Agent, request: open } = isSecure ? https : http
  const agent = new Agent({ keepAlive: true, maxSockets: most })
  const usedAtMs = new WeakMap<Socket, number>()
  // nothing of a pool to reset: no connection is bound to a server
  const counters = { connected: 0, discarded: 0, lost: 0, poolResets: 0 }

  async function dropDead(): Promise<void> {
    const idle = () => Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])
    if (idle().length === 0) return
    // the first ends the round that we may be in the middle of, behind the second lies a whole one
    await turn()
    await turn()
    const nowMs = clock.nowMs()
    for (const socket of idle()) {
      if (!socket.readableEnded && socket.writable && nowMs - (usedAtMs.get(socket) ?? 0) <= idleForMs) continue
      counters.discarded++
      socket.destroy()
    }
  }

  function exchange(posted: Parameters<NeonRequests['post']>[0], forMs: number): Promise<string> {
    const { statements, body, withinMs } = posted
    return new Promise((resolve, reject) => {
      let connection: 'awaited' | 'made' | 'stands' = 'awaited'
      const request = open(endpoint, {
        method: 'POST',
        agent,
        headers: { ...posted.headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      })
      let isOver = false
      const settle = (end: () => void) => {
        if (isOver) return
        isOver = true
        clearTimeout(timer)
        clearTimeout(connecting)
        end()
      }
      const fail = (why: DatabaseError) =>
        settle(() => {
          if (connection === 'stands') {
            counters.discarded++
            counters.lost++
          }
          reject(why)
          request.destroy()
        })
      const failed = (error: Error) => fail(failureOfRequest(statements, error, connection === 'stands'))
      const timer = setTimeout(() => {
        if (connection === 'stands') fail(unansweredWithin(statements, withinMs))
        else fail(connection === 'made' ? noConnection(withinMs) : allInUse(most, withinMs))
      }, forMs)
      let connecting: NodeJS.Timeout | undefined
      request.on('socket', (socket) => {
        connection = request.reusedSocket ? 'stands' : 'made'
        if (connection === 'stands') return
        connecting = setTimeout(() => fail(noConnection(connectForMs)), connectForMs)
        socket.once(isSecure ? 'secureConnect' : 'connect', () => {
          connection = 'stands'
          counters.connected++
          clearTimeout(connecting)
        })
      })
      request.on('error', failed)
      request.on('response', (response) => {
        const chunks: Buffer[] = []
        let bytes = 0
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > maxAnswerBytes) fail(tooLarge(statements, 'answer', bytes, maxAnswerBytes))
          else chunks.push(chunk)
        })
        response.on('error', failed) // cut off in the middle
        response.on('end', () => {
          if (request.socket) usedAtMs.set(request.socket, clock.nowMs())
          const [status, text] = [response.statusCode ?? 0, Buffer.concat(chunks).toString()]
          settle(() => (status === 200 ? resolve(text) : reject(failureOfAnswer(statements, { status, text }))))
        })
      })
      request.end(body)
    })
  }

  return {
    async post(posted) {
      const bytes = Buffer.byteLength(posted.body)
      if (bytes > maxRequestBytes) throw tooLarge(posted.statements, 'request', bytes, maxRequestBytes)
      const startedMs = performance.now()
      await dropDead()
      return exchange(posted, Math.max(1, posted.withinMs - (performance.now() - startedMs)))
    },
    connections: () => ({ ...counters }),
    destroy: () => agent.destroy(),
  }
}

const noConnection = (withinMs: number) =>
  new DatabaseError(`connect: no connection to Neon within ${withinMs} ms`, {
    statement: 'connect',
    applied: 'not-sent',
    errno: ownErrno.connectTimeout,
  })

const allInUse = (most: number, withinMs: number) =>
  new DatabaseError(
    `connect: ${most} requests were under way for ${withinMs} ms, which is the most at once; raise database.poolMax or run less at once`,
    { statement: 'connect', applied: 'not-sent', errno: ownErrno.poolExhausted },
  )
