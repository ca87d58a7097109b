// What can happen to a database, as a table: used by the drill, the fault matrix and the soak. Each fault begins in a place, and its `begin`
// answers how it ends. The workload reaches the server through the proxy; what a fault does to the server goes around it.
//
//   network   the proxy does it: see fault-proxy.ts
//   process   signals to the server's processes, and a start on the same port
//   sql       another session, or a setting of the workload's role or database

import { setTimeout as sleep } from 'node:timers/promises'
import { openAdminSession, withAdminSession, type AdminSession } from './admin-session.ts'
import type { FaultMode, FaultProxy } from './fault-proxy.ts'
import type { FragilePostgres } from './fragile-postgres.ts'

export type FaultPlace = {
  readonly proxy: FaultProxy
  readonly server: FragilePostgres
  /** The superuser's, to the workload's database, around the proxy. */
  readonly adminUrl: string
  /** What the workload connects as: no superuser, whom limits don't bind. */
  readonly role: string
  readonly database: string
  /** Of the collectors' tables. */
  readonly schema: string
  /** What the answer to a COMMIT has in it, as it goes through the proxy. Default: Postgres' own COMMIT. */
  readonly commitAnswer?: string
}

/** Resolves when the fault is over: from then on the database could serve. */
export type EndFault = () => Promise<void>

export type Fault = {
  readonly name: string
  readonly kind: 'network' | 'process' | 'sql'
  /** For whoever reads the scoreboard. */
  readonly does: string
  /** The workload's database must lie in a tablespace that can be filled up: see small-disk.ts. */
  readonly onSmallDisk?: true
  /** Resolves when it is in force. */
  begin(place: FaultPlace): Promise<EndFault>
}

export const faults: readonly Fault[] = [
  network('refuse', 'the server is down: connections are reset, new ones refused', { kind: 'refuse' }),
  {
    name: 'accept-then-close',
    kind: 'network',
    does: 'connections are reset, new ones accepted and closed at once, as by a balancer without a backend',
    begin: async ({ proxy }) => {
      await proxy.mode({ kind: 'reset' })
      await proxy.mode({ kind: 'accept-then-close' })
      return toPass(proxy)
    },
  },
  network('reset', 'every connection gets a RST', { kind: 'reset' }),
  network('fin', 'every connection gets a FIN', { kind: 'fin' }),
  network('blackhole', 'bytes vanish; old connections stay dead in silence afterwards', { kind: 'blackhole' }),
  network('delay', 'every byte arrives 200 ms later, each way', { kind: 'delay', oneWayMs: 200 }),
  network('trickle', 'bytes arrive 100 at a time', { kind: 'trickle', bytes: 100, everyMs: 5 }),
  {
    name: 'cut',
    kind: 'network',
    does: 'connections are cut in mid-message, again and again, in both directions, by FIN and RST',
    begin: async ({ proxy }) => {
      let n = 0
      return again(async () => {
        const cutsBefore = proxy.cuts
        // primes, so that the cuts fall into every kind of message
        const toServer = n % 2 === 0
        const afterBytes = toServer ? (n * 1_013) % 9_000 : (n * 53) % 900
        await proxy.mode({ kind: 'cut', direction: toServer ? 'to-server' : 'to-client', afterBytes, how: n % 4 < 2 ? 'fin' : 'rst' })
        n++
        await until(() => proxy.cuts > cutsBefore, 500)
      }, toPass(proxy))
    },
  },
  {
    name: 'drop-answer',
    kind: 'network',
    does: 'the server commits, and its answer is lost, again and again',
    begin: async ({ proxy, commitAnswer = 'COMMIT' }) =>
      again(async () => {
        const cutsBefore = proxy.cuts
        await proxy.mode({ kind: 'drop-answer', containing: commitAnswer, how: 'rst' })
        await until(() => proxy.cuts > cutsBefore, 500)
      }, toPass(proxy)),
  },
  {
    name: 'freeze',
    kind: 'process',
    does: 'the server is stopped in its tracks (SIGSTOP) and goes on later',
    begin: async ({ server }) => {
      await server.freeze()
      return async () => server.thaw()
    },
  },
  {
    name: 'kill',
    kind: 'process',
    does: 'every process of the server is killed (SIGKILL); it recovers on the same port',
    begin: async ({ server }) => {
      await server.kill()
      return () => server.restart()
    },
  },
  shutDown('fast', 'the server is shut down in order, as for an update, and started again'),
  shutDown('immediate', 'the server drops everything at once (pg_ctl stop -m immediate) and recovers'),
  {
    name: 'lock',
    kind: 'sql',
    does: 'another session holds the trades table locked against writers',
    begin: async ({ adminUrl, schema }) => {
      const session = await openAdminSession(adminUrl)
      // writes that are under way go first
      await session.sql(`begin; lock table ${schema}.trades in exclusive mode`)
      return () => session.end()
    },
  },
  {
    name: 'deadlock',
    kind: 'sql',
    does: 'another session locks the same tables in the other order, again and again, and wins each deadlock',
    begin: async (place) => {
      const session = await openAdminSession(place.adminUrl)
      // the workload looks for a deadlock first, so it is the one to be ended
      await session.sql(`set deadlock_timeout = '1min'`)
      const watch = await openAdminSession(place.adminUrl)
      return again(
        async () => {
          await session.sql(`begin; lock table ${place.schema}.trades in share row exclusive mode`)
          await until(async () => (await waiting(watch, place)).length > 0, 500)
          await session.sql(`lock table ${place.schema}.pools in share row exclusive mode; rollback`)
        },
        async () => {
          await session.end()
          await watch.end()
        },
      )
    },
  },
  {
    name: 'connection-limit',
    kind: 'sql',
    does: 'every connection is taken (53300), and the ones that there were are gone',
    begin: async (place) => {
      await withAdminSession(place.adminUrl, async (admin) => {
        await admin.sql(`alter role ${place.role} connection limit 0`)
        await terminate(admin, place)
      })
      return () => withAdminSession(place.adminUrl, async (admin) => void (await admin.sql(`alter role ${place.role} connection limit -1`)))
    },
  },
  {
    name: 'read-only',
    kind: 'sql',
    does: 'the server is read-only (25006), as a standby behind the old name; sessions opened meanwhile stay so for life',
    begin: async (place) => {
      await withAdminSession(place.adminUrl, async (admin) => {
        await admin.sql(`alter database ${place.database} set default_transaction_read_only = on`)
        await terminate(admin, place)
      })
      return () => writableByDefault(place)
    },
  },
  {
    name: 'read-only-session',
    kind: 'sql',
    does: 'sessions that are read-only for their whole life, while new ones could write',
    begin: async (place) => {
      await withAdminSession(place.adminUrl, async (admin) => {
        await admin.sql(`alter database ${place.database} set default_transaction_read_only = on`)
        await terminate(admin, place)
        await until(async () => (await sessions(admin, place)).length > 0, 3_000)
      })
      await writableByDefault(place)
      return async () => {}
    },
  },
  {
    name: 'terminate',
    kind: 'sql',
    does: 'sessions are ended by an operator (57P01): idle, in mid-statement, waiting for a lock, in turn',
    begin: async (place) => {
      const admin = await openAdminSession(place.adminUrl)
      const locker = await openAdminSession(place.adminUrl)
      // whatever each is doing at this moment; then one state after the other
      await terminate(admin, place)
      return again(
        async () => {
          for (const state of ['idle%', 'active']) {
            await terminate(admin, place, `and state like '${state}'`)
            await sleep(100)
          }
          await locker.sql(`begin; lock table ${place.schema}.trades in access exclusive mode`)
          await until(async () => (await waiting(admin, place)).length > 0, 500)
          await terminate(admin, place, `and wait_event_type = 'Lock'`)
          await locker.sql('rollback')
          await sleep(200)
        },
        async () => {
          await admin.end()
          await locker.end()
        },
      )
    },
  },
  {
    name: 'disk-full',
    kind: 'sql',
    does: 'the disk under the tables is full (53100)',
    onSmallDisk: true,
    begin: async ({ adminUrl }) => {
      const filler = 'public.filler'
      await withAdminSession(adminUrl, async (admin) => {
        await admin.sql(`create unlogged table ${filler} (bytes text)`)
        await admin.sql(`alter table ${filler} alter column bytes set storage plain`)
        // in ever smaller pieces, until not one page is left
        const insert = `insert into ${filler} select repeat('x', 8000) from generate_series(1, $1)`
        for (const rows of [1_000, 100, 10, 1]) while (await hasRoomFor(admin.sql(insert, [rows])));
      })
      return () => withAdminSession(adminUrl, async (admin) => void (await admin.sql(`drop table ${filler}`)))
    },
  },
]

