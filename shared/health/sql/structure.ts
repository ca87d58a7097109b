// How tables, indexes and sequences are made and kept: what changes slowly. Of the whole database, since its connections, disk and transaction ids
// are shared with whatever else lives in it. Names are ready to paste: quoted where they need it. Partitions count as the table that they are of.

import type { Row, Rows, Statement } from '../../db/database.ts'
import type { SequenceUse, Structure, Unseen } from '../observation.ts'

const structureText = `
with t as materialized (
  select c.oid, format('%I.%I', n.nspname, c.relname) as name, coalesce(inh.inhparent, c.oid) as root, c.relkind, c.relispartition,
    c.reltuples, c.relpages, c.reltoastrelid, c.relfrozenxid, c.reloptions
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_inherits inh on inh.inhrelid = c.oid and c.relispartition
  where c.relkind in ('r', 'm', 'p') and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
), ix as materialized (
  select i.indexrelid, i.indrelid, i.indisprimary, i.indisunique, i.indisvalid, i.indisready, i.indpred, i.indkey,
    concat_ws('/', i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indexprs::text, i.indpred::text, c.relam) as key,
    format('%I.%I', n.nspname, c.relname) as name, c.relpages as pages, coalesce(inh.inhparent, i.indexrelid) as root
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_inherits inh on inh.inhrelid = i.indexrelid
  where i.indrelid in (select oid from t)
), page as (
  select current_setting('block_size')::bigint as bytes
), sized as materialized (
  select t.root, sum(t.relpages + coalesce(toast.relpages, 0)) as pages, sum(coalesce(i.pages, 0)) as index_pages, sum(greatest(t.reltuples, 0)) as rows
  from t
  left join pg_class toast on toast.oid = t.reltoastrelid
  left join (select indrelid, sum(pages) as pages from ix group by 1) i on i.indrelid = t.oid
  group by 1
), st as materialized (
  select * from pg_stat_user_tables
), dead as (
  select t.name, st.n_dead_tup, extract(epoch from now() - greatest(st.last_vacuum, st.last_autovacuum)) * 1000 as vacuum_age_ms,
    coalesce((select option_value from pg_options_to_table(t.reloptions) where option_name = 'autovacuum_vacuum_threshold')::float,
      current_setting('autovacuum_vacuum_threshold')::float)
    + coalesce((select option_value from pg_options_to_table(t.reloptions) where option_name = 'autovacuum_vacuum_scale_factor')::float,
      current_setting('autovacuum_vacuum_scale_factor')::float) * greatest(t.reltuples, 0) as threshold
  from t join st on st.relid = t.oid
)
select jsonb_build_object(
  'tables', coalesce((select jsonb_agg(jsonb_build_object(
      'name', t.name, 'bytes', x.pages * page.bytes, 'indexBytes', x.index_pages * page.bytes, 'rows', round(x.rows::numeric)) order by x.pages + x.index_pages desc, t.name)
    from (select * from sized order by pages + index_pages desc limit 10) x join t on t.oid = x.root, page), '[]'),
  'vacuumOverdue', coalesce((select jsonb_agg(jsonb_build_object(
      'table', name, 'deadRows', n_dead_tup, 'threshold', round(threshold::numeric), 'vacuumAgeMs', round(vacuum_age_ms)) order by n_dead_tup desc)
    from (select * from dead where n_dead_tup > threshold and n_dead_tup >= 1000 order by n_dead_tup desc limit 5) x), '[]'),
  'oldestXidTables', coalesce((select jsonb_agg(jsonb_build_object('table', name, 'age', age) order by age desc)
    from (
      select t.name, greatest(age(t.relfrozenxid), age(toast.relfrozenxid)) as age
      from t left join pg_class toast on toast.oid = t.reltoastrelid
      where t.relkind <> 'p' and greatest(age(t.relfrozenxid), age(toast.relfrozenxid)) > current_setting('autovacuum_freeze_max_age')::int
      order by 2 desc limit 3) x), '[]'),
  -- building one concurrently looks the same, and holds this lock on its table to the end
  'invalidIndexes', coalesce((select jsonb_agg(ix.name order by ix.name) from ix where (not indisvalid or not indisready) and not exists (
      select from pg_locks l where l.relation = ix.indrelid and l.mode = 'ShareUpdateExclusiveLock' and l.granted
        and l.database = (select oid from pg_database where datname = current_database()))), '[]'),
  -- an index of a partition belongs to its parent's: that one is the duplicate
  'duplicateIndexes', coalesce((select jsonb_agg(jsonb_build_object('table', t.name, 'indexes', to_jsonb(x.names), 'bytes', x.pages * page.bytes) order by t.name, x.names)
    from (
      select indrelid, array_agg(name order by indisprimary desc, indisunique desc, name) as names, sum(pages) - max(pages) as pages
      from ix where indisvalid and root = indexrelid group by indrelid, key having count(*) > 1) x
    join t on t.oid = x.indrelid, page), '[]'),
  'unusedIndexes', coalesce((select jsonb_agg(jsonb_build_object('index', ix.name, 'table', t.name, 'bytes', x.pages * page.bytes) order by x.pages desc)
    from (
      select ix.root, sum(ix.pages) as pages
      from ix join pg_stat_user_indexes ui using (indexrelid)
      where not exists (select from pg_constraint k where k.conindid = ix.indexrelid)
      group by 1 having sum(ui.idx_scan) = 0 and not bool_or(ix.indisunique) and sum(ix.pages) > 128
      order by 2 desc limit 10) x
    join ix on ix.indexrelid = x.root join t on t.oid = ix.indrelid, page), '[]'),
  'foreignKeysWithoutIndex', coalesce((select jsonb_agg(jsonb_build_object(
      'constraint', x.conname, 'table', x.name,
      'columns', (select jsonb_agg(a.attname order by n) from unnest(x.conkey) with ordinality as c(attnum, n)
        join pg_attribute a on a.attrelid = x.conrelid and a.attnum = c.attnum)) order by x.name, x.conname)
    from (
      select k.conname, k.conkey, k.conrelid, t.name
      from pg_constraint k join t on t.oid = k.conrelid
      where k.contype = 'f' and k.conparentid = 0
        and not exists (select from ix where ix.indrelid = k.conrelid and ix.indisvalid and ix.indpred is null
          and (string_to_array(ix.indkey::text, ' ')::int2[])[1:cardinality(k.conkey)] @> k.conkey)
      order by t.name, k.conname limit 20) x), '[]'),
  'sequentialScans', coalesce((select jsonb_agg(jsonb_build_object(
      'table', t.name, 'scans', x.seq_scan, 'rowsRead', x.seq_tup_read, 'rows', x.n_live_tup) order by x.seq_tup_read desc)
    from (select * from st where n_live_tup >= 10000 and seq_scan > 0 order by seq_tup_read desc limit 5) x join t on t.oid = x.relid), '[]'),
  'withoutPrimaryKey', coalesce((select jsonb_agg(name order by name) from (
      select name from t where relkind in ('r', 'p') and not relispartition
        and not exists (select from ix where ix.indrelid = t.oid and ix.indisprimary) order by name limit 20) x), '[]'),
  -- never reset: since the server has started at least
  'statsAgeMs', (select round(extract(epoch from now() - coalesce(stats_reset, pg_postmaster_start_time())) * 1000)
    from pg_stat_database where datname = current_database())
) as seen`

