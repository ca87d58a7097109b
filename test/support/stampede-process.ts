// One process of the stampede: several instances of the program, each with its own connection to the same state table, its own breaker and
// view. Does what its parent says; the time is the parent's.

import { createSqliteStateTable } from '../../cli/local/sqlite-state-table.ts'
import { systemClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import type { Admission, BreakerRules, Outcome } from '../../shared/resilience/circuit-breaker.ts'
import { createBreaker, type Breaker } from '../../shared/state/breaker.ts'

export type Order = { readonly nowMs: number } & (
  | { readonly do: 'admit'; readonly round: number }
  /** What the prober of that round saw. */
  | { readonly do: 'record-probe'; readonly round: number; readonly outcome: Outcome }
  /** What each instance's last admission saw. */
  | { readonly do: 'record-all'; readonly outcome: Outcome }
)
export type Answer = { readonly verdicts: readonly Admission['verdict'][]; readonly transitions: readonly string[] }

const [file, count, rules] = process.argv.slice(2) as [string, string, string]
let nowMs = 0
const clock = { nowMs: () => nowMs, sleep: systemClock.sleep }
const instances = Array.from({ length: Number(count) }, () =>
  createBreaker({
    scope: 'database',
    key: 'breaker:database',
    table: createSqliteStateTable(file),
    rules: JSON.parse(rules) as BreakerRules,
    clock,
    random: Math.random,
    log: silentLog,
  }),
)
const last = new Map<Breaker, Admission>()
const probes = new Map<number, { breaker: Breaker; admission: Admission }>()

async function obey(order: Order): Promise<Answer> {
  nowMs = order.nowMs
  switch (order.do) {
    case 'admit': {
      const verdicts = await Promise.all(
        instances.map(async (breaker) => {
          const admission = await breaker.admit({ mayProbe: true })
          last.set(breaker, admission)
          if (admission.verdict === 'probe') probes.set(order.round, { breaker, admission })
          return admission.verdict
        }),
      )
      return { verdicts, transitions: [] }
    }
    case 'record-probe': {
      const probe = probes.get(order.round)
      if (!probe) throw new Error(`no instance of process ${process.pid} probed in round ${order.round}`)
      return { verdicts: [], transitions: [(await probe.breaker.record(probe.admission, order.outcome)).kind] }
    }
    case 'record-all': {
      const transitions = await Promise.all(
        [...last].map(async ([breaker, admission]) => (await breaker.record(admission, order.outcome)).kind),
      )
      return { verdicts: [], transitions }
    }
    default:
      return order satisfies never
  }
}

process.on('message', (order: Order) => void obey(order).then((answer) => process.send?.(answer)))
process.send?.('ready')
