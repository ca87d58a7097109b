// Each class of failure in words, for `tokay explain` and the health check's findings. What a class makes Tokay do stands in its policy
// (classify-failure); here is what that does not say.

import type { FailureClass } from './classify-failure.ts'

export type FailureWords = {
  readonly meaning: string
  /** What is done for this class alone, beside retry, breaker and parking. */
  readonly besides?: string
  readonly action: string
}

export const failureWords: Readonly<Record<FailureClass, FailureWords>> = {
  connection: {
    meaning: 'The way to the server is cut: refused, reset, not found by name, or hung up in mid-flight.',
    besides: 'The connection is thrown away. What was sent may have been applied: it is made again, and changes nothing a second time.',
    action: 'See that the server runs and that its address, port and firewall are right. A short cut heals by itself.',
  },
  unanswered: {
    meaning: 'It was sent, and nothing came back in time: a black hole on the way, or a server that is stopped or overloaded.',
    besides: 'The connection is destroyed, so that the server ends what it was doing.',
    action: "Look at the server's load and the network between. Packets that vanish without a reset point to a firewall or a dead route.",
  },
  unavailable: {
    meaning: 'The server says that it is starting, stopping, recovering or waking up, or a pooler that it does not reach it.',
    action: "Wait a moment. If it goes on, read the server's log: a recovery that does not end, or a restart in a loop.",
  },
  'read-only': {
    meaning: 'This server takes no writes: a standby, or a former primary after a failover.',
    besides: 'Every connection is replaced and the name resolved again, so that the new primary is found.',
    action:
      'After a failover: see that the name points to the new primary. Else: default_transaction_read_only, or a provider that has closed writes for a full disk or quota. Behind PgBouncer: `reconnect` on its console, its connections stay as they began.',
  },
  saturated: {
    meaning: "No connection is to be had: the server's limit is reached, or a pooler's.",
    action:
      "Find who holds them (pg_stat_activity by application_name; a pooler's show pools); raise max_connections or the pooler's pool, or use a pooler or a smaller database.poolMax.",
  },
  resources: {
    meaning: 'The server is out of memory, or at a configured limit.',
    action: 'Look for large queries beside Tokay; lower work_mem or batch.maxRows, or give the server more memory.',
  },
  disk: {
    meaning: "The server's disk is full or fails.",
    action:
      'Free or add disk space now: a full disk can stop the server as a whole. Shorter retention.* makes the database smaller in the long run.',
  },
  slow: {
    meaning: 'The statement took longer than statement_timeout or transaction_timeout.',
    action: 'Look for load, missing vacuum or waiting locks (pg_stat_activity). A smaller batch.maxRows makes shorter statements.',
  },
  internal: {
    meaning: 'An error inside the server, or a passing one that a pooler reports like this.',
    action: "Read the server's log at that time. When it repeats, ask the provider or upgrade the minor version.",
  },
  corrupted: {
    meaning: 'Data or an index of the server is damaged.',
    action: 'Stop writing to the table, take a backup, run amcheck; reindex when only an index is damaged, else restore.',
  },
  contention: {
    meaning: 'Another transaction won: a deadlock or a serialization failure.',
    action: 'Nothing, if it is rare. If it is not: something else locks the same rows in another order.',
  },
  'lock-timeout': {
    meaning: 'Another session holds the lock for longer than lock_timeout.',
    besides: "The table's own circuit opens after three of them, and the other tables are written on.",
    action:
      'Find the holder: select pid, query from pg_stat_activity where pid = any (pg_blocking_pids(<waiting pid>)); end it when it is stuck.',
  },
  'earlier-attempt': {
    meaning:
      "An earlier attempt of the same batch, whose connection was lost, still runs on the server and holds the batch's entry in the ledger.",
    besides:
      'It ends by itself within a second or two, committed or not, and then the ledger knows which. Tried again shortly, and counted nowhere.',
    action: 'Nothing. If it goes on for minutes, look for a session that is idle in transaction (pg_stat_activity) and end it.',
  },
  cancelled: {
    meaning: 'Somebody, or a tool, has cancelled the statement.',
    action: 'Find who calls pg_cancel_backend: an administrator, or a tool that ends long statements.',
  },
  session: {
    meaning: 'The session or an object was not in the state that the statement needs; a new connection has what this one lacked.',
    action:
      'Nothing, if it is rare. Behind a pooler in transaction mode: leave database.prepareStatements off, unless it is PgBouncer 1.21 or later.',
  },
  config: {
    meaning: 'Address, credentials, TLS, name of the database, or an endpoint that is switched off.',
    action:
      'Correct the Postgres URL (DATABASE_URL, or the SSM parameter), or switch the endpoint on. A changed password is read again by itself.',
  },
  permission: {
    meaning: 'The role lacks a privilege.',
    action:
      'Grant it: the role needs usage on the schema and select, insert, update, delete on its tables; and create, to make partitions.',
  },
  schema: {
    meaning: 'Statement and schema do not fit: a migration is missing, or somebody has changed a table.',
    action: 'Run the migrations (deploy again or invoke `migrate`; on one machine start again), or undo the change.',
  },
  'missing-partition': {
    meaning: "The rows' day has no partition.",
    besides: 'The partition is made in the transaction that needs it, and the write is repeated.',
    action: 'Nothing. If it repeats: see that the role may create tables in the schema.',
  },
  'too-large': {
    meaning: 'The batch, or one row, is too large for a limit of the server.',
    besides: 'The batch is halved until it fits; a single row that does not fit goes into the quarantine.',
    action: 'Nothing for a batch. For a row: tokay quarantine list.',
  },
  data: {
    meaning: 'The server refuses a value or a row: out of range, not null, a check, a duplicate.',
    besides:
      'The bad row is found by halving the batch and goes into the quarantine with the reason; the others are written. When more than ten rows of a batch are refused, the whole batch stays parked.',
    action: 'tokay quarantine list shows the rows; retry them after the cause is gone, or drop them.',
  },
  'own-limit': {
    meaning: 'This process has run out of connections of its own pool, files or ports.',
    action: 'Raise database.poolMax or the limit of open files (ulimit -n), or run less at once.',
  },
  bug: {
    meaning: 'This can only be a mistake in this program.',
    action: 'Update Tokay; if it is the newest, report it with the log line. The rows stay parked meanwhile.',
  },
  unknown: {
    meaning: 'Nobody has met this yet: it is taken for trouble of the database, so that nothing is lost.',
    action: 'Read the message in the log. If it needs another treatment, report it with its code.',
  },
}

/** For a class as it was stored, which an older or newer version may have written. */
export const wordsOfClass = (name: string): FailureWords | undefined =>
  Object.hasOwn(failureWords, name) ? failureWords[name as FailureClass] : undefined
