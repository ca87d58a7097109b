// The errors that leave the edges. The pure core returns decisions; only edges throw.
// A message says what was attempted, on what, limit and value, what to do. It never holds a secret, SQL text or rows.

/** The settings are wrong. `problems` has one sentence for each setting, by name, without any secret's value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]
  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(
      problems.length === 1 ? problems[0] : `${problems.length} settings are wrong:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
      options,
    )
    this.problems = problems
  }
}

/** What an API failure means for the caller. */
export type GeckoFailure =
  /** 429 in any of its shapes: wait `retryAfterMs`. */
  | 'rate-limited'
  /** 403 from the firewall: this address is refused. Use an API key. */
  | 'blocked'
  /** 401, wrong host or plan for the key. */
  | 'unauthorized'
  /** 404 or 422: this network, pool or token does not exist or is not supported. Asking again gives the same. */
  | 'not-found'
  /** 400: our request is wrong. */
  | 'bad-request'
  /** 408, 5xx, timeout, DNS, reset: may pass by itself. */
  | 'unavailable'
  /** Our own breaker or budget refused the call; nothing was sent. */
  | 'not-sent'

export class GeckoApiError extends Error {
  override readonly name = 'GeckoApiError'
  readonly failure: GeckoFailure
  readonly status: number | undefined
  /** How long to wait before the next call, where that is known. */
  readonly retryAfterMs: number | undefined
  constructor(message: string, fields: { failure: GeckoFailure; status?: number; retryAfterMs?: number; cause?: unknown }) {
    super(message, { cause: fields.cause })
    this.failure = fields.failure
    this.status = fields.status
    this.retryAfterMs = fields.retryAfterMs
  }
}

/** The API answered 200 with something that is not what its documentation says. Never to be read as "no rows". */
export class UnexpectedResponseError extends Error {
  override readonly name = 'UnexpectedResponseError'
}

/** The circuit breaker refused the operation; nothing was sent. */
export class CircuitOpenError extends Error {
  override readonly name = 'CircuitOpenError'
  readonly scope: string
  readonly retryAfterMs: number
  constructor(scope: string, retryAfterMs: number) {
    super(`the circuit breaker of ${scope} is open for another ${Math.ceil(retryAfterMs / 1000)} s; nothing was sent`)
    this.scope = scope
    this.retryAfterMs = retryAfterMs
  }
}

/** There was not enough time left to start another attempt. `cause` is the last failure, when there was one. */
export class DeadlineExceededError extends Error {
  override readonly name = 'DeadlineExceededError'
}

/** The database refuses more rows of one batch than single bad rows explain. `cause` is the last refusal. */
export class TooManyBadRowsError extends Error {
  override readonly name = 'TooManyBadRowsError'
}

/**
 * It may have been applied or not: the connection was lost behind its COMMIT, and nothing says that it may be made again. Nothing was repeated.
 * `statement` is what was attempted, `cause` the failure. `exactlyOnce` never ends like this.
 */
export class AmbiguousOutcomeError extends Error {
  override readonly name = 'AmbiguousOutcomeError'
  readonly statement: string
  constructor(statement: string, cause: Error) {
    super(
      `${statement}: may have been applied or not (${cause.message}), and was not tried again. Look whether it was; ` +
        `to have it repeated safely, say that it is idempotent, or make it through exactlyOnce`,
      { cause },
    )
    this.statement = statement
  }
}
