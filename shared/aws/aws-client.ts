// What every AWS client here has in common: how long it may take, and how its failures read.
// The SDK's own `requestTimeout` only logs a warning and waits on, and it ends with the answer's headers, so one stuck call would eat the whole
// invocation, and the alert with it. Here a call is two attempts of 1.5 s and a short pause, and is given up after 3.4 s whatever happens.
// That fits into the 5 s that every invocation keeps for parking.

/** Where the services are: on AWS the SDK finds out by itself; tests and emulators say it. */
export type AwsTarget = {
  readonly endpoint: string
  readonly region: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

/** One attempt until its answer begins, and any silence after that. A healthy call in one region takes 5-50 ms. */
const requestTimeoutMs = 1_500

/** All attempts and the pauses between them. */
const callForMs = 3_400

/** To be handed to the SDK's `send`. */
export type CallOptions = { readonly abortSignal: AbortSignal }

export function awsClientSettings(target?: AwsTarget) {
  return {
    maxAttempts: 2,
    requestHandler: {
      connectionTimeout: 1_000,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestTimeoutMs,
    },
    ...target,
  }
}

/**
 * Runs one call. `attempted` reads like "sending a parked write to <queue>" and is put in front of the SDK's message,
 * which alone says neither what was tried nor on what. The SDK's error is the `cause`.
 */
export async function awsCall<Answer>(attempted: string, call: (options: CallOptions) => Promise<Answer>): Promise<Answer> {
  const abortSignal = AbortSignal.timeout(callForMs)
  // The SDK's own reading of an answer does not end with its signal.
  const givenUp = new Promise<never>((_resolve, reject) => {
    abortSignal.addEventListener('abort', () => reject(abortSignal.reason), { once: true })
  })
  try {
    return await Promise.race([givenUp, call({ abortSignal })])
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) }
    throw new Error(`${attempted} failed: ${name}: ${message}`, { cause: error })
  }
}
