// A server of a test file's own that may be frozen, filled and locked up, and the probe's look at it.

import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { onTestFinished, vi } from 'vitest'
import { openAdminSession, type AdminSession } from '../../cli/local/admin-session.ts'
import { startFragilePostgres, type FragilePostgres } from '../../cli/local/fragile-postgres.ts'
import { systemClock } from '../../shared/clock.ts'
import type { Driver } from '../../shared/db/neon-host.ts'
import { assess } from '../../shared/health/assess.ts'
import type { Assessment } from '../../shared/health/check.ts'
import { openHealthDatabase } from '../../shared/health/open-health-database.ts'
import { isUnseen, type DatabaseSeen, type Observation, type Unseen, type Vitals } from '../../shared/health/observation.ts'
import { probe, type Look, type ProbeTools } from '../../shared/health/probe.ts'
import { silentLog } from '../../shared/log.ts'
import { stateKeys } from '../../shared/names.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { found, recently, settings } from './observed.ts'

/** To be removed by the file that has started it. */
export async function startOwnServer(): Promise<{ server: FragilePostgres; remove(): Promise<void> }> {
  const baseDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-test-health-'))
  // as root the server runs under another account, which must be able to enter
  await fs.chmod(baseDir, 0o755)
  const server = await startFragilePostgres({ baseDir })
  return {
    server,
    async remove() {
      await server.stop()
      await fs.rm(baseDir, { recursive: true, force: true })
    },
  }
}

export const openHealth = (url: string, schema = 'public', driver: Driver = 'pg'): ProbeTools['openDatabase'] => {
  const fixed = { driver, url, schema, idleForMs: 15_000, lifetimeMs: 600_000, clock: systemClock, log: silentLog }
  return (options) => openHealthDatabase({ ...fixed, ...options })
}

/**
 * As the health check looks, at Tokay's tables and queue where a schema is given. A collector has just been through, so nobody waits for a database
 * to wake.
 */
export async function lookAt(
  url: string,
  options: Partial<Look> & { schema?: string; openDatabase?: ProbeTools['openDatabase'] } = {},
): Promise<Observation & { readonly tookMs: number }> {
  const state = createMemoryStateTable()
  await state.compareAndSet(stateKeys.collector('trades'), 0, { lastSuccessAtMs: systemClock.nowMs(), lastOutcome: 'complete' })
  const startedMs = performance.now()
  const queue = options.schema === undefined ? {} : { parked: { depth: async () => 0 } }
  const tools = { state, ...queue, clock: systemClock, wakeForMs: 12_000 }
  const observation = await probe(
    { openDatabase: options.openDatabase ?? openHealth(url, options.schema), ...tools },
    { mode: 'active', structure: options.structure ?? false },
  )
  return { ...observation, tookMs: performance.now() - startedMs }
}

/** The same minutes later, if nothing changes: whoever waits, idles or works has done so for longer. */
export function later<Seen extends Observation>(observation: Seen, byMs: number): Seen {
  const answer = answerOf(observation)
  if (isUnseen(answer.vitals)) {
    const lockedBy = (answer.vitals.lockedBy ?? []).map((holder) => ({ ...holder, transactionMs: (holder.transactionMs ?? 0) + byMs }))
    return { ...observation, database: { ...answer, vitals: { ...answer.vitals, lockedBy } } }
  }
  const seen = answer.vitals
  const activity = Object.entries(seen.activity).map(([field, value]) => [
    field,
    field.endsWith('Ms') && value !== null ? value + byMs : value,
  ])
  const vitals: Vitals = {
    ...seen,
    activity: Object.fromEntries(activity) as Vitals['activity'],
    blocked: seen.blocked.map((waiter) => ({ ...waiter, waitMs: waiter.waitMs + byMs })),
    prepared: { ...seen.prepared, oldestMs: seen.prepared.oldestMs === null ? null : seen.prepared.oldestMs + byMs },
  }
  return { ...observation, database: { ...answer, vitals } }
}

/** What an assessment makes of it, in an installation that has been well so far. */
export const assessmentOf = (observation: Observation): Assessment => assess(observation, recently(), { settings })

/** What is told of it, worst first, such as "critical connect". */
export const foundIn = (observation: Observation) => found(assessmentOf(observation))

export function answerOf({ database }: { database: DatabaseSeen }): Extract<DatabaseSeen, { kind: 'answers' }> {
  if (database.kind !== 'answers') throw new Error(`the database does not answer: ${JSON.stringify(database)}`)
  return database
}

export const vitalsOf = (observation: { database: DatabaseSeen }): Vitals => shown(answerOf(observation).vitals)

/** What was seen of it, or a failure of the test that says why it was not. */
export function shown<Part extends object>(part: Part | Unseen | null): Part {
  if (part === null) throw new Error('it was not its turn')
  if (isUnseen(part)) throw new Error(`unseen: ${part.unseen}`)
  return part
}

const sessions = new Set<AdminSession>()

/** An operator's session that ends with the test, and whatever it holds with it. */
export async function session(url: string, name = 'operator'): Promise<AdminSession> {
  const named = new URL(url)
  named.searchParams.set('application_name', name)
  const opened = await openAdminSession(named.href)
  sessions.add(opened)
  // all at once: one that waits for a lock can only be cut off, and takes its time
  onTestFinished(async () => {
    const all = [...sessions]
    sessions.clear()
    await Promise.all(all.map((one) => one.end()))
  })
  return opened
}

/** A statement that will wait, and be ended with its session. Resolves when as many sessions wait for a lock. */
export async function waits(on: AdminSession, text: string, watch: AdminSession, waiting: number): Promise<void> {
  on.sql(text).catch(() => {}) // ended while it waits
  const count = `select count(*)::int as n from pg_locks where not granted`
  await vi.waitUntil(async () => (await watch.sql<{ n: number }>(count))[0]?.n === waiting, { timeout: 10_000, interval: 10 })
}