function network(name: string, does: string, mode: FaultMode): Fault {
  return {
    name,
    kind: 'network',
    does,
    begin: async ({ proxy }) => {
      await proxy.mode(mode)
      return toPass(proxy)
    },
  }
}

function shutDown(how: 'fast' | 'immediate', does: string): Fault {
  return {
    name: `${how}-shutdown`,
    kind: 'process',
    does,
    begin: async ({ server }) => {
      await server.shutDown(how)
      return () => server.restart()
    },
  }
}

const toPass = (proxy: FaultProxy) => () => proxy.mode({ kind: 'pass' })

/** Repeats `work` until the fault ends; then `after`. What the work throws is thrown by the end. */
async function again(work: () => Promise<void>, after: () => Promise<void>): Promise<EndFault> {
  const ended = new AbortController()
  const first = Promise.withResolvers<void>()
  const loop = (async () => {
    try {
      while (!ended.signal.aborted) {
        const round = work()
        first.resolve()
        await round
      }
    } finally {
      await after()
    }
  })()
  loop.catch(() => {}) // thrown by the end
  await first.promise
  return () => {
    ended.abort()
    return loop
  }
}

/** True as soon as it is; false when it was not within `withinMs`. */
async function until(isTrue: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const untilMs = performance.now() + withinMs
  for (;;) {
    if (await isTrue()) return true
    if (performance.now() > untilMs) return false
    await sleep(10)
  }
}

async function sessions(admin: AdminSession, { role, database }: FaultPlace, and = ''): Promise<readonly number[]> {
  const found = await admin.sql<{ pid: number }>(
    `select pid from pg_stat_activity where usename = $1 and datname = $2 ${and} order by pid`,
    [role, database],
  )
  return found.map(({ pid }) => pid)
}

const waiting = (admin: AdminSession, place: FaultPlace) => sessions(admin, place, `and wait_event_type = 'Lock'`)

async function terminate(admin: AdminSession, place: FaultPlace, and = ''): Promise<void> {
  for (const pid of await sessions(admin, place, and)) await admin.sql('select pg_terminate_backend($1)', [pid])
}

const writableByDefault = ({ adminUrl, database }: FaultPlace) =>
  withAdminSession(adminUrl, async (admin) => void (await admin.sql(`alter database ${database} reset default_transaction_read_only`)))

/** Whether an insert went in; false when the disk was full. */
async function hasRoomFor(insert: Promise<unknown>): Promise<boolean> {
  try {
    await insert
    return true
  } catch (error) {
    if ((error as { code?: string }).code === '53100') return false
    throw error
  }
}
