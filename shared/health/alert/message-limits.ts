// What mail subjects and text messages can carry. Pure.
// SNS refuses a whole alert for one emoji in its subject, and a phone gets three paid parts, or none, for one long dash in its text:
// so everything is brought down to the allowed letters here, whatever a database or an API put into a message.

/** SNS: ASCII, below 100 characters, no line break or control character, not blank in front. */
const maxSubjectChars = 99

/**
 * One part holds 160 septets. The topic's display name and "> " stand in front of it (12 at most), and the rest is slack for carriers.
 */
const maxSmsSeptets = 140

const gsmBasic = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
)
/** These take two septets: an escape comes first. */
const gsmExtended = new Set('^{}\\[~]|€')

const plainForms: Readonly<Record<string, string>> = {
  '\u2018': "'",
  '\u2019': "'",
  '\u201c': '"',
  '\u201d': '"',
  '\u2010': '-',
  '\u2011': '-',
  '\u2013': '-',
  '\u2014': '-',
  '\u2026': '...',
  '\u2192': '->',
  '\u2265': '>=',
  '\u2264': '<=',
  '\u00d7': 'x',
  '\t': ' ',
}

const isAscii = (char: string) => char >= ' ' && char <= '~'
const isGsm = (char: string) => gsmBasic.has(char) || gsmExtended.has(char)

const simplest = (char: string) => plainForms[char] ?? char.normalize('NFKD').replaceAll(/\p{M}/gu, '')

/** Letters lose their accents, typographic marks become plain ones, whatever is left outside of `allowed` becomes "?". */
function plain(text: string, allowed: (char: string) => boolean): string {
  const asked = (char: string) => (allowed(char) ? char : '?')
  return Array.from(text, (char) => (allowed(char) ? char : Array.from(simplest(char), asked).join(''))).join('')
}

/** A mail subject that SNS takes. Never empty. */
export function toSubject(text: string): string {
  const line = plain(text.replaceAll(/\s+/g, ' ').trim(), isAscii).trim()
  if (line.length > maxSubjectChars) return `${line.slice(0, maxSubjectChars - 3)}...`
  return line || 'Tokay'
}

/** A text message of one part. Cut at the end with "..." when it is longer. */
export function toSmsPart(text: string): string {
  const chars = Array.from(plain(text.replaceAll(/\s+/g, ' ').trim(), isGsm))
  const whole = septets(chars)
  if (whole <= maxSmsSeptets) return chars.join('')
  let kept = chars.length
  for (let length = whole; length > maxSmsSeptets - 3; kept--) length -= septets([chars[kept - 1] as string])
  return `${chars.slice(0, kept).join('')}...`
}

/** Whether it is one part without being cut. */
export const fitsSmsPart = (text: string) => septets(Array.from(plain(text, isGsm))) <= maxSmsSeptets

const septets = (chars: readonly string[]) => chars.reduce((sum, char) => sum + (gsmExtended.has(char) ? 2 : 1), 0)
