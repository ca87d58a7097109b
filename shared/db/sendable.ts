// What may be sent. pg reports a value that it can't encode on that statement's promise only, and sends the rest: the COMMIT behind it then
// commits half a batch. A `commit` inside the list splits the transaction in two. unnest pads a short column with nulls. So nothing of the
// kind is ever sent. The types say most of it; rows built from an API's JSON are where they can lie.

import type { SqlValue, Statement } from './database.ts'

/**
 * Transaction control, and what outlives the transaction on a connection that others use next (through a pooler, too).
 * Text behind the first statement needs no look: the extended protocol refuses two statements in one (42601).
 */
const outlivesTransaction =
  /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*(?:begin|start|commit|end|rollback|abort|prepare|deallocate|savepoint|release|set(?!\s+(?:local|constraints)\b)|reset|discard|listen|unlisten)\b/i

/**
 * Throws a TypeError when the statement must not be sent: a bug of the caller, no failure of the database. Nothing was sent, no breaker counts
 * it, trying again is useless. The message names the statement and the parameter, never its value.
 */
export function assertSendable(statement: Statement): void {
  const { name, text, values } = statement
  if (typeof text !== 'string' || text.trim() === '') throw new TypeError(`statement ${name} has no text`)
  if (outlivesTransaction.test(text)) {
    throw new TypeError(`statement ${name} would end the transaction or change the connection for its next user; nothing was sent`)
  }
  if (!Array.isArray(values)) throw new TypeError(`statement ${name}: values is no array; nothing was sent`)
  let length: number | undefined
  for (const [index, value] of (values as readonly SqlValue[]).entries()) {
    const parameter = `statement ${name}, $${index + 1}`
    if (!isColumn(value)) {
      assertScalar(value, parameter)
      continue
    }
    if (length !== undefined && value.length !== length) {
      throw new TypeError(`${parameter} has ${value.length} rows where an earlier column has ${length}; nothing was sent`)
    }
    length = value.length
    // not for..of or forEach: they skip or hide a hole of a sparse array
    for (let row = 0; row < value.length; row++) assertScalar(value[row], parameter)
  }
}

const isColumn = (value: SqlValue): value is Extract<SqlValue, readonly unknown[]> => Array.isArray(value)

function assertScalar(value: unknown, parameter: string): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return
  // JSON turns NaN and Infinity into null: a parked or HTTP-sent row would silently differ from this one
  if (typeof value === 'number' && Number.isFinite(value)) return
  const kind = typeof value === 'number' ? 'a number that is not finite' : `of type ${typeof value}`
  throw new TypeError(`${parameter} is ${kind}; nothing was sent`)
}
