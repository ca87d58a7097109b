import { describe, expect, it } from 'vitest'
import type { SqlValue } from '../../shared/db/database.ts'
import { assertSendable } from '../../shared/db/sendable.ts'

const statement = (text: string, values: readonly unknown[] = []) => ({ name: 'write-pools', text, values: values as SqlValue[] })

describe('assertSendable', () => {
  it('lets scalars, equal columns, empty columns and nulls pass', () => {
    expect(() => assertSendable(statement('select 1', [null, 'x', 1.5, true, ['a', null], [1, 2], [true, false]]))).not.toThrow()
    expect(() => assertSendable(statement('select 1', [[], []]))).not.toThrow()
  })

  it.each([
    ['undefined', undefined, 'write-pools, $1 is of type undefined; nothing was sent'],
    ['a bigint', 1n, 'write-pools, $1 is of type bigint; nothing was sent'],
    ['an object', { secret: 'xyz' }, 'write-pools, $1 is of type object; nothing was sent'],
    ['a date', new Date(0), 'write-pools, $1 is of type object; nothing was sent'],
    ['a symbol', Symbol('x'), 'write-pools, $1 is of type symbol; nothing was sent'],
    ['NaN', Number.NaN, 'write-pools, $1 is a number that is not finite; nothing was sent'],
    ['Infinity', Infinity, 'write-pools, $1 is a number that is not finite; nothing was sent'],
    ['an object in a column', ['a', { secret: 'xyz' }], 'write-pools, $1 is of type object; nothing was sent'],
    ['a nested array', [['a']], 'write-pools, $1 is of type object; nothing was sent'],
    // oxlint-disable-next-line no-sparse-arrays
    ['a hole in a column', ['a', , 'b'], 'write-pools, $1 is of type undefined; nothing was sent'],
  ])('refuses %s by name and without its value', (_what, value, message) => {
    expect(() => assertSendable(statement('select 1', [value]))).toThrow(new TypeError(`statement ${message}`))
  })

  it('refuses columns of different lengths, which unnest would fill with nulls', () => {
    expect(() => assertSendable(statement('select 1', ['x', ['a', 'b'], ['a']]))).toThrow(
      new TypeError('statement write-pools, $3 has 1 rows where an earlier column has 2; nothing was sent'),
    )
  })

  it.each([
    'commit',
    '  COMMIT;',
    'begin',
    'start transaction',
    'end',
    'rollback',
    'abort',
    'savepoint a',
    'release a',
    'prepare transaction $$x$$',
    'set lock_timeout = 0',
    'set session authorization x',
    'reset all',
    'discard all',
    'listen x',
    '-- a comment\ncommit',
    '/* a\ncomment */ rollback',
  ])('refuses %j: it ends the transaction or outlives it', (text) => {
    expect(() => assertSendable(statement(text))).toThrow(TypeError)
  })

  it.each([
    'select 1',
    'with a as (select 1) select * from a',
    'set local lock_timeout = 0',
    'set constraints all deferred',
    'begin_x()',
    'settle',
    'select 1 -- commit',
  ])('lets %j pass', (text) => {
    expect(() => assertSendable(statement(text))).not.toThrow()
  })

  it('refuses a statement without text and values that are no array', () => {
    expect(() => assertSendable(statement(' '))).toThrow(TypeError)
    expect(() => assertSendable({ name: 'x', text: 'select 1', values: undefined as unknown as [] })).toThrow(TypeError)
  })
})
