import { describe, expect, it } from 'vitest'
import { followIncident, type Incident, incidentLines, incidentRow, recoveredInMs } from '../../shared/health/alert/incident.ts'
import type { Observation } from '../../shared/health/observation.ts'
import type { CollectorState } from '../../shared/state/claim.ts'
import { minuteMs, observed, startAtMs } from '../support/alerts.ts'

const at = (minute: number, second = 0) => startAtMs + minute * minuteMs + second * 1_000
const away: Observation['database'] = {
  kind: 'unreachable',
  failure: 'refused',
  message: 'connect ECONNREFUSED 127.0.0.1:5432',
  afterMs: 1,
}
const back: Observation['database'] = { kind: 'answers', connectMs: 3, queryMs: 4, vitals: { unseen: 'a test' } }
const open = (openedAtMs: number, epoch: number, streak: number): Observation['breaker'] => ({
  state: 'open',
  epoch,
  openedAtMs,
  retryAtMs: openedAtMs + 9_000,
  streak,
  token: null,
  reason: 'connection',
})
const closed = (epoch: number): Observation['breaker'] => ({ state: 'closed', epoch, failedAtMs: [] })
const ran = (lastRunId: string, lastOutcome: CollectorState['lastOutcome']) => ({ lastRunId, lastOutcome }) as CollectorState

const after = (...looks: readonly Observation[]): Incident | null => looks.reduce<Incident | null>(followIncident, null)

/** The incident of 2025: the database was away for 25 minutes. */
const outage = after(
  observed(at(-1), { database: back, breaker: closed(4) }),
  observed(at(0, 6), { database: away, breaker: open(at(0, 3), 5, 1), parked: 3 }),
  observed(at(12), { database: away, breaker: open(at(0, 3), 84, 80), parked: 78 }),
  observed(at(25, 20), { database: back, breaker: open(at(0, 3), 171, 167), parked: 161 }),
  observed(at(25, 24), { database: back, breaker: closed(172), parked: 150 }),
  observed(at(25, 40), { database: back, breaker: closed(172), parked: 0 }),
) as Incident

describe('an incident', () => {
  it('is nothing while all is well', () => {
    expect(after(observed(at(0), { database: back, breaker: closed(3) }), observed(at(1)))).toBeNull()
  })

  it('is reported from its first sign to the last batch, and says how it is known that nothing is lost', () => {
    expect(incidentLines({ ...outage, toldAtMs: at(0, 9) })).toEqual([
      'First error: 2025-09-15 06:45:03 UTC, connect ECONNREFUSED 127.0.0.1:5432 (refused).',
      'Found after 3 s, told after 6 s, back after 25 min.',
      'Circuit: opened once, 166 probes failed, closed after 25 min.',
      'Backlog: at most 161 batches seen waiting, all written 16 s after it was back.',
      'Rows lost: 0. A cursor moves only behind rows that are written or parked, and nothing is parked any more.',
      'Polls missed: none.',
    ])
    expect(recoveredInMs(outage)).toBe(4_000)
  })

  it('is a row for machines as well', () => {
    const { report, ...row } = incidentRow({ ...outage, toldAtMs: at(0, 9), endedAtMs: at(26) })
    expect(row).toEqual({ startedAtMs: at(0, 3), endedAtMs: at(26) })
    expect(JSON.parse(report)).toEqual({
      first_error: 'connect ECONNREFUSED 127.0.0.1:5432',
      class: 'refused',
      detected_after_ms: 3_000,
      told_after_ms: 6_000,
      back_after_ms: 1_521_000,
      circuit: { opened: 1, failed_probes: 166, closed_after_ms: 1_521_000 },
      locked_tables: [],
      backlog_peak_batches: 161,
      replay_ms: 16_000,
      batches_left: 0,
      rows_lost: 0,
      polls_missed: {},
    })
  })

  it('what still waits, or can not be asked for, is no zero', () => {
    const waiting = after(observed(at(0), { database: away, parked: 2 }), observed(at(1), { database: back, parked: 2 })) as Incident
    expect(incidentLines(waiting)).toContain('Rows lost: none. 2 batches still wait to be written.')
    const unknown = after(observed(at(0), { database: away, parked: undefined })) as Incident
    expect(incidentLines(unknown)).toContain('Rows lost: none that is known, but the parked writes could not be asked for.')
    expect(JSON.parse(incidentRow(unknown).report)).toMatchObject({ rows_lost: null, batches_left: null })
  })

  it('a circuit that closed and opened again is counted, with what came between two looks', () => {
    const twice = after(
      observed(at(0), { database: away, breaker: open(at(0), 1, 1) }),
      observed(at(1), { database: away, breaker: open(at(0, 50), 5, 1) }),
      observed(at(2), { database: back, breaker: closed(6) }),
    ) as Incident
    // opened, reopened twice, closed, opened, closed
    expect(incidentLines(twice)).toContain('Circuit: opened 2 times, 2 probes failed, closed after 2 min.')
  })

  it('a run that could neither fetch nor keep is a missed poll; one that parked its rows is none', () => {
    const missed = after(
      observed(at(0), { database: away, collectors: { trades: ran('a', 'deferred'), dexes: ran('a', 'complete') } }),
      observed(at(1), { database: away, collectors: { trades: ran('b', 'deferred'), dexes: ran('b', 'complete') } }),
      observed(at(2), { database: away, collectors: { trades: ran('b', 'deferred'), dexes: ran('c', 'partial') } }),
      observed(at(3), { database: back, collectors: { trades: ran('c', 'failed'), dexes: ran('d', 'complete') } }),
    ) as Incident
    expect(incidentLines(missed).at(-1)).toBe('Polls missed: trades 2; their cursors stayed, the next runs fetched what the API still had.')
  })

  it('a locked table is one, though the database answers', () => {
    const locked = after(observed(at(3), { database: back, lockedSinceMs: { trades: at(0) } })) as Incident
    expect(locked).toMatchObject({ startedAtMs: at(0), detectedAtMs: at(3), class: 'lock', lockedTables: ['trades'] })
    expect(incidentLines(locked)).toContain('Tables that were locked: trades.')
  })

  it('trouble that comes back is the same one', () => {
    const again = after(
      observed(at(0), { database: away }),
      observed(at(1), { database: back }),
      observed(at(2), { database: away }),
      observed(at(3), { database: back }),
    )
    expect(again).toMatchObject({ startedAtMs: at(0), backAtMs: at(3), drainedAtMs: at(3) })
  })
})
