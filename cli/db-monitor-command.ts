// `tokay db-monitor`: a look every few seconds until it is stopped. Panes on a terminal, else a line a sample; a line when a threshold is crossed
// and when that is over; a summary at the end, however it ends. Exit codes: 0 ended as asked, 2 used wrongly, 3 nothing to look at.
//
// Keys need the terminal in raw mode. It is put back when the watching ends or throws; and Node puts it back whenever the process ends.

import logUpdate from 'log-update'
import { systemClock } from '../shared/clock.ts'
import { type JudgedNow, lookNow } from '../shared/health/check-health.ts'
import { reportOf } from '../shared/health/report.ts'
import { type LookChoice, nothingToLookAt, type OpenLook, openLook } from './look-tools.ts'
import {
  addTo,
  type AlertNews,
  follow,
  growthBetween,
  nothingYet,
  type Raised,
  type Sample,
  sampleOf,
  type Thresholds,
  vitalsOf,
} from './monitor-sample.ts'
import { alertLine, drawMonitor, type MonitorView, plainLine, shownSamples, summaryLines } from './monitor-view.ts'

export type MonitorOptions = LookChoice & {
  readonly intervalS: number
  /** Default: until it is stopped. */
  readonly durationMinutes?: number
  /** Defaults: health.thresholds. */
  readonly lockWaitMs?: number
  readonly queryMs?: number
  readonly json?: boolean
}

const nothingThere = 3

/** Whoever watches sees it wake. */
const wakeForMs = 5_000

export async function dbMonitor(options: MonitorOptions, signal: AbortSignal): Promise<number> {
  const look = await openLook(options, { wakeForMs })
  if (look === undefined) {
    console.error(nothingToLookAt)
    return nothingThere
  }
  const { thresholds: usual } = look.tools.settings.health
  const thresholds = { lockWaitMs: options.lockWaitMs ?? usual.lockWaitMs, queryMs: options.queryMs ?? usual.queryMs }
  const everyMs = options.intervalS * 1_000
  const stop = new AbortController()
  const asked = AbortSignal.any([signal, stop.signal])
  const { durationMinutes } = options
  const timer = durationMinutes === undefined ? undefined : setTimeout(() => stop.abort(), durationMinutes * 60_000)
  // `| head`: nobody reads any more
  process.stdout.once('error', () => stop.abort())

  let isPaused = false
  const screen = screenOf(options, { look, thresholds, everyMs, isPaused: () => isPaused })
  const keys = screen.isTerminal
    ? listenToKeys({
        pause() {
          isPaused = !isPaused
          screen.redraw()
        },
        quit: () => stop.abort(),
      })
    : undefined
  try {
    const startedAtMs = systemClock.nowMs()
    let totals = nothingYet
    let raised: Raised = {}
    let before: JudgedNow | undefined
    for (let dueAtMs = startedAtMs; !asked.aborted; dueAtMs = nextAfter(dueAtMs, everyMs)) {
      await systemClock.sleep(dueAtMs - systemClock.nowMs(), asked)
      if (isPaused || asked.aborted) continue
      if (before?.observation.database.kind === 'unreachable') await look.findAgain()
      const now = await unlessAborted(lookNow(look.tools, { structure: false }), asked)
      if (now === undefined) break
      const growth = growthBetween(before ? vitalsOf(before.observation) : null, vitalsOf(now.observation))
      const sample = sampleOf(now, growth)
      const followed = follow(raised, sample, thresholds)
      raised = followed.raised
      totals = addTo(totals, sample, growth, followed.news)
      before = now
      screen.show({ now, sample, news: followed.news, raised, alerts: totals.alerts })
    }
    screen.end()
    const tookMs = systemClock.nowMs() - startedAtMs
    if (options.json) print({ kind: 'summary', tookMs, everyMs, ...totals })
    else for (const line of summaryLines(totals, { forMs: tookMs, everyMs })) console.log(line)
    return 0
  } finally {
    clearTimeout(timer)
    screen.end()
    keys?.letGo()
    await look.close()
  }
}

/** On the grid of the first look; ticks that a slow look has missed are left out. */
const nextAfter = (dueAtMs: number, everyMs: number) =>
  dueAtMs + Math.max(1, Math.ceil((systemClock.nowMs() - dueAtMs) / everyMs)) * everyMs

