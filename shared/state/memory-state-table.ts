// The state table in this process's memory: real for as long as the process lives, shared by nobody else.
// Data is kept as JSON text, so that what comes out is never the object that went in, exactly as with a table on disk.

import type { StateTable } from './state-table.ts'

export function createMemoryStateTable(): StateTable {
  const items = new Map<string, { version: number; json: string }>()
  return {
    async list() {
      return [...items].map(([key, { version, json }]) => ({ key, version, data: JSON.parse(json) as unknown }))
    },
    async compareAndSet(key, expectedVersion, data) {
      if ((items.get(key)?.version ?? 0) !== expectedVersion) return false
      items.set(key, { version: expectedVersion + 1, json: JSON.stringify(data) })
      return true
    },
    async close() {},
  }
}
