// What the driver, the transport and a server that words its failures as Neon's proxy does really give, and what becomes of it.

import { fork } from 'node:child_process'
import http from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { neonConfig } from '@neondatabase/serverless'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { startNeonServer, type NeonServer } from '../../cli/local/neon-server.ts'
import { systemClock } from '../../shared/clock.ts'
import type { DatabaseError } from '../../shared/db/database.ts'
import { createNeonDatabase, type NeonDatabaseOptions } from '../../shared/db/neon-database.ts'
import { openNeonRequests } from '../../shared/db/neon-requests.ts'
import { createRotatingDatabase } from '../../shared/db/rotating-database.ts'
import { openDatabase } from '../../shared/db/open-database.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'
import { silentLog } from '../../shared/log.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { createCertificate } from '../support/certificate.ts'
import { answerOf, lookAt, openHealth, vitalsOf } from '../support/health-look.ts'
import { createSchema, databaseUrl, postgresAddress, type TestSchema } from '../support/postgres.ts'
import { freePort, limits, openDatabase as openPg, rejection, statement, untilRunning } from '../support/provoke.ts'

let schema: TestSchema
let server: NeonServer
let proxy: FaultProxy

beforeAll(async () => {
  server = await startNeonServer({ target: postgresAddress() })
})
afterAll(() => server.close())
beforeEach(async () => {
  schema = await createSchema('neon')
  await schema.sql('create table items (id int primary key)')
  proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: server.port } })
})
afterEach(async () => {
  server.answerWith(undefined)
  await proxy.close()
  await schema.drop()
})

const one = statement('select 1 as one')
const insert = (id: number) => statement('insert into items (id) values ($1::int)', [id])
const ids = async () => (await schema.sql<{ id: number }>('select id from items order by id')).map((row) => row.id)

function open(options: Partial<NeonDatabaseOptions> = {}) {
  const database = createNeonDatabase({
    url: proxy.url(databaseUrl()),
    schema: schema.name,
    poolMax: 1,
    connectForMs: 3_000,
    idleForMs: 15_000,
    clock: systemClock,
    ...options,
  })
  onTestFinished(() => database.end())
  return database
}

const failureOf = (promise: Promise<unknown>) => rejection(promise) as Promise<DatabaseError>
const judged = (error: DatabaseError) => [classifyFailure(error).class, error.applied]

/** A server that answers each request and closes its connection 50 ms later. */
const hangsUp = `
  const empty = { fields: [], rows: [] }
  require('node:http').createServer((request, response) => {
    request.resume().on('end', () => {
      response.end(JSON.stringify({ results: [empty, empty] }))
      setTimeout(() => request.socket.end(), 50)
    })
  }).listen(0, '127.0.0.1', function () { process.send(this.address().port) })`

/** Answers every request with these bytes. */
async function rawServer(serve: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const listener = net.createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    serve(socket)
  })
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  return `postgres://tokay:secret@127.0.0.1:${(listener.address() as AddressInfo).port}/postgres`
}

