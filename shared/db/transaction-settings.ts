// What every transaction sets for itself before its first statement, over either driver.

import type { AttemptLimits } from './database.ts'

/**
 * All transaction-local, so that a pooler's next client inherits nothing: poolers refuse timeouts as startup parameters.
 * The server has to let go of what we have given up, or it commits seconds later, or holds its locks for hours:
 * - we hung up: client_connection_check_interval. Servers on Windows refuse to set it.
 * - the network swallowed the COMMIT: idle_in_transaction_session_timeout.
 * - it swallowed half a message: transaction_timeout; before PostgreSQL 17 nothing but keepalives ends that, by default after 2 h.
 * tokay.in_transaction is gone when BEGIN failed alone, so that a guarded statement can tell.
 * The pid is not the one of the server's greeting where a pooler stands between.
 */
const text = `select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true),
  set_config('idle_in_transaction_session_timeout', $3, true),
  case when current_setting('server_version_num') >= '170000' then set_config('transaction_timeout', $3, true) end,
  set_config('tcp_keepalives_idle', '10', true), set_config('tcp_keepalives_interval', '5', true),
  case when version() not like all ('{%windows%,%Visual C%,%mingw%}') then set_config('client_connection_check_interval', '250', true) end,
  set_config('search_path', $4, true), set_config('timezone', 'UTC', true), set_config('tokay.in_transaction', 'yes', true),
  pg_backend_pid() as pid`

/** `schema` becomes the search_path. */
export function transactionSettings(limits: AttemptLimits, schema: string): { readonly text: string; readonly values: readonly string[] } {
  // milliseconds as text; 0 would switch a timeout off
  const timeouts = [limits.lockForMs, limits.statementForMs, limits.attemptForMs].map((ms) => String(Math.max(1, Math.ceil(ms))))
  return { text, values: [...timeouts, `"${schema.replaceAll('"', '""')}"`] }
}
