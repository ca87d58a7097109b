// The circuit breaker of one scope, shared by every instance through one item of the state table. The rules stand in circuit-breaker.ts.
//
// Each instance keeps a view of the item for `viewForMs`. From the view alone it passes, refuses and sees that there is nothing to record, so
// the healthy path neither reads nor writes. Whatever would change the item goes through compare-and-set: exactly one instance wins it.
//
// The table must not become a second thing that stops the collectors. When it can't be reached, or not within `tableForMs`, the instance goes
// on with its last view in its own memory (none: closed), counts, opens and probes there, and leaves the table alone for `viewForMs`.

import type { Clock, Random } from '../clock.ts'
import type { Log } from '../log.ts'
import { stateKeys } from '../names.ts'
import * as circuit from '../resilience/circuit-breaker.ts'
import type { Admission, BreakerRules, BreakerState, Outcome, Transition } from '../resilience/circuit-breaker.ts'
import { updateItem, type Decision, type StateItem, type StateTable } from './state-table.ts'

/** At once where the view is enough, as it is while all is well: a healthy call never waits for its breaker. */
export type Awaitable<T> = T | Promise<T>

export interface Breaker {
  readonly scope: string
  /**
   * May an attempt start? Who gets a `probe` is the only one: it should record what it saw before `leaseForMs` is over.
   * `mayProbe` false (collectors): a due probe is left to who may. `nowMs`: the caller's own reading of the clock, to save another.
   */
  admit(options?: { mayProbe?: boolean; nowMs?: number }): Awaitable<Admission>
  /** What the attempt saw. Resolves after `onTransition` has, in the one instance whose change it was. */
  record(admission: Admission, outcome: Outcome, reason?: string): Awaitable<Transition>
  /** At most `viewForMs` old. */
  view(): Promise<BreakerState>
  /** Takes over what one `list()` at the start of an invocation has read. */
  prime(items: readonly StateItem[]): void
}

/** `item` as the table had it, version 0 when it has none; or what this instance decided alone, which no compare-and-set can build on. */
type View =
  { readonly from: 'table'; readonly item: StateItem; readonly atMs: number } | { readonly from: 'memory'; readonly data: BreakerState }

const nothing: Transition = { kind: 'none' }

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
  const watched: Pick<StateTable, 'list' | 'compareAndSet'> = {
    async list() {
      const [asOf, askedAtMs] = [changes, clock.nowMs()]
      const items = await table.list()
      const found = items.find((item) => item.key === key)
      if (asOf === changes) see(found, askedAtMs)
      return items
    },
    async compareAndSet(changedKey, expectedVersion, data) {
      const askedAtMs = clock.nowMs()
      const won = await table.compareAndSet(changedKey, expectedVersion, data)
      changes += 1
      if (won) see({ key, version: expectedVersion + 1, data }, askedAtMs)
      return won
    },
  }

  /** As old as the question: an answer that was long on its way says what was true then. */
  function see(item: StateItem | undefined, askedAtMs: number) {
    view = { from: 'table', item: item ?? { key, version: 0, data: undefined }, atMs: askedAtMs }
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

  function isFresh(nowMs: number): boolean {
    const ageMs = view?.from === 'table' ? nowMs - view.atMs : Infinity
    return (ageMs >= 0 && ageMs < viewForMs) || isLeftAlone()
  }

  async function refresh(): Promise<void> {
    if (isFresh(clock.nowMs())) return
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

  async function askToPass(mayProbe: boolean): Promise<Admission> {
    await refresh()
    const token = newToken()
    const decide = (state: BreakerState | undefined) => circuit.admit(state, { nowMs: clock.nowMs(), token, rules, mayProbe })
    const { data, result } = decide(known())
    return data === undefined ? result : change(decide)
  }

  async function changeBy(decide: (state: BreakerState | undefined) => Decision<BreakerState, Transition>): Promise<Transition> {
    const transition = await change(decide)
    await announce(transition)
    return transition
  }

  return {
    scope,
    admit({ mayProbe = false, nowMs = clock.nowMs() } = {}) {
      if (isFresh(nowMs)) {
        const { data, result } = circuit.admit(known(), { nowMs, token: '', rules, mayProbe })
        if (data === undefined) return result
      }
      return askToPass(mayProbe)
    },
    record(admission, outcome, reason) {
      if (outcome === 'success' && circuit.isUntroubled(known())) return nothing
      const decide = (state: BreakerState | undefined) =>
        circuit.record(state, { admission, outcome, reason, nowMs: clock.nowMs(), rules, random })
      // what the view knows to be settled stays so: epochs and tokens never come back, and a prober's view has its own lease
      return decide(known()).data === undefined ? nothing : changeBy(decide)
    },
    async view() {
      await refresh()
      return known() ?? circuit.closedAtFirst
    },
    prime(items) {
      const item = items.find((i) => i.key === key)
      // read before a change that this instance has made since
      if (view?.from === 'table' && (item?.version ?? 0) < view.item.version) return
      see(item, clock.nowMs())
    },
  }
}

/** The streams' breakers, each made when its table is first written. */
export function createStreamBreakers(options: Omit<Parameters<typeof createBreaker>[0], 'scope' | 'key'>): (table: string) => Breaker {
  const breakers = new Map<string, Breaker>()
  return (table) => {
    const known = breakers.get(table) ?? createBreaker({ ...options, scope: `stream:${table}`, key: stateKeys.streamBreaker(table) })
    breakers.set(table, known)
    return known
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
