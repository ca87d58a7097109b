// How the local run speaks: one plain line an event, where a machine reads one JSON object an event would be on AWS.
// With --json, stdout belongs to the summary alone and all lines go to stderr.

import { styleText } from 'node:util'
import type { Log, LogEvent } from '../shared/log.ts'

export type Lines = { write(line: string): void }

const clockTime = (ms: number) => new Date(ms).toISOString().slice(11, 19)

/** `10:02:31 batch.parked collector=trades rows=300 reason=connection`: the event's fields in their order, errors as their message. */
export function formatEvent({ event, ...fields }: LogEvent, nowMs: number): string {
  const parts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${formatValue(value)}`)
  return [clockTime(nowMs), event, ...parts].join(' ')
}

function formatValue(value: unknown): string {
  if (value instanceof Error) return quoted(value.message)
  if (typeof value === 'string') return /[\s"=\p{Cc}]/u.test(value) || value === '' ? quoted(value) : value
  return quoted(value)
}

/** As JSON, and without the control characters that JSON leaves as they are: what an API sends must not steer the terminal. */
const quoted = (value: unknown) =>
  String(JSON.stringify(value)).replaceAll(/[\x7f-\x9f]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`)

/** Warnings and errors stand out on a terminal; `styleText` leaves the colour out where it is not wanted. */
export function lineLog(lines: Lines, nowMs: () => number): Log {
  const at = (style: Parameters<typeof styleText>[0] | undefined) => (event: LogEvent) => {
    const line = formatEvent(event, nowMs())
    lines.write(style ? styleText(style, line) : line)
  }
  return { info: at(undefined), warn: at('yellow'), error: at('red') }
}

/** 1234567 -> 1,234,567 */
export const grouped = (count: number) => count.toLocaleString('en-US')
