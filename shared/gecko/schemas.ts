// What the API's items look like, as far as we rely on it. Strict on what goes into columns, open to everything else.
// A key is one of three: it has a column; it is `kept` (known, no column, goes into `extra`); or nobody knows it, which is drift: kept in `extra` as well, and counted.

import * as z from 'zod'

/** Known to be sent, without a column. `beyondColumns` finds these by identity. */
const kept = z.unknown().optional()

/** Postgres stores neither NUL nor half a surrogate pair in text; both become U+FFFD, so that one odd name does not fail a batch. */
export const storable = (text: string) => text.toWellFormed().replaceAll('\0', '\uFFFD')

/**
 * Up to 76 decimals have been seen, so a number stays text. Three digits of exponent: `numeric` ends at 131,072 digits, and "1e999999999" is an attack or a bug.
 * JSON numbers are accepted (clients that re-serialise send them, with exponents); "Infinity" is refused.
 */
const decimalText = z
  .string()
  .max(1000)
  .regex(/^-?\d+(\.\d+)?([eE][+-]?\d{1,3})?$/, 'is not a decimal number')

const decimal = z.union([z.string(), z.number()]).transform(String).pipe(decimalText)

/** "NaN" is sent for prices in a currency without a price. As `numeric` it would sort above everything and poison sums: it becomes null. */
const decimalOrNull = z
  .union([z.string(), z.number()])
  .nullish()
  .transform((value) => (value === null || value === undefined || value === 'NaN' ? null : String(value)))
  .pipe(decimalText.nullable())

const text = z.string().transform(storable)

const textOrNull = z
  .string()
  .nullish()
  .transform((value) => (typeof value === 'string' ? storable(value) : null))

/** Any chain's address, as it is: Solana's are case-sensitive, Move types hold colons, angle brackets, commas and spaces. Bounded, because it is indexed. */
const address = z.string().regex(/^[\x20-\x7e]{1,1000}$/, 'is not printable ASCII of 1 to 1000 characters')

/** Fits Postgres's `int`. */
const countOrNull = z
  .int()
  .min(0)
  .max(2_147_483_647)
  .nullish()
  .transform((value) => value ?? null)

/** UTC only: a time without Z was once read as local time, 6 h wrong. */
const instant = z.iso.datetime('is not an ISO 8601 time in UTC').transform((value) => Date.parse(value))

const instantOrNull = instant.nullish().transform((value) => value ?? null)

/** Windows of time that pools are described over. m5, h1 and h24 have columns. */
const windows = <T extends z.ZodType>(inner: T) =>
  z.looseObject({ m5: inner, m15: kept, m30: kept, h1: inner, h6: kept, h24: inner }).nullish()

/** `data` may be missing or null. */
const relationship = z.looseObject({ data: z.looseObject({ id: address, type: z.string().optional() }).nullish() }).nullish()

export const poolSchema = z.looseObject({
  /** `${network}_${address}`; both may hold underscores. */
  id: address,
  type: z.literal('pool'),
  attributes: z.looseObject({
    address,
    name: textOrNull,
    pool_created_at: instantOrNull,
    base_token_price_usd: decimalOrNull,
    base_token_price_native_currency: decimalOrNull,
    quote_token_price_usd: decimalOrNull,
    /** Has been seen negative. */
    reserve_in_usd: decimalOrNull,
    fdv_usd: decimalOrNull,
    market_cap_usd: decimalOrNull,
    price_change_percentage: windows(decimalOrNull),
    volume_usd: windows(decimalOrNull),
    transactions: windows(z.looseObject({ buys: countOrNull, sells: countOrNull, buyers: countOrNull, sellers: countOrNull }).nullish()),

    quote_token_price_native_currency: kept,
    base_token_price_quote_token: kept,
    quote_token_price_base_token: kept,
    net_buy_volume_usd: kept,
    buy_volume_usd: kept,
    sell_volume_usd: kept,
    pool_name: kept,
    pool_fee_percentage: kept,
    locked_liquidity_percentage: kept,
    base_token_balance: kept,
    base_token_liquidity_usd: kept,
    quote_token_balance: kept,
    quote_token_liquidity_usd: kept,
    sentiment_vote_positive_percentage: kept,
    sentiment_vote_negative_percentage: kept,
    community_sus_report: kept,
    token_price_usd: kept,
    last_trade_timestamp: kept,
  }),
  relationships: z
    .looseObject({
      base_token: relationship,
      quote_token: relationship,
      dex: relationship,
      /** Said by the id already. */
      network: relationship,
      /** Pools of more than two tokens. */
      quote_tokens: kept,
    })
    .nullish(),
})

export const tokenSchema = z.looseObject({
  id: address,
  type: z.literal('token'),
  attributes: z.looseObject({
    address,
    name: textOrNull,
    symbol: textOrNull,
    decimals: z
      .int()
      .min(0)
      .max(32_767)
      .nullish()
      .transform((value) => value ?? null),
    coingecko_coin_id: textOrNull,
    image_url: kept,
  }),
})

export const dexSchema = z.looseObject({ id: address, type: z.literal('dex'), attributes: z.looseObject({ name: text }) })

export const tradeSchema = z.looseObject({
  /** `${network}_${block}_${transaction}_${log index}_${indexing time in seconds}`. */
  id: address,
  type: z.literal('trade'),
  attributes: z.looseObject({
    block_number: z.int().min(0),
    block_timestamp: instant,
    tx_hash: address,
    tx_from_address: address.nullish().transform((value) => value ?? null),
    kind: z.enum(['buy', 'sell']),
    from_token_address: address,
    to_token_address: address,
    from_token_amount: decimal,
    to_token_amount: decimal,
    price_from_in_usd: decimalOrNull,
    price_to_in_usd: decimalOrNull,
    volume_in_usd: decimalOrNull,

    price_from_in_currency_token: kept,
    price_to_in_currency_token: kept,
  }),
})

export type PoolItem = z.output<typeof poolSchema>
export type TradeItem = z.output<typeof tradeSchema>

export type Fields = Record<string, unknown>

/** `extra` has the same nesting as the item. `drift` has paths such as "pool.attributes.launchpad_details". */
export function beyondColumns(schema: z.ZodObject, item: Fields, path: string): { extra: Fields; drift: readonly string[] } {
  const extra: Fields = {}
  const drift: string[] = []
  for (const [key, value] of Object.entries(item)) {
    const known = Object.hasOwn(schema.shape, key) ? schema.shape[key] : undefined
    const nested = objectIn(known)
    if (known === undefined) drift.push(storable(`${path}.${key}`))
    if (known === undefined || known === kept) extra[key] = value
    else if (nested && isFields(value)) {
      const inner = beyondColumns(nested, value, `${path}.${key}`)
      if (Object.keys(inner.extra).length > 0) extra[key] = inner.extra
      drift.push(...inner.drift)
    }
  }
  return { extra, drift }
}

export const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value)

function objectIn(schema: unknown): z.ZodObject | undefined {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return objectIn(schema.unwrap())
  return schema instanceof z.ZodObject ? schema : undefined
}