describe('a transaction over HTTPS', () => {
  it('is one request, and one round trip on a connection that is kept', async () => {
    const database = open()
    await database.query(one, limits)
    const before = server.requests
    await proxy.mode({ kind: 'delay', oneWayMs: 100 })
    const startedMs = performance.now()
    await database.transaction([insert(1), insert(2), insert(3)], limits)
    const tookMs = performance.now() - startedMs
    expect(server.requests - before).toBe(1)
    expect(proxy.accepted).toBe(1)
    // one round trip takes 200 ms, two would take 400
    expect(tookMs).toBeGreaterThan(195)
    expect(tookMs).toBeLessThan(395)
    expect(await ids()).toEqual([1, 2, 3])
  })

  it('gives every type as pg does', async () => {
    const values = [
      '32767::int2', '2147483647::int4', '9007199254740993::int8', `'NaN'::float8`, '0.1::float4', '1e-18::numeric', `'Infinity'::numeric`,
      'true', `'{"a":[1,null,"x"]}'::json`, `'{"b":1}'::jsonb`, `'2026-01-02'::date`, `'2026-01-02 03:04:05.123456'::timestamp`,
      `'2026-01-02 03:04:05.123456+00'::timestamptz`, `'1 day 02:03:04'::interval`, `'\\xdeadbeef'::bytea`,
      `'8f14e45f-ceea-467f-9a36-dedd4bea2543'::uuid`, `array['a','b "c"','',null,'NULL','{x}','🦎',E'back\\\\slash']`, 'array[1,2,null]',
      'array[0.10,1e-18]::numeric[]', 'array[9007199254740993]::int8[]', `array['2026-01-02 03:04:05+00'::timestamptz]`,
      'array[[1,2],[3,4]]', 'null::int8', `'127.0.0.1'::inet`, '$1::text', '$2::text[]', '$3::bool', '$4::float8', '$5::text',
    ] // prettier-ignore
    const text = `select ${values.map((value, i) => `${value} as v${i}`).join(', ')}`
    const params = ['it\'s "quoted" \\ {,}\n 漢字 🦎', ['', 'null', null, 'a,b', '{}', '"', '\\'], true, 1e-7, null]
    const [overNeon] = await open().query(statement(text, params), limits)
    expect(overNeon).toEqual((await openPg(schema.name).query(statement(text, params), limits))[0])
    expect(overNeon).toMatchObject({ v2: '9007199254740993', v5: '0.000000000000000001', v28: null })
  })

  it('leaves the settings of the driver, which are global, as they are, and two databases ask each its own server', async () => {
    const other = await startNeonServer({ target: postgresAddress() })
    onTestFinished(() => other.close())
    const elsewhere = () => {}
    neonConfig.fetchFunction = elsewhere
    onTestFinished(() => void (neonConfig.fetchFunction = undefined))
    const [a, b] = [open(), open({ url: other.url(databaseUrl()) })]
    const before = server.requests
    await Promise.all([a, b, a, b].map((database) => database.query(one, limits)))
    expect([server.requests - before, other.requests]).toEqual([2, 2])
    expect(neonConfig.fetchFunction).toBe(elsewhere)
  })

  it('waits for a free connection no longer than its own time, and says that it was ours', async () => {
    const database = open({ poolMax: 1 })
    const sleeping = database.query(statement('select pg_sleep(1)'), limits)
    const error = await failureOf(database.query(one, { ...limits, attemptForMs: 300 }))
    expect([...judged(error), error.errno]).toEqual(['own-limit', 'not-sent', 'POOL_EXHAUSTED'])
    await sleeping
  })

  it('of more than 8 MB is not sent, and an answer that Neon finds too large is refused', async () => {
    const database = open()
    const before = server.requests
    const error = await failureOf(database.query(statement('select $1::text', ['x'.repeat(8_000_000)]), limits))
    expect(judged(error)).toEqual(['too-large', 'not-sent'])
    expect(server.requests).toBe(before)
    const large = await failureOf(database.transaction([insert(1), statement(`select repeat('x', 11000000)`)], limits))
    expect([...judged(large), large.httpStatus]).toEqual(['too-large', 'refused', 507])
    expect(await ids()).toEqual([])
  })

  it('that was given up is ended by the server, too', async () => {
    const database = open()
    const words = `pg_sleep(7.${Date.now() % 1_000_000})`
    const given = failureOf(database.transaction([insert(1), statement(`select ${words}`)], { ...limits, attemptForMs: 600 }))
    await untilRunning(schema, words)
    expect([...judged(await given), (await given).errno]).toEqual(['unanswered', 'unknown', 'ATTEMPT_TIMEOUT'])
    const running = `select 1 from pg_stat_activity where pid <> pg_backend_pid() and state = 'active' and query like $1`
    await vi.waitUntil(async () => (await schema.sql(running, [`%${words}%`])).length === 0, { timeout: 3_000, interval: 20 })
    expect(await ids()).toEqual([])
  })
})

