import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { drawView, type ViewData } from '../../cli/live-view.ts'
import { consoleNotifier } from '../../cli/local/console-notifier.ts'
import type { CollectorView } from '../../cli/local-run.ts'
import { formatEvent, grouped, lineLog } from '../../cli/output.ts'

const atMs = Date.parse('2025-09-15T06:45:31Z')

const collector = (fields: Partial<CollectorView> = {}): CollectorView => ({
  fetched: 0,
  inserted: 0,
  updated: 0,
  unchanged: 0,
  rejected: 0,
  parked: 0,
  apiCalls: 0,
  doing: 'waiting',
  ...fields,
})
const data = (fields: Partial<ViewData> = {}): ViewData => ({
  title: 'Tokay: simulator, Postgres at 127.0.0.1:5432 (embedded)',
  collectors: {
    dexes: collector({ fetched: 48, inserted: 40, unchanged: 6, rejected: 2 }),
    'top-pools': collector({ fetched: 1_234_567, inserted: 567, updated: 1_234_000 }),
    'new-pools': collector({ fetched: 20, parked: 20, doing: 'fetching, 20 rows in 1 calls' }),
    trades: collector({ doing: 'partial: solana P: GET /trades answered 503' }),
  },
  circuit: 'open',
  parked: 1_500,
  health: 'critical',
  ...fields,
})
const drawn = (fields: Partial<ViewData> = {}, width = 200) => stripVTControlCharacters(drawView(data(fields), width)).split('\n')

describe('the live view', () => {
  it('shows what each collector did and does, the circuit, what is parked, and how to stop', () => {
    expect(drawn()).toEqual([
      '',
      'Tokay: simulator, Postgres at 127.0.0.1:5432 (embedded)',
      'collector      fetched   inserted    updated  unchanged   rejected     parked  now',
      'dexes               48         40          0          6          2          0  waiting',
      'top-pools    1,234,567        567  1,234,000          0          0          0  waiting',
      'new-pools           20          0          0          0          0         20  fetching, 20 rows in 1 calls',
      'trades               0          0          0          0          0          0  partial: solana P: GET /trades answered 503',
      'circuit open   parked batches 1,500   health critical   Ctrl-C stops',
    ])
    expect(drawn({ circuit: 'closed', parked: 0, health: 'healthy' }).at(-1)).toBe(
      'circuit closed   parked batches 0   health healthy   Ctrl-C stops',
    )
  })

  it('no line is longer than the terminal is wide: one that wraps could not be drawn over', () => {
    for (const width of [20, 79, 80, 81, 82, 125, 126]) {
      const lines = drawn({}, width)
      expect(lines).toHaveLength(8)
      expect(Math.max(...lines.map((line) => line.length)), `at ${width}`).toBeLessThanOrEqual(width)
    }
    expect(drawn({}, 30)[5]).toBe('new-pools           20       ')
  })

  it('a line that just fits is whole', () => {
    const foot = 'circuit open   parked batches 1,500   health critical   Ctrl-C stops'
    expect(drawn({}, foot.length).at(-1)).toBe(foot)
    expect(drawn({}, foot.length - 1).at(-1)).toBe(foot.slice(0, -2))
  })

  it('a problem of several lines takes one, and steers no terminal', () => {
    const collectors = { ...data().collectors, trades: collector({ doing: 'failed: 2 settings are wrong:\n  - a\n  - b \u001b[2J' }) }
    const lines = drawView(data({ collectors }), 200).split('\n')
    expect(lines).toHaveLength(8)
    expect(lines[6]).toMatch(/failed: 2 settings are wrong: - a - b \[2J$/)
  })
})

describe('a line of the log', () => {
  it('has the time, the event, and its fields in their order', () => {
    const event = {
      event: 'batch.parked',
      collector: 'trades',
      rows: 300,
      reason: 'connection',
      until: undefined,
      ids: ['a', 'b'],
      done: null,
    }
    expect(formatEvent(event, atMs)).toBe('06:45:31 batch.parked collector=trades rows=300 reason=connection ids=["a","b"] done=null')
  })

  it('an error is its message, never its stack', () => {
    const error = new Error('connect ECONNREFUSED', { cause: new Error('hidden') })
    expect(formatEvent({ event: 'replay.failed', error }, atMs)).toBe('06:45:31 replay.failed error="connect ECONNREFUSED"')
  })

  it.each([
    ['', '""'],
    ['two words', '"two words"'],
    ['a=b', '"a=b"'],
    ['say "so"', '"say \\"so\\""'],
    ['two\nlines', '"two\\nlines"'],
    ['\u001b[2Jgone', '"\\u001b[2Jgone"'],
    ['\u009b2Jgone', '"\\u009b2Jgone"'],
    ['金蛙🐸', '金蛙🐸'],
  ])('text that could be misread or steer the terminal is quoted: %j', (value, shown) => {
    expect(formatEvent({ event: 'item.rejected', item: value }, atMs)).toBe(`06:45:31 item.rejected item=${shown}`)
  })

  it('comes from each level', () => {
    const lines: string[] = []
    const log = lineLog({ write: (line) => void lines.push(stripVTControlCharacters(line)) }, () => atMs)
    log.info({ event: 'circuit.closed' })
    log.warn({ event: 'batch.parked' })
    log.error({ event: 'run.unclaimed' })
    expect(lines).toEqual(['06:45:31 circuit.closed', '06:45:31 batch.parked', '06:45:31 run.unclaimed'])
  })

  it('numbers are grouped by thousands, whatever the machine speaks', () => {
    expect([0, 999, 1_000, 1_234_567].map(grouped)).toEqual(['0', '999', '1,000', '1,234,567'])
  })
})

describe('an alert on the console', () => {
  const message = {
    subject: '[CRITICAL] tokay-dev: café — down',
    email: 'line one\n\nline two',
    sms: 'CRIT tokay-dev 🐸',
    severity: 'critical',
  } as const

  it('is as its receivers would read it: the subject and the text message cut to what their channels take', async () => {
    const written: string[] = []
    await consoleNotifier((text) => void written.push(text)).publish(message)
    expect(written).toEqual([
      ['', '  | email: [CRITICAL] tokay-dev: cafe - down', '  |   line one', '  |', '  |   line two', '  | sms: CRIT tokay-dev ?', ''].join(
        '\n',
      ),
    ])
  })

  it('a warning does not wake a phone', async () => {
    const written: string[] = []
    await consoleNotifier((text) => void written.push(text)).publish({ ...message, severity: 'warning' })
    expect(written.join()).not.toContain('sms')
  })
})
