// What a collector's run, a replay or a health check works with, all in memory, and what they said to the log.

import type { CollectTools } from '../../shared/collect/collect.ts'
import { parseSettings } from '../../shared/config.ts'
import type { GeckoClient } from '../../shared/gecko/client.ts'
import type { Log, LogEvent } from '../../shared/log.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { StateTable } from '../../shared/state/state-table.ts'
import { createFakeClock, type FakeClock } from './fake-clock.ts'
import { createFakeResilientDatabase, type FakeResilientDatabase } from './fake-resilient-database.ts'
import { createMemoryParkedWrites, type MemoryParkedWrites } from './memory-parked-writes.ts'

export type MemoryState = StateTable & {
  /** While it is set, every call throws it. */
  away: Error | undefined
  /** The data of one item, undefined when it is not there. */
  data(key: string): Promise<unknown>
}

export function createMemoryState(): MemoryState {
  const table = createMemoryStateTable()
  const state: MemoryState = {
    away: undefined,
    data: async (key) => (await table.list()).find((item) => item.key === key)?.data,
    async list() {
      if (state.away) throw state.away
      return table.list()
    },
    async compareAndSet(...change) {
      if (state.away) throw state.away
      return table.compareAndSet(...change)
    },
    close: () => table.close(),
  }
  return state
}

export type RecordedLog = Log & {
  readonly events: readonly (LogEvent & { readonly level: 'info' | 'warn' | 'error' })[]
  /** The events of this name. */
  named(event: string): readonly LogEvent[]
}

export function createRecordedLog(): RecordedLog {
  const events: (LogEvent & { level: 'info' | 'warn' | 'error' })[] = []
  const at = (level: 'info' | 'warn' | 'error') => (event: LogEvent) => void events.push({ ...event, level })
  return { events, named: (name) => events.filter((e) => e.event === name), info: at('info'), warn: at('warn'), error: at('error') }
}

export type MemoryTools = Omit<CollectTools, 'database' | 'parked' | 'state' | 'clock' | 'log'> & {
  readonly database: FakeResilientDatabase
  readonly parked: MemoryParkedWrites
  readonly state: MemoryState
  readonly clock: FakeClock
  readonly log: RecordedLog
}

export function createMemoryTools(
  options: { settings?: object; gecko?: GeckoClient; startAtMs?: number; parked?: MemoryParkedWrites } = {},
): MemoryTools {
  const noGecko: GeckoClient = { get: (path) => Promise.reject(new Error(`nothing answers ${path} here`)) }
  return {
    settings: parseSettings({ networks: ['solana'], ...options.settings }),
    gecko: options.gecko ?? noGecko,
    database: createFakeResilientDatabase(),
    parked: options.parked ?? createMemoryParkedWrites(),
    state: createMemoryState(),
    clock: createFakeClock(options.startAtMs),
    log: createRecordedLog(),
    partitions: { seen: new Set() },
    random: () => 0,
  }
}
