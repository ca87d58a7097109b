// How much the server has to do, and who gets in each other's way: connections, transactions, what its counters say of the last hour.

import { type Hold, threeOfFive } from '../check.ts'
import type { Vitals } from '../observation.ts'
import { counted, forBytes, forShare, forTime } from './figures.ts'
import { above, eachOf, info, type Judged, type Judges, type Limits, type Look, ok, skipped } from './judge.ts'

const twoOfThree: Hold = { bad: 2, of: 3 }

const connections = ({ connections: seen }: Vitals, { settings }: Look): Judged => {
  const warning = settings.health.thresholds.connectionsPercent
  const limits = { warning, critical: warning + (100 - warning) / 2 }
  const usable = Math.max(1, seen.max - seen.reserved)
  const all = [
    { of: 'the server', used: seen.used, limit: usable },
    ...(seen.databaseLimit > 0 ? [{ of: 'the database', used: seen.databaseUsed, limit: seen.databaseLimit }] : []),
    ...(seen.roleLimit > 0 ? [{ of: 'the role', used: seen.roleUsed, limit: seen.roleLimit }] : []),
  ]
  const worst = all.reduce((a, b) => (b.used / b.limit > a.used / a.limit ? b : a))
  const measured = above((100 * worst.used) / worst.limit, limits)
  // a large percentage of a small server is three connections all the same
  const isAlmostFull = usable - seen.used < 3
  return {
    ...measured,
    ...(isAlmostFull ? { severity: 'critical', isClear: false } : {}),
    unit: '%',
    hold: twoOfThree,
    message: `${worst.used} of ${counted(worst.limit, 'usable connection')} of ${worst.of} are taken.`,
    action: 'End what holds them without need, raise the limit, or use a pooler or a smaller database.poolMax.',
    evidence: Object.entries(seen.applications).map(([name, count]) => `${name}: ${counted(count, 'connection')}`),
  }
}

/** The age of the oldest, or that none was seen; which is not the same where other roles' sessions are hidden. */
function oldest(vitals: Vitals, ageMs: number | null, limits: Limits, words: { what: string; action: string }): Judged {
  if (ageMs === null || ageMs <= Math.min(limits.warning ?? Infinity, limits.critical ?? Infinity)) {
    if (!vitals.server.seesOthers) {
      return skipped(
        `Sessions of other roles are hidden; of its own, none has ${words.what} for long.`,
        `grant pg_monitor to ${vitals.server.role};`,
        { unit: 'ms', limits },
      )
    }
    if (ageMs === null) return ok(`No session has ${words.what}.`, { unit: 'ms', limits })
  }
  return {
    ...above(ageMs, limits),
    unit: 'ms',
    message: `A session has ${words.what} for ${forTime(ageMs)}.`,
    action: words.action,
    evidence: [
      "select pid, application_name, state, now() - xact_start as age, left(query, 80) from pg_stat_activity where backend_type = 'client backend' and xact_start is not null order by xact_start limit 5;",
    ],
  }
}

const minuteMs = 60_000

const idleTransaction = (vitals: Vitals): Judged =>
  oldest(
    vitals,
    vitals.activity.idleInTransactionMs,
    { warning: minuteMs, critical: 5 * minuteMs },
    {
      what: 'been idle in a transaction',
      action: 'It holds its locks and keeps vacuum back: end it (pg_terminate_backend), and set idle_in_transaction_session_timeout.',
    },
  )

const abortedTransaction = (vitals: Vitals): Judged =>
  oldest(
    vitals,
    vitals.activity.abortedMs,
    { warning: 10_000 },
    {
      what: 'left an aborted transaction open',
      action: 'Its client does not roll back after an error: end the session, and mend the client.',
    },
  )

