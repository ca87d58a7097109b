// Brings the database to this version's schema. Invoked by every deploy that changes it, and idempotent.
// A failure is tried again twice by Lambda, then by `maintain` every hour: a database that is away during a deploy only delays it.

import { migrate } from '../shared/db/migrate.ts'
import { consoleLog } from '../shared/log.ts'
import { migrationTarget } from './runtime.ts'

export async function handler() {
  try {
    const target = await migrationTarget()
    const applied = await migrate(target)
    if (applied.length > 0) consoleLog.info({ event: 'schema.migrated', schema: target.schema, applied })
    return { applied }
  } catch (error) {
    // No deploy waits for this and shows it: whoever looks for the reason looks here.
    consoleLog.error({ event: 'schema.not-migrated', next: 'tried again by Lambda within the hour, and by maintain every hour', error })
    throw error
  }
}
