// The circuit breaker of one scope, shared by every instance through one item of the state table. The rules stand in circuit-breaker.ts.
//
// Each instance keeps a view of the item for `viewForMs`. From the view alone it passes, refuses and sees that there is nothing to record, so
// the healthy path neither reads nor writes. Whatever would change the item goes through compare-and-set: exactly one instance wins it.
//
// The table must not become a second thing that stops the collectors. When it can't be reached, or not within `tableForMs`, the instance goes
// on with its last view in its own memory (none: closed), counts, opens and probes there, and leaves the table alone for `viewForMs`.

import type { Clock, Random } from '../clock.ts'
import type { Log } from '../log.ts'
import * as circuit from '../resilience/circuit-breaker.ts'
import type { Admission, BreakerRules, BreakerState, Outcome, Transition } from '../resilience/circuit-breaker.ts'
import { updateItem, type Decision, type StateItem, type StateTable } from './state-table.ts'

export interface Breaker {
  readonly scope: string
  /**
   * May an attempt start? Who gets a `probe` is the only one: it should record what it saw before `leaseForMs` is over.
   * `mayProbe` false (collectors): a due probe is left to who may.
   */
  admit(options?: { mayProbe?: boolean }): Promise<Admission>
  /** What the attempt saw. Resolves after `onTransition` has, in the one instance whose change it was. */
  record(admission: Admission, outcome: Outcome, reason?: string): Promise<Transition>
  /** At most `viewForMs` old. */
  view(): Promise<BreakerState>
  /** Takes over what one `list()` at the start of an invocation has read. */
  prime(items: readonly StateItem[]): void
}

/** `item` as the table had it, version 0 when it has none; or what this instance decided alone, which no compare-and-set can build on. */
type View =
  { readonly from: 'table'; readonly item: StateItem; readonly atMs: number } | { readonly from: 'memory'; readonly data: BreakerState }

/** One answer of the table takes milliseconds. Two of these and a write still fit into what an invocation keeps free for parking. */
const tableForMs = 1_500

/** No method throws. `onTransition` is told of each transition that this instance made; what it throws is logged. */
export function createBreaker(options: {
  scope: string
  key: string
  table: StateTable
  rules: BreakerRules
  clock: Clock
  random: Random
  log: Log
  onTransition?: (transition: Transition) => void | Promise<void>
  viewForMs?: number
}): Breaker {
  const { scope, key, table, rules, clock, random, log, onTransition, viewForMs = 5_000 } = options
  let view: View | undefined
  let reading: Promise<void> | undefined
  let unreachableSinceMs: number | undefined
  let askAgainAtMs = 0
  let tokens = 0
  // Order of what is known: an answer to a question from before the latest change is old news.
  let changes = 0

  const known = () => (view?.from === 'table' ? (view.item.data as BreakerState | undefined) : view?.data)

  /** The table, seen by the view: every answer and every change that was won passes here. */
  const watched: StateTable = {
    async list() {
      const asOf = changes
      const items = await table.list()
      if (asOf === changes) see(items.find((item) => item.key === key))
      return items
    },
    async compareAndSet(changedKey, expectedVersion, data) {
      const won = await table.compareAndSet(changedKey, expectedVersion, data)
      changes += 1
      if (won) see({ key, version: expectedVersion + 1, data })
      return won
    },
    close: () => table.close(),
  }

  function see(item: StateItem | undefined) {
    view = { from: 'table', item: item ?? { key, version: 0, data: undefined }, atMs: clock.nowMs() }
  }

  /** In time, that is: a table that always answers late would else be asked, and waited for, by each call. */
  function reached() {
    if (unreachableSinceMs === undefined) return
    log.info({ event: 'state-table.reached', scope, unreachableForMs: clock.nowMs() - unreachableSinceMs })
    unreachableSinceMs = undefined
  }

  function unreachable(error: unknown) {
    askAgainAtMs = clock.nowMs() + viewForMs
    if (unreachableSinceMs !== undefined) return
    unreachableSinceMs = clock.nowMs()
    log.warn({ event: 'state-table.unreachable', scope, error })
  }

  /** Bounded also for a clock that jumped back. */
  const isLeftAlone = () => unreachableSinceMs !== undefined && askAgainAtMs > clock.nowMs() && askAgainAtMs - clock.nowMs() <= viewForMs

  async function refresh(): Promise<void> {
    const ageMs = view?.from === 'table' ? clock.nowMs() - view.atMs : Infinity
    if ((ageMs >= 0 && ageMs < viewForMs) || isLeftAlone()) return
    reading ??= inTime(watched.list())
      .then(reached, unreachable)
      .finally(() => {
        reading = undefined
      })
    await reading
  }

  /** Through the table, starting from the view to save a read; else, where the table can't be reached, in memory. */
  async function change<Result>(decide: (state: BreakerState | undefined) => Decision<BreakerState, Result>): Promise<Result> {
    if (!isLeftAlone()) {
      try {
        const from = view?.from === 'table' ? view.item : undefined
        const result = await inTime(updateItem(watched, key, decide, { clock, random, known: from }))
        reached()
        return result
      } catch (error) {
        unreachable(error)
      }
    }
    const { data, result } = decide(known())
    if (data !== undefined) {
      changes += 1
      view = { from: 'memory', data }
    }
    return result
  }

  async function announce(transition: Transition): Promise<void> {
    if (transition.kind === 'none') return
    const { kind, ...fields } = transition
    log[kind === 'closed' ? 'info' : 'warn']({ event: `circuit.${kind}`, scope, ...fields })
    try {
      await onTransition?.(transition)
    } catch (error) {
      // whoever listens starts a health check or a replay; its failure must not turn an attempt that was made into one that threw
      log.error({ event: 'circuit.listener-failed', scope, transition: kind, error })
    }
  }

  const newToken = () => [clock.nowMs(), ++tokens, random(), random()].map((part) => part.toString(36)).join('-')

  return {
    scope,
    async admit({ mayProbe = false } = {}) {
      await refresh()
      const token = newToken()
      const decide = (state: BreakerState | undefined) => circuit.admit(state, { nowMs: clock.nowMs(), token, rules, mayProbe })
      const { data, result } = decide(known())
      return data === undefined ? result : change(decide)
    },
    async record(admission, outcome, reason) {
      const decide = (state: BreakerState | undefined) =>
        circuit.record(state, { admission, outcome, reason, nowMs: clock.nowMs(), rules, random })
      // what the view knows to be settled stays so: epochs and tokens never come back, and a prober's view has its own lease
      if (decide(known()).data === undefined) return { kind: 'none' }
      const transition = await change(decide)
      await announce(transition)
      return transition
    },
    async view() {
      await refresh()
      return known() ?? circuit.closedAtFirst
    },
    prime(items) {
      const item = items.find((i) => i.key === key)
      // read before a change that this instance has made since
      if (view?.from === 'table' && (item?.version ?? 0) < view.item.version) return
      see(item)
    },
  }
}

/** Real time, not the clock's: it bounds a call within this invocation, and must not run out because a test moves its clock. */
async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the state table did not answer within ${tableForMs} ms`)), tableForMs)
  })
  try {
    return await Promise.race([work, tooLate])
  } finally {
    clearTimeout(timer)
  }
}
