// What writes over a test's own tables: the resilient client behind a circuit breaker of its own, and parked writes in memory.

import { systemClock } from '../../shared/clock.ts'
import type { ParkedWrites } from '../../shared/collect/parked-writes.ts'
import type { Settings } from '../../shared/config.ts'
import { createResilientDatabase } from '../../shared/db/resilient-database.ts'
import { silentLog } from '../../shared/log.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { createRecordedLog } from './collect-tools.ts'
import type { Tables } from './tables.ts'

export function createWriteTools<Parked extends ParkedWrites>(tables: Tables, settings: Settings, parked: Parked) {
  const shared = { clock: systemClock, random: Math.random, log: createRecordedLog() }
  const state = createMemoryStateTable()
  const breaker = createBreaker({ ...shared, scope: 'database', key: 'breaker:database', table: state, rules: settings.breaker })
  const database = createResilientDatabase({
    ...shared,
    log: silentLog,
    database: tables.database,
    breaker,
    rules: settings.retry,
    limits: settings.database,
  })
  return { ...shared, database, state, parked, partitions: { seen: new Set<string>() }, breaker }
}
