// Instances of one shared breaker over a state table that can go away, on one clock that a test moves.

import type { Clock } from '../../shared/clock.ts'
import type { Log, LogEvent } from '../../shared/log.ts'
import type { Admission, BreakerState, Outcome, Transition } from '../../shared/resilience/circuit-breaker.ts'
import { createBreaker, type Breaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { StateTable } from '../../shared/state/state-table.ts'

export const breakerRules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
export const startMs = Date.parse('2025-11-21T10:00:00Z')
export const key = 'breaker:database'

/** Stands still until a test moves it. A pause between two tries lets the others go on, and takes no time. */
function manualClock(): Clock & { atMs: number } {
  const clock = {
    atMs: startMs,
    nowMs: () => clock.atMs,
    sleep: () => new Promise<void>((resolve) => setImmediate(resolve)),
  }
  return clock
}

/** A memory table that counts, and that can go away: `down` refuses, `hung` never answers. */
function flakyTable() {
  const memory = createMemoryStateTable()
  const self = {
    mode: 'up' as 'up' | 'down' | 'hung',
    reads: 0,
    writes: 0,
    /** Set: reads answer what was true when they were asked, but only after this. */
    holdReads: undefined as Promise<void> | undefined,
    async list() {
      self.reads++
      const held = self.holdReads
      await reach()
      const answer = await memory.list()
      await held
      return answer
    },
    async compareAndSet(changed: string, expectedVersion: number, data: unknown) {
      self.writes++
      await reach()
      return memory.compareAndSet(changed, expectedVersion, data)
    },
    close: () => memory.close(),
    async stored() {
      return (await memory.list()).find((item) => item.key === key)?.data as BreakerState | undefined
    },
  }
  async function reach() {
    if (self.mode === 'down') throw new Error('connect ECONNREFUSED')
    if (self.mode === 'hung') await new Promise(() => {})
  }
  return self satisfies StateTable
}

function memoryLog() {
  const events: LogEvent[] = []
  const levels: string[] = []
  const at = (level: string) => (event: LogEvent) => {
    events.push(event)
    levels.push(`${level} ${event.event}`)
  }
  return {
    events,
    levels,
    names: () => events.map((e) => e.event),
    log: { info: at('info'), warn: at('warn'), error: at('error') } satisfies Log,
  }
}

/** Each instance has a view of its own, as each process has. */
export function setupBreakers(instances = 1) {
  const clock = manualClock()
  const table = flakyTable()
  const { events, levels, names, log } = memoryLog()
  const transitions: Transition[] = []
  const create = (onTransition: (t: Transition) => void | Promise<void> = (t) => void transitions.push(t)) =>
    createBreaker({ scope: 'database', key, table, rules: breakerRules, clock, random: () => 0.5, log, onTransition })
  const breakers = Array.from({ length: instances }, () => create())
  return { clock, table, events, levels, names, log, transitions, create, breakers, breaker: breakers[0] as Breaker }
}

export async function attempt(breaker: Breaker, outcome: Outcome, mayProbe = false): Promise<Admission> {
  const admission = await breaker.admit({ mayProbe })
  await breaker.record(admission, outcome, 'refused')
  return admission
}
export async function failThrice(breaker: Breaker): Promise<void> {
  for (let i = 0; i < 3; i++) await attempt(breaker, 'failure')
}
