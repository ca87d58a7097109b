// Thirty instances rush at one due circuit, each over a table of its own making: exactly one may probe, lease after lease.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { createSqliteStateTable } from '../../cli/local/sqlite-state-table.ts'
import { silentLog } from '../../shared/log.ts'
import type { BreakerState, Transition } from '../../shared/resilience/circuit-breaker.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { StateTable } from '../../shared/state/state-table.ts'

const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
const startMs = Date.parse('2025-11-21T10:00:00Z')
const key = 'breaker:database'
const instances = 30
const rounds = 200

const folder = mkdtempSync(path.join(tmpdir(), 'tokay-stampede-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Opens a circuit whose first probe is due, and brings thirty instances, each with its own connection where there is such a thing. */
async function rush(connect: () => StateTable) {
  const clock = { atMs: startMs, nowMs: () => clock.atMs, sleep: () => new Promise<void>((resolve) => setImmediate(resolve)) }
  const tables = Array.from({ length: instances }, connect)
  const due: BreakerState = { state: 'open', epoch: 1, openedAtMs: startMs, retryAtMs: startMs, streak: 1, token: null, reason: 'refused' }
  expect(await (tables[0] as StateTable).compareAndSet(key, 0, due)).toBe(true)
  const transitions: Transition[] = []
  const breakers = tables.map((table) =>
    createBreaker({
      scope: 'database',
      key,
      table,
      rules,
      clock,
      random: Math.random,
      log: silentLog,
      onTransition: (t) => void transitions.push(t),
    }),
  )
  const admitAll = async () => {
    const admitted = await Promise.all(breakers.map(async (breaker) => ({ breaker, admission: await breaker.admit({ mayProbe: true }) })))
    return {
      probes: admitted.filter((a) => a.admission.verdict === 'probe'),
      rejected: admitted.filter((a) => a.admission.verdict === 'reject'),
    }
  }
  return { clock, admitAll, transitions, close: () => Promise.all(tables.map((table) => table.close())) }
}

describe.each([
  [
    'one memory table',
    () => {
      const table = createMemoryStateTable()
      return () => table
    },
  ],
  [
    'one SQLite file',
    () => {
      const file = path.join(folder, `${Math.random().toString(36).slice(2)}.db`)
      return () => createSqliteStateTable(file)
    },
  ],
] as const)('thirty instances over %s', (_name, connector) => {
  it('each lease has exactly one probe, in 200 rounds whose prober dies', async () => {
    const { clock, admitAll, close } = await rush(connector())
    const counts = new Map<string, number>()
    for (let round = 0; round < rounds; round++) {
      const { probes, rejected } = await admitAll()
      // within the lease nobody else gets one
      clock.atMs += 14_999
      const within = await admitAll()
      const seen = `${probes.length} probes, ${rejected.length} rejected, then ${within.probes.length} probes`
      counts.set(seen, (counts.get(seen) ?? 0) + 1)
      clock.atMs += 1
    }
    expect(Object.fromEntries(counts)).toEqual({ '1 probes, 29 rejected, then 0 probes': rounds })
    await close()
  })

  it('of two hundred probers only the last, whose verdict is in time, closes the circuit', async () => {
    const { clock, admitAll, transitions, close } = await rush(connector())
    const probers: Awaited<ReturnType<typeof admitAll>>['probes'] = []
    for (let round = 0; round < rounds; round++) {
      probers.push(...(await admitAll()).probes)
      clock.atMs += 15_000
    }
    expect(probers.length).toBe(rounds)
    const kinds = new Map<string, number>()
    for (const { breaker, admission } of probers) {
      const { kind } = await breaker.record(admission, 'success')
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    }
    expect(Object.fromEntries(kinds)).toEqual({ none: rounds - 1, closed: 1 })
    expect(transitions).toEqual([{ kind: 'closed', epoch: 2, wasOpenForMs: rounds * 15_000 }])
    await close()
  })
})
