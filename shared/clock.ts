// Time and chance come in as arguments. These two are the only sources of either; tests pass their own.

export type Clock = {
  /** Wall time as epoch milliseconds. Waits that outlive an invocation compare this: a frozen container's timers do not run. */
  nowMs(): number
  /** Resolves after `forMs`, or at once (never rejecting) when `signal` aborts. */
  sleep(forMs: number, signal?: AbortSignal): Promise<void>
}

/** Uniform in [0, 1), as Math.random. */
export type Random = () => number

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: (forMs, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const timer = setTimeout(done, forMs)
      function done() {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      signal?.addEventListener('abort', done, { once: true })
    }),
}
