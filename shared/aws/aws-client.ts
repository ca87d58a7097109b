// What every AWS client here has in common: how long it may take, and how its failures read.
// The SDK's own `requestTimeout` only logs a warning and waits on, so one stuck call would eat the whole invocation, and the alert with it.
// Longest call: two attempts of 1.5 s and a short pause. That fits into the 5 s that every invocation keeps for parking.

/** Where the services are: on AWS the SDK finds out by itself; tests and emulators say it. */
export type AwsTarget = {
  readonly endpoint: string
  readonly region: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

/** One attempt, from connecting to the last byte. A healthy call in one region takes 5-50 ms. */
export const requestTimeoutMs = 1_500

export function awsClientSettings(target?: AwsTarget) {
  return {
    maxAttempts: 2,
    requestHandler: { connectionTimeout: 1_000, requestTimeout: requestTimeoutMs, throwOnRequestTimeout: true },
    ...target,
  }
}

/**
 * Runs one call. `attempted` reads like "sending a parked write to <queue>" and is put in front of the SDK's message,
 * which alone says neither what was tried nor on what. The SDK's error is the `cause`.
 */
export async function awsCall<Answer>(attempted: string, call: () => Promise<Answer>): Promise<Answer> {
  try {
    return await call()
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) }
    throw new Error(`${attempted} failed: ${name}: ${message}`, { cause: error })
  }
}
