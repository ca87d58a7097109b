import { describe, expect, it } from 'vitest'
import { systemClock } from '../../shared/clock.ts'
import { openDatabase } from '../../shared/db/open-database.ts'
import { silentLog } from '../../shared/log.ts'

const rest = { schema: 'public', poolMax: 2, connectForMs: 500, wakeForMs: 500, idleForMs: 15_000, lifetimeMs: 600_000 }
const open = (url: string, driver: 'auto' | 'pg' | 'neon') => openDatabase({ ...rest, url, driver, clock: systemClock, log: silentLog })
const neonUrl = 'postgres://u:hunter2@ep-red-gecko-1a2b3c-pooler.eu-central-1.aws.neon.tech/db?sslmode=require'

describe('opening a database', () => {
  it.each([
    [neonUrl, 'auto', 'neon'],
    [neonUrl, 'pg', 'pg'],
    ['postgres://u:p@db.example.com/db', 'auto', 'pg'],
    ['postgres://u:p@127.0.0.1:5432/db', 'neon', 'neon'],
  ] as const)('at %s with the setting %s takes the driver %s, and connects to nothing', async (url, driver, expected) => {
    const database = open(url, driver)
    expect(database.driver).toBe(expected)
    expect(database.connections?.()).toMatchObject({ connected: 0, discarded: 0, lost: 0, poolResets: 0 })
    await database.end()
    const refused = database.query(
      { name: 'one', text: 'select 1', values: [] },
      { attemptForMs: 900, statementForMs: 800, lockForMs: 700 },
    )
    await expect(refused).rejects.toMatchObject({ name: 'DatabaseError', applied: 'not-sent' })
  })

  it("over Neon's driver at what can be no host of Neon is a wrong setting, and its URL is not shown", () => {
    for (const url of ['postgres://u:hunter2@db/d', 'postgres://u:hunter2@/d?host=/var/run/postgresql'])
      expect(() => open(url, 'neon')).toThrow(
        expect.objectContaining({ name: 'ConfigError', message: expect.not.stringContaining('hunter2') as string }),
      )
  })
})
