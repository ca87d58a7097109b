import { array, assert, constantFrom, integer, property, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decideAlerts, markSent } from '../../shared/health/alert/alert.ts'
import { acknowledge, listAlerts, silenceAlerts, silenceOf } from '../../shared/health/alert/commands.ts'
import { isInTheBalance } from '../../shared/health/alert/looks.ts'
import { type AlertState, sinceByFingerprint } from '../../shared/health/alert/state.ts'
import { threeOfFive } from '../../shared/health/check.ts'
import { check, connect, createEngine, hourMs, look, minuteMs, secondMs, startAtMs } from '../support/alerts.ts'

const at = (minute: number, second = 0) => startAtMs + minute * minuteMs + second * secondMs
const down = '[CRITICAL] tokay-prod: database unreachable'
const nowOf = (atMs: number, checks: Parameters<typeof look>[1], seen?: Parameters<typeof look>[2]) => ({
  looks: [look(atMs, checks, seen)],
  nowMs: atMs,
  system: 'tokay-prod',
})

describe('when an alert begins', () => {
  it('three bad looks of five tell once, and never in between', () => {
    const { tell } = createEngine()
    expect(tell(at(0), [connect(true)])).toEqual([])
    expect(tell(at(1), [connect(false)])).toEqual([])
    expect(tell(at(2), [connect(true)])).toEqual([])
    expect(tell(at(3), [connect(false)])).toEqual([])
    expect(tell(at(4), [connect(false)])).toEqual([down])
    for (let minute = 5; minute < 26; minute++) expect(tell(at(minute), [connect(false)]), `minute ${minute}`).toEqual([])
  })

  it('two bad looks of five tell nobody, however often that happens', () => {
    const { tell } = createEngine()
    for (let minute = 0; minute < 60; minute++) expect(tell(at(minute), [connect(minute % 3 !== 0)])).toEqual([])
  })

  it('what is certain at once is told at the first look', () => {
    const { tell } = createEngine()
    expect(tell(at(0), [check('read-only', 'critical')])).toEqual(['[CRITICAL] tokay-prod: the server takes no writes'])
  })

  it('ten checks within a second or two are one look', () => {
    const { tell } = createEngine()
    for (let n = 0; n < 10; n++) expect(tell(at(0, n * 0.2), [connect(false)])).toEqual([])
    expect(tell(at(0, 3), [connect(false)])).toEqual([])
    expect(tell(at(0, 6), [connect(false)])).toEqual([down])
  })

  it('of looks that are one, the worst counts, whichever came first', () => {
    const { tell } = createEngine()
    expect(tell(at(0), [check('circuit')])).toEqual([])
    expect(tell(at(0, 1), [check('circuit', 'critical')])).toEqual(['[CRITICAL] tokay-prod: writes fail, the circuit is open'])
    expect(tell(at(0, 2), [check('circuit')])).toEqual([])
    expect(tell(at(0, 4), [check('circuit', 'critical')])).toEqual([])
  })

  it('a good look does not hide a bad one of a second later', () => {
    const { tell } = createEngine()
    expect(tell(at(0), [connect(false)])).toEqual([])
    expect(tell(at(1), [connect(true)])).toEqual([])
    expect(tell(at(1, 1), [connect(false)])).toEqual([])
    expect(tell(at(1, 4), [connect(false)])).toEqual([down])
  })

  it('a warning that is gone before it was told is told to nobody', () => {
    const { tell } = createEngine()
    for (const minute of [0, 1]) expect(tell(at(minute), [check('lock-wait', 'warning')])).toEqual([])
    for (const minute of [2, 3, 4, 5, 6, 7]) expect(tell(at(minute), [check('lock-wait')])).toEqual([])
  })

  it('what could not be looked at, or is explained by something else, is no look', () => {
    const { tell } = createEngine()
    for (let minute = 0; minute < 10; minute++)
      expect(
        tell(at(minute), [
          check('connect', 'skipped', { hold: threeOfFive }),
          check('error-rate', 'critical', { inhibitedBy: 'connect' }),
          check('tls', 'info'),
        ]),
      ).toEqual([])
  })

  it('a warning waits two minutes for company, and goes by mail only', () => {
    const { run } = createEngine()
    const locked = [check('lock-wait', 'warning')]
    expect(run(at(0), locked)).toEqual([])
    expect(run(at(1), locked)).toEqual([])
    const [message, ...others] = run(at(2), locked)
    expect(message).toMatchObject({ severity: 'warning', subject: '[WARNING] tokay-prod: sessions wait for a lock' })
    expect(others).toEqual([])
  })

  it('a warning that becomes critical before it is told is one message', () => {
    const { tell } = createEngine()
    expect(tell(at(0), [check('table-locked', 'warning', { subject: 'trades' })])).toEqual([])
    expect(tell(at(1), [check('table-locked', 'critical', { subject: 'trades' })])).toEqual(['[CRITICAL] tokay-prod: table locked: trades'])
    expect(tell(at(3), [check('table-locked', 'critical', { subject: 'trades' })])).toEqual([])
  })

  it('a warning that was told and becomes critical is told again, acknowledged or not', () => {
    const engine = createEngine()
    const warning = [check('connections', 'warning')]
    for (const minute of [0, 1, 2]) engine.run(at(minute), warning)
    engine.state = acknowledge(engine.state, { fingerprint: 'connections', nowMs: at(3) }).data
    expect(engine.tell(at(4), [check('connections', 'critical')])).toEqual(['[CRITICAL] tokay-prod: connections nearly used up'])
  })

  it('all that begins in one run is one message, the worst first', () => {
    const { run } = createEngine()
    const [message, ...others] = run(at(0), [
      check('wraparound', 'critical'),
      check('lock-wait', 'warning'),
      check('read-only', 'critical'),
    ])
    expect(message?.subject).toBe('[CRITICAL] tokay-prod: wraparound (+1 more)')
    expect(message?.email).toContain('- the server takes no writes: read-only is bad.')
    expect(message?.email).not.toContain('lock')
    expect(others).toEqual([])
  })
})

