// `tokay breaker list|open|close`: the circuits of this machine or of a deployed stage, and an operator's word over them, which always ends by itself.
// The state is shared: a running `tokay start`, or every function of the stage, follows within 5 s.

import { systemClock } from '../shared/clock.ts'
import { setOverride, type BreakerState } from '../shared/resilience/circuit-breaker.ts'
import { updateItem } from '../shared/state/state-table.ts'
import { openChosenState, type StateChoice } from './chosen-state.ts'

export type BreakerOptions = StateChoice & { readonly json?: boolean }

/** Of one scope, or all that ever counted a failure. */
export async function listBreakers(scope: string | undefined, options: BreakerOptions): Promise<number> {
  const state = await openChosenState(options)
  try {
    const items = (await state.list()).filter(
      ({ key }) => key.startsWith('breaker:') && (scope === undefined || key === `breaker:${scope}`),
    )
    const shown = items.map(({ key, data }) => shownCircuit(key.slice('breaker:'.length), data as BreakerState, systemClock.nowMs()))
    if (options.json) console.log(JSON.stringify(shown))
    else if (shown.length === 0) console.log(`${scope ?? 'every circuit'}: closed; it has not met a failure`)
    else for (const one of shown) console.log(circuitInWords(one))
    return 0
  } finally {
    await state.close()
  }
}

/** Forces a circuit for so long; 0 takes an earlier word back. */
export async function forceBreaker(forced: 'open' | 'closed', scope: string, forMs: number, options: BreakerOptions): Promise<number> {
  const state = await openChosenState(options)
  try {
    const untilMs = systemClock.nowMs() + forMs
    const after = await updateItem(
      state,
      `breaker:${scope}`,
      (data: BreakerState | undefined) => setOverride(data, forMs > 0 ? { forced, untilMs } : undefined),
      { clock: systemClock, random: Math.random },
    )
    const shown = shownCircuit(scope, after, systemClock.nowMs())
    console.log(options.json ? JSON.stringify(shown) : circuitInWords(shown))
    return 0
  } finally {
    await state.close()
  }
}

export type ShownCircuit = {
  readonly scope: string
  readonly state: 'closed' | 'open'
  /** Failed attempts that count towards opening. */
  readonly failures: number
  readonly openedAt: string | null
  readonly retryAt: string | null
  /** Somebody holds the lease of the one probe. */
  readonly isProbed: boolean
  readonly reason: string | null
  readonly forced: 'open' | 'closed' | null
  readonly forcedUntil: string | null
}

export function shownCircuit(scope: string, state: BreakerState, nowMs: number): ShownCircuit {
  const iso = (ms: number) => new Date(ms).toISOString()
  const override = state.override && state.override.untilMs > nowMs ? state.override : undefined
  const open = state.state === 'open' ? state : undefined
  return {
    scope,
    state: state.state,
    failures: state.state === 'closed' ? state.failedAtMs.length : 0,
    openedAt: open ? iso(open.openedAtMs) : null,
    retryAt: open ? iso(open.retryAtMs) : null,
    isProbed: open ? open.token !== null && open.retryAtMs > nowMs : false,
    reason: open?.reason ?? null,
    forced: override?.forced ?? null,
    forcedUntil: override ? iso(override.untilMs) : null,
  }
}

export function circuitInWords({ scope, state, failures, openedAt, retryAt, isProbed, reason, forced, forcedUntil }: ShownCircuit): string {
  const own =
    state === 'open'
      ? `open since ${openedAt} (${reason ?? 'no reason known'}), ${isProbed ? 'a probe is under way until' : 'next probe at'} ${retryAt}`
      : `closed${failures > 0 ? `, ${failures} failed attempts counted` : ''}`
  return `${scope}: ${forced ? `forced ${forced} until ${forcedUntil}; by itself ` : ''}${own}`
}
