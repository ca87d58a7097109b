// Every setting: its meaning, unit, default and the default's origin. One place, `cdk.json` under context key `tokay`; secrets are never in it.
// Unknown keys are errors, rules across fields stand at the end, and one ConfigError lists every problem at once.

import * as z from 'zod'
import { ConfigError } from './errors.ts'
import { type CollectorName, collectorNames } from './names.ts'

const ms = (low: number, high: number) => z.int().min(low).max(high)

/** EventBridge Scheduler ticks in whole minutes. Lower wastes budget on answers that are cached for 60 s; higher misses rows. */
const everyMinutes = z.int().min(1).max(1440)

const pool = z.strictObject({
  network: z.string().min(1),
  /** As the API writes it; Solana addresses are case-sensitive. */
  address: z.string().min(1),
})

/** A literal name, which may have the stage in it. */
const parameterMessage = 'must be the name of an SSM parameter such as "/tokay/<stage>/database-url"'
const parameterName = z.string().regex(/^\/(?!aws\/|ssm\/)(?:[\w.-]|<stage>)+(?:\/(?:[\w.-]|<stage>)+)*$/, parameterMessage)

/** For adopting and rolling back a collector by itself; all are on by default. */
const switches = {
  /** Off: its writes go through an open circuit. What they see is still recorded. */
  breaker: z.boolean().default(true),
  /** Off: each page is written by itself, at once. */
  batching: z.boolean().default(true),
  /** Off: a write that fails makes the run fail, loudly; its cursor stays, and the next run fetches what the API still has. */
  parking: z.boolean().default(true),
}

