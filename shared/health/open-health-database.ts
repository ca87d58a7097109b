// The health check's own connection: one, under a name of its own, given up on sooner than a collector's.

import type { Database } from '../db/database.ts'
import { openDatabase, type DatabaseOptions } from '../db/open-database.ts'

/** Opens no connection. @throws ConfigError when the URL is wrong */
export function openHealthDatabase(
  options: Omit<DatabaseOptions, 'poolMax' | 'wakeForMs' | 'applicationName'> & { connectForMs: number },
): Database {
  return openDatabase({
    ...options,
    poolMax: 1,
    // the probe itself decides when it is worth waiting for longer
    wakeForMs: options.connectForMs,
    // what is asked once is not worth preparing
    prepareStatements: false,
    applicationName: 'tokay-health',
  })
}
