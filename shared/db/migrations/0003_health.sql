-- What the health check saw: each look for two days, each hour for 400. A minute that nobody looked at has no row: it is unknown, not up.

-- Kept from when they were stored, not from when they were made: looks of an outage come late, and their hour is summed up from its looks.
create table health_samples (
  at timestamptz primary key,
  -- null: nobody asked the database
  is_up boolean,
  -- 0 healthy, 1 degraded, 2 critical; null unknown
  status smallint,
  connect_ms real,
  query_ms real,
  lock_wait_ms real,
  -- of the clients, since the look before
  calls int not null,
  failed int not null,
  connections_percent real,
  parked int,
  collector_lag_s int,
  breaker_open_s int,
  database_bytes bigint,
  xid_age bigint,
  -- by bucket, four to each doubling: up to 0.25 ms, 0.30 ms, 0.35 ms ..
  latency int[] not null,
  stored_at timestamptz not null default now()
);

create table health_hours (
  hour timestamptz primary key,
  known_minutes smallint not null,
  up_minutes smallint not null,
  breaker_open_minutes smallint not null,
  worst_status smallint,
  calls int not null,
  failed int not null,
  -- histograms add up over hours, percentiles do not
  latency int[] not null,
  connect_latency int[] not null,
  -- the highest of the hour
  lock_wait_ms real,
  connections_percent real,
  parked int,
  collector_lag_s int,
  xid_age bigint,
  -- the last of the hour
  database_bytes bigint
);

-- Outages that are over, as their reports tell them.
create table incidents (
  started_at timestamptz primary key,
  ended_at timestamptz not null,
  report jsonb not null,
  recorded_at timestamptz not null default now()
);
