// A TCP proxy on the loopback that does to a connection what networks and dying servers do. For the tests, the demo and the benchmarks.
//
//   pass        bytes go through
//   refuse      a server that is down: nobody listens (ECONNREFUSED), what was connected is reset. Leaving it listens on the same port again
//   accept-then-close   new connections get a FIN at once
//   reset, fin  connections get a RST or a FIN, old and new ones
//   blackhole   bytes vanish. A connection that was in it stays dead in silence for ever: its bytes are lost, so it could never go on
//   delay       every byte arrives so much later, each way
//   trickle     bytes arrive a few at a time
//   cut         after so many more bytes in one direction: FIN, RST, or silence. Once, then pass
//   drop-answer the server does its work; the answer that contains a word (COMMIT) never arrives. Once, then pass
//   hold        a connection's bytes in one direction wait at a point, until the next mode: what they meet then is that mode's
//
// A mode holds for old and new connections from the moment it is set; counted bytes count from there, for each connection.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type CutHow = 'fin' | 'rst' | 'silence'
export type Direction = 'to-server' | 'to-client'

export type FaultMode =
  | { readonly kind: 'pass' }
  | { readonly kind: 'refuse' }
  | { readonly kind: 'accept-then-close' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'fin' }
  | { readonly kind: 'blackhole' }
  | { readonly kind: 'delay'; readonly oneWayMs: number }
  | { readonly kind: 'trickle'; readonly bytes: number; readonly everyMs: number }
  | { readonly kind: 'cut'; readonly direction: Direction; readonly afterBytes: number; readonly how: CutHow }
  | { readonly kind: 'drop-answer'; readonly containing: string; readonly how: CutHow }
  /** `at`: so many bytes, or a word that comes in one piece. */
  | { readonly kind: 'hold'; readonly direction: Direction; readonly at: number | string }

export type FaultProxy = {
  readonly port: number
  /** The same URL through the proxy. */
  url(originalUrl: string): string
  /** Resolves when it is in force: from then on a connect is refused, or accepted. */
  mode(mode: FaultMode): Promise<void>
  /** Open at this moment. */
  readonly connections: number
  /** Accepted since the start. */
  readonly accepted: number
  /** Faults of the kinds cut and drop-answer that have happened. */
  readonly cuts: number
  /** Connections whose bytes wait at this moment: the mode is hold, and they have reached its point. */
  readonly held: number
  /** Idempotent. */
  close(): Promise<void>
}

/** One proxied connection. `dead`: it swallows what comes. */
type Pair = { readonly client: Socket; readonly server: Socket; dead: boolean; forwarded: Record<Direction, number>; tail: string }