describe('a connection that is kept', () => {
  it('is not used again when it was closed while this process was frozen', async () => {
    // in a process of its own: it hangs up while this one stands still
    const child = fork('-e', [hangsUp], { execArgv: [], stdio: 'ignore', execPath: process.execPath })
    onTestFinished(() => void child.kill())
    const [port] = (await once(child, 'message')) as [number]
    const database = open({ url: `postgres://tokay:secret@127.0.0.1:${port}/postgres` })
    await database.query(one, limits)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
    await database.query(one, limits)
    expect(database.connections?.()).toMatchObject({ connected: 2, lost: 0 })
  })

  it('is replaced when it was idle for longer than idleForMs by wall time', async () => {
    const clock = createFakeClock()
    const database = open({ clock })
    await database.query(one, limits)
    clock.advance(14_000)
    await database.query(one, limits)
    expect(proxy.accepted).toBe(1)
    clock.advance(15_001)
    await database.query(one, limits)
    expect(proxy.accepted).toBe(2)
    expect(database.connections?.()).toEqual({ connected: 2, discarded: 1, lost: 0, poolResets: 0 })
  })

  it('ends with the database, and a request that hangs is cut off within two seconds', async () => {
    const database = open()
    const hanging = failureOf(database.query(statement('select pg_sleep(20)'), { ...limits, attemptForMs: 30_000, statementForMs: 25_000 }))
    await vi.waitUntil(() => proxy.connections === 1)
    await database.end()
    expect((await hanging).applied).toBe('unknown')
    await vi.waitUntil(() => proxy.connections === 0)
  })
})

describe('a failure over HTTPS', () => {
  it.each([
    ['the way is refused', { kind: 'refuse' }, 'connection', 'not-sent', /^ECONNREFUSED$/],
    ['connections are closed at once', { kind: 'accept-then-close' }, 'connection', 'unknown', /^ECONNRESET$/],
    ['bytes vanish', { kind: 'blackhole' }, 'unanswered', 'unknown', /^ATTEMPT_TIMEOUT$/],
    ['the request is cut', { kind: 'cut', direction: 'to-server', afterBytes: 300, how: 'rst' }, 'connection', 'unknown', /^ECONNRESET$/],
    [
      'the answer is cut in its head',
      { kind: 'cut', direction: 'to-client', afterBytes: 20, how: 'fin' },
      'connection',
      'unknown',
      /^ECONNRESET$/,
    ],
    [
      'the answer is cut in its body',
      { kind: 'cut', direction: 'to-client', afterBytes: 400, how: 'fin' },
      'connection',
      'unknown',
      /^ECONNRESET$/,
    ],
  ] as const)('when %s', async (_what, mode, expected, applied, errno) => {
    const database = open()
    await proxy.mode(mode)
    const error = await failureOf(database.query(one, { ...limits, attemptForMs: 500 }))
    await proxy.mode({ kind: 'pass' })
    expect(judged(error)).toEqual([expected, applied])
    expect(error.errno).toMatch(errno)
    expect(await database.query(one, limits)).toEqual([{ one: 1 }])
  })

  it.each([
    [
      'no JSON',
      'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"results": [',
      'unknown',
      'unknown',
      "Neon's answer could not be read: it is no JSON",
    ],
    [
      'fewer answers than statements',
      'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"results":[]}',
      'unknown',
      'unknown',
      '0 answers to 2 statements',
    ],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n', 'unknown', 'unknown', 'Parse Error'],
  ] as const)('when the answer is %s', async (_what, bytes, expected, applied, words) => {
    const url = await rawServer((socket) => void socket.once('data', () => socket.end(bytes)))
    const error = await failureOf(open({ url }).query(one, limits))
    expect(judged(error)).toEqual([expected, applied])
    expect(error.message).toContain(words)
    expect(error.message).not.toContain('secret')
  })

  it('when the answer does not end', async () => {
    const url = await rawServer((socket) => {
      const block = Buffer.alloc(1_000_000, 120)
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\n\r\n')
        const more = () => void (socket.writable && socket.write(block, () => setImmediate(more)))
        more()
      })
    })
    const error = await failureOf(open({ url }).query(one, limits))
    expect(judged(error)).toEqual(['too-large', 'unknown'])
  })

  it('when the password is wrong carries the code that has a changed secret read again', async () => {
    const wrong = new URL(proxy.url(databaseUrl()))
    wrong.password = 'wrong-secret'
    const error = await failureOf(open({ url: wrong.href }).query(one, limits))
    expect(error).toMatchObject({ sqlState: '28P01', applied: 'not-sent', statement: 'connect' })
    expect(error.message).not.toContain('wrong-secret')

    const urls = [wrong.href, proxy.url(databaseUrl())]
    let kept: string | undefined
    const secret = { read: async () => (kept ??= urls.shift() as string), forget: () => void (kept = undefined) }
    const usual = { schema: schema.name, poolMax: 2, connectForMs: 3_000, wakeForMs: 3_000, idleForMs: 15_000, lifetimeMs: 600_000 }
    const rotating = createRotatingDatabase({
      secret,
      open: (url) => openDatabase({ ...usual, url, driver: 'neon', clock: systemClock, log: silentLog }),
    })
    onTestFinished(() => rotating.end())
    expect(await rotating.query(one, limits)).toEqual([{ one: 1 }])
    expect(rotating.driver).toBe('neon')
  })

  it('when Postgres is away behind a proxy that is there', async () => {
    const alone = await startNeonServer({ target: { host: '127.0.0.1', port: await freePort() } })
    onTestFinished(() => alone.close())
    const error = await failureOf(open({ url: alone.url(databaseUrl()) }).query(one, limits))
    expect([...judged(error), error.httpStatus]).toEqual(['unavailable', 'not-sent', 500])
  })

  it('when the proxy answers instead of Postgres', async () => {
    server.answerWith({ status: 503, body: '{"msg":"Shutting down"}' })
    expect(judged(await failureOf(open().query(one, limits)))).toEqual(['unavailable', 'unknown'])
  })

  it('never shows the URL, however wrong it is', () => {
    for (const url of ['postgres://u:hunter2@', 'mysql://u:hunter2@ep.neon.tech/db', 'hunter2'])
      expect(() => open({ url })).toThrow(
        expect.objectContaining({ name: 'ConfigError', message: expect.not.stringContaining('hunter2') as string }),
      )
  })
})

