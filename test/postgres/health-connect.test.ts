// Why no connection can be made, each reason provoked on a server of this file's own, and that the look is over in its time.

import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { withAdminSession } from '../../cli/local/admin-session.ts'
import type { FragilePostgres } from '../../cli/local/fragile-postgres.ts'
import type { Database } from '../../shared/db/database.ts'
import type { Observation } from '../../shared/health/observation.ts'
import { foundIn, lookAt, openHealth, session, startOwnServer, vitalsOf } from '../support/health-look.ts'
import { fakeServer, freePort } from '../support/provoke.ts'

let server: FragilePostgres
let remove: () => Promise<void>
beforeAll(async () => {
  ;({ server, remove } = await startOwnServer())
  await withAdminSession(server.url, async (admin) => {
    await admin.sql(`create role guest login password 'guest' connection limit 2`)
    await admin.sql('create database narrow connection limit 0')
  })
})
afterAll(() => remove())

function urlWith(change: (url: URL) => void): string {
  const url = new URL(server.url)
  change(url)
  return url.href
}
const asGuest = (database = 'postgres') =>
  urlWith((url) => {
    url.username = 'guest'
    url.password = 'guest'
    url.pathname = `/${database}`
  })

const onlyConnect = ['critical connect']

const kindOf = ({ database }: Observation) => (database.kind === 'unreachable' ? database.failure : database.kind)

async function untilKind(kind: ReturnType<typeof kindOf>): Promise<Observation> {
  let look: Observation | undefined
  await vi.waitUntil(async () => kindOf((look = await lookAt(server.url))) === kind, { timeout: 5_000, interval: 20 })
  return look as Observation
}

/** Connecting is given up after 2.5 s, an attempt after 3 s. */
const hangsForMs = 5_000

