// Numbers as the API writes them: decimal text without exponent, as long as it takes.

/** `significant` digits, at most `maxDecimals` of them after the point. */
export function plain(value: number, significant: number, maxDecimals = 100): string {
  if (value === 0) return '0.0'
  const magnitude = Math.floor(Math.log10(Math.abs(value)))
  return fixed(value, Math.min(maxDecimals, 100, Math.max(0, significant - 1 - magnitude)))
}

/** Up to `decimals` digits after the point. A double's own binary expansion fills them: a price of 0.000006 has 69. */
export function fixed(value: number, decimals: number): string {
  // From 1e21 on toFixed writes an exponent.
  const text = Math.abs(value) >= 1e21 ? BigInt(Math.round(value)).toString() : value.toFixed(decimals)
  if (!text.includes('.')) return Number(text) === 0 ? '0.0' : text
  const trimmed = text.replace(/0+$/, '').replace(/\.$/, '.0')
  return Number(trimmed) === 0 ? '0.0' : trimmed
}

/** The exact product of two decimal texts. */
export function product(a: string, b: string): string {
  const [wholeA = '0', fractionA = ''] = a.split('.')
  const [wholeB = '0', fractionB = ''] = b.split('.')
  const decimals = fractionA.length + fractionB.length
  const digits = (BigInt(wholeA + fractionA) * BigInt(wholeB + fractionB)).toString().padStart(decimals + 1, '0')
  if (decimals === 0) return digits
  const fraction = digits.slice(-decimals).replace(/0+$/, '')
  return `${digits.slice(0, -decimals)}.${fraction || '0'}`
}