describe('when an alert ends', () => {
  const failed = (engine: ReturnType<typeof createEngine>) => {
    for (const minute of [0, 1, 2]) engine.run(at(minute), [connect(false)])
  }

  it('five clear looks end it, and its end is told with how long it was', () => {
    const engine = createEngine()
    failed(engine)
    for (const minute of [27, 28, 29, 30]) expect(engine.tell(at(minute), [connect(true)])).toEqual([])
    expect(engine.tell(at(31), [connect(true)])).toEqual(['[RECOVERED] tokay-prod: database unreachable, over after 27 min'])
    expect(engine.tell(at(32), [connect(true)])).toEqual([])
  })

  it('a bad look in between starts the counting anew', () => {
    const engine = createEngine()
    failed(engine)
    for (const minute of [3, 4, 5, 6]) engine.run(at(minute), [connect(true)])
    engine.run(at(7), [connect(false)])
    for (const minute of [8, 9, 10, 11]) expect(engine.tell(at(minute), [connect(true)])).toEqual([])
    expect(engine.tell(at(12), [connect(true)])).toHaveLength(1)
  })

  it('between the two bounds it neither ends nor begins', () => {
    const engine = createEngine()
    const between = [check('connections', 'ok', { isClear: false })]
    for (let minute = 0; minute < 5; minute++) expect(engine.tell(at(minute), between)).toEqual([])
    engine.run(at(5), [check('connections', 'critical')])
    for (let minute = 6; minute < 20; minute++) expect(engine.tell(at(minute), between)).toEqual([])
    for (let minute = 20; minute < 24; minute++) expect(engine.tell(at(minute), [check('connections')])).toEqual([])
    expect(engine.tell(at(24), [check('connections')])).toHaveLength(1)
  })

  it('a finding that is no longer in the list is over when its check was made, and unknown when it was not', () => {
    const engine = createEngine()
    engine.run(at(0), [check('table-locked', 'critical', { subject: 'trades' })])
    for (let minute = 1; minute < 10; minute++) {
      engine.run(at(minute), [connect(true)])
      engine.run(at(minute, 30), [check('table-locked', 'skipped')])
    }
    expect(listAlerts(engine.state)).toMatchObject([{ fingerprint: 'table-locked:trades', phase: 'firing' }])
    for (let minute = 10; minute < 14; minute++) expect(engine.tell(at(minute), [check('table-locked')])).toEqual([])
    expect(engine.tell(at(14), [check('table-locked')])).toEqual(['[RECOVERED] tokay-prod: table locked: trades, over after 10 min'])
  })

  it('waits for what is parked, or says after ten minutes how much is left', () => {
    const engine = createEngine()
    failed(engine)
    for (let minute = 3; minute < 13; minute++) expect(engine.tell(at(minute), [connect(true)], { parked: 7 })).toEqual([])
    const [message] = engine.run(at(13), [connect(true)], { parked: 7 })
    expect(message?.subject).toBe('[RECOVERED] tokay-prod: database unreachable, over after 3 min')
    expect(message?.email).toContain('7 batches still wait to be written; nothing is lost.')
    expect(message?.sms).toBe('OK tokay-prod: database unreachable, over after 3 min. 7 batches still wait to be written; nothing is lost.')
  })

  it('goes out with the look that finds nothing parked any more', () => {
    const engine = createEngine()
    failed(engine)
    for (let minute = 3; minute < 9; minute++) expect(engine.tell(at(minute), [connect(true)], { parked: 7 })).toEqual([])
    expect(engine.tell(at(9), [connect(true)], { parked: 0 })).toHaveLength(1)
  })

  it('one recovery for all that was critical together', () => {
    const engine = createEngine()
    engine.run(at(0), [check('error-rate', 'critical')])
    for (const minute of [1, 2, 3]) engine.run(at(minute), [connect(false), check('error-rate', 'critical', { inhibitedBy: 'connect' })])
    for (let minute = 4; minute < 8; minute++) engine.run(at(minute), [connect(true), check('error-rate', 'critical')])
    // the database answers, but operations still fail
    expect(engine.tell(at(8), [connect(true), check('error-rate')])).toEqual([])
    const told = [9, 10, 11, 12].flatMap((minute) => engine.run(at(minute), [connect(true), check('error-rate')]))
    expect(told.map(({ subject }) => subject)).toEqual(['[RECOVERED] tokay-prod: operations fail (+1 more), over after 8 min'])
    expect(told[0]?.email).toContain('- database unreachable, after 3 min')
  })

  it('back before its end was told: it goes on, and nobody hears of it', () => {
    const engine = createEngine()
    failed(engine)
    for (let minute = 3; minute < 9; minute++) engine.run(at(minute), [connect(true)], { parked: 7 })
    expect(engine.tell(at(9), [connect(false)], { parked: 9 })).toEqual([])
    for (let minute = 10; minute < 14; minute++) expect(engine.tell(at(minute), [connect(true)])).toEqual([])
    expect(engine.tell(at(14), [connect(true)])).toEqual(['[RECOVERED] tokay-prod: database unreachable, over after 10 min'])
  })

  it('firing again within the hour holds it for longer each time, and is called flapping at the third', () => {
    const engine = createEngine()
    let minute = 0
    const told: string[] = []
    const tell = (isUp: boolean) => {
      const messages = engine.run(at(minute++), [connect(isUp, { hold: { bad: 1, of: 1 } })])
      told.push(...messages.map(({ email }) => email))
      return messages.length > 0
    }
    const clearLooks: number[] = []
    for (let round = 0; round < 4; round++) {
      tell(false)
      let looks = 1
      while (looks < 100 && !tell(true)) looks++
      clearLooks.push(looks)
    }
    expect(clearLooks).toEqual([5, 8, 12, 17])
    expect(told.filter((email) => email.includes('It is flapping: 4 times'))).toHaveLength(1)
  })

  it('an alert that nobody could look at for two days is over', () => {
    const engine = createEngine()
    engine.run(at(0), [check('invalid-index', 'critical', { subject: 'pools_pkey' })])
    expect(engine.tell(at(0) + 48 * hourMs, [check('invalid-index', 'skipped')])).toEqual([
      '[STILL CRITICAL] tokay-prod: invalid index: pools_pkey, for 2 d',
    ])
    expect(engine.tell(at(1) + 48 * hourMs, [check('invalid-index', 'skipped')])).toEqual([
      '[RECOVERED] tokay-prod: invalid index: pools_pkey, over after 0 s',
    ])
  })
})

