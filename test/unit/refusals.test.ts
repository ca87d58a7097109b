import { describe, expect, it } from 'vitest'
import { accepted, refused, type Refusals } from '../../shared/state/refusals.ts'
import { assessed, type Given } from '../support/observed.ts'

const sinceMs = Date.parse('2025-09-15T06:45:00Z')
const schema = { class: 'schema', message: 'relation "trades" does not exist (42P01)', sinceMs }
const permission = { class: 'permission', message: 'permission denied for table pools (42501)', sinceMs }

describe('the item of refused streams', () => {
  it('begins, changes with the class, and stays as it is while the same goes on', () => {
    expect(refused(undefined, 'trades', schema).data).toEqual({ trades: schema })
    expect(refused({ trades: schema }, 'trades', { ...schema, sinceMs: sinceMs + 1 }).data).toBeUndefined()
    const changed = { ...permission, sinceMs: sinceMs + 1 }
    expect(refused({ trades: schema }, 'trades', changed).data).toEqual({ trades: changed })
    expect(refused({ trades: schema }, 'pools', permission).data).toEqual({ trades: schema, pools: permission })
  })

  it('ends stream by stream, or as a whole; without a change nothing is written', () => {
    const both: Refusals = { trades: schema, pools: permission }
    expect(accepted(both, 'trades').data).toEqual({ pools: permission })
    expect(accepted(both).data).toEqual({})
    expect(accepted(both, 'dexes').data).toBeUndefined()
    expect(accepted(undefined, 'dexes').data).toBeUndefined()
    expect(accepted({}).data).toBeUndefined()
  })
})

describe('what the health check makes of it', () => {
  const refusedFindings = (seen: Given['seen']) =>
    assessed({ seen: { parked: 3, ...seen } }).checks.filter(({ id, severity }) => id === 'writes-refused' && severity !== 'ok')

  it('is critical, with the reason, and what to do about its class', () => {
    expect(refusedFindings({ refusals: { trades: schema, other: permission } })).toMatchObject([
      {
        subject: 'trades',
        severity: 'critical',
        message: 'Parked batches of trades are refused since 2025-09-15T06:45:00.000Z (schema): relation "trades" does not exist (42P01).',
        action:
          'Run the migrations (deploy again or invoke `migrate`; on one machine start again), or undo the change. Nothing is lost: they stay parked until it is mended.',
      },
      {
        subject: 'other',
        message: expect.stringMatching(/^Parked batches are refused/) as string,
        action: expect.stringMatching(/^Grant it/) as string,
      },
    ])
    expect(assessed({ seen: { parked: 3, refusals: { trades: schema } } }).status).toBe('critical')
  })

  it('is nothing once the queue is empty, and still something while nobody can count it', () => {
    expect(refusedFindings({ parked: 0, refusals: { trades: schema } })).toEqual([])
    expect(refusedFindings({ parked: undefined, refusals: { trades: schema } })).toHaveLength(1)
    expect(refusedFindings({})).toEqual([])
  })
})
