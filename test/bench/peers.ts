// The libraries that one would reach for instead, each the way its documentation shows a bulk insert that skips duplicates.

import { and, eq, inArray } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import * as d from 'drizzle-orm/pg-core'
import { Kysely, PostgresDialect } from 'kysely'
import { Pool } from 'pg'
import postgres from 'postgres'
import { DataSource, EntitySchema, In, type ObjectLiteral } from 'typeorm'
import type { TradeRow } from '../../shared/model.ts'
import {
  addressesOf,
  chunksOf,
  columns,
  poolsOf,
  tableRow,
  urlIn,
  type Contestant,
  type Place,
  type Pools,
  type TableRow,
  type Writer,
} from './contestant.ts'

const types: Record<keyof TableRow, string> = {
  block_at: 'timestamptz',
  trade_key: 'uuid',
  pool_sk: 'int',
  block_number: 'bigint',
  tx_hash: 'text',
  maker: 'text',
  kind: 'text',
  from_token: 'text',
  to_token: 'text',
  from_amount: 'numeric',
  to_amount: 'numeric',
  price_from_usd: 'numeric',
  price_to_usd: 'numeric',
  base_price_usd: 'numeric',
  volume_usd: 'numeric',
}

const rowsOf = (trades: readonly TradeRow[], pools: Pools) => trades.map((trade) => tableRow(trade, pools))

export const postgresJs: Contestant = {
  name: 'postgres.js',
  is: 'postgres 3.4.9, the same INSERT .. SELECT .. FROM unnest, as the named statement that it prepares once',
  open: (place) =>
    openPostgresJs(place, (sql) => async (trades) => {
      const addresses = addressesOf(trades)
      return poolsOf(
        await sql<
          { address: string; pool_sk: number }[]
        >`select address, pool_sk from pools where network = 'solana' and address = any (${addresses})`,
      )
    }),
}

export const postgresJsTold: Contestant = {
  name: 'postgres.js, told',
  is: 'the same, told the pools: what a writer saves that keeps them in memory',
  open: (place) => openPostgresJs(place, () => async () => place.pools),
}

async function openPostgresJs(
  place: Place,
  lookUp: (sql: postgres.Sql) => (trades: readonly TradeRow[]) => Promise<Pools>,
): Promise<Writer> {
  const sql = postgres(urlIn(place), { max: 1, connection: { search_path: place.schema } })
  const poolsFor = lookUp(sql)
  const text = `insert into trades (${columns.join(', ')})
    select * from unnest(${columns.map((column, i) => `$${i + 1}::${types[column]}[]`).join(', ')}) on conflict do nothing`
  const insert = (on: postgres.Sql | postgres.TransactionSql, rows: readonly TableRow[]) =>
    on.unsafe(
      text,
      columns.map((column) => rows.map((row) => row[column])),
      { prepare: true },
    )
  return {
    async write(trades) {
      const chunks = chunksOf(rowsOf(trades, await poolsFor(trades)))
      if (chunks[0] && chunks.length === 1) await insert(sql, chunks[0])
      else await sql.begin((transaction) => chunks.map((chunk) => insert(transaction, chunk)))
    },
    end: () => sql.end(),
  }
}

const drizzlePools = d.pgTable('pools', { pool_sk: d.integer().notNull(), network: d.text().notNull(), address: d.text().notNull() })

const drizzleTrades = d.pgTable('trades', {
  block_at: d.timestamp({ withTimezone: true, mode: 'string' }).notNull(),
  trade_key: d.uuid().notNull(),
  pool_sk: d.integer().notNull(),
  block_number: d.bigint({ mode: 'number' }).notNull(),
  tx_hash: d.text().notNull(),
  maker: d.text(),
  kind: d.text().notNull(),
  from_token: d.text().notNull(),
  to_token: d.text().notNull(),
  from_amount: d.numeric().notNull(),
  to_amount: d.numeric().notNull(),
  price_from_usd: d.numeric(),
  price_to_usd: d.numeric(),
  base_price_usd: d.numeric(),
  volume_usd: d.numeric(),
})

