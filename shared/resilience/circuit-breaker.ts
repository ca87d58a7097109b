// The circuit breaker as two pure functions over one shared item: `admit` before an attempt, `record` after it.
//
//              failures of the current epoch, as many as rules.failures within rules.withinMs
//     ┌────────┐ ────────────────────── opened ──────────────────────> ┌──────┐ ──┐ retryAtMs has come, the caller may probe:
//     │ closed │                                                       │ open │   │ takes the lease (retryAtMs + leaseForMs, fresh token)
//     └────────┘ <──── closed: the token's holder saw an answer ────── └──────┘ <─┘ reopened: the holder failed (openForMs doubles)
//                                                                                   released: the holder saw no verdict (again in 50-250 ms)
//
// Half-open is a lease, not a state: the probe's lease only moves `retryAtMs`, so a prober that dies, hangs or is deployed over needs no
// clean-up. Its lease ends and the next caller probes; what it says later has an old token and changes nothing.
//
// Who may change it: anyone may open it (three failed attempts), anyone who may probe can take a due lease, only the lease's holder can
// close, reopen or release. An operator's override rules while it lasts: then no verdict changes anything. It always ends by itself.
//
// `epoch` counts transitions. A failure admitted before a transition never counts after it, and a success that started before the circuit
// opened does not close it. In the healthy steady state nothing is ever changed: no failure and no success before it writes.
// Times are wall times of hosts that agree to well under a second. A clock that jumped back can't wedge it: see `isDue`.

import type { Decision } from '../state/state-table.ts'

/** As in the settings: `failures` failed attempts within `withinMs` open it; open `openForMs`, doubling to `maxOpenForMs`; a probe's lease is `leaseForMs`. */
export type BreakerRules = {
  readonly failures: number
  readonly withinMs: number
  readonly openForMs: number
  readonly maxOpenForMs: number
  readonly leaseForMs: number
}

/** An operator's word: `open` refuses everything, also probes; `closed` lets everything pass. Until it ends, verdicts change nothing. */
export type Override = { readonly forced: 'open' | 'closed'; readonly untilMs: number }

export type ClosedState = {
  readonly state: 'closed'
  readonly epoch: number
  /** When each failure since the last success was recorded, oldest first; fewer than `rules.failures`. */
  readonly failedAtMs: readonly number[]
  readonly override?: Override
}

export type OpenState = {
  readonly state: 'open'
  readonly epoch: number
  readonly openedAtMs: number
  /** When the next probe may start. While `token` is set, this is the end of its holder's lease. */
  readonly retryAtMs: number
  /** Open periods in this episode: 1, and one more for each failed probe. */
  readonly streak: number
  /** The current prober's fencing token; null while nobody probes. */
  readonly token: string | null
  /** What the last failure was, such as its class. */
  readonly reason: string | null
  readonly override?: Override
}

/** An absent item is a closed circuit. */
export type BreakerState = ClosedState | OpenState

export const closedAtFirst: ClosedState = { state: 'closed', epoch: 0, failedAtMs: [] }

export type Admission =
  | { readonly verdict: 'pass'; readonly epoch: number }
  /** The one caller that tries. Its lease ends by itself; it should say what it saw. */
  | { readonly verdict: 'probe'; readonly token: string; readonly epoch: number }
  | { readonly verdict: 'reject'; readonly retryAfterMs: number }

/**
 * `success`: any answer of the server that is not about its availability, a refused row too. `failure`: one failed attempt.
 * `neutral`: says nothing about it, such as contention, or an attempt that was never made.
 */
export type Outcome = 'success' | 'failure' | 'neutral'

export type Transition =
  | { readonly kind: 'none' }
  | { readonly kind: 'opened' | 'reopened'; readonly epoch: number; readonly openForMs: number; readonly reason: string | null }
  | { readonly kind: 'closed'; readonly epoch: number; readonly wasOpenForMs: number }

/** For a caller that may not probe although a probe is due: whoever may is about to. */
const probeIsDueForMs = 1_000
/** A prober that met contention learnt nothing: somebody may try again soon. */
const releasedForMs = { least: 50, most: 250 }
const openJitter = 0.1

/** May this attempt start? `token` is fresh and the caller's own: it becomes the lease's when the answer is `probe` and the change is stored. */
export function admit(
  stored: BreakerState | undefined,
  call: { nowMs: number; token: string; rules: BreakerRules; mayProbe: boolean },
): Decision<BreakerState, Admission> {
  const { nowMs, token, rules, mayProbe } = call
  const state = stored ?? closedAtFirst
  const override = overrideInForce(state, nowMs)
  if (override?.forced === 'open') return unchanged({ verdict: 'reject', retryAfterMs: override.untilMs - nowMs })
  if (override?.forced === 'closed' || state.state === 'closed') return unchanged({ verdict: 'pass', epoch: state.epoch })
  if (!isDue(state, nowMs, rules)) return unchanged({ verdict: 'reject', retryAfterMs: state.retryAtMs - nowMs })
  if (!mayProbe) return unchanged({ verdict: 'reject', retryAfterMs: probeIsDueForMs })
  return {
    data: { ...withoutOverride(state), token, retryAtMs: nowMs + rules.leaseForMs },
    result: { verdict: 'probe', token, epoch: state.epoch },
  }
}

