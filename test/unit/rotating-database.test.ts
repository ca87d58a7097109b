import { describe, expect, it } from 'vitest'
import { createRotatingDatabase } from '../../shared/db/rotating-database.ts'
import type { Statement } from '../../shared/db/database.ts'
import { ConfigError } from '../../shared/errors.ts'
import { createFakeDatabase, refused, unreachable, type Scripted } from '../support/fake-database.ts'

const ping: Statement = { name: 'ping', text: 'select 1 as ok', values: [] }
const limits = { attemptForMs: 1_000, lockForMs: 100, statementForMs: 500 }

/** A secret as the functions hold it, kept until it is forgotten, and one scripted database for each URL. */
function setUp(urls: readonly string[], databases: Readonly<Record<string, readonly Scripted[]>>) {
  const events: string[] = []
  let reads = 0
  let kept: string | undefined
  const secret = {
    async read() {
      kept ??= urls[Math.min(reads++, urls.length - 1)] as string
      if (kept === 'missing') throw new ConfigError(['SSM parameter /tokay/dev/database-url does not exist'])
      return kept
    },
    forget() {
      kept = undefined
    },
  }
  const open = (url: string) => {
    events.push(`open ${url}`)
    return { ...createFakeDatabase(...(databases[url] ?? [])), end: async () => void events.push(`end ${url}`) }
  }
  return { database: createRotatingDatabase({ secret, open }), events, reads: () => reads }
}

describe('a database whose URL is a secret', () => {
  it('opens nothing before it is used, and then once', async () => {
    const { database, events, reads } = setUp(['a'], { a: [[{ ok: 1 }]] })
    expect(events).toEqual([])
    await database.query(ping, limits)

    expect(await database.query(ping, limits)).toEqual([{ ok: 1 }])
    expect([events, reads()]).toEqual([['open a'], 1])
  })

  it('a refused password makes it read the secret again, and the same attempt succeeds with the new one', async () => {
    const { database, events } = setUp(['old', 'new'], { old: [refused('28P01')], new: [[{ ok: 1 }]] })

    expect(await database.query(ping, limits)).toEqual([{ ok: 1 }])
    expect(events).toEqual(['open old', 'open new', 'end old'])
  })

  it("a pooler's refusal of the password does the same, and its refusal of anything else does not", async () => {
    const told = setUp(['old', 'new'], { old: [refused('08P01', { message: 'SASL authentication failed' })], new: [[{ ok: 1 }]] })
    expect(await told.database.query(ping, limits)).toEqual([{ ok: 1 }])

    const other = setUp(['a', 'b'], { a: [refused('08P01', { message: 'query_wait_timeout' })] })
    await expect(other.database.query(ping, limits)).rejects.toMatchObject({ sqlState: '08P01' })
    expect(other.reads()).toBe(1)
  })

  it('a password that is still the same is not tried twice', async () => {
    const { database, events } = setUp(['wrong'], { wrong: [refused('28P01'), [{ ok: 1 }]] })

    await expect(database.query(ping, limits)).rejects.toMatchObject({ name: 'DatabaseError', sqlState: '28P01' })
    expect(events).toEqual(['open wrong'])
  })

  it('any other failure leaves the secret alone', async () => {
    const { database, reads } = setUp(['a', 'b'], { a: [unreachable()] })

    await expect(database.transaction([ping], limits)).rejects.toMatchObject({ errno: 'ECONNREFUSED' })
    expect(reads()).toBe(1)
  })

  it('a secret that can not be read is a failure to connect that says why, and is read again at the next attempt', async () => {
    const { database } = setUp(['missing', 'a'], { a: [[{ ok: 1 }]] })

    await expect(database.query(ping, limits)).rejects.toMatchObject({
      name: 'DatabaseError',
      statement: 'connect',
      applied: 'not-sent',
      message: 'no URL to connect to: SSM parameter /tokay/dev/database-url does not exist',
    })
    expect(await database.query(ping, limits)).toEqual([{ ok: 1 }])
  })

  it('counts the connections of every URL it has had', async () => {
    const counters = { connected: 3, discarded: 2, lost: 1, poolResets: 1 }
    const scripts: Readonly<Record<string, Scripted>> = { old: refused('28P01'), new: [{ ok: 1 }] }
    let reads = 0
    let kept: string | undefined
    const database = createRotatingDatabase({
      secret: { read: async () => (kept ??= reads++ === 0 ? 'old' : 'new'), forget: () => (kept = undefined) },
      open: (url) => ({ ...createFakeDatabase(scripts[url] as Scripted), connections: () => counters }),
    })
    expect(database.connections?.()).toEqual({ connected: 0, discarded: 0, lost: 0, poolResets: 0 })
    await database.query(ping, limits)
    expect(database.connections?.()).toEqual({ connected: 6, discarded: 4, lost: 2, poolResets: 2 })
  })

  it('is of the driver that its URL asks for', async () => {
    const secret = { read: async () => 'a', forget: () => {} }
    const database = createRotatingDatabase({ secret, open: () => ({ ...createFakeDatabase([{ ok: 1 }]), driver: 'neon' }) })
    await database.query(ping, limits)
    expect(database.driver).toBe('neon')
  })
})