export const drizzleOrm: Contestant = {
  name: 'Drizzle',
  is: 'drizzle-orm 0.45.4 over pg: db.insert(trades).values(rows).onConflictDoNothing()',
  async open(place) {
    const pool = new Pool({ connectionString: urlIn(place), max: 1 })
    const db = drizzle(pool)
    type Insert = typeof drizzleTrades.$inferInsert
    return {
      async write(trades) {
        const { pool_sk, network, address } = drizzlePools
        const named = await db
          .select({ pool_sk, address })
          .from(drizzlePools)
          .where(and(eq(network, 'solana'), inArray(address, addressesOf(trades))))
        const chunks = chunksOf(rowsOf(trades, poolsOf(named)) as Insert[])
        if (chunks[0] && chunks.length === 1)
          await db
            .insert(drizzleTrades)
            .values([...chunks[0]])
            .onConflictDoNothing()
        else
          await db.transaction(async (transaction) => {
            for (const chunk of chunks)
              await transaction
                .insert(drizzleTrades)
                .values([...chunk])
                .onConflictDoNothing()
          })
      },
      end: () => pool.end(),
    }
  },
}

type Tables = { trades: TableRow; pools: { pool_sk: number; network: string; address: string } }

export const kysely: Contestant = {
  name: 'Kysely',
  is: 'kysely 0.29.9 over pg: db.insertInto("trades").values(rows).onConflict((c) => c.doNothing())',
  async open(place) {
    const db = new Kysely<Tables>({
      dialect: new PostgresDialect({ pool: new Pool({ connectionString: urlIn(place), max: 1 }) }),
    })
    return {
      async write(trades) {
        const named = db
          .selectFrom('pools')
          .select(['address', 'pool_sk'])
          .where('network', '=', 'solana')
          .where('address', 'in', addressesOf(trades))
        const chunks = chunksOf(rowsOf(trades, poolsOf(await named.execute())))
        const insert = (on: Kysely<Tables>, rows: readonly TableRow[]) =>
          on
            .insertInto('trades')
            .values(rows)
            .onConflict((conflict) => conflict.doNothing())
            .execute()
        if (chunks[0] && chunks.length === 1) await insert(db, chunks[0])
        else
          await db.transaction().execute(async (transaction) => {
            for (const chunk of chunks) await insert(transaction, chunk)
          })
      },
      end: () => db.destroy(),
    }
  },
}

export const typeOrm: Contestant = {
  name: 'TypeORM',
  is: 'typeorm 1.1.1 over pg: createQueryBuilder().insert().into(Trade).values(rows).orIgnore(), updateEntity(false)',
  async open(place) {
    const key = new Set(['block_at', 'trade_key'])
    const nullable = new Set(['maker', 'price_from_usd', 'price_to_usd', 'base_price_usd', 'volume_usd'])
    const entity = new EntitySchema<ObjectLiteral>({
      name: 'trades',
      columns: Object.fromEntries(
        columns.map((name) => [name, { type: types[name] as 'text', primary: key.has(name), nullable: nullable.has(name) }]),
      ),
    })
    const poolEntity = new EntitySchema<{ pool_sk: number; network: string; address: string }>({
      name: 'pools',
      columns: { pool_sk: { type: 'int', primary: true }, network: { type: 'text' }, address: { type: 'text' } },
    })
    const source = new DataSource({
      type: 'postgres',
      url: urlIn(place),
      schema: place.schema,
      entities: [entity, poolEntity],
      installExtensions: false,
      extra: { max: 1 },
    })
    await source.initialize()
    return {
      async write(trades) {
        const named = await source
          .getRepository(poolEntity)
          .find({ select: { pool_sk: true, address: true }, where: { network: 'solana', address: In(addressesOf(trades)) } })
        const chunks = chunksOf(rowsOf(trades, poolsOf(named)))
        const insert = (on: typeof source.manager, rows: readonly TableRow[]) =>
          on
            .createQueryBuilder()
            .insert()
            .into(entity)
            .values([...rows])
            .orIgnore()
            .updateEntity(false)
            .execute()
        if (chunks[0] && chunks.length === 1) await insert(source.manager, chunks[0])
        else
          await source.transaction(async (manager) => {
            for (const chunk of chunks) await insert(manager, chunk)
          })
      },
      end: () => source.destroy(),
    }
  },
}
