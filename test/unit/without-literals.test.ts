import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { withoutLiterals } from '../../shared/health/sql/without-literals.ts'

const short = (text: string) => withoutLiterals(text, 80)

describe('the text of a statement for a message', () => {
  it.each([
    ["update t set email = 'a@b.c' where id = 42", 'update t set email = ? where id = ?'],
    ["select 'it''s' || \"it's\" || 'secret'", 'select ? || "it\'s" || ?'],
    ["select e'it\\'s', E'\\\\', 'secret'", 'select ?, ?, ?'],
    ['select $$secret$$, $tag$ a $$ secret $tag$, $1', 'select ?, ?, $1'],
    ["alter role x password 'secret", 'alter role x password ?'],
    ['select 1 -- secret\n, 2 /* secret */ , t2.c3, -4.5e-6, .5', 'select ? , ? , t2.c3, -?-?, ?'],
    ['insert into trades_20250915 (a,\n  b)\tvalues (1,2)', 'insert into trades_20250915 (a, b) values (?,?)'],
    ['select $$secret', 'select ?'],
    ['select "secret', 'select "secret'],
    ['select /* secret', 'select'],
  ])('%s', (text, expected) => {
    expect(short(text)).toBe(expected)
  })

  it('loses all behind a string whose end depends on a setting of that session', () => {
    expect(short("select 'a\\', 'secret' from t")).toBe('select ?')
    expect(short("select 'it''s\\' secret")).toBe('select ??')
  })

  it('is cut off at its limit', () => {
    expect(short(`select ${'a'.repeat(100)}`)).toBe(`select ${'a'.repeat(70)}...`)
  })

  it('never holds what stood between quotes, wherever the server has cut it off', () => {
    const literal = fc.string({ maxLength: 20 }).map((s) => `SECRET${s}SECRET`)
    const quoted = literal.chain((s) =>
      fc.constantFrom(
        `'${s.replaceAll("'", "''").replaceAll('\\', '/')}'`,
        `E'${s.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`,
        `$q$${s.replaceAll('$', '')}$q$`,
      ),
    )
    const statement = fc.array(fc.oneof(quoted, fc.constantFrom('a = ', ' "it\'s" ', ', ', ' 12 ', ' $1 ')), { maxLength: 8 })
    fc.assert(
      fc.property(statement, fc.nat(200), (parts, end) => {
        const text = `select ${parts.join(' ')}`
        expect(withoutLiterals(text, 10_000)).not.toContain('SECRET')
        const cut = withoutLiterals(text.slice(0, end), 80)
        expect(cut).not.toContain('SECRET')
        expect(cut.length).toBeLessThanOrEqual(80)
      }),
      { seed: 20250915, numRuns: 500 },
    )
  })
})
