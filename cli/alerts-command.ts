// `tokay alerts list|silence|ack`: what the health check's alerts remember, on this machine or of a deployed stage, and a person's word to them.
// The next run of the health check follows it.

import { systemClock } from '../shared/clock.ts'
import { acknowledge, listAlerts, type ListedAlert, silenceAlerts, silenceOf } from '../shared/health/alert/commands.ts'
import type { AlertState, Silence } from '../shared/health/alert/state.ts'
import { inWords, plainLine, plainTime } from '../shared/health/alert/words.ts'
import { stateKeys } from '../shared/names.ts'
import { type StateTable, updateItem } from '../shared/state/state-table.ts'
import { openChosenState, type StateChoice } from './chosen-state.ts'

export type AlertOptions = StateChoice & { readonly json?: boolean }

const tools = { clock: systemClock, random: Math.random }

async function withState(options: AlertOptions, work: (state: StateTable) => Promise<number>): Promise<number> {
  const state = await openChosenState(options)
  try {
    return await work(state)
  } finally {
    await state.close()
  }
}

async function storedAlerts(state: StateTable): Promise<AlertState | undefined> {
  return (await state.list()).find(({ key }) => key === stateKeys.alerts)?.data as AlertState | undefined
}

/** What fires and what is watched, the worst first, and the silence. */
export const listAllAlerts = (options: AlertOptions) =>
  withState(options, async (state) => {
    const stored = await storedAlerts(state)
    const nowMs = systemClock.nowMs()
    const alerts = listAlerts(stored)
    const silence = silenceOf(stored, nowMs)
    if (options.json) {
      console.log(JSON.stringify({ silence: silence && shownSilence(silence), alerts: alerts.map(shownAlert) }))
      return 0
    }
    if (silence) console.log(silenceInWords(silence))
    if (alerts.length === 0) console.log('no alert fires, and nothing is watched')
    for (const alert of alerts) console.log(alertInWords(alert, nowMs))
    return 0
  })

/** Mutes sending for so long; 0 ends a silence. */
export const silence = (order: { forMs: number; reason: string }, options: AlertOptions) =>
  withState(options, async (state) => {
    const decided = await updateItem(
      state,
      stateKeys.alerts,
      (stored: AlertState | undefined) => silenceAlerts(stored, { ...order, nowMs: systemClock.nowMs() }),
      tools,
    )
    const isOver = order.forMs === 0
    if (options.json) console.log(JSON.stringify({ silence: isOver ? null : shownSilence(decided) }))
    else console.log(isOver ? 'alerts are sent again; what happened meanwhile is told by the next health check' : silenceInWords(decided))
    return 0
  })

/** No reminder of it until it is over, or becomes critical. 1 when no such alert fires. */
export const acknowledgeAlert = (fingerprint: string, options: AlertOptions) =>
  withState(options, async (state) => {
    const answer = await updateItem(
      state,
      stateKeys.alerts,
      (stored: AlertState | undefined) => acknowledge(stored, { fingerprint, nowMs: systemClock.nowMs() }),
      tools,
    )
    if (answer === 'not firing') {
      const firing = listAlerts(await storedAlerts(state)).filter(isFiring)
      const those = firing.length > 0 ? `those that do: ${firing.map((alert) => alert.fingerprint).join(', ')}` : 'none does'
      const isEnding = firing.some((alert) => alert.fingerprint === fingerprint)
      console.error(
        isEnding
          ? `tokay: ${fingerprint} is over, only its end is still to be told: there is nothing to acknowledge`
          : `tokay: no alert "${plainLine(fingerprint, 80)}" fires; ${those}`,
      )
      return 1
    }
    if (options.json) console.log(JSON.stringify({ fingerprint, answer }))
    else console.log(`${fingerprint}: ${answer}; no reminder until it is over, or becomes critical`)
    return 0
  })

export const isFiring = ({ phase }: ListedAlert) => phase === 'firing' || phase === 'resolving'

const isoOf = (atMs: number | null) => (atMs === null ? null : new Date(atMs).toISOString())

export const shownAlert = ({ sinceMs, toldAtMs, acknowledgedAtMs, ...alert }: ListedAlert) => ({
  ...alert,
  since: isoOf(sinceMs),
  toldAt: isoOf(toldAtMs),
  acknowledgedAt: isoOf(acknowledgedAtMs),
})

export const shownSilence = ({ sinceMs, untilMs, reason }: Silence) => ({ since: isoOf(sinceMs), until: isoOf(untilMs), reason })

const silenceInWords = ({ untilMs, reason }: Silence) => `silent until ${plainTime(untilMs)}: ${reason}`

export function alertInWords(alert: ListedAlert, nowMs: number): string {
  const { fingerprint, phase, severity, sinceMs, toldAtMs, acknowledgedAtMs, isFlapping, message } = alert
  const more = [
    ...(sinceMs === null ? [] : [`for ${inWords(nowMs - sinceMs)}`]),
    ...(isFiring(alert) ? [toldAtMs === null ? 'not told yet' : `told ${inWords(nowMs - toldAtMs)} ago`] : []),
    ...(acknowledgedAtMs === null ? [] : ['acknowledged']),
    ...(isFlapping ? ['comes and goes'] : []),
  ]
  return `${severity ?? 'watched'}  ${fingerprint}  ${phase}${more.length > 0 ? `, ${more.join(', ')}` : ''}: ${plainLine(message, 200)}`
}
