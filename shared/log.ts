// One object per event, named in the past tense: { event: 'circuit.opened', scope: 'database', retryAtMs }.
// Only transitions and outcomes are logged. Never a URL with a password, never rows.

export type LogEvent = { readonly event: string } & Readonly<Record<string, unknown>>

export type Log = {
  info(event: LogEvent): void
  warn(event: LogEvent): void
  error(event: LogEvent): void
}

/** For Lambda: with the JSON logging format an object nests as it is, a pre-made string would be encoded twice. */
export const consoleLog: Log = {
  info: (event) => console.info(event),
  warn: (event) => console.warn(event),
  error: (event) => console.error(event),
}

export const silentLog: Log = { info() {}, warn() {}, error() {} }
