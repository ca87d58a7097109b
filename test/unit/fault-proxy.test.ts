import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'

/** Answers every chunk with the same bytes; notes what it heard. */
async function startEcho() {
  const sockets = new Set<Socket>()
  const heard: string[] = []
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      heard.push(chunk.toString())
      socket.write(chunk)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    heard,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** A connection whose end is a value: what arrived, and how it ended. */
async function dial(port: number) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let received = ''
  socket.on('data', (chunk) => (received += chunk.toString()))
  const ended = new Promise<string>((resolve) => {
    socket.on('end', () => resolve('fin'))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
  const open = await Promise.race([once(socket, 'connect').then(() => true), ended.then(() => false)])
  return {
    open,
    ended,
    socket,
    say: (text: string) => socket.write(text),
    received: () => received,
    /** Resolves when so many bytes have arrived. */
    until: async (length: number) => {
      while (received.length < length) await once(socket, 'data')
      return received
    },
  }
}

describe('the fault proxy', () => {
  let echo: Awaited<ReturnType<typeof startEcho>>
  let proxy: FaultProxy
  const dialled: Socket[] = []
  const open = async () => {
    const connection = await dial(proxy.port)
    dialled.push(connection.socket)
    return connection
  }

  beforeEach(async () => {
    echo = await startEcho()
    proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: echo.port } })
  })
  afterEach(async () => {
    for (const socket of dialled.splice(0)) socket.destroy()
    await proxy.close()
    echo.close()
  })

  it('passes bytes both ways and the end of a connection', async () => {
    const connection = await open()
    connection.say('hello')
    expect(await connection.until(5)).toBe('hello')
    connection.socket.end()
    expect(await connection.ended).toBe('fin')
  })

  it('rewrites host and port of a URL and nothing else', () => {
    expect(proxy.url('postgres://u:p%40@db.example:6543/name?x=1')).toBe(`postgres://u:p%40@127.0.0.1:${proxy.port}/name?x=1`)
  })

  it('refuses connections while it is in refuse, resets what was connected, and listens on the same port afterwards', async () => {
    const before = await open()
    before.say('a')
    await before.until(1)
    await proxy.mode({ kind: 'refuse' })
    expect(await before.ended).toBe('ECONNRESET')
    expect(await (await open()).ended).toBe('ECONNREFUSED')
    await proxy.mode({ kind: 'pass' })
    const after = await open()
    after.say('b')
    expect(await after.until(1)).toBe('b')
  })

  it('accepts and then closes without a byte', async () => {
    await proxy.mode({ kind: 'accept-then-close' })
    const connection = await open()
    expect(await connection.ended).toBe('fin')
    expect(connection.received()).toBe('')
    expect(echo.heard).toEqual([])
  })

  it.each([
    ['reset', 'ECONNRESET'],
    ['fin', 'fin'],
  ] as const)('%s ends an old connection with %s', async (kind, how) => {
    const connection = await open()
    connection.say('a')
    await connection.until(1)
    await proxy.mode({ kind })
    expect(await connection.ended).toBe(how)
  })

  it('swallows everything in a black hole, and what was connected stays dead afterwards while new connections work', async () => {
    const old = await open()
    old.say('a')
    await old.until(1)
    await proxy.mode({ kind: 'blackhole' })
    const during = await open()
    expect(during.open).toBe(true)
    old.say('lost')
    during.say('lost')
    await proxy.mode({ kind: 'pass' })
    const fresh = await open()
    old.say('lost')
    fresh.say('b')
    expect(await fresh.until(1)).toBe('b')
    expect(echo.heard).toEqual(['a', 'b'])
    expect([old.received(), during.received()]).toEqual(['a', ''])
  })

  it('delays each way: a round trip takes at least twice as long', async () => {
    await proxy.mode({ kind: 'delay', oneWayMs: 40 })
    const connection = await open()
    const startedMs = performance.now()
    connection.say('hello')
    await connection.until(5)
    // timers count whole milliseconds
    expect(performance.now() - startedMs).toBeGreaterThan(76)
  })

  it('trickles in pieces that arrive in order', async () => {
    await proxy.mode({ kind: 'trickle', bytes: 2, everyMs: 2 })
    const connection = await open()
    connection.say('abcdefgh')
    expect(await connection.until(8)).toBe('abcdefgh')
    expect(echo.heard.length).toBeGreaterThan(1)
  })

  it.each(['fin', 'rst'] as const)('cuts after exactly k bytes to the server, once (%s)', async (how) => {
    const connection = await open()
    connection.say('abc')
    await connection.until(3)
    await proxy.mode({ kind: 'cut', direction: 'to-server', afterBytes: 2, how })
    connection.say('defgh')
    expect(await connection.ended).toBe(how === 'fin' ? 'fin' : 'ECONNRESET')
    const next = await open()
    next.say('abcdefgh')
    expect(await next.until(8)).toBe('abcdefgh')
    expect(proxy.cuts).toBe(1)
    // a RST may take bytes along that the other side has not read yet
    expect(echo.heard.slice(0, -1).join('')).toMatch(how === 'fin' ? /^abcde$/ : /^abc(?:de)?$/)
  })

  it('cuts after exactly k bytes to the client', async () => {
    const connection = await open()
    await proxy.mode({ kind: 'cut', direction: 'to-client', afterBytes: 2, how: 'fin' })
    connection.say('abcd')
    expect(await connection.ended).toBe('fin')
    expect(connection.received()).toBe('ab')
    expect(echo.heard).toEqual(['abcd'])
  })

  it('drops the answer that contains the word, also across two chunks, after the server has done the work', async () => {
    const connection = await open()
    await proxy.mode({ kind: 'drop-answer', containing: 'COMMIT', how: 'fin' })
    connection.say('x COM')
    expect(await connection.until(5)).toBe('x COM')
    connection.say('MIT y')
    expect(await connection.ended).toBe('fin')
    expect(connection.received()).toBe('x COM')
    expect(echo.heard).toEqual(['x COM', 'MIT y'])
  })

  it('holds bytes at a word or a count until the next mode, which is what they meet', async () => {
    const connection = await open()
    await proxy.mode({ kind: 'hold', direction: 'to-client', at: 'COMMIT' })
    connection.say('ab COMMIT cd')
    expect(await connection.until(3)).toBe('ab ')
    await vi.waitUntil(() => proxy.held === 1, { timeout: 5_000 })
    expect(echo.heard).toEqual(['ab COMMIT cd'])
    await proxy.mode({ kind: 'pass' })
    expect(await connection.until(12)).toBe('ab COMMIT cd')
    expect(proxy.held).toBe(0)

    await proxy.mode({ kind: 'hold', direction: 'to-server', at: 2 })
    connection.say('efgh')
    await vi.waitUntil(() => proxy.held === 1 && echo.heard.at(-1) === 'ef', { timeout: 5_000 })
    await proxy.mode({ kind: 'blackhole' })
    await proxy.mode({ kind: 'pass' })
    await vi.waitUntil(() => proxy.held === 0, { timeout: 5_000 })
    expect(echo.heard.slice(1)).toEqual(['ef'])
  })

  it('counts what is open and what was accepted', async () => {
    const first = await open()
    first.say('a')
    await first.until(1)
    expect([proxy.connections, proxy.accepted]).toEqual([1, 1])
    first.socket.end()
    await first.ended
    const second = await open()
    second.say('a')
    await second.until(1)
    expect([proxy.connections, proxy.accepted]).toEqual([1, 2])
  })

  it('resets a connection when the target does not listen', async () => {
    echo.close()
    const connection = await open()
    expect(await connection.ended).toBe('ECONNRESET')
  })
})
