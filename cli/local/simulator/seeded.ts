// Chance that is a pure function of a seed and a number: the simulated market can be asked about any moment without having lived through the ones before.

/** Uniform in [0, 1), the same for the same three arguments. `salt` tells the uses of one number apart. */
export function unit(seed: number, n: number, salt: number): number {
  let h = mix(seed ^ Math.imul(salt + 1, 0x9e3779b1))
  h = mix(h ^ (n >>> 0))
  h = mix(h ^ Math.floor(n / 2 ** 32))
  return h / 2 ** 32
}

/** Smooth noise in [-1, 1] along `x`, one bend for each whole number. */
export function noise(seed: number, x: number, salt: number): number {
  const left = Math.floor(x)
  const a = unit(seed, left, salt)
  const b = unit(seed, left + 1, salt)
  const t = x - left
  return 2 * (a + (b - a) * t * t * (3 - 2 * t)) - 1
}

/** A stream of 32-bit words from a text. It starts from 128 bits, so that a hundred thousand addresses do not collide. */
export function words(key: string): () => number {
  let [a, b, c, d] = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]
  for (let i = 0; i < key.length; i++) {
    const k = key.charCodeAt(i)
    a = b ^ Math.imul(a ^ k, 597_399_067)
    b = c ^ Math.imul(b ^ k, 2_869_860_233)
    c = d ^ Math.imul(c ^ k, 951_274_213)
    d = a ^ Math.imul(d ^ k, 2_716_044_179)
  }
  const next = () => {
    const t = (a + b + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t
    return t >>> 0
  }
  for (let i = 0; i < 12; i++) next()
  return next
}

export const base58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
export const hex = '0123456789abcdef'

export function letters(next: () => number, alphabet: string, length: number): string {
  let text = ''
  for (let i = 0; i < length; i++) text += alphabet[Math.floor((next() / 2 ** 32) * alphabet.length)]
  return text
}

/** Shuffles the numbers below 2^48 among themselves: neighbours get unlike addresses, and `unscatter` finds the number again. */
export function scatter(seed: number, n: number): number {
  let [high, low] = [Math.floor(n / 2 ** 24), n % 2 ** 24]
  for (let round = 0; round < 4; round++) [high, low] = [low, (high ^ (unit(seed, low, 900 + round) * 2 ** 24)) & 0xffffff]
  return high * 2 ** 24 + low
}

export function unscatter(seed: number, n: number): number {
  let [high, low] = [Math.floor(n / 2 ** 24), n % 2 ** 24]
  for (let round = 3; round >= 0; round--) [high, low] = [(low ^ (unit(seed, high, 900 + round) * 2 ** 24)) & 0xffffff, high]
  return high * 2 ** 24 + low
}

function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