const longTransaction = (vitals: Vitals): Judged =>
  oldest(
    vitals,
    vitals.activity.oldestTransactionMs,
    { warning: 5 * minuteMs, critical: 30 * minuteMs },
    {
      what: 'had a transaction open',
      action: 'See what it does; end it (pg_terminate_backend) when nobody needs it.',
    },
  )

const longQuery = (vitals: Vitals): Judged =>
  oldest(
    vitals,
    vitals.activity.oldestQueryMs,
    { warning: 5 * minuteMs, critical: 30 * minuteMs },
    {
      what: 'been at one query',
      action: 'See what it does; cancel it (pg_cancel_backend) when nobody needs it.',
    },
  )

const xminHorizon = ({ activity, slots }: Vitals): Judged => {
  const bySlot = slots.flatMap(({ name, xminAge }) => (xminAge === null ? [] : [{ who: `replication slot ${name}`, age: xminAge }]))
  const all = [...bySlot, ...(activity.xminAge === null ? [] : [{ who: 'a transaction', age: activity.xminAge }])]
  const held = all.toSorted((a, b) => b.age - a.age)[0]
  if (!held) return ok('Nothing keeps vacuum back.', { value: 0, unit: 'count' })
  return {
    ...above(held.age, { warning: 10e6, critical: 100e6 }),
    unit: 'count',
    message: `${held.who} keeps vacuum back by ${counted(held.age, 'transaction')}.`.replace(/^a/, 'A').replace(/^r/, 'R'),
    action: 'End the transaction, or drop the slot that nobody reads (select pg_drop_replication_slot(name)).',
  }
}

const preparedTransactions = ({ prepared }: Vitals): Judged => ({
  ...above(prepared.count === 0 ? 0 : (prepared.oldestMs ?? 0), { warning: 5 * minuteMs }),
  unit: 'ms',
  message:
    prepared.count === 0
      ? 'There are no prepared transactions.'
      : `${counted(prepared.count, 'prepared transaction')}, the oldest for ${forTime(prepared.oldestMs ?? 0)}.`,
  action: 'They hold locks and keep vacuum back until somebody ends them: commit prepared or rollback prepared (pg_prepared_xacts).',
})

type Counters = NonNullable<Look['recent']['counters']>

/** Of the last hour; nothing can be said of counters that were seen once, or reset in between. */
function lastHour(look: Look, judge: (counters: Counters) => Judged): Judged {
  const { counters } = look.recent
  return counters === null
    ? skipped("The server's counters have not been seen twice since they began.", 'Nothing: the next looks will tell.')
    : judge(counters)
}

const deadlocks = (_: Vitals, look: Look): Judged =>
  lastHour(look, ({ deadlocks: count }) => ({
    ...above(count, { warning: 0, critical: 9 }),
    unit: 'count',
    message: `${counted(count, 'deadlock')} in the last hour.`,
    action: "Something locks the same rows in another order; the server's log names both statements. Tokay's own writers sort theirs.",
  }))

const conflicts = (_: Vitals, look: Look): Judged =>
  lastHour(look, ({ conflicts: count }) => ({
    ...above(count, { warning: 0 }),
    unit: 'count',
    message: `${counted(count, 'query', 'queries')} cancelled on a standby in the last hour.`,
    action: 'On the standby: raise max_standby_streaming_delay, or set hot_standby_feedback.',
  }))

const temporaryFiles = (_: Vitals, look: Look): Judged =>
  lastHour(look, ({ tempBytes }) => ({
    ...above(tempBytes, { warning: 1024 ** 3 }),
    unit: 'bytes',
    message: `${forBytes(tempBytes)} of temporary files in the last hour.`,
    action: 'Large sorts and hashes spill to disk: find them (log_temp_files), and raise work_mem for them or give them an index.',
  }))

