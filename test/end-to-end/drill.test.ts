// `npm run drill` as a user meets it, with few faults and short ones.

import { describe, expect, it } from 'vitest'
import { tokay } from '../support/command.ts'

describe('the drill', () => {
  it('--json prints one JSON object on stdout, a score for each fault in the order asked for, and the table on stderr', async () => {
    const { code, stdout, stderr } = await tokay(['drill', '--faults', 'delay,refuse', '--hold', '1', '--json']).finished
    expect(code, stderr).toBe(0)
    const { faults, ...others } = JSON.parse(stdout) as { faults: Record<string, unknown>[] }
    expect(others).toEqual({})
    const score = {
      rowsOffered: expect.any(Number) as number,
      rowsLost: 0,
      rowsDoubled: 0,
      rowsHalfWritten: 0,
      secondsToFreshWrites: expect.any(Number) as number,
      secondsToDrained: expect.any(Number) as number,
      connectionsOpened: expect.any(Number) as number,
    }
    expect(faults).toEqual([
      { fault: 'delay', ...score },
      { fault: 'refuse', ...score },
    ])
    for (const { rowsOffered } of faults) expect(rowsOffered).toBeGreaterThan(50)
    expect(stderr).toContain('none lost, none doubled, none half-written')
  }, 60_000)

  it('--list says what each fault does and starts nothing', async () => {
    const { code, stdout } = await tokay(['drill', '--list']).finished
    expect(code).toBe(0)
    expect(stdout).toMatch(/^refuse +the server is down/m)
    expect(stdout.trim().split('\n')).toHaveLength(20)
  })

  it('a fault that does not exist is the wrong use, exit code 2', async () => {
    const { code, stderr } = await tokay(['drill', '--faults', 'refuse,flood']).finished
    expect(code).toBe(2)
    expect(stderr).toContain('there is no fault "flood": --list shows them')
  })
})
