import { describe, expect, it } from 'vitest'
import { arrayLiteral } from '../../shared/db/array-literal.ts'

describe('an array literal', () => {
  it.each([
    [[], '{}'],
    [['a', 'b'], '{"a","b"}'],
    [['', 'NULL', 'null', '{}', 'a,b', ' '], '{"","NULL","null","{}","a,b"," "}'],
    [[null, 'a', null], '{NULL,"a",NULL}'],
    [[`say "hi"`, `back\\slash`, `'single'`], `{"say \\"hi\\"","back\\\\slash","'single'"}`],
    [['line\nbreak\ttab', '币安 🦎'], '{"line\nbreak\ttab","币安 🦎"}'],
    [[0, -1.5, 9_007_199_254_740_991, 1e21], '{0,-1.5,9007199254740991,1e+21}'],
    [[true, false], '{true,false}'],
  ])('of %j is %s', (column, literal) => {
    expect(arrayLiteral(column)).toBe(literal)
  })
})