describe('while something critical is up', () => {
  it('warnings wait for its end, and are told if they still stand', () => {
    const engine = createEngine()
    const parked = check('parked', 'warning')
    for (let minute = 0; minute < 5; minute++)
      engine.run(at(minute), [check('read-only', 'critical'), parked, check('lock-wait', 'warning')])
    const told = Array.from({ length: 5 }, (_, n) => engine.tell(at(5 + n), [check('read-only'), parked, check('lock-wait')])).flat()
    expect(told).toEqual(['[RECOVERED] tokay-prod: the server takes no writes, over after 5 min'])
    expect(engine.tell(at(10), [check('read-only'), parked, check('lock-wait')])).toEqual(['[WARNING] tokay-prod: parked writes'])
  })

  it('an hour later they are worth a mail', () => {
    const engine = createEngine()
    const told = Array.from({ length: 61 }, (_, minute) =>
      engine.tell(at(minute), [check('wraparound', 'critical'), check('tls', 'warning')]),
    )
    expect(told.flat()).toEqual([
      '[CRITICAL] tokay-prod: wraparound',
      '[STILL CRITICAL] tokay-prod: wraparound, for 30 min',
      '[WARNING] tokay-prod: tls',
    ])
  })

  it('a circuit that is still open when the database answers again is no news for a minute, and then it is', () => {
    const engine = createEngine()
    for (let minute = 0; minute < 25; minute++)
      engine.run(at(minute), [connect(false), check('circuit', 'critical', { inhibitedBy: 'connect' })])
    expect(engine.tell(at(24, 50), [connect(true), check('circuit', 'critical')])).toEqual([])
    expect(engine.tell(at(25, 10), [connect(true), check('circuit', 'critical')])).toEqual([
      '[CRITICAL] tokay-prod: writes fail, the circuit is open',
    ])
  })

  it('figures that still hold the outage do not tell of it again', () => {
    const engine = createEngine()
    for (let minute = 0; minute < 25; minute++)
      engine.run(at(minute), [connect(false), check('success-rate', 'critical', { inhibitedBy: 'connect' })])
    const after = (minute: number) => [
      connect(true),
      check('success-rate', minute < 29 ? 'critical' : 'ok'),
      check('error-budget', 'critical'),
    ]
    const told = Array.from({ length: 60 }, (_, n) => engine.tell(at(25 + n), after(25 + n))).flat()
    expect(told).toEqual(['[RECOVERED] tokay-prod: database unreachable, over after 25 min'])
  })
})

