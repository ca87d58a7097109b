// The server's vital signs, in one statement that is the same from PostgreSQL 14 to 18, on Neon, RDS and Aurora.
//
// It reads catalogs and statistics only, and never calls what waits for a relation's lock (pg_relation_size, pg_get_indexdef, pg_sequences): behind an
// open ACCESS EXCLUSIVE lock such a check hangs, and with one more session each minute it takes the server's last connections itself.
// to_jsonb of a row, current_setting(x, true) and to_regproc ask for what a version may not have without failing where it has not.
// A plain role sees locks, waits, sizes and counters; other roles' states and queries need pg_read_all_stats, and `seesOthers` says so.

import type { Row, Rows, Statement } from '../../db/database.ts'
import type { BlockedSession, BlockingSession, Vitals } from '../observation.ts'
import { withoutLiterals } from './without-literals.ts'

/** Settings that assess judges or the report shows. None of them needs a privilege to read. */
const settingNames = [
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'transaction_timeout',
  'idle_session_timeout',
  'autovacuum',
  'fsync',
  'full_page_writes',
  'synchronous_commit',
  'default_transaction_isolation',
  'deadlock_timeout',
  'log_lock_waits',
  'track_io_timing',
  'work_mem',
  'shared_buffers',
  'neon.max_cluster_size',
]

/** pg_database_size looks at every file. Above so many catalog entries the size is left out. */
const maxSizedRelations = 20_000

/** Who blocks whom is asked for the longest waits only: each answer takes the server's lock tables for a moment. */
const maxWaiters = 50

