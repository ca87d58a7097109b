// A database of its own for tests that need whole schemas by their real names.

import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { databaseUrl } from './postgres.ts'

export async function createDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `test_${randomBytes(4).toString('hex')}`
  const run = async (sql: string) => {
    const client = new Client({ connectionString: databaseUrl() })
    await client.connect()
    await client.query(sql)
    await client.end()
  }
  await run(`create database ${name}`)
  const url = new URL(databaseUrl())
  url.pathname = `/${name}`
  return { url: url.href, drop: () => run(`drop database ${name} with (force)`) }
}
