// Ours, and what one would write by hand with the same driver: a loop, one long VALUES, COPY.

import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { Client } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { mergeBatches } from '../../shared/collect/batch.ts'
import { systemClock } from '../../shared/clock.ts'
import { createPgDatabase } from '../../shared/db/pg-database.ts'
import { writeBatch } from '../../shared/db/statements.ts'
import { silentLog } from '../../shared/log.ts'
import { addressesOf, chunksOf, columns, poolsOf, tableRow, urlIn, type Contestant, type Place } from './contestant.ts'

const list = columns.join(', ')
const lookUp = `select address, pool_sk from pools where network = 'solana' and address = any ($1)`

export const tokay: Contestant = {
  name: 'tokay',
  is: 'the write path as shipped: mergeBatches, writeBatch, one pipelined transaction of createPgDatabase, statements prepared as over the embedded Postgres',
  async open({ url, schema }) {
    const database = createPgDatabase({
      url,
      schema,
      poolMax: 1,
      prepareStatements: true,
      connectForMs: 3_000,
      wakeForMs: 12_000,
      idleForMs: 15_000,
      lifetimeMs: 600_000,
      clock: systemClock,
      log: silentLog,
    })
    const limits = { attemptForMs: 10_000, lockForMs: 1_500, statementForMs: 8_000 }
    return {
      write: async (trades) => void (await database.transaction(writeBatch(mergeBatches([{ trades }]), { late: false }), limits)),
      end: () => database.end(),
    }
  },
}

export const loop: Contestant = {
  name: 'single-row loop',
  is: 'pg, one awaited INSERT .. ON CONFLICT DO NOTHING a row, each its own transaction; told the pools',
  sampled: true,
  async open(place) {
    const client = await connect(place)
    const text = `insert into trades (${list}) values (${columns.map((_, i) => `$${i + 1}`).join(', ')}) on conflict do nothing`
    return {
      async write(rows) {
        for (const row of rows) await client.query(text, Object.values(tableRow(row, place.pools)))
      },
      end: () => client.end(),
    }
  },
}

export const values: Contestant = {
  name: 'multi-row VALUES',
  is: 'pg, INSERT .. VALUES (..), (..) ON CONFLICT DO NOTHING; its text is made once a size',
  async open(place) {
    const client = await connect(place)
    const texts = new Map<number, string>()
    const textOf = (rows: number) => {
      const tuple = (row: number) => `(${columns.map((_, i) => `$${row * columns.length + i + 1}`).join(', ')})`
      const text =
        texts.get(rows) ??
        `insert into trades (${list}) values ${Array.from({ length: rows }, (_, row) => tuple(row)).join(', ')} on conflict do nothing`
      texts.set(rows, text)
      return text
    }
    return {
      async write(rows) {
        const pools = poolsOf((await client.query<{ address: string; pool_sk: number }>(lookUp, [addressesOf(rows)])).rows)
        const chunks = chunksOf(rows)
        if (chunks.length > 1) await client.query('begin')
        for (const chunk of chunks)
          await client.query(
            textOf(chunk.length),
            chunk.flatMap((row) => Object.values(tableRow(row, pools))),
          )
        if (chunks.length > 1) await client.query('commit')
      },
      end: () => client.end(),
    }
  },
}

export const copy: Contestant = {
  name: 'raw COPY',
  is: 'pg-copy-streams into the same table: its partitions, key and index; told the pools, and one duplicate fails the batch. The floor',
  freshOnly: true,
  open: (place) => openCopy(place, 'trades'),
}

export const copyBare: Contestant = {
  name: 'raw COPY, bare table',
  is: 'the same into a table without partitions, key, index or check: it stores duplicates. Below the floor: no table to read from',
  freshOnly: true,
  async open(place) {
    const client = await connect(place)
    await client.query('create table if not exists bare (like trades including defaults)')
    await client.end()
    return openCopy(place, 'bare')
  },
}

async function openCopy(place: Place, table: string) {
  const client = await connect(place)
  const field = (value: string | number | null) => (value === null ? '\\N' : String(value).replaceAll(/[\\\t\n\r]/g, (c) => `\\${c}`))
  return {
    async write(rows: Parameters<typeof tableRow>[0][]) {
      const lines = rows.map((row) => `${Object.values(tableRow(row, place.pools)).map(field).join('\t')}\n`)
      await pipeline(Readable.from([lines.join('')]), client.query(copyFrom(`copy ${table} (${list}) from stdin`)))
    },
    end: () => client.end(),
  }
}

async function connect(place: Place): Promise<Client> {
  const client = new Client({ connectionString: urlIn(place) })
  await client.connect()
  return client
}