const text = `
with me as materialized (
  select r.oid as role_oid, d.oid as database_oid,
    case when r.rolsuper then -1 else r.rolconnlimit end as role_limit,
    case when r.rolsuper then -1 else d.datconnlimit end as database_limit
  from pg_roles r, pg_database d
  where r.rolname = session_user and d.datname = current_database()
), a as materialized (
  select pid, datid, usesysid, application_name, state, wait_event_type, backend_type, xact_start, query_start, state_change, backend_xmin,
    nullif(left(query, 600), '<insufficient privilege>') as query
  from pg_stat_activity
), cb as materialized (
  select * from a
  where pid <> pg_backend_pid() and (backend_type = 'client backend' or (backend_type is null and datid is not null))
), waiting as materialized (
  select l.pid, l.locktype, l.mode, l.relation, l.database, a.query, a.application_name,
    extract(epoch from clock_timestamp() - coalesce(l.waitstart, a.query_start)) * 1000 as wait_ms
  from pg_locks l left join a using (pid)
  where not l.granted
), w as materialized (
  select *, pg_blocking_pids(pid) as blocked_by
  from (select * from waiting order by wait_ms desc nulls last limit ${maxWaiters}) longest
)
select jsonb_build_object(
  'server', jsonb_build_object(
    'version', current_setting('server_version_num')::int,
    'database', current_database(),
    'role', current_user,
    'flavor', case
      when current_setting('neon.timeline_id', true) is not null then 'neon'
      when to_regproc('aurora_version') is not null then 'aurora'
      when current_setting('rds.extensions', true) is not null then 'rds'
      else 'pg' end,
    'nowMs', extract(epoch from now()) * 1000,
    'startedAtMs', round(extract(epoch from pg_postmaster_start_time()) * 1000),
    'isInRecovery', pg_is_in_recovery(),
    'isReadOnly', current_setting('default_transaction_read_only') = 'on',
    'tls', (select jsonb_build_object('isOn', s.ssl, 'version', s.version) from pg_stat_ssl s where s.pid = pg_backend_pid()),
    'seesOthers', pg_has_role(current_user, 'pg_read_all_stats', 'usage')),
  'connections', jsonb_build_object(
    'max', current_setting('max_connections')::int,
    'reserved', current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int,
    'used', (select count(*) from cb) + 1,
    'databaseUsed', (select count(*) from cb, me where datid = database_oid) + 1,
    'databaseLimit', (select database_limit from me),
    'roleUsed', (select count(*) from cb, me where usesysid = role_oid) + 1,
    'roleLimit', (select role_limit from me),
    'states', coalesce((select jsonb_object_agg(state, n) from (select coalesce(state, 'unknown') as state, count(*) as n from cb group by 1) x), '{}'),
    'applications', coalesce((select jsonb_object_agg(name, n) from (
      select coalesce(nullif(application_name, ''), '-') as name, count(*) as n from cb group by 1 order by 2 desc, 1 limit 5) x), '{}')),
  'activity', (select jsonb_build_object(
    'lockWaiters', count(*) filter (where wait_event_type = 'Lock'),
    'oldestTransactionMs', round(max(extract(epoch from clock_timestamp() - xact_start)) * 1000),
    'oldestQueryMs', round(max(extract(epoch from clock_timestamp() - query_start)) filter (where state = 'active') * 1000),
    'idleInTransaction', count(*) filter (where state like 'idle in transaction%'),
    'idleInTransactionMs', round(max(extract(epoch from clock_timestamp() - state_change)) filter (where state like 'idle in transaction%') * 1000),
    'aborted', count(*) filter (where state = 'idle in transaction (aborted)'),
    'abortedMs', round(max(extract(epoch from clock_timestamp() - state_change)) filter (where state = 'idle in transaction (aborted)') * 1000),
    'xminAge', max(age(backend_xmin))) from cb),
  'blocked', coalesce((select jsonb_agg(jsonb_build_object(
      'pid', w.pid, 'waitMs', coalesce(round(w.wait_ms), 0), 'lockType', w.locktype, 'mode', w.mode, 'relation', c.relname,
      'blockedBy', to_jsonb(w.blocked_by), 'application', w.application_name, 'query', w.query) order by w.wait_ms desc nulls last)
    from (select * from w order by wait_ms desc nulls last limit 20) w
    left join pg_class c on c.oid = w.relation and w.database in (0, (select database_oid from me))), '[]'),
  'blockedCount', (select count(*) from waiting),
  'blockers', coalesce((select jsonb_agg(jsonb_build_object(
      'pid', b.pid,
      'state', case when b.pid = 0 then 'prepared transaction' else a.state end,
      'application', a.application_name, 'query', a.query,
      'transactionMs', round(extract(epoch from clock_timestamp() - a.xact_start) * 1000),
      'isRoot', not exists (select from waiting x where x.pid = b.pid)) order by b.pid)
    from (select distinct unnest(blocked_by) as pid from w) b left join a using (pid)), '[]'),
  'counters', (select to_jsonb(d) from pg_stat_database d, me where d.datid = database_oid),
  'wraparound', (select jsonb_build_object(
    'xidAge', max(age(datfrozenxid)), 'mxidAge', max(mxid_age(datminmxid)),
    'freezeMaxAge', current_setting('autovacuum_freeze_max_age')::int) from pg_database where datallowconn),
  'prepared', (select jsonb_build_object(
    'count', count(*), 'oldestMs', round(extract(epoch from clock_timestamp() - min(prepared)) * 1000)) from pg_prepared_xacts),
  'replicas', coalesce((select jsonb_agg(jsonb_build_object(
      'application', coalesce(application_name, '-'), 'state', coalesce(state, 'unknown'), 'lagMs', round(extract(epoch from replay_lag) * 1000)))
    from pg_stat_replication), '[]'),
  'slots', coalesce((select jsonb_agg(jsonb_build_object(
      'name', slot_name, 'isActive', active, 'walStatus', wal_status,
      'retainedBytes', case when not pg_is_in_recovery() and restart_lsn is not null and to_regproc('aurora_version') is null
        then pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) end,
      'xminAge', greatest(age(xmin), age(catalog_xmin))))
    from pg_replication_slots where not temporary), '[]'),
  'replicaLagMs', case when pg_is_in_recovery() and to_regproc('aurora_version') is null
    then round(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000) end,
  'settings', (select jsonb_object_agg(name, current_setting(name, true)) from unnest($1::text[]) as name)
    -- this transaction has its own: here is what others get
    || (select jsonb_object_agg(name, case reset_val when '0' then '0' else reset_val || unit end) from pg_settings where name = any ($1::text[]) and unit = 'ms' and context = 'user'),
  'databaseBytes', case when (select reltuples from pg_class where oid = 'pg_class'::regclass) < ${maxSizedRelations}
    then pg_database_size(current_database()) end,
  'statementsIn', (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_stat_statements'),
  'serverMs', round((extract(epoch from clock_timestamp() - now()) * 1000)::numeric, 2)
) as seen`