describe('what goes on is repeated', () => {
  it('critical: after 30 min, then every 4 h, by mail and phone', () => {
    const engine = createEngine()
    const told: [number, string][] = []
    for (let minute = 0; minute <= 9 * 60; minute++)
      for (const { severity } of engine.run(at(minute), [check('read-only', 'critical')])) told.push([minute, severity])
    expect(told).toEqual([
      [0, 'critical'],
      [30, 'critical'],
      [270, 'critical'],
      [510, 'critical'],
    ])
  })

  it('warnings: every 24 h', () => {
    const engine = createEngine()
    const told: number[] = []
    for (let minute = 0; minute <= 49 * 60; minute += 2) if (engine.run(at(minute), [check('tls', 'warning')]).length > 0) told.push(minute)
    expect(told).toEqual([2, 1_442, 2_882])
  })

  it('not to somebody who has acknowledged it; its end is told', () => {
    const engine = createEngine()
    engine.run(at(0), [check('read-only', 'critical')])
    const acknowledged = acknowledge(engine.state, { fingerprint: 'read-only', nowMs: at(1) })
    expect(acknowledged.result).toBe('acknowledged')
    engine.state = acknowledged.data
    expect(acknowledge(engine.state, { fingerprint: 'read-only', nowMs: at(2) })).toEqual({ data: undefined, result: 'known already' })
    expect(acknowledge(engine.state, { fingerprint: 'connect', nowMs: at(2) })).toEqual({ data: undefined, result: 'not firing' })
    for (let minute = 2; minute < 600; minute++) expect(engine.tell(at(minute), [check('read-only', 'critical')])).toEqual([])
    const told = Array.from({ length: 5 }, (_, n) => engine.tell(at(600 + n), [check('read-only')])).flat()
    expect(told).toEqual(['[RECOVERED] tokay-prod: the server takes no writes, over after 10 h'])
  })
})

