-- The collectors' tables. Loads on PostgreSQL 14 to 18, without extensions. Applied files are never edited: a test pins their hashes.
-- Prices and amounts are numeric without precision: the API sends up to 76 decimals and 24 digits before the point, and both must survive.
-- NaN sorts above every number and poisons a sum, so it is refused where it could arrive.

create table dexes (
  network text not null,
  dex text not null,
  name text not null,
  observed_at timestamptz not null,
  primary key (network, dex)
);

create table tokens (
  network text not null,
  address text not null,
  symbol text,
  name text,
  decimals int,
  coingecko_id text,
  observed_at timestamptz not null,
  primary key (network, address)
);

-- The newest known state of each pool. Room on each page and no index on a changing column: updates stay in their page.
create table pools (
  pool_sk int generated always as identity primary key,
  network text not null,
  address text not null,
  dex text,
  name text,
  base_token text,
  quote_token text,
  pool_created_at timestamptz,
  first_seen_at timestamptz not null,
  first_seen_via text not null,
  observed_at timestamptz not null,
  base_price_usd numeric check (base_price_usd <> 'NaN'),
  quote_price_usd numeric check (quote_price_usd <> 'NaN'),
  reserve_usd numeric check (reserve_usd <> 'NaN'),
  fdv_usd numeric check (fdv_usd <> 'NaN'),
  market_cap_usd numeric check (market_cap_usd <> 'NaN'),
  volume_h24_usd numeric check (volume_h24_usd <> 'NaN'),
  extra jsonb,
  unique (network, address)
) with (fillfactor = 70);

-- Every observation of a pool, by day.
create table pool_snapshots (
  pool_sk int not null,
  observed_at timestamptz not null,
  source text not null,
  base_price_usd numeric,
  base_price_native numeric,
  quote_price_usd numeric,
  reserve_usd numeric,
  fdv_usd numeric,
  market_cap_usd numeric,
  volume_m5_usd numeric,
  volume_h1_usd numeric,
  volume_h24_usd numeric,
  change_m5_pct numeric,
  change_h1_pct numeric,
  change_h24_pct numeric,
  buys_m5 int,
  sells_m5 int,
  buys_h1 int,
  sells_h1 int,
  buys_h24 int,
  sells_h24 int,
  buyers_h24 int,
  sellers_h24 int,
  primary key (observed_at, pool_sk, source)
) partition by range (observed_at);

create index on pool_snapshots (pool_sk, observed_at desc);

-- No foreign key to pools: the transaction that writes a trade makes sure of its pool, and one check a row is saved.
create table trades (
  block_at timestamptz not null,
  trade_key uuid not null,
  pool_sk int not null,
  block_number bigint not null,
  tx_hash text not null,
  maker text,
  kind text not null check (kind in ('buy', 'sell')),
  from_token text not null,
  to_token text not null,
  from_amount numeric not null check (from_amount <> 'NaN'),
  to_amount numeric not null check (to_amount <> 'NaN'),
  price_from_usd numeric,
  price_to_usd numeric,
  base_price_usd numeric check (base_price_usd <> 'NaN'),
  volume_usd numeric check (volume_usd <> 'NaN'),
  ingested_at timestamptz not null default now(),
  primary key (block_at, trade_key)
) partition by range (block_at);

create index on trades (pool_sk, block_at desc);

-- Stretches of time that the API no longer had when it was asked.
create table coverage_gaps (
  stream text not null,
  from_at timestamptz not null,
  to_at timestamptz not null,
  reason text not null,
  status text not null check (status in ('open', 'provisional', 'closed')),
  recorded_at timestamptz not null default now(),
  primary key (stream, from_at)
);

create table runs (
  run_id text not null,
  collector text not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  outcome text not null,
  fetched int not null,
  inserted int not null,
  updated int not null,
  unchanged int not null,
  rejected int not null,
  parked int not null,
  api_calls int not null,
  problem text,
  primary key (collector, run_id)
);

-- Makes the daily partitions that a batch needs, inside the transaction that writes it. There is no default partition:
-- rows in one would block the creation of their real partition for ever.
-- The lock is the one that ATTACH needs anyway; inserts and selects pass it. An advisory lock would not do: only a relation lock
-- refreshes the catalog cache, behind an advisory one to_regclass still answers null and the create fails with 42P07.
create function ensure_days(parent regclass, days date[]) returns int
language plpgsql as $$
declare
  day date;
  child text;
  made int := 0;
begin
  -- sorted, so that two writers never wait for each other in a ring
  for day in select distinct d from unnest(days) d order by d loop
    child := parent::text || '_' || to_char(day, 'YYYYMMDD');
    continue when to_regclass(child) is not null;
    execute format('lock table only %s in share update exclusive mode', parent);
    continue when to_regclass(child) is not null;
    execute format('create table %s (like %s including defaults including constraints including storage)', child, parent);
    execute format(
      'alter table %s attach partition %s for values from (%L) to (%L)',
      parent, child, day || ' 00:00+00', (day + 1) || ' 00:00+00'
    );
    made := made + 1;
  end loop;
  return made;
end
$$;