/**
 * For the transaction of every look: compiling a large statement takes longer than running it, and nothing here may change a row.
 * Both end with the transaction.
 */
export const lookOnly: Statement = {
  name: 'look_only',
  text: `select set_config('jit', 'off', true), set_config('transaction_read_only', 'on', true)`,
  values: [],
}

/** One row. `nowMs` and `serverMs` count from BEGIN, so that parsing and planning are in it: the statement's own start comes after both. */
export const vitalsStatement: Statement = { name: 'vitals', text, values: [settingNames] }

/** pg_stat_database, whatever columns this version has. */
type StatDatabase = Readonly<Record<string, number | null>> & { readonly stats_reset: string | null }
type Asked = Omit<Vitals, 'counters'> & { readonly counters: StatDatabase }

export function readVitals(rows: Rows): Vitals {
  const { counters, ...seen } = (rows[0] as Row)['seen'] as Asked
  const count = (column: string) => counters[column] ?? 0
  return {
    ...seen,
    blocked: seen.blocked.map((session): BlockedSession => ({ ...session, query: shown(session.query) })),
    blockers: seen.blockers.map((session): BlockingSession => ({ ...session, query: shown(session.query) })),
    counters: {
      statsResetAtMs: counters.stats_reset === null ? null : Date.parse(counters.stats_reset),
      commits: count('xact_commit'),
      rollbacks: count('xact_rollback'),
      deadlocks: count('deadlocks'),
      conflicts: count('conflicts'),
      tempBytes: count('temp_bytes'),
      blocksHit: count('blks_hit'),
      blocksRead: count('blks_read'),
      sessionsAbandoned: counters['sessions_abandoned'] ?? null,
      sessionsFatal: counters['sessions_fatal'] ?? null,
      sessionsKilled: counters['sessions_killed'] ?? null,
    },
  }
}

/**
 * Who holds system catalogs against readers: asked where the vitals could not be had for a lock, since nothing else would say who it is. It reads less
 * than they do: pg_class and what is behind pg_stat_activity, without which nobody could have logged in.
 */
export const catalogLocksStatement: Statement = {
  name: 'catalog_locks',
  text: `
with locks as materialized (
  select coalesce(pid, 0) as pid, granted, mode, locktype = 'relation' and relation < 16384 as is_catalog,
    database in (0, (select oid from pg_database where datname = current_database())) as is_here
  from pg_locks
)
select l.pid, case when l.pid = 0 then 'prepared transaction' else a.state end as state, a.application_name as application,
  nullif(left(a.query, 600), '<insufficient privilege>') as query,
  round(extract(epoch from clock_timestamp() - a.xact_start) * 1000)::float8 as "transactionMs",
  not exists (select from locks x where x.pid = l.pid and not x.granted) as "isRoot"
from (select distinct pid from locks where granted and is_catalog and is_here and mode = 'AccessExclusiveLock') l
left join pg_stat_activity a using (pid)
order by l.pid
limit 10`,
  values: [],
}

export const readCatalogLocks = (rows: Rows): readonly BlockingSession[] =>
  (rows as readonly BlockingSession[]).map((session) => ({ ...session, query: shown(session.query) }))

const shown = (query: string | null) => (query === null ? null : withoutLiterals(query, 80))
