import { array, assert, constantFrom, integer, option, property, record, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toSmsPart, toSubject } from '../../shared/health/alert/message-limits.ts'
import { inWords, plainLine } from '../../shared/health/alert/words.ts'
import { check, connect, createEngine, hourMs, minuteMs, startAtMs } from '../support/alerts.ts'

const at = (minute: number) => startAtMs + minute * minuteMs

describe('what an alert says', () => {
  it('critical: what, since when, the evidence, the cost, what to do, how to make it stop', () => {
    const engine = createEngine()
    const saturated = check('connections', 'critical', {
      value: 97,
      unit: '%',
      limits: { warning: 80, critical: 90 },
      message: '94 of 97 connections are in use.',
      action: 'See who holds them; end idle ones. Use a pooler.',
      evidence: ['collector: 61', 'psql: 20'],
    })
    const late = check('freshness', 'warning', { subject: 'trades', inhibitedBy: 'connections' })
    const [message] = engine.run(at(0), [saturated, late], { parked: 12 })
    expect(message).toEqual({
      severity: 'critical',
      subject: '[CRITICAL] tokay-prod: connections nearly used up',
      email: [
        'tokay-prod: connections nearly used up, since 2025-09-15 06:45:00 UTC (0 s).',
        '',
        'What: 94 of 97 connections are in use.',
        'Evidence: 97 % (warning at 80 %, critical at 90 %).',
        '  collector: 61',
        '  psql: 20',
        'Impact: 12 batches wait to be written, nothing is lost. Late: trades.',
        'Do now: See who holds them; end idle ones. Use a pooler.',
        'Suppressed: 1 finding that is explained by this.',
        '',
        'Silence: npm run -s tokay -- alerts silence --for 30m --stage prod',
        'I know: npm run -s tokay -- alerts ack connections --stage prod',
      ].join('\n'),
      sms: 'CRIT tokay-prod: connections nearly used up. 12 batches parked, nothing lost. See who holds them.',
    })
  })

  it('the end: how long it was, and that nothing waits any more', () => {
    const engine = createEngine()
    for (const minute of [0, 1, 2]) engine.run(at(minute), [connect(false)])
    const [message] = Array.from({ length: 5 }, (_, n) => engine.run(at(25 + n), [connect(true)])).flat()
    expect(message).toEqual({
      severity: 'critical', // the phone that was woken is told as well
      subject: '[RECOVERED] tokay-prod: database unreachable, over after 25 min',
      email: 'tokay-prod: database unreachable, over after 25 min.\n\nNo write waits any more.',
      sms: 'OK tokay-prod: database unreachable, over after 25 min. No write waits any more.',
    })
  })

  it('about several things each action is said once, and what does not fit is counted', () => {
    const engine = createEngine()
    const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']
    const [message] = engine.run(
      at(0),
      ids.map((id, n) => check(id, 'critical', { action: n < 5 ? 'Do this.' : 'Do that.' })),
    )
    expect(message?.subject).toBe('[CRITICAL] tokay-prod: a (+9 more)')
    expect(message?.email.split('\n').filter((line) => line.includes('Do this.'))).toEqual(['  1. Do this.'])
    expect(message?.email).toContain('  - and 2 more')
    expect(message?.email.split('\n').length).toBeLessThanOrEqual(25)
  })

  it('advice that does not fit into one text message is left out, not cut', () => {
    const engine = createEngine()
    const [message] = engine.run(at(0), [check('read-only', 'critical', { action: 'x'.repeat(150) })])
    expect(message?.sms).toBe('CRIT tokay-prod: the server takes no writes.')
  })

  it('a secret in whatever an error says is not told', () => {
    const engine = createEngine()
    const secretive = check('read-only', 'critical', {
      message: 'no answer from postgres://tokay:hunter2@db.example.com:5432/tokay',
      action: 'Set PGPASSWORD: password=hunter2 or API_KEY="hunter2".',
      evidence: ["connection string host=db password='hunter2' user=x", 'postgresql://tokay:hun@ter2@db/x'],
    })
    const [message] = engine.run(at(0), [secretive])
    expect(JSON.stringify([message, engine.state])).not.toMatch(/hunter2|ter2@/)
    expect(message?.email).toContain('postgres://***@db.example.com:5432/tokay')
  })
})

describe('durations', () => {
  it.each([
    [0, '0 s'],
    [119_000, '119 s'],
    [120_000, '2 min'],
    [119 * minuteMs, '119 min'],
    [2 * hourMs, '2 h'],
    [3 * hourMs + 5 * minuteMs, '3 h 5 min'],
    [48 * hourMs, '2 d'],
    [52 * hourMs, '2 d 4 h'],
    [-5, '0 s'],
  ])('%d ms are %s', (ms, words) => {
    expect(inWords(ms)).toBe(words)
  })
})

describe('whatever a check says', () => {
  const text = string({ unit: 'binary', maxLength: 300 })
  const anyCheck = record({
    id: constantFrom('connect', 'lock-wait', 'table-locked', 'x'),
    subject: option(text, { nil: undefined }),
    severity: constantFrom('critical', 'warning'),
    value: option(integer(), { nil: null }),
    message: text,
    action: text,
    evidence: array(text, { maxLength: 8 }),
  })

  it('a mail has at most 25 lines of at most 200 characters, its subject and text message fit their channels, a secret stays out', () => {
    assert(
      property(
        array(anyCheck, { maxLength: 30 }),
        text,
        option(integer({ min: 0, max: 10_000 }), { nil: undefined }),
        (checks, system, parked) => {
          const engine = createEngine()
          const told = [0, 1, 2, 3, 40, 300].flatMap((minute) =>
            engine.run(
              at(minute),
              checks.map(({ id, severity, subject, message, ...fields }) =>
                check(id, severity as 'critical', {
                  ...fields,
                  message: `${message} postgres://u:hunter2@h/d`,
                  ...(subject === undefined ? {} : { subject }),
                }),
              ),
              { parked },
            ),
          )
          for (const { subject, email, sms } of told) {
            expect(toSubject(subject)).toMatch(/^[!-~][ -~]{0,98}$/)
            const lines = email.split('\n')
            expect(lines.length).toBeLessThanOrEqual(25)
            expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(220)
            expect(email.length).toBeLessThanOrEqual(2_500)
            expect(toSmsPart(sms)).toMatch(/^(CRIT|WARN|STILL|OK|INFO)/)
            expect(toSmsPart(sms).length).toBeLessThanOrEqual(140)
            expect(email + sms + subject).not.toContain('hunter2')
          }
          expect(plainLine(system, 50).length).toBeLessThanOrEqual(50)
        },
      ),
      { numRuns: 60 },
    )
  })
})