export async function startFaultProxy(options: { target: { host: string; port: number }; port?: number }): Promise<FaultProxy> {
  const pairs = new Set<Pair>()
  let current: FaultMode = { kind: 'pass' }
  let accepted = 0
  let cuts = 0
  let held = 0
  let next = Promise.withResolvers<void>()

  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    accepted++
    if (current.kind === 'accept-then-close') return void client.on('error', ignore).end()
    const server = connect({ ...options.target, allowHalfOpen: true, noDelay: true })
    const pair: Pair = { client, server, dead: current.kind === 'blackhole', forwarded: { 'to-server': 0, 'to-client': 0 }, tail: '' }
    pairs.add(pair)
    relay(pair, 'to-server')
    relay(pair, 'to-client')
    strike(pair)
  })

  function relay(pair: Pair, direction: Direction): void {
    const [from, to] = direction === 'to-server' ? [pair.client, pair.server] : [pair.server, pair.client]
    // steps are queued so that trickle and delay keep the order, and an end never overtakes the bytes before it
    let queue: Promise<void> = Promise.resolve()
    const inOrder = (step: () => Promise<void> | void) => {
      const notBeforeMs = current.kind === 'delay' ? performance.now() + current.oneWayMs : 0
      queue = queue.then(() => pause(notBeforeMs - performance.now())).then(step)
    }
    from.on('data', (chunk: Buffer) => inOrder(() => forward(pair, direction, to, chunk)))
    from.on('end', () => inOrder(() => void (pair.dead || to.end())))
    from.on('error', () => inOrder(() => void (pair.dead || to.resetAndDestroy())))
    from.on('close', () => {
      if (pair.client.closed && pair.server.closed) pairs.delete(pair)
      else if (!pair.dead) inOrder(() => void to.end())
    })
  }

  async function forward(pair: Pair, direction: Direction, to: Socket, chunk: Buffer): Promise<void> {
    if (pair.dead) return
    if (current.kind === 'trickle') {
      const { bytes, everyMs } = current
      for (let at = 0; at < chunk.length && !pair.dead; at += bytes) {
        to.write(chunk.subarray(at, at + bytes))
        await pause(everyMs)
      }
      return
    }
    if (current.kind === 'cut' && current.direction === direction) {
      const left = current.afterBytes - pair.forwarded[direction]
      if (chunk.length > left) {
        if (left > 0) to.write(chunk.subarray(0, left))
        return cut(pair, current.how)
      }
      pair.forwarded[direction] += chunk.length
    }
    if (current.kind === 'hold' && current.direction === direction) {
      const { at } = current
      const left = typeof at === 'number' ? at - pair.forwarded[direction] : chunk.toString('latin1').indexOf(at)
      if (left >= 0 && left < chunk.length) {
        if (left > 0) to.write(chunk.subarray(0, left))
        held++
        await next.promise
        held--
        return forward(pair, direction, to, chunk.subarray(left))
      }
      pair.forwarded[direction] += chunk.length
    }
    if (current.kind === 'drop-answer' && direction === 'to-client') {
      // the word may straddle two chunks
      const seen = pair.tail + chunk.toString('latin1')
      if (seen.includes(current.containing)) return cut(pair, current.how)
      pair.tail = seen.slice(1 - current.containing.length)
    }
    if (!to.write(chunk) && !to.destroyed) await Promise.race([once(to, 'drain'), once(to, 'close')]).catch(ignore)
  }

  function cut(pair: Pair, how: CutHow): void {
    cuts++
    current = { kind: 'pass' }
    end(pair, how)
  }

  /** What the mode does to a connection as such, whether bytes flow or not. */
  function strike(pair: Pair): void {
    if (current.kind === 'blackhole') pair.dead = true
    if (current.kind === 'reset' || current.kind === 'refuse') end(pair, 'rst')
    if (current.kind === 'fin') end(pair, 'fin')
  }

  async function listen(port: number): Promise<number> {
    listener.listen({ port, host: '127.0.0.1', exclusive: true })
    await once(listener, 'listening')
    return (listener.address() as AddressInfo).port
  }

  /** Only the listening socket: connections live on, server.close() does not end them. */
  const stopListening = () => {
    if (listener.listening) listener.close()
  }

  const port = await listen(options.port ?? 0)
  return {
    port,
    url: (originalUrl) => urlAtPort(originalUrl, port),
    async mode(mode) {
      current = mode
      const before = next
      next = Promise.withResolvers()
      for (const pair of pairs) {
        pair.forwarded = { 'to-server': 0, 'to-client': 0 }
        pair.tail = ''
        strike(pair)
      }
      before.resolve()
      if (mode.kind === 'refuse') stopListening()
      else if (!listener.listening) await listen(port)
    },
    get connections() {
      return [...pairs].filter((pair) => !pair.client.destroyed).length
    },
    get accepted() {
      return accepted
    },
    get cuts() {
      return cuts
    },
    get held() {
      return held
    },
    async close() {
      stopListening()
      next.resolve()
      for (const pair of pairs) {
        pair.client.destroy()
        pair.server.destroy()
      }
    },
  }
}

/** Both ends, as if each saw the other go. In silence neither sees anything. */
function end(pair: Pair, how: CutHow): void {
  pair.dead = true
  if (how === 'silence') return
  for (const socket of [pair.client, pair.server]) {
    if (how === 'rst') socket.resetAndDestroy()
    else socket.destroySoon()
  }
}

/** A timer takes a millisecond at least: chunks that follow each other closely would each add one to the delay. */
const pause = (forMs: number) => (forMs > 0.5 ? new Promise<void>((resolve) => setTimeout(resolve, forMs)) : Promise.resolve())

/** The other end went away: the proxy's reaction is in its 'close'. */
function ignore(): void {}

/** The same database, behind what listens at this port of the loopback. */
export function urlAtPort(originalUrl: string, port: number): string {
  const url = new URL(originalUrl)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return url.href
}