describe('TLS to Neon', () => {
  const requestsTo = (port: number, connectForMs = 3_000) => {
    const endpoint = new URL(`https://127.0.0.1:${port}/sql`)
    const requests = openNeonRequests({ endpoint, most: 1, connectForMs, idleForMs: 15_000, clock: systemClock })
    onTestFinished(() => requests.destroy())
    return requests.post({ headers: {}, body: '{}', statements: 'read', withinMs: 5_000 })
  }
  const listening = async (listener: net.Server) => {
    await once(listener.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => void listener.close())
    return (listener.address() as AddressInfo).port
  }

  it('refuses a certificate that nobody vouches for before anything is sent', async () => {
    const { createServer } = await import('node:https')
    let requests = 0
    const port = await listening(createServer(createCertificate({ host: '127.0.0.1', untilMs: Date.now() + 3_600_000 }), () => requests++))
    const error = await failureOf(requestsTo(port))
    expect(judged(error)).toEqual(['config', 'not-sent'])
    expect(error.errno).toMatch(/SELF_SIGNED_CERT|UNABLE_TO_VERIFY/)
    expect(requests).toBe(0)
  })

  it('is given up on after connectForMs when nobody answers the handshake', async () => {
    const sockets: Socket[] = []
    const port = await listening(net.createServer((socket) => void sockets.push(socket.on('error', () => {}))))
    const error = await failureOf(requestsTo(port, 200))
    expect([...judged(error), error.errno]).toEqual(['connection', 'not-sent', 'CONNECT_TIMEOUT'])
    for (const socket of sockets) socket.destroy()
  })

  it('that meets plain HTTP was never sent', async () => {
    const port = await listening(http.createServer((_request, response) => void response.end()))
    expect((await failureOf(requestsTo(port))).applied).toBe('not-sent')
  })
})

describe('the health check over HTTPS', () => {
  it('sees what it sees over pg', async () => {
    const seen = await lookAt('', { structure: true, openDatabase: openHealth(proxy.url(databaseUrl()), schema.name, 'neon') })
    expect(answerOf(seen).connectMs).toBeGreaterThan(0)
    expect(vitalsOf(seen).server).toMatchObject({ flavor: 'pg' })
    expect(seen.structure).not.toBeNull()
  })

  it('says that the database hangs when nothing comes back', async () => {
    await proxy.mode({ kind: 'blackhole' })
    const { database } = await lookAt('', { openDatabase: openHealth(proxy.url(databaseUrl()), schema.name, 'neon') })
    expect(database).toMatchObject({ kind: 'unreachable', failure: 'hung' })
  })
})