const schema = z.strictObject({
  /** Names the stack, the Postgres schema and the metrics: two stages may share an account and a database. */
  stage: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,19}$/, 'must be 1-20 lower-case letters, digits or dashes, a letter first')
    .default('dev'),

  /** GeckoTerminal network ids. */
  networks: z
    .array(z.string().regex(/^[a-z0-9_-]+$/, 'must be network ids such as "solana" or "polygon_pos"'))
    .min(1)
    .default(['solana', 'eth']),

  gecko: z
    .strictObject({
      /** Public API, or CoinGecko's demo or pro host with GECKO_API_KEY set. Same paths and shapes on all three. */
      baseUrl: z.url().default('https://api.geckoterminal.com/api/v2'),
      /** One shared budget for all collectors. Too high: 429s; too low: missed pools. The public API was seen to allow 10 to 30. */
      requestsPerMinute: z.number().min(1).max(1000).default(10),
      /** 0: no monthly limit. A demo key has 10,000. */
      requestsPerMonth: z.int().min(0).default(0),
      /** One request, from connecting to the last byte. */
      timeoutMs: ms(500, 60_000).default(10_000),
      /** Least wait after a 429: the API has been seen to say `Retry-After: 0`. */
      rateLimitedForMs: ms(1_000, 600_000).default(65_000),
    })
    .prefault({}),

  collectors: z
    .strictObject({
      dexes: z.strictObject({ enabled: z.boolean().default(true), everyMinutes: everyMinutes.default(60), ...switches }).prefault({}),
      'top-pools': z
        .strictObject({
          enabled: z.boolean().default(true),
          everyMinutes: everyMinutes.default(5),
          ...switches,
          /** 20 pools a page; the API has 10 pages. */
          pages: z.int().min(1).max(10).default(1),
          /** Ids of DEXes to follow one by one, by network, such as { "solana": ["pumpswap"] }. A network that is not named is followed as a whole. */
          dexes: z.record(z.string(), z.array(z.string().min(1)).min(1)).default({}),
        })
        .prefault({}),
      'new-pools': z
        .strictObject({
          enabled: z.boolean().default(true),
          everyMinutes: everyMinutes.default(5),
          ...switches,
          /** A walk stops at the first page with a pool it knows. Solana makes 200 pools in about 7 minutes. */
          maxPages: z.int().min(1).max(10).default(10),
        })
        .prefault({}),
      trades: z
        .strictObject({
          enabled: z.boolean().default(true),
          everyMinutes: everyMinutes.default(5),
          ...switches,
          /** Pools to watch. */
          pools: z.array(pool).default([]),
          /** Beside them, the most traded pools that the database knows. */
          watchBusiest: z.int().min(0).max(100).default(5),
          /** The API leaves smaller trades out. 0: all. */
          minVolumeUsd: z.number().min(0).default(0),
        })
        .prefault({}),
    })
    .prefault({}),

  schedule: z
    .strictObject({
      /**
       * While the collectors' writes meet each other's locks, their intervals are stretched, step by step up to this factor, and come back when
       * the locks are gone. 1: never.
       */
      maxStretch: z.int().min(1).max(100).default(16),
    })
    .prefault({}),

  database: z
    .strictObject({
      /**
       * `neon`: over HTTPS, for databases at Neon only; a transaction is one request, and no connection is held. `pg`: over TCP, for any Postgres.
       * `auto`: `neon` where the URL's host is one of Neon's, else `pg`. Migrations are always made with pg.
       */
      driver: z.enum(['auto', 'pg', 'neon']).default('auto'),
      /** Most connections of the local run, which opens as many as the load asks for, at least 2. A Lambda instance has one. */
      poolMax: z.int().min(2).max(20).default(20),
      /** Connecting, when the database is thought to be awake. */
      connectForMs: ms(200, 30_000).default(3_000),
      /** Connecting after a long idle time: a database that scales to zero needs to wake. Once. */
      wakeForMs: ms(1_000, 60_000).default(12_000),
      /** lock_timeout. Above deadlock_timeout (1 s), so that a deadlock is told from a lock. */
      lockForMs: ms(50, 60_000).default(1_500),
      /** statement_timeout. */
      statementForMs: ms(100, 120_000).default(8_000),
      /** The whole attempt as the client sees it; then the connection is destroyed. */
      attemptForMs: ms(200, 150_000).default(10_000),
      /** A connection idle for longer, by wall time, is replaced: the server may have dropped it while the container was frozen. */
      idleForMs: ms(1_000, 600_000).default(15_000),
      /** A connection idle for longer is asked for a sign of life before it is used: one round trip. Too low: each write pays it. From idleForMs on: never. */
      validateAfterMs: ms(0, 600_000).default(500),
      /**
       * Each connection parses and plans a statement once: 0.5 ms less a batch. For a direct connection, or PgBouncer from 1.21 on; other
       * transaction poolers lose prepared statements between transactions, or mix them up. The embedded Postgres always does.
       */
      prepareStatements: z.boolean().default(false),
      /** A connection is replaced at this age. */
      lifetimeMs: ms(10_000, 86_400_000).default(600_000),
    })
    .prefault({}),

  retry: z
    .strictObject({
      /** Attempts of one operation, the first included. */
      attempts: z.int().min(1).max(10).default(3),
      /** Back-off is uniform in [0, min(capMs, baseMs x 2^n)]: full jitter. */
      baseMs: ms(1, 60_000).default(500),
      capMs: ms(1, 60_000).default(5_000),
    })
    .prefault({}),

  breaker: z
    .strictObject({
      /** Failed attempts within `withinMs` that open it. Equal to retry.attempts: one exhausted operation does. */
      failures: z.int().min(1).max(100).default(3),
      withinMs: ms(1_000, 3_600_000).default(60_000),
      /** First open time; doubles with each failed probe up to maxOpenForMs, each +-10 %. */
      openForMs: ms(100, 600_000).default(5_000),
      /**
       * Longest open time. A database that is back is noticed after this at worst, and a dead one is connected to once in it.
       * 9 s holds both bounds: closed again within 10 s of its return in 95 of 100 cases (0.95 x 9 s and a second for the probe itself), and
       * at most 12 connections in an outage of 60 s: the 3 that opened the circuit, 2 looks of the health check, at most 7 probes.
       */
      maxOpenForMs: ms(100, 3_600_000).default(9_000),
      /** A success that took longer counts as a failed attempt: the rows are in, but who comes next should park rather than queue up. */
      slowMs: ms(100, 150_000).default(5_000),
      /** A probe's lease. When its holder dies, the lease just ends. Longer than an attempt. */
      leaseForMs: ms(1_000, 300_000).default(15_000),
    })
    .prefault({}),

  batch: z
    .strictObject({
      /** Rows are written when this many are waiting. Above 1,000 the speed is flat and a bad row costs more. */
      maxRows: z.int().min(1).max(5_000).default(1_000),
      /** Or when the oldest has waited this long, or at the end of the run. */
      maxWaitMs: ms(100, 60_000).default(5_000),
    })
    .prefault({}),

  retention: z
    .strictObject({
      /** Trades older than this are neither stored nor kept. */
      tradesDays: z.int().min(1).max(3650).default(30),
      snapshotsDays: z.int().min(1).max(3650).default(30),
    })
    .prefault({}),

  alerts: z
    .strictObject({
      email: z.email('must be an email address').optional(),
      /** E.164. Receives critical alerts only. */
      phone: z
        .string()
        .regex(/^\+[1-9]\d{6,14}$/, 'must be a phone number such as "+15555550100"')
        .optional(),
    })
    .prefault({}),

  health: z
    .strictObject({
      /** The health check's tick; besides, it runs at once when the circuit opens. */
      everyMinutes: everyMinutes.default(1),
      /**
       * `active`: every tick asks the database. `piggyback`: only while a collector's run has it awake, or when something looks wrong, so that a
       * database that scales to zero may sleep; a minute without a look counts as unknown.
       */
      probe: z.enum(['active', 'piggyback']).default('active'),
      /** Tables, indexes, sequences and slow statements change slowly and cost more to look at. */
      structureEveryMinutes: z.int().min(1).max(1440).default(15),
      /** Target of availability over 30 days; what is left of 100 % is the error budget. */
      targetPercent: z.number().min(50).max(99.999).default(99.5),
      /** Where a check begins to warn, or to be critical. */
      thresholds: z
        .strictObject({
          /** Warning. From failed lock waits of our own writers and from sessions seen waiting. */
          lockWaitMs: ms(1, 600_000).default(1_000),
          /** Warning. 95th percentile of what the clients measured. */
          queryMs: ms(1, 600_000).default(500),
          /** Warning. The health check's own round trip, on a connection that is open. */
          simpleQueryMs: ms(1, 600_000).default(100),
          /** Critical. Of the clients' operations in 5 minutes, and at least 3 of them. */
          errorRatePercent: z.number().min(0.1).max(100).default(10),
          /** Critical when below, over the last hour. */
          availabilityPercent: z.number().min(1).max(100).default(95),
          /** Critical when below, over the last hour. */
          successRatePercent: z.number().min(1).max(100).default(95),
          /** Warning, on 30 operations or more; critical at twice as much. */
          lockRetryPercent: z.number().min(0.1).max(100).default(5),
          /** Open is critical. Open for longer, it says that it does not recover by itself. */
          breakerOpenForMs: ms(1_000, 3_600_000).default(60_000),
          /** Warning when batches are smaller on average, judged only where the source had more to give. */
          batchFillPercent: z.number().min(1).max(100).default(50),
          /** Warning, in an hour, over all collectors. */
          reconnectionsPerHour: z.int().min(1).max(100_000).default(10),
          rollbacksPerHour: z.int().min(1).max(100_000).default(20),
          /** Warning; critical half-way from there to full. */
          connectionsPercent: z.number().min(1).max(100).default(80),
          /** Size at which the database is full, in bytes. 0: taken from the server where it knows (Neon), else unknown. */
          databaseFullBytes: z.number().min(0).default(0),
        })
        .prefault({}),
    })
    .prefault({}),

  /** Of the deployment. The local run has no use for it. */
  aws: z
    .strictObject({
      /** SSM SecureString that holds the Postgres URL; `<stage>` stands for the stage. */
      databaseUrlParameter: parameterName.default('/tokay/<stage>/database-url'),
      /** SSM SecureString that holds a CoinGecko key, such as `/tokay/<stage>/gecko-api-key`; `none`: the API is asked without one. */
      geckoApiKeyParameter: z.union([z.literal('none'), parameterName], parameterMessage).default('none'),
      /** Connections that the database allows Tokay. Synthesis refuses a stack that could take more than 70 % of them. 0: not stated, not checked. */
      connectionLimit: z.int().min(0).max(100_000).default(0),
      /**
       * Instances of `collect` that may run at once, taken out of the account's own limit. 0: no reservation. New accounts, whose limit is 10, refuse any.
       * Too low: ticks are thrown away.
       */
      reservedConcurrency: z.int().min(0).max(1_000).default(0),
      /** For a database that only a VPC reaches: its id, and private subnets that reach the internet. Without: the functions are in no VPC. */
      vpc: z
        .strictObject({
          id: z
            .string()
            .regex(/^vpc-([0-9a-f]{8}|[0-9a-f]{17})$/, 'must be an id such as "vpc-0a1b2c3d"')
            .optional(),
          subnetIds: z
            .array(z.string().regex(/^subnet-([0-9a-f]{8}|[0-9a-f]{17})$/, 'must be ids such as "subnet-0a1b2c3d"'))
            .min(1)
            .optional(),
        })
        .prefault({}),
      /** The state table, the parked writes and their dead letters outlive `cdk destroy`. */
      keepState: z.boolean().default(false),
      /** How long logs are kept, one of the spans that CloudWatch has. Each GB costs $0.50 to write and $0.03 a month to keep. */
      logDays: z.literal([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653]).default(14),
      /** The first three of an account are free, more are $3 a month each. */
      dashboard: z.boolean().default(true),
      /** Id of the database's RDS or Aurora instance: the dashboard then shows what AWS measures of its machine, for nothing. `none`: it is not there. */
      rdsInstance: z
        .string()
        .regex(/^[A-Za-z][A-Za-z0-9-]{0,62}$/, 'must be the id of a database instance, or "none"')
        .default('none'),
    })
    .prefault({}),
})

