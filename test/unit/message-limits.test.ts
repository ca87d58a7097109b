import { assert, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toSmsPart, toSubject } from '../../shared/health/alert/message-limits.ts'

describe('mail subjects', () => {
  it.each([
    ['[CRITICAL] tokay-dev db: connections exhausted (97/97) #a1f3', '[CRITICAL] tokay-dev db: connections exhausted (97/97) #a1f3'],
    ['🔴 database down', '? database down'],
    ['  two\r\nlines ', 'two lines'],
    ['Zürich → “slow” — 3×', 'Zurich -> "slow" - 3x'],
    ['池', '?'],
    ['', 'Tokay'],
    ['x'.repeat(99), 'x'.repeat(99)],
    ['x'.repeat(100), `${'x'.repeat(96)}...`],
  ])('%j becomes %j', (text, subject) => {
    expect(toSubject(text)).toBe(subject)
  })

  it('whatever text comes in, SNS takes the subject', () => {
    assert(
      property(string({ unit: 'binary', maxLength: 200 }), (text) => {
        expect(toSubject(text)).toMatch(/^[!-~][ -~]{0,98}$/)
      }),
    )
  })
})

describe('text messages', () => {
  it.each([
    ['CRIT gecko-prod: DB DOWN 3 min (connection refused).', 'CRIT gecko-prod: DB DOWN 3 min (connection refused).'],
    ['DB down — 3 min, p95 ≥ 500 ms', 'DB down - 3 min, p95 >= 500 ms'],
    ['Ünïcode é €', 'Ünicode é €'],
    ['a\n b', 'a b'],
    ['x'.repeat(140), 'x'.repeat(140)],
    ['x'.repeat(141), `${'x'.repeat(137)}...`],
    ['€'.repeat(70), '€'.repeat(70)],
    ['€'.repeat(71), `${'€'.repeat(68)}...`],
  ])('%j becomes %j', (text, sms) => {
    expect(toSmsPart(text)).toBe(sms)
  })

  it('whatever text comes in, it is one part of at most 140 septets', () => {
    const letter = /^[@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&'()*+,\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà]$/
    const twice = /^[\^{}\\[~\]|€]$/
    assert(
      property(string({ unit: 'binary', maxLength: 300 }), (text) => {
        const chars = Array.from(toSmsPart(text))
        const septets = chars.reduce((sum, char) => sum + (twice.test(char) ? 2 : letter.test(char) ? 1 : 1_000), 0)
        expect(septets).toBeLessThanOrEqual(140)
      }),
    )
  })
})