describe('silence', () => {
  const silent = (engine: ReturnType<typeof createEngine>, nowMs: number, forMs: number) => {
    engine.state = silenceAlerts(engine.state, { nowMs, forMs, reason: 'upgrade to 18' }).data
  }

  it('mutes what is sent, not what is found, and tells at its end what came, went and stands', () => {
    const engine = createEngine()
    silent(engine, at(0), 30 * minuteMs)
    expect(silenceOf(engine.state, at(29))).toEqual({ sinceMs: at(0), untilMs: at(30), reason: 'upgrade to 18' })
    for (let minute = 1; minute < 10; minute++) expect(engine.tell(at(minute), [connect(false)])).toEqual([])
    expect(listAlerts(engine.state)).toMatchObject([{ fingerprint: 'connect', phase: 'firing', toldAtMs: null }])
    for (let minute = 10; minute < 30; minute++)
      expect(engine.tell(at(minute), [connect(true), check('read-only', 'critical')])).toEqual([])
    const [message, ...others] = engine.run(at(30), [connect(true), check('read-only', 'critical')])
    expect(others).toEqual([])
    expect(message?.subject).toBe('[CRITICAL] tokay-prod: the server takes no writes')
    expect(message?.email).toContain('The silence since 2025-09-15 06:45:00 UTC is over (upgrade to 18).')
    expect(message?.email).toContain('- database unreachable, 9 min')
    expect(silenceOf(engine.state, at(30))).toBeNull()
  })

  it('the end of what was told before it is told after it', () => {
    const engine = createEngine()
    engine.run(at(0), [check('read-only', 'critical')])
    silent(engine, at(1), 10 * minuteMs)
    for (let minute = 1; minute < 11; minute++) expect(engine.tell(at(minute), [check('read-only')])).toEqual([])
    expect(engine.tell(at(11), [check('read-only')])).toEqual(['[RECOVERED] tokay-prod: the server takes no writes, over after 60 s'])
  })

  it('one in which nothing happened ends without a word', () => {
    const engine = createEngine()
    silent(engine, at(0), 10 * minuteMs)
    for (let minute = 0; minute < 15; minute++) expect(engine.tell(at(minute), [connect(true)])).toEqual([])
    expect(engine.state?.silence).toBeNull()
  })

  it('can be lifted, and lasts a week at most', () => {
    const engine = createEngine()
    silent(engine, at(0), 365 * 24 * hourMs)
    expect(silenceOf(engine.state, at(0) + 7 * 24 * hourMs - 1)).not.toBeNull()
    expect(silenceOf(engine.state, at(0) + 7 * 24 * hourMs)).toBeNull()
    engine.run(at(1), [check('read-only', 'critical')])
    silent(engine, at(2), 0)
    expect(engine.tell(at(3), [check('read-only', 'critical')])).toHaveLength(1)
  })
})