/** A success changes nothing here: the circuit is closed and has nothing to forget. */
export function isUntroubled(stored: BreakerState | undefined): boolean {
  return stored === undefined || (stored.state === 'closed' && stored.failedAtMs.length === 0)
}

/** What the caller saw. `reason` is kept and shown while the circuit is open, such as the failure's class. */
export type Seen = {
  readonly admission: Admission
  readonly outcome: Outcome
  readonly reason?: string | undefined
  readonly nowMs: number
  readonly rules: BreakerRules
  readonly random: () => number
}

/** What came of an admitted attempt. Each attempt counts, not each operation. Recording the same probe twice changes nothing the second time. */
export function record(stored: BreakerState | undefined, seen: Seen): Decision<BreakerState, Transition> {
  const state = stored ?? closedAtFirst
  const { admission } = seen
  if (overrideInForce(state, seen.nowMs)) return nothing
  switch (admission.verdict) {
    case 'pass':
      return state.state === 'closed' && state.epoch === admission.epoch ? recordPass(state, seen) : nothing
    case 'probe':
      return state.state === 'open' && state.token === admission.token ? recordProbe(state, seen) : nothing
    case 'reject':
      return nothing
    default:
      return admission satisfies never
  }
}

function recordPass(state: ClosedState, seen: Seen): Decision<BreakerState, Transition> {
  const { outcome, nowMs, rules } = seen
  switch (outcome) {
    case 'neutral':
      return nothing
    case 'success':
      return state.failedAtMs.length === 0 ? nothing : unannounced({ state: 'closed', epoch: state.epoch, failedAtMs: [] })
    case 'failure': {
      // in both directions: a failure far in the future was recorded before the clock jumped back
      const failedAtMs = [...state.failedAtMs.filter((atMs) => Math.abs(nowMs - atMs) <= rules.withinMs), nowMs]
      if (failedAtMs.length < rules.failures) return unannounced({ state: 'closed', epoch: state.epoch, failedAtMs })
      return open('opened', { epoch: state.epoch + 1, openedAtMs: nowMs, streak: 1 }, seen)
    }
    default:
      return outcome satisfies never
  }
}

function recordProbe(state: OpenState, seen: Seen): Decision<BreakerState, Transition> {
  const { outcome, nowMs, random } = seen
  const epoch = state.epoch + 1
  switch (outcome) {
    case 'neutral': {
      const { least, most } = releasedForMs
      return unannounced({ ...withoutOverride(state), token: null, retryAtMs: Math.round(nowMs + least + random() * (most - least)) })
    }
    case 'success':
      return {
        data: { state: 'closed', epoch, failedAtMs: [] },
        result: { kind: 'closed', epoch, wasOpenForMs: Math.max(0, nowMs - state.openedAtMs) },
      }
    case 'failure':
      return open('reopened', { epoch, openedAtMs: state.openedAtMs, streak: state.streak + 1 }, seen)
    default:
      return outcome satisfies never
  }
}

function open(
  kind: 'opened' | 'reopened',
  episode: Pick<OpenState, 'epoch' | 'openedAtMs' | 'streak'>,
  { nowMs, rules, random, reason }: Seen,
): Decision<BreakerState, Transition> {
  const planned = Math.min(rules.maxOpenForMs, rules.openForMs * 2 ** (episode.streak - 1))
  const openForMs = Math.round(planned * (1 - openJitter + 2 * openJitter * random()))
  return {
    data: { state: 'open', ...episode, retryAtMs: nowMs + openForMs, token: null, reason: reason ?? null },
    result: { kind, epoch: episode.epoch, openForMs, reason: reason ?? null },
  }
}

/** An operator's word, or undefined to take it back. The state goes on underneath as it was, and rules again when the word has ended. */
export function setOverride(stored: BreakerState | undefined, override: Override | undefined): Decision<BreakerState, BreakerState> {
  const { override: _before, ...state } = stored ?? closedAtFirst
  const data: BreakerState = override ? { ...state, override } : state
  return { data, result: data }
}

/**
 * A retry further away than any rule can put it was stored before the clock jumped back: it is due now,
 * or the circuit would stay open until the clock has caught up.
 */
function isDue(state: OpenState, nowMs: number, rules: BreakerRules): boolean {
  const waitMs = state.retryAtMs - nowMs
  return waitMs <= 0 || waitMs > rules.maxOpenForMs * (1 + openJitter) + rules.leaseForMs
}

function overrideInForce({ override }: BreakerState, nowMs: number): Override | undefined {
  return override && override.untilMs > nowMs ? override : undefined
}

/** Called where no override is in force: one that is over is dropped with the next change. */
function withoutOverride({ override: _over, ...state }: OpenState): OpenState {
  return state
}

const nothing: Decision<BreakerState, Transition> = { data: undefined, result: { kind: 'none' } }
const unannounced = (data: BreakerState): Decision<BreakerState, Transition> => ({ data, result: { kind: 'none' } })
const unchanged = (result: Admission): Decision<BreakerState, Admission> => ({ data: undefined, result })