export const structureStatement: Statement = { name: 'structure', text: structureText, values: [] }

export const readStructure = (rows: Rows): Structure => (rows[0] as Row)['seen'] as Structure

/**
 * By itself: reading a sequence waits for whoever has it open in ALTER SEQUENCE, and then lock_timeout ends this and nothing else.
 * One that may not be read is counted; pg_monitor does not give that right.
 */
export const sequencesStatement: Statement = {
  name: 'sequences',
  text: `
with s as materialized (
  select format('%I.%I', n.nspname, c.relname) as name, q.seqmax, c.oid,
    has_sequence_privilege(c.oid, 'select') or has_sequence_privilege(c.oid, 'usage') as readable
  from pg_sequence q
  join pg_class c on c.oid = q.seqrelid
  join pg_namespace n on n.oid = c.relnamespace
  where not q.seqcycle and q.seqincrement > 0 and n.nspname !~ '^pg_temp'
), used as materialized (
  select s.name, case when s.readable then pg_sequence_last_value(s.oid) end as last_value,
    least(s.seqmax, coalesce(min(case a.atttypid when 'int2'::regtype then 32767::bigint when 'int4'::regtype then 2147483647 end), s.seqmax)) as max_value
  from s
  left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype in ('a', 'i') and d.refobjsubid > 0
  left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
  group by s.oid, s.name, s.readable, s.seqmax
)
select jsonb_build_object(
  'unreadable', (select count(*) from s where not readable),
  'all', (select count(*) from s),
  'uses', coalesce((select jsonb_agg(jsonb_build_object('sequence', name, 'used', round(last_value::numeric / max_value, 4), 'lastValue', last_value)
      order by last_value::numeric / max_value desc, name)
    from used where last_value > 0.5 * max_value), '[]')
) as seen`,
  values: [],
}

/** Those more than half used. What is unreadable may be worse than it, so without a finding there is no "all is well". */
export function readSequences(rows: Rows): readonly SequenceUse[] | Unseen {
  const { uses, unreadable, all } = (rows[0] as Row)['seen'] as { uses: readonly SequenceUse[]; unreadable: number; all: number }
  if (uses.length > 0 || unreadable === 0) return uses
  return { unseen: `${unreadable} of ${all} sequences may not be read; grant select on all sequences in schema <schema> to <role>` }
}
