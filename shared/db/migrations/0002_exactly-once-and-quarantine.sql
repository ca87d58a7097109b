-- Rows that Postgres refused, each alone, as the collector made it and with the reason. `id` is made from table and key, so that a row that is
-- seen again, or replayed twice, is one row here.
create table quarantine (
  id uuid primary key,
  table_name text not null,
  row jsonb not null,
  class text not null,
  sqlstate text,
  message text not null,
  collector text not null,
  run_id text not null,
  first_seen_at timestamptz not null,
  last_seen_at timestamptz not null,
  status text not null default 'held' check (status in ('held', 'retried'))
);

-- Batches of users' own statements that are in, each part by the transaction that wrote it. `applied_in` and pg_xact_status tell a person what
-- became of it.
create table ledger (
  batch_id uuid not null,
  chunk int not null,
  rows int not null,
  applied_in xid8 not null default pg_current_xact_id(),
  entered_at timestamptz not null default now(),
  primary key (batch_id, chunk)
);

-- The first statement of the transaction that writes a batch. It fails, and everything behind it, when the batch is in already (TK001), or when
-- another transaction has entered it and still runs (TK002, after lock_timeout). Outside a transaction nothing is entered: an entry that
-- committed by itself would keep its rows out for ever.
create function enter_ledger(batch uuid, part int, row_count int) returns void
language plpgsql as $$
begin
  if current_setting('tokay.in_transaction', true) is distinct from 'yes' then
    raise exception 'batch % was not entered: there is no transaction', batch using errcode = '25P01';
  end if;
  begin
    insert into ledger (batch_id, chunk, rows) values (batch, part, row_count) on conflict do nothing;
  exception when lock_not_available then
    raise exception 'batch %, part %: an earlier attempt still runs', batch, part using errcode = 'TK002';
  end;
  if not found then
    raise exception 'batch %, part % is in already', batch, part using errcode = 'TK001';
  end if;
end
$$;