describe('a database that does not answer', () => {
  it('is refused at once where nobody listens', async () => {
    const port = await freePort()
    const refused = await lookAt(urlWith((url) => (url.port = String(port))))
    const { database, tookMs } = refused
    expect(foundIn(refused)).toEqual(onlyConnect)
    expect(database).toMatchObject({ kind: 'unreachable', failure: 'refused', message: `connect ECONNREFUSED 127.0.0.1:${port}` })
    expect(tookMs).toBeLessThan(1_000)
  })

  it('has no address', async () => {
    const lost = await lookAt(urlWith((url) => (url.hostname = 'database.invalid')))
    expect(lost.database).toMatchObject({ kind: 'unreachable', failure: 'dns' })
    expect(foundIn(lost)).toEqual(onlyConnect)
  })

  it('refuses a password, a user and a database that it does not know, and a URL without TLS where it is wanted', async () => {
    const looks = await Promise.all([
      lookAt(urlWith((url) => (url.password = 'wrong'))),
      lookAt(urlWith((url) => (url.username = 'nobody'))),
      lookAt(urlWith((url) => (url.pathname = '/elsewhere'))),
      lookAt(urlWith((url) => url.searchParams.set('sslmode', 'require'))),
      lookAt(urlWith((url) => url.searchParams.set('options', '-c nonsense=1'))),
      lookAt('no url'),
    ])
    expect(looks.map(kindOf)).toEqual(['auth', 'auth', 'no-database', 'tls', 'settings', 'settings'])
    for (const look of looks) expect(foundIn(look)).toEqual(onlyConnect)
    const password = new URL(server.url).password
    expect(JSON.stringify(looks)).not.toMatch(new RegExp(`${password}|wrong|no url`))
  })

  it('is full: its role, its database, or the server as a whole', async () => {
    const taken = await Promise.all([session(asGuest()), session(asGuest())])
    const ofRole = await lookAt(asGuest())
    await Promise.all(taken.map((one) => one.end()))
    const ofDatabase = await lookAt(asGuest('narrow'))
    for (const look of [ofRole, ofDatabase]) {
      expect(look.database).toMatchObject({ kind: 'unreachable', failure: 'role-limit' })
      expect(foundIn(look)).toEqual(onlyConnect)
    }

    const admin = await session(server.url)
    await admin.sql('alter role guest connection limit -1')
    onTestFinished(() => withAdminSession(server.url, async (again) => void (await again.sql('alter role guest connection limit 2'))))
    const [free] = await admin.sql<{ n: number }>(
      `select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - count(*)::int as n
       from pg_stat_activity where backend_type = 'client backend'`,
    )
    const url = asGuest()
    await Promise.all(Array.from({ length: free?.n ?? 0 }, () => session(url, 'hog')))
    const full = await lookAt(url)
    expect(full.database).toMatchObject({ kind: 'unreachable', failure: 'saturated' })
    expect(full.tookMs).toBeLessThan(3_000)
    expect(foundIn(full)).toEqual(onlyConnect)
    // whom the reserve lets in sees who has taken the rest
    const fromInside = await lookAt(server.url)
    expect(vitalsOf(fromInside).connections).toMatchObject({ max: 60, reserved: 3, applications: { hog: free?.n } })
    expect(foundIn(fromInside)).toEqual(['critical connections'])
  })

  it('hangs: frozen, locked up in its catalog, or behind a network that swallows everything; each look is over in its time', async () => {
    const silent = await fakeServer(() => {})
    const locker = await session(server.url)
    await locker.sql('begin; lock table pg_class in access exclusive mode')
    const [locked, swallowed] = await Promise.all([lookAt(server.url), lookAt(silent)])
    await locker.end()
    await server.freeze()
    onTestFinished(() => server.thaw())
    const frozen = await lookAt(server.url)
    for (const look of [locked, swallowed, frozen]) {
      expect(look.database).toMatchObject({ kind: 'unreachable', failure: 'hung' })
      expect(look.tookMs).toBeLessThan(hangsForMs)
      expect(foundIn(look)).toEqual(onlyConnect)
    }
  })

  it('hangs when its process for this very connection is frozen behind the login', async () => {
    const admin = await session(server.url)
    const openDatabase = (options: { connectForMs: number }): Database => {
      const database = openHealth(server.url)(options)
      return {
        ...database,
        async transaction(...asked) {
          const [own] = await admin.sql<{ pid: number }>(`select pid from pg_stat_activity where application_name = 'tokay-health'`)
          process.kill(own?.pid ?? 0, 'SIGSTOP')
          onTestFinished(() => void process.kill(own?.pid ?? 0, 'SIGCONT'))
          return database.transaction(...asked)
        },
      }
    }
    const hung = await lookAt(server.url, { structure: true, openDatabase })
    expect(hung.database).toMatchObject({ kind: 'unreachable', failure: 'hung' })
    expect(foundIn(hung)).toEqual(onlyConnect)
    expect(hung.tookMs).toBeLessThan(hangsForMs)
  })

  it('is starting again after a crash of one of its processes, and answers once it is back', async () => {
    const [crashing, lingering] = await Promise.all([session(server.url), session(server.url)])
    // it starts again only when the last of its processes is gone
    process.kill(lingering.pid, 'SIGSTOP')
    process.kill(crashing.pid, 'SIGKILL')
    const starting = await untilKind('starting')
    expect(foundIn(starting)).toEqual(onlyConnect)
    expect(starting.database).toMatchObject({ message: 'connect: the database system is in recovery mode (57P03)' })
    process.kill(lingering.pid, 'SIGCONT')
    expect(foundIn(await untilKind('answers'))).toEqual([])
  })

  it('is shutting down, and answers again once it is back', async () => {
    // waits for those who are connected, and takes nobody new
    const admin = await session(server.url)
    const [lock] = await admin.sql<{ pid: number }>(`select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int as pid`)
    process.kill(lock?.pid ?? 0, 'SIGTERM')
    expect(foundIn(await untilKind('shutting-down'))).toEqual(onlyConnect)
    await admin.end()
    await untilKind('refused')
    await server.restart()
    expect(foundIn(await untilKind('answers'))).toEqual([])
  })
})