export type Settings = z.output<typeof schema>

const acrossFields: ReadonlyArray<(s: Settings) => string | undefined> = [
  (s) => (s.retry.baseMs > s.retry.capMs ? `retry.baseMs (${s.retry.baseMs}) must not be above retry.capMs (${s.retry.capMs})` : undefined),
  (s) =>
    s.breaker.openForMs > s.breaker.maxOpenForMs
      ? `breaker.openForMs (${s.breaker.openForMs}) must not be above breaker.maxOpenForMs (${s.breaker.maxOpenForMs})`
      : undefined,
  (s) =>
    s.database.lockForMs >= s.database.statementForMs
      ? `database.lockForMs (${s.database.lockForMs}) must be below database.statementForMs (${s.database.statementForMs}), or a lock is never told from a slow statement`
      : undefined,
  (s) =>
    s.database.statementForMs >= s.database.attemptForMs
      ? `database.statementForMs (${s.database.statementForMs}) must be below database.attemptForMs (${s.database.attemptForMs}), so that the server gives up first`
      : undefined,
  (s) =>
    s.breaker.leaseForMs <= s.database.attemptForMs
      ? `breaker.leaseForMs (${s.breaker.leaseForMs}) must be above database.attemptForMs (${s.database.attemptForMs}), or a second probe starts while the first still runs`
      : undefined,
  (s) => {
    const unknown = Object.keys(s.collectors['top-pools'].dexes).filter((n) => !s.networks.includes(n))
    return unknown.length > 0 ? `collectors.top-pools.dexes names networks that are not in networks: ${unknown.join(', ')}` : undefined
  },
  ({ aws }) =>
    (aws.vpc.id === undefined) === (aws.vpc.subnetIds === undefined)
      ? undefined
      : 'aws.vpc needs both id and subnetIds: the subnets decide what the functions reach',
]

/**
 * Parses the object under `tokay` in cdk.json; missing keys get their defaults.
 * @throws ConfigError with every problem, each by the setting's name.
 */
export function parseSettings(input: unknown): Settings {
  const parsed = schema.safeParse(input)
  if (!parsed.success) throw new ConfigError(parsed.error.issues.flatMap(problemsOf))
  const problems = acrossFields.map((rule) => rule(parsed.data)).filter((p) => p !== undefined)
  if (problems.length > 0) throw new ConfigError(problems)
  return parsed.data
}

export const enabledCollectors = ({ collectors }: Pick<Settings, 'collectors'>): readonly CollectorName[] =>
  collectorNames.filter((name) => collectors[name].enabled)

/** No collector at all: the health check, its metrics and its alerts are all there is, and nothing is ever parked. For any Postgres. */
export const isHealthAlone = (settings: Pick<Settings, 'collectors'>) => enabledCollectors(settings).length === 0

/** zod's messages name the wrong type or bound, never the value: a secret put into the wrong key stays unseen. */
function problemsOf(issue: z.core.$ZodIssue): string[] {
  const at = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => `${at ? `${at}.` : ''}${key} is not a setting; check its spelling`)
  return [`${at || 'tokay'}: ${issue.message}`]
}