const rollbackRatio = (_: Vitals, look: Look): Judged =>
  lastHour(look, ({ commits, rollbacks }) => {
    const count = commits + rollbacks
    if (count < 100)
      return skipped(`Only ${counted(count, 'transaction')} in the last hour.`, 'Nothing: from 100 on it is judged.', { unit: '%' })
    return {
      ...above((100 * rollbacks) / count, { warning: 10 }),
      unit: '%',
      message: `${forShare(rollbacks / count)} of ${count} transactions were rolled back in the last hour.`,
      action: "Find the errors in the server's log: a client fails and tries again.",
    }
  })

const cacheHit = ({ server }: Vitals, look: Look): Judged =>
  lastHour(look, ({ blocksHit, blocksRead }) => {
    const blocks = blocksHit + blocksRead
    if (server.flavor === 'neon')
      return skipped("Means nothing on Neon: what misses Postgres' own cache may be in its file cache.", "Look at Neon's own dashboard.", {
        unit: '%',
      })
    if (blocks < 10_000)
      return skipped(`Only ${counted(blocks, 'block')} were read in the last hour.`, 'Nothing: from 10,000 on it is judged.', { unit: '%' })
    const percent = (100 * blocksHit) / blocks
    const message = `${forShare(blocksHit / blocks)} of blocks were found in the cache in the last hour.`
    return percent < 95
      ? info(message, 'If queries are slow: more memory (shared_buffers), or an index for what reads whole tables.', {
          value: Math.round(percent * 10) / 10,
          unit: '%',
        })
      : ok(message, { value: Math.round(percent * 10) / 10, unit: '%' })
  })

const sessionsLost = (_: Vitals, look: Look): Judged =>
  lastHour(look, ({ sessionsLost: count }) => ({
    ...above(count, { warning: 5 }),
    unit: 'count',
    message: `${counted(count, 'session')} ended by a lost client, an error or an operator in the last hour.`,
    action: 'Look for network trouble, clients that time out, or a tool that ends sessions.',
  }))

const replicationLag = ({ replicas }: Vitals): Judged | readonly Judged[] =>
  eachOf(
    replicas,
    ({ application, state, lagMs }) => ({
      ...above(lagMs ?? 0, { warning: 60_000, critical: 300_000 }),
      subject: application,
      unit: 'ms',
      hold: threeOfFive,
      message: `Standby ${application} (${state}) is ${forTime(lagMs ?? 0)} behind.`,
      action: 'Look at its load and at the network; a long query on it can hold replay back.',
    }),
    'No standby reads from this server.',
  )

const replicationSlot = ({ slots }: Vitals): Judged | readonly Judged[] =>
  eachOf(
    slots,
    ({ name, isActive, walStatus, retainedBytes }) => {
      const measured = above(retainedBytes ?? 0, { warning: 1024 ** 3 })
      const severity = walStatus === 'lost' ? 'critical' : walStatus === 'unreserved' ? 'warning' : measured.severity
      return {
        ...measured,
        severity,
        isClear: measured.isClear && severity === 'ok',
        subject: name,
        unit: 'bytes',
        message: `Replication slot ${name} (${isActive ? 'in use' : 'not in use'}${walStatus === null ? '' : `, ${walStatus}`}) keeps ${forBytes(retainedBytes ?? 0)} of WAL.`,
        action: `Bring its reader back, or drop it before the disk is full: select pg_drop_replication_slot('${name.replaceAll("'", "''")}');`,
      }
    },
    'There are no replication slots.',
  )

export const loadChecks: Judges<Vitals> = {
  connections,
  'idle-transaction': idleTransaction,
  'aborted-transaction': abortedTransaction,
  'long-transaction': longTransaction,
  'long-query': longQuery,
  'xmin-horizon': xminHorizon,
  'prepared-transactions': preparedTransactions,
  deadlocks,
  conflicts,
  'temp-bytes': temporaryFiles,
  'rollback-ratio': rollbackRatio,
  'cache-hit': cacheHit,
  sessions: sessionsLost,
  'replication-lag': replicationLag,
  'replication-slot': replicationSlot,
}