/** A look at a database that hangs takes seconds: who wants to stop does not wait for it. */
async function unlessAborted<Answer>(answer: Promise<Answer>, signal: AbortSignal): Promise<Answer | undefined> {
  let stopped = () => {}
  const aborted = new Promise<undefined>((resolve) => {
    stopped = () => resolve(undefined)
    if (signal.aborted) stopped()
    else signal.addEventListener('abort', stopped, { once: true })
  })
  try {
    return await Promise.race([answer, aborted])
  } finally {
    signal.removeEventListener('abort', stopped)
  }
}

const print = (value: object) => console.log(JSON.stringify(value))

type Seen = { now: JudgedNow; sample: Sample; news: readonly AlertNews[]; raised: Raised; alerts: MonitorView['alerts'] }
type Screen = { readonly isTerminal: boolean; show(seen: Seen): void; redraw(): void; end(): void }

function screenOf(
  options: MonitorOptions,
  by: { look: OpenLook; thresholds: Thresholds; everyMs: number; isPaused: () => boolean },
): Screen {
  const { look, thresholds, everyMs } = by
  if (options.json) {
    return {
      isTerminal: false,
      show({ now, sample, news }) {
        const vitals = vitalsOf(now.observation)
        print({ kind: 'sample', at: isoOf(sample.atMs), ...sample, blocked: vitals?.blocked ?? null, blockers: vitals?.blockers ?? null })
        for (const { atMs, ...one } of news) print({ kind: 'alert', at: isoOf(atMs), ...one })
      },
      redraw() {},
      end() {},
    }
  }
  const place = `${look.source}: ${look.place}`
  if (!process.stdout.isTTY || !process.stdin.isTTY) {
    console.log(`${place}; a look every ${everyMs / 1_000} s, what is shorter may lie between two and is not seen`)
    return {
      isTerminal: false,
      show({ now, sample, news }) {
        console.log(plainLine(sample))
        const vitals = vitalsOf(now.observation)
        for (const one of news) console.log(alertLine(one, thresholds, { sample, vitals }))
      },
      redraw() {},
      end() {},
    }
  }
  const samples: Sample[] = []
  let last: Seen | undefined
  let isOver = false
  const draw = () => {
    if (isOver) return
    const view: MonitorView = {
      title: place,
      samples,
      vitals: last ? vitalsOf(last.now.observation) : null,
      report: last ? reportOf(last.now.assessment, last.now) : undefined,
      raised: last?.raised ?? {},
      thresholds,
      alerts: last?.alerts ?? nothingYet.alerts,
      everyMs,
      isPaused: by.isPaused(),
    }
    logUpdate(drawMonitor(view, { width: process.stdout.columns, rows: process.stdout.rows }))
  }
  process.stdout.on('resize', draw)
  draw()
  return {
    isTerminal: true,
    show(seen) {
      last = seen
      samples.push(seen.sample)
      samples.splice(0, samples.length - shownSamples)
      if (seen.news.length > 0) {
        logUpdate.clear()
        const vitals = vitalsOf(seen.now.observation)
        for (const one of seen.news) console.log(alertLine(one, thresholds, { sample: seen.sample, vitals }))
      }
      draw()
    },
    redraw: draw,
    end() {
      if (isOver) return
      isOver = true
      process.stdout.off('resize', draw)
      logUpdate.done()
    },
  }
}

const isoOf = (atMs: number) => new Date(atMs).toISOString()

/** In raw mode Ctrl-C is a key like others. */
function listenToKeys({ pause, quit }: { pause(): void; quit(): void }): { letGo(): void } {
  const { stdin } = process
  const onKeys = (keys: Buffer) => {
    for (const key of keys.toString('latin1')) {
      if (key === ' ') pause()
      else if (key === 'q' || key === 'Q' || key === '\u0003') quit()
    }
  }
  stdin.setRawMode(true)
  stdin.on('data', onKeys)
  return {
    letGo() {
      stdin.off('data', onKeys)
      stdin.setRawMode(false)
      stdin.pause()
    },
  }
}
