import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { migrate } from '../../shared/db/migrate.ts'
import { createSchema, databaseUrl, type TestSchema } from '../support/postgres.ts'
import { oneOfEach } from '../support/rows.ts'
import { createTables } from '../support/tables.ts'

/** SHA-256 of every released file. A file is added here with its release, and never edited afterwards. */
const released: Readonly<Record<string, string>> = {
  '0001_collector-tables.sql': '34b3fad382995172fb76fbeaca111c21e2336e21ade3dda6583c9621622491ec',
  '0002_exactly-once-and-quarantine.sql': '1b3d4a184af18ca4ab3fc045229d14bf3d1562487e54f11607e781e1d125a791',
  '0003_health.sql': '47eb87970b1d4e1896e83f54804cc0e08a40937d8d4d5b0dbd531d3db1d9f1c8',
}

const names = Object.keys(released).map((file) => path.parse(file).name)

let other: TestSchema
beforeEach(async () => void (other = await createSchema('migrate')))

const apply = (schema: string, url = databaseUrl()) => migrate({ url, schema, connectForMs: 10_000 })

describe('the migrations', () => {
  it('are the released files, byte by byte', () => {
    const folder = path.join(import.meta.dirname, '../../shared/db/migrations')
    const files = readdirSync(folder).toSorted()
    const hashes = files.map((file) => [
      file,
      createHash('sha256')
        .update(readFileSync(path.join(folder, file)))
        .digest('hex'),
    ])
    expect(Object.fromEntries(hashes)).toEqual(released)
  })

  it('of four that start at once are applied by one, and the others find nothing to do', async () => {
    const schema = `${other.name}_race`
    const applied = await Promise.all(Array.from({ length: 4 }, () => apply(schema)))
    expect(applied.toSorted((a, b) => b.length - a.length)).toEqual([names, [], [], []])
    expect(await other.sql(`select name from ${schema}.migrations order by id`)).toEqual(names.map((name) => ({ name })))
    expect(await apply(schema)).toEqual([])
    await other.sql(`drop schema ${schema} cascade`)
    await other.drop()
  })

  it('of two stages in one database make tables and rows of their own', async () => {
    const [prod, dev] = [await createTables('stage_prod'), await createTables('stage_dev')]
    await prod.write(oneOfEach())
    expect((await dev.sql(`select count(*)::int from pools`))[0]).toEqual({ count: 0 })
    await dev.write(oneOfEach())
    await prod.sql('delete from trades')
    expect((await dev.sql(`select tableoid::regclass::text as day from trades`))[0]).toEqual({ day: 'trades_20250828' })
    expect((await prod.sql(`select count(*)::int from trades`))[0]).toEqual({ count: 0 })
    await prod.drop()
    expect((await dev.sql(`select count(*)::int from trades`))[0]).toEqual({ count: 1 })
    await dev.drop()
    await other.drop()
  })

  it('do not touch what else is in their schema', async () => {
    await other.sql(`create table mine (n int); insert into mine values (1)`)
    expect(await apply(other.name)).toEqual(names)
    expect(await other.sql(`select n from mine`)).toEqual([{ n: 1 }])
    await other.drop()
  })
})

describe('a role', () => {
  const asRole = () => {
    const url = new URL(databaseUrl())
    url.username = other.name
    url.password = 'right'
    return url.href
  }
  beforeEach(() => other.sql(`create role ${other.name} login password 'right'`))
  const dropRole = () => other.sql(`reset role; drop owned by ${other.name} cascade; drop role ${other.name}`)

  it('that may not create a schema is told which right it lacks and how to get it', async () => {
    await expect(apply(`${other.name}_new`, asRole())).rejects.toMatchObject({
      name: 'DatabaseError',
      sqlState: '42501',
      applied: 'refused',
      message: expect.stringMatching(
        new RegExp(
          `^migrate: the role "${other.name}" may not create schema "${other.name}_new" in database ".+": .* create schema "${other.name}_new" authorization "${other.name}"$`,
        ),
      ),
    })
    await dropRole()
    await other.drop()
  })

  it('that may not create tables in the schema is told so', async () => {
    await other.sql(`grant usage on schema ${other.name} to ${other.name}`)
    await expect(apply(other.name, asRole())).rejects.toMatchObject({
      sqlState: '42501',
      message: `migrate: the role "${other.name}" may not create tables in schema "${other.name}": let its owner run  grant all on schema "${other.name}" to "${other.name}"`,
    })
    await dropRole()
    await other.drop()
  })

  it('that was given a schema of its own needs no other right', async () => {
    const schema = `${other.name}_own`
    await other.sql(`create schema ${schema} authorization ${other.name}`)
    expect(await apply(schema, asRole())).toEqual(names)
    await dropRole()
    await other.drop()
  })

  it('with a wrong password fails with its SQLSTATE, and the message holds no password', async () => {
    const failure: unknown = await apply(other.name, asRole().replace(':right@', ':wr0ng-secret@')).catch((error: unknown) => error)
    expect(failure).toMatchObject({ name: 'DatabaseError', statement: 'connect', sqlState: '28P01', applied: 'not-sent' })
    expect(JSON.stringify(failure) + String(failure)).not.toContain('wr0ng-secret')
    await dropRole()
    await other.drop()
  })
})

it('a URL that is none is refused without being echoed', async () => {
  await expect(apply('tokay', 'postgres//user:secret@host/db')).rejects.toMatchObject({
    name: 'ConfigError',
    message: expect.not.stringContaining('secret'),
  })
  await other.drop()
})

it('a database that is not there fails as a connection that was never made', async () => {
  await expect(apply('tokay', 'postgres://user:secret@127.0.0.1:1/db')).rejects.toMatchObject({
    name: 'DatabaseError',
    statement: 'connect',
    applied: 'not-sent',
    errno: 'ECONNREFUSED',
  })
  await other.drop()
})