describe('the outbox', () => {
  const bad = [check('read-only', 'critical')]

  it('what is being sent is left to its sender, and taken up by the next one when that one is lost', () => {
    const first = decideAlerts(undefined, nowOf(at(0), bad))
    expect(first.result.toSend).toHaveLength(1)
    expect(decideAlerts(first.data, nowOf(at(0, 29.999), bad)).result.toSend).toEqual([])
    const next = decideAlerts(first.data, nowOf(at(0, 30), bad))
    expect(next.result.toSend.map(({ message }) => message)).toEqual(first.result.toSend.map(({ message }) => message))
    expect(decideAlerts(next.data, nowOf(at(0, 30.001), bad)).result.toSend).toEqual([])
    expect(markSent(next.data, next.result.toSend).data?.outbox).toEqual([])
  })

  it('a sender of the time before the clock jumped back holds nothing', () => {
    const first = decideAlerts(undefined, nowOf(at(0), bad))
    expect(decideAlerts(first.data, nowOf(at(-60), bad)).result.toSend.map(({ id }) => id)).toEqual([1])
  })

  it('an end that is decided while the beginning is still being sent does not send that again', () => {
    let state: AlertState | undefined = decideAlerts(undefined, nowOf(at(0), bad)).data
    const sent: string[] = []
    for (let second = 3; second <= 15; second += 3) {
      const { data, result } = decideAlerts(state, nowOf(at(0, second), [check('read-only')]))
      state = data ?? state
      sent.push(...result.toSend.map(({ message }) => message.subject))
    }
    expect(sent).toEqual(['[RECOVERED] tokay-prod: the server takes no writes, over after 3 s'])
    expect(state?.outbox).toHaveLength(2)
  })

  it('a full one withholds what is new, and loses none of it', () => {
    let state: AlertState | undefined
    const ids = ['a', 'b', 'c', 'd', 'e']
    for (let n = 0; n < ids.length; n++)
      state =
        decideAlerts(
          state,
          nowOf(
            at(0, 5 * n),
            ids.slice(0, n + 1).map((id) => check(id, 'critical')),
          ),
        ).data ?? state
    expect(state?.outbox).toHaveLength(3)
    state = markSent(state, state?.outbox ?? []).data
    const { result } = decideAlerts(
      state,
      nowOf(
        at(1),
        ids.map((id) => check(id, 'critical')),
      ),
    )
    expect(result.toSend.map(({ message }) => message.subject)).toEqual(['[CRITICAL] tokay-prod: d (+1 more)'])
  })

  it('nothing to tell and nothing to remember changes nothing', () => {
    expect(decideAlerts(undefined, nowOf(at(0), [connect(true), check('tls', 'info')]))).toEqual({
      data: undefined,
      result: { toSend: [], incident: null },
    })
    expect(markSent(undefined, []).data).toBeUndefined()
  })
})

describe('a run looks again', () => {
  const balance = (state: AlertState | undefined, ...looks: ReturnType<typeof look>[]) => isInTheBalance(state, { looks })

  it('while something critical is about to begin', () => {
    expect(balance(undefined, look(at(0), [connect(true)]))).toBe(false)
    expect(balance(undefined, look(at(0), [connect(false)]))).toBe(true)
    expect(balance(undefined, look(at(0), [connect(false)]), look(at(0, 3), [connect(true)]))).toBe(false)
    expect(balance(undefined, ...[0, 3, 6].map((second) => look(at(0, second), [connect(false)])))).toBe(false)
    expect(balance(undefined, look(at(0), [check('lock-wait', 'warning', { hold: threeOfFive })]))).toBe(false)
    expect(balance(undefined, look(at(0), [check('read-only', 'critical')]))).toBe(false)
  })

  it('not for what it does not look at now', () => {
    const pending = decideAlerts(undefined, nowOf(at(0), [check('days-to-full', 'critical', { hold: threeOfFive })])).data
    expect(balance(pending, look(at(1), [check('days-to-full', 'skipped')]))).toBe(false)
  })

  it('while all that was critical is about to be over, the first time, and nothing is parked', () => {
    const engine = createEngine()
    engine.run(at(0), [check('read-only', 'critical'), check('wraparound', 'critical')])
    const clear = [check('read-only'), check('wraparound')]
    expect(balance(engine.state, look(at(1), clear))).toBe(true)
    expect(balance(engine.state, look(at(1), clear, { parked: 3 }))).toBe(false)
    expect(balance(engine.state, look(at(1), clear, { parked: undefined }))).toBe(false)
    expect(balance(engine.state, look(at(1), [check('read-only'), check('wraparound', 'critical')]))).toBe(false)
    expect(balance(engine.state, ...[0, 3, 6, 9].map((second) => look(at(1, second), clear)))).toBe(true)
    expect(balance(engine.state, ...[0, 3, 6, 9, 12].map((second) => look(at(1, second), clear)))).toBe(false)
  })
})

