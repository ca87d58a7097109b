import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { openParkedToRead, openStateToRead, sourceInUse } from '../../cli/chosen-state.ts'
import { openState } from '../../cli/runtime.ts'
import { statusOf } from '../../cli/status.ts'
import { statusLines } from '../../cli/status-table.ts'
import { parseSettings } from '../../shared/config.ts'
import { remember } from '../../shared/health/memory/memory.ts'
import { silentLog } from '../../shared/log.ts'
import type { StateItem } from '../../shared/state/state-table.ts'
import { check, createEngine } from '../support/alerts.ts'
import { collectorState, lookedAtMs, minuteMs, observed, openBreaker } from '../support/observed.ts'

const settings = parseSettings({ networks: ['solana'], gecko: { requestsPerMonth: 10_000 }, collectors: { dexes: { enabled: false } } })

function items(data: Readonly<Record<string, unknown>>): readonly StateItem[] {
  return Object.entries(data).map(([key, value]) => ({ key, version: 1, data: value }))
}
const status = (data: Readonly<Record<string, unknown>>, fields: Partial<Parameters<typeof statusOf>[0]> = {}) =>
  statusOf({ settings, source: 'live', items: items(data), parked: 3, nowMs: lookedAtMs + minuteMs, ...fields })

const memory = remember(undefined, observed())

describe('the status', () => {
  it('of an installation that never ran is unknown, not well', () => {
    const shown = status({}, { parked: 0 })
    expect(shown).toMatchObject({
      system: 'tokay-dev',
      health: { status: 'unknown', lookedAt: null },
      circuits: [],
      api: { perMinute: 10, limitPerMinute: 10, isReady: true, readyAt: null, callsThisMonth: 0, limitPerMonth: 10_000 },
      alerts: [],
      silence: null,
      availability: { hour: { availability: null, knownMinutes: 0 } },
      budgetLeft: null,
    })
    expect(shown.collectors[1]).toEqual({
      name: 'top-pools',
      enabled: true,
      everyMinutes: 5,
      intervalFactor: 1,
      lastSuccess: null,
      lastOutcome: null,
      nextDue: null,
      isRunning: false,
      failures: 0,
      cooldownUntil: null,
      cursorAgeS: null,
    })
  })

  it('has each collector with its pace, failures, pause and how far it has come', () => {
    const { collectors } = status({
      'collector:trades': collectorState({
        intervalFactor: 2.25,
        fetchFailures: 5,
        cooldownUntilMs: lookedAtMs + 2 * minuteMs,
        lastOutcome: 'failed',
        cursor: { 'solana A': { newestAtMs: lookedAtMs - minuteMs }, 'solana B': { newestAtMs: lookedAtMs }, watched: ['x'] },
      }),
    })
    expect(collectors[3]).toMatchObject({
      intervalFactor: 2.25,
      lastSuccess: '2025-09-15T06:44:00.000Z',
      nextDue: '2025-09-15T06:49:00.000Z',
      failures: 5,
      cooldownUntil: '2025-09-15T06:47:00.000Z',
      cursorAgeS: 60,
    })
  })

  it("is healthy, degraded or critical by what fires, and unknown three of the health check's ticks after its last look", () => {
    const engine = createEngine()
    engine.run(lookedAtMs, [check('lock-wait', 'warning')])
    expect(status({ health: memory }).health.status).toBe('healthy')
    expect(status({ health: memory, alerts: engine.state })).toMatchObject({
      health: { status: 'degraded', lookedAt: '2025-09-15T06:45:00.000Z' },
      alerts: [{ fingerprint: 'lock-wait', severity: 'warning', phase: 'firing', since: '2025-09-15T06:45:00.000Z' }],
    })
    engine.run(lookedAtMs + 1_000, [check('lock-wait', 'warning'), check('circuit', 'critical')])
    expect(status({ health: memory, alerts: engine.state }).health.status).toBe('critical')
    const at = (nowMs: number) => status({ health: memory, alerts: engine.state }, { nowMs }).health.status
    expect([at(lookedAtMs + 3 * minuteMs), at(lookedAtMs + 3 * minuteMs + 1)]).toEqual(['critical', 'unknown'])
  })

  it('says when the API may be asked again, and how much of the month is used', () => {
    const budget = {
      perMinute: 5,
      limitPerMinute: 10,
      tokens: 0,
      refilledAtMs: lookedAtMs,
      blockedUntilMs: lookedAtMs + 2 * minuteMs,
      cleanSinceMs: lookedAtMs + 2 * minuteMs,
      month: '2025-09',
      monthCalls: 1_234,
    }
    expect(status({ 'budget:gecko': budget }).api).toEqual({
      perMinute: 5,
      limitPerMinute: 10,
      isReady: false,
      readyAt: '2025-09-15T06:47:00.000Z',
      callsThisMonth: 1_234,
      limitPerMonth: 10_000,
    })
    expect(status({ 'budget:gecko': { ...budget, month: '2025-08' } }).api.callsThisMonth).toBe(0)
    expect(status({ 'budget:gecko': { ...budget, monthCalls: 10_000 } }).api.readyAt).toBe('2025-10-01T00:00:00.000Z')
  })

  it('names the settings that are not as they come, and theirs only', () => {
    expect(status({}).settings).toEqual([
      { name: 'networks', value: ['solana'], default: ['solana', 'eth'] },
      { name: 'gecko.requestsPerMonth', value: 10_000, default: 0 },
      { name: 'collectors.dexes.enabled', value: false, default: true },
    ])
    expect(status({}, { settings: parseSettings({}) }).settings).toEqual([])
  })

  it('reads as lines', () => {
    const shown = status({
      health: memory,
      'breaker:database': openBreaker(),
      'collector:top-pools': collectorState({ lease: { runId: 'r', untilMs: lookedAtMs + 2 * minuteMs } }),
      'collector:trades': collectorState({ lastOutcome: 'partial', cursor: { a: { newestAtMs: lookedAtMs } } }),
    })
    const lines = statusLines({ ...shown, historyProblem: 'connect ECONNREFUSED 127.0.0.1:5432' })
    expect(lines.filter((line) => !line.startsWith('on AWS'))).toEqual([
      'tokay-dev (live): healthy, last look 60 s ago',
      '',
      'collector  every   last success  next due  failures  newest data  now',
      'dexes      60 min  never         -         0         -            switched off',
      'top-pools  5 min   2 min ago     in 3 min  0         -            running',
      'new-pools  5 min   never         -         0         -            has not run yet',
      'trades     5 min   2 min ago     in 3 min  0         60 s old     waiting; its last run was partial',
      '',
      'circuit database: open since 2025-09-15T06:44:50.000Z (connection), next probe at 2025-09-15T06:45:03.000Z',
      'parked: 3 batches',
      'API: 10 of 10 calls a minute, ready; 0 calls this month of 10,000',
      'alerts: none fires',
      '',
      'availability  1 h    24 h   7 d    30 d   budget left',
      'remembered    100 %  100 %  100 %  100 %  100 %',
      'known: 1 minute of the last hour, 1 of 30 days; the others count neither way',
      'no history: connect ECONNREFUSED 127.0.0.1:5432',
      '',
      'settings that differ from their defaults:',
      '  networks = ["solana"] (["solana","eth"])',
      '  gecko.requestsPerMonth = 10000 (0)',
      '  collectors.dexes.enabled = false (true)',
    ])
    expect(lines.join('\n')).toMatch(/on AWS these schedules cost about \$\d+\.\d\d a month, \$\d+\.\d\d within the free tier/)
  })
})

