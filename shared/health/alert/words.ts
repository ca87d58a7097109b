// Times, durations and texts as an alert's reader sees them. Pure.

const secondMs = 1_000
const minuteMs = 60 * secondMs

/** `32 s`, `25 min`, `3 h 5 min`, `2 d 4 h`. */
export function inWords(forMs: number): string {
  const seconds = Math.max(0, Math.round(forMs / secondMs))
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.round(Math.max(0, forMs) / minuteMs)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** `2025-09-15 06:45:00 UTC` */
export const plainTime = (atMs: number) => `${new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`

/** A URL's user and password, and what follows "password=", whoever put it into a message. */
const secrets = [
  [/([a-z][a-z0-9+.-]{0,20}:\/\/)\S*@/gi, '$1***@'],
  [/\b(password|passwd|pwd|secret|token|api[-_]?key)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)/gi, '$1$2***'],
] as const

/** More than any line shows; the patterns need not read a whole query. */
const readChars = 1_000

/** One line, without control characters and without what looks like a secret. */
export function plainLine(text: string, maxChars: number): string {
  const line = secrets.reduce(
    (kept, [pattern, instead]) => kept.replaceAll(pattern, instead),
    text
      .slice(0, readChars)
      .replaceAll(/[\s\p{Cc}]+/gu, ' ')
      .trim(),
  )
  return line.length > maxChars ? `${line.slice(0, maxChars - 3)}...` : line
}