describe('whatever happens', () => {
  const ids = ['connect', 'circuit', 'lock-wait', 'error-rate', 'success-rate']
  const step = record({
    afterMs: integer({ min: -5_000, max: 20 * minuteMs }),
    parked: constantFrom(0, 3, undefined),
    severities: array(constantFrom('ok', 'info', 'warning', 'critical', 'skipped', 'inhibited'), {
      minLength: ids.length,
      maxLength: ids.length,
    }),
    command: constantFrom('none', 'none', 'none', 'silence', 'acknowledge', 'crash'),
  })

  it('everything that was told ends, and its end is told last', () => {
    assert(
      property(array(step, { maxLength: 60 }), (steps) => {
        const engine = createEngine()
        let nowMs = startAtMs
        const tags: string[] = []
        const heed = (messages: readonly { subject: string }[]) =>
          tags.push(...messages.map(({ subject }) => /^\[(?:STILL )?(\w+)\]/.exec(subject)?.[1] as string))
        for (const { afterMs, severities, command, parked } of steps) {
          nowMs += afterMs
          if (command === 'silence') engine.state = silenceAlerts(engine.state, { nowMs, forMs: 30 * minuteMs, reason: 'x' }).data
          if (command === 'acknowledge') engine.state = acknowledge(engine.state, { fingerprint: 'connect', nowMs }).data ?? engine.state
          const checks = ids.map((id, n) => {
            const severity = severities[n] as 'ok' | 'inhibited'
            return severity === 'inhibited' ? check(id, 'critical', { inhibitedBy: 'connect' }) : check(id, severity)
          })
          if (command === 'crash') engine.state = decideAlerts(engine.state, nowOf(nowMs, checks, { parked })).data ?? engine.state
          else heed(engine.run(nowMs, checks, { parked }))
        }
        for (let n = 0; n < 200; n++)
          heed(
            engine.run(
              (nowMs += minuteMs),
              ids.map((id) => check(id)),
            ),
          )
        expect(Object.values(engine.state?.courses ?? {}).filter(({ state }) => state !== 'watched')).toEqual([])
        expect(engine.state?.outbox ?? []).toEqual([])
        // nobody hears of an end without a beginning, and the last word is that all is well
        expect(tags.find((tag) => tag !== 'INFO') ?? 'nothing').not.toBe('RECOVERED')
        expect(tags.findLast((tag) => tag !== 'INFO') ?? 'RECOVERED').toBe('RECOVERED')
        for (let n = 0; n < 100; n++)
          heed(
            engine.run(
              (nowMs += minuteMs),
              ids.map((id) => check(id)),
            ),
          )
        expect(engine.state?.courses ?? {}).toEqual({})
      }),
      { numRuns: 30 },
    )
  })

  it('the item stays small: a hundred findings with long names and texts, nothing sent, for an hour', () => {
    let state: AlertState | undefined
    for (let minute = 0; minute < 60; minute++) {
      const checks = Array.from({ length: 100 }, (_, n) =>
        check(`finding-${(n + minute) % 120}`, n % 2 ? 'critical' : 'warning', {
          subject: 's'.repeat(300),
          message: 'm'.repeat(3_000),
          action: 'a'.repeat(3_000),
          evidence: Array.from({ length: 30 }, () => 'e'.repeat(500)),
        }),
      )
      state = decideAlerts(state, nowOf(at(minute), checks)).data ?? state
    }
    expect(JSON.stringify(state).length).toBeLessThan(24_000)
    expect(Object.keys(sinceByFingerprint(state))).toHaveLength(16)
  })
})
