// The text of other people's statements for a message: their words, never their data. Pure.

/**
 * What is recognised, in order: comments; E'' strings; quoted identifiers; plain strings; strings without an end, or with \' in them, whose end is not certain
 * (it depends on a setting of that session): all that follows may be data; dollar quotes; numbers that are no part of a name.
 */
const parts =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|\b[eE]'(?:[^'\\]|''|\\[\s\S])*(?:'|$)|("(?:[^"]|"")*(?:"|$))|'(?:[^'\\]|''|\\[^'])*'|'[\s\S]*|\$([A-Za-z_]\w*)?\$[\s\S]*?(?:\$\2\$|$)|(?<![\w$])\.?\d[\w.]*/g

/** Comments go, each literal becomes `?`, white space becomes single spaces, and the end is cut off with "..." beyond `maxChars`. */
export function withoutLiterals(text: string, maxChars: number): string {
  const stripped = text.replaceAll(parts, (found, identifier: string | undefined) => {
    if (identifier !== undefined) return identifier
    return found.startsWith('--') || found.startsWith('/*') ? ' ' : '?'
  })
  const line = stripped.replaceAll(/\s+/g, ' ').trim()
  return line.length > maxChars ? `${line.slice(0, maxChars - 3)}...` : line
}