describe('whose state it is', () => {
  async function folder() {
    const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-source-'))
    onTestFinished(() => fs.rm(dataDir, { recursive: true }))
    const said = vi.spyOn(console, 'error').mockImplementation(() => {})
    onTestFinished(() => said.mockRestore())
    return { dataDir, said: () => said.mock.calls.flat() }
  }

  it('that of the source that was used last, and it says which; live where none ever was', async () => {
    const { dataDir, said } = await folder()
    expect(sourceInUse(undefined, dataDir)).toBe('live')
    for (const source of ['live', 'simulator', 'replay'] as const) await openState(dataDir, source).close()
    const at = (source: string, iso: string) => fs.utimes(path.join(dataDir, source, 'state.db'), new Date(iso), new Date(iso))
    await at('live', '2025-09-15T06:45:00Z')
    await at('simulator', '2025-09-15T06:46:00Z')
    await at('replay', '2025-09-15T06:44:00Z')
    expect(sourceInUse(undefined, dataDir)).toBe('simulator')
    expect(sourceInUse('replay', dataDir)).toBe('replay')
    expect(said()).toEqual(['source: live', 'source: simulator, which was used last; --source names another'])
  })

  it('a change that is in the log beside the file counts', async () => {
    const { dataDir } = await folder()
    for (const source of ['live', 'simulator'] as const) await openState(dataDir, source).close()
    const past = new Date('2025-09-15T06:45:00Z')
    for (const source of ['live', 'simulator']) await fs.utimes(path.join(dataDir, source, 'state.db'), past, past)
    const running = openState(dataDir, 'simulator')
    await running.compareAndSet('alerts', 0, {})
    expect(sourceInUse(undefined, dataDir)).toBe('simulator')
    await running.close()
  })

  it('looking makes nothing', async () => {
    const { dataDir } = await folder()
    const state = openStateToRead(dataDir, 'live')
    expect(await state.list()).toEqual([])
    await state.close()
    expect(await openParkedToRead(dataDir, 'live', silentLog)).toBe(undefined)
    expect(await fs.readdir(dataDir)).toEqual([])
  })
})
