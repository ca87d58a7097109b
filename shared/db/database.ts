// The database port: what both drivers can do in one round trip, and nothing else.
// There are no interactive transactions. A write is a list of values that can be retried or parked, and neither an open nor an orphaned transaction can exist.

export type SqlScalar = null | string | number | boolean
/** An array is one column of a batch, for unnest. All arrays of a statement have the same length. */
export type SqlValue = SqlScalar | readonly SqlScalar[]

/** A statement as a value. `name` is for logs and errors; the text is constant, whatever the number of rows. */
export type Statement = { readonly name: string; readonly text: string; readonly values: readonly SqlValue[] }

export type Row = Readonly<Record<string, unknown>>
export type Rows = readonly Row[]

/** Bounds of one attempt. The server's own timeouts come first; `attemptForMs` is what the client waits for the whole attempt before it destroys the connection. */
export type AttemptLimits = {
  /** From checkout to the last answer. */
  readonly attemptForMs: number
  /** lock_timeout of each statement. Above deadlock_timeout (1 s), so that a deadlock is reported as one. */
  readonly lockForMs: number
  /** statement_timeout of each statement. */
  readonly statementForMs: number
}

/** How one attempt is made. */
export type AttemptOptions = AttemptLimits & {
  /**
   * For statements that must not be applied twice: COMMIT leaves only behind a good answer to every statement, and these only behind a good
   * BEGIN. Three round trips instead of one, and only a lost COMMIT is an unknown outcome. Neon's one request is that already: its proxy runs
   * the transaction step by step.
   */
  readonly holdCommit?: boolean
}

/** Since the start of the process. */
export type ConnectionCounters = {
  /** Connections made. */
  readonly connected: number
  /** Connections closed after a failure, for their age, or because they might have been dropped unseen. */
  readonly discarded: number
  /** Of those, and of the idle ones that ended by themselves, all but the ones closed for their age or idleness: what failures cost. */
  readonly lost: number
  /** Times that every connection was condemned at once: the server is read-only or shuts down. */
  readonly poolResets: number
  /** Most connections at once, as the load asks for now. Absent where that is fixed. */
  readonly size?: number
  /** Set once a transaction was served by another process than the one that had greeted us: a pooler or a proxy stands before the server. */
  readonly pooled?: true
}

export interface Database {
  readonly driver: 'pg' | 'neon'
  /** To the server, or to Neon's proxy. Absent where nobody counts them. */
  readonly connections?: () => ConnectionCounters
  /** One statement in a transaction of its own. Throws DatabaseError. */
  query(statement: Statement, options: AttemptOptions): Promise<Rows>
  /** All or nothing, in one round trip. Answers one list of rows for each statement, in order. Throws DatabaseError. */
  transaction(statements: readonly Statement[], options: AttemptOptions): Promise<readonly Rows[]>
  /** Closes every connection. Idempotent, never throws. */
  end(): Promise<void>
}

/**
 * Whether a failed attempt may have changed rows: `not-sent` and `refused` certainly did not;
 * `unknown` may have, and an abandoned transaction may still commit a second later.
 */
export type Applied = 'not-sent' | 'refused' | 'unknown'

/** A driver's failure, normalised: the one shape that classify-failure reads. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError'
  /** The statement that failed first, or `connect`, `begin`, `commit`. */
  readonly statement: string
  readonly applied: Applied
  /** SQLSTATE, when the server answered. */
  readonly sqlState: string | undefined
  /** Node's or undici's error code (ECONNREFUSED, UND_ERR_SOCKET, CERT_HAS_EXPIRED), when there is one. */
  readonly errno: string | undefined
  /** FATAL and PANIC end the connection. */
  readonly severity: string | undefined
  /** The server's source routine: tells a missing partition (ExecFindPartition) from a failed check. */
  readonly routine: string | undefined
  /** HTTP status, for Neon. */
  readonly httpStatus: number | undefined
  constructor(
    message: string,
    fields: {
      statement: string
      applied: Applied
      sqlState?: string | undefined
      errno?: string | undefined
      severity?: string | undefined
      routine?: string | undefined
      httpStatus?: number | undefined
      cause?: unknown
    },
  ) {
    super(message)
    this.statement = fields.statement
    this.applied = fields.applied
    this.sqlState = fields.sqlState
    this.errno = fields.errno
    this.severity = fields.severity
    this.routine = fields.routine
    this.httpStatus = fields.httpStatus
    // The driver's error can carry SQL and values: kept for a debugger, never enumerated into a log.
    Object.defineProperty(this, 'cause', { value: fields.cause, enumerable: false })
  }
}
