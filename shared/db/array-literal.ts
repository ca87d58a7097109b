// A column of a batch as Postgres reads an array, such as {"a","b \"c\"",NULL,7}.
// pg's own conversion looks at every element with two regular expressions: it took five times as long, half of what writing a row cost this process.

import type { SqlScalar } from './database.ts'

const special = /["\\]/

/** Elements are quoted: an empty string, `null` and braces are text. NaN and what is no scalar never come here: see sendable.ts. */
export function arrayLiteral(column: readonly SqlScalar[]): string {
  let literal = '{'
  for (const [index, value] of column.entries()) {
    if (index > 0) literal += ','
    if (value === null) literal += 'NULL'
    else if (typeof value !== 'string') literal += String(value)
    else literal += special.test(value) ? `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"` : `"${value}"`
  }
  return `${literal}}`
}
