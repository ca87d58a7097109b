// What one look sees: the health check's raw material, as data. `probe` makes it, `memory` sums it up, `assess` judges it.
// Nothing here is a verdict, and what could not be seen is said to be unseen: it must never read as "all is well".

import type { CollectorName } from '../names.ts'
import type { BreakerState } from '../resilience/circuit-breaker.ts'
import type { ApiBudget } from '../state/api-budget.ts'
import type { CollectorState } from '../state/claim.ts'
import type { Refusals } from '../state/refusals.ts'

/** Why a connection could not be made, told apart because each is mended elsewhere. */
export type ConnectFailure =
  | 'refused'
  | 'dns'
  | 'hung'
  | 'reset'
  | 'saturated'
  | 'role-limit'
  | 'auth'
  | 'no-database'
  | 'starting'
  | 'shutting-down'
  | 'pooler'
  | 'tls'
  | 'settings'
  | 'other'

export type DatabaseSeen =
  /** `connectMs`: a new connection, or null when one was open already. `queryMs`: the whole round trip of the vitals as the client saw it. */
  | {
      readonly kind: 'answers'
      readonly connectMs: number | null
      readonly queryMs: number
      readonly vitals: Vitals | Unseen
      /** It slept and was woken by this look: `connectMs` is the time that took, and says nothing about latency. */
      readonly woke?: true
      /** A pooler or a proxy stands between: another process serves us than the one that greeted us. */
      readonly pooled?: true
      /** The server's clock against ours, after half a round trip of doubt: positive when it is ahead. Absent when the vitals are unseen. */
      readonly clockSkewMs?: number
    }
  | { readonly kind: 'unreachable'; readonly failure: ConnectFailure; readonly message: string; readonly afterMs: number }
  /** Left asleep on purpose (`health.probe: piggyback`). */
  | { readonly kind: 'not-asked'; readonly why: string }

/**
 * A part that could not be looked at: no privilege, too slow, locked. `lockedBy`: a lock was why. It names who holds system catalogs where the vitals
 * are behind it, as far as that can be seen.
 */
export type Unseen = { readonly unseen: string; readonly lockedBy?: readonly BlockingSession[] }
export const isUnseen = (part: object): part is Unseen => 'unseen' in part

/** Null: it does not answer, was left asleep, or its vitals could not be seen. */
export const vitalsOf = ({ database }: Pick<Observation, 'database'>): Vitals | null =>
  database.kind === 'answers' && !isUnseen(database.vitals) ? database.vitals : null

export type Observation = {
  readonly atMs: number
  readonly database: DatabaseSeen
  /** Every fifteen minutes, or asked for; null when it was not its turn. */
  readonly structure: Structure | Unseen | null
  readonly sequences: readonly SequenceUse[] | Unseen | null
  readonly statements: readonly SlowStatement[] | Unseen | null
  /** Our own tables: the schema's version, sizes by day. Null when it was not its turn or there are none (health check alone). */
  readonly app: AppTables | Unseen | null
  readonly breaker: BreakerState | undefined
  /** By table: since when its own circuit is open, where it is. */
  readonly lockedSinceMs: Readonly<Record<string, number>>
  /** Parked batches; undefined when the queue could not be asked, null when there is none (health check alone). */
  readonly parked: number | undefined | null
  /** Without it `breaker` and `collectors` are empty because nobody can say. */
  readonly stateAnswers: boolean
  readonly collectors: Readonly<Partial<Record<CollectorName, CollectorState>>>
  /** Streams whose parked batches the database refuses, as the last replay met it. */
  readonly refusals?: Refusals | undefined
  readonly budget: ApiBudget | undefined
  /** Who would get an alert; null when it was not its turn. */
  readonly receivers: Receivers | Unseen | null
}

export type Receivers = { readonly confirmed: number; readonly pending: number }

export type Flavor = 'pg' | 'neon' | 'aurora' | 'rds'

/** One catalog-only statement; never waits on a relation's lock. Ages and waits in ms, times as epoch ms, sizes in bytes. */
export type Vitals = {
  readonly server: {
    /** As server_version_num: 180004. */
    readonly version: number
    readonly database: string
    readonly role: string
    readonly flavor: Flavor
    readonly nowMs: number
    readonly startedAtMs: number
    readonly isInRecovery: boolean
    readonly isReadOnly: boolean
    /** Null over Neon's HTTP, which is always TLS. */
    readonly tls: { readonly isOn: boolean; readonly version: string | null } | null
    /** Without it, states and queries of other roles' sessions are hidden. */
    readonly seesOthers: boolean
  }
  readonly connections: {
    readonly max: number
    /** For superusers, and (16+) for pg_use_reserved_connections. */
    readonly reserved: number
    readonly used: number
    readonly databaseUsed: number
    /** -1: none. */
    readonly databaseLimit: number
    readonly roleUsed: number
    readonly roleLimit: number
    readonly states: Readonly<Record<string, number>>
    /** The five largest. */
    readonly applications: Readonly<Record<string, number>>
  }
  readonly activity: {
    readonly lockWaiters: number
    readonly oldestTransactionMs: number | null
    readonly oldestQueryMs: number | null
    readonly idleInTransaction: number
    readonly idleInTransactionMs: number | null
    readonly aborted: number
    readonly abortedMs: number | null
    /** In transactions: how far back the oldest snapshot holds vacuum. */
    readonly xminAge: number | null
  }
  /** Longest wait first, at most 20. */
  readonly blocked: readonly BlockedSession[]
  readonly blockedCount: number
  readonly blockers: readonly BlockingSession[]
  /** Cumulative, of pg_stat_database; null where the view does not have it. */
  readonly counters: {
    readonly statsResetAtMs: number | null
    readonly commits: number
    readonly rollbacks: number
    readonly deadlocks: number
    readonly conflicts: number
    readonly tempBytes: number
    readonly blocksHit: number
    readonly blocksRead: number
    readonly sessionsAbandoned: number | null
    readonly sessionsFatal: number | null
    readonly sessionsKilled: number | null
  }
  readonly wraparound: { readonly xidAge: number; readonly mxidAge: number; readonly freezeMaxAge: number }
  readonly prepared: { readonly count: number; readonly oldestMs: number | null }
  readonly replicas: readonly { readonly application: string; readonly state: string; readonly lagMs: number | null }[]
  readonly slots: readonly {
    readonly name: string
    readonly isActive: boolean
    readonly walStatus: string | null
    readonly retainedBytes: number | null
    readonly xminAge: number | null
  }[]
  readonly replicaLagMs: number | null
  /** As current_setting gives them; null where unknown to this version. */
  readonly settings: Readonly<Record<string, string | null>>
  /** pg_database_size: null where asking for it would be slow (a limit the probe knows). */
  readonly databaseBytes: number | null
  /** Schema of pg_stat_statements, where it is installed. */
  readonly statementsIn: string | null
  /** The server's own time for this statement. */
  readonly serverMs: number
}

export type BlockedSession = {
  readonly pid: number
  readonly waitMs: number
  readonly lockType: string
  readonly mode: string
  readonly relation: string | null
  readonly blockedBy: readonly number[]
  readonly application: string | null
  /** At most 80 characters, literals stripped. */
  readonly query: string | null
}

export type BlockingSession = {
  readonly pid: number
  readonly state: string | null
  readonly application: string | null
  readonly query: string | null
  readonly transactionMs: number | null
  /** Not blocked itself: ending it lets the others go on. */
  readonly isRoot: boolean
}

export type Structure = {
  readonly tables: readonly { readonly name: string; readonly bytes: number; readonly indexBytes: number; readonly rows: number }[]
  readonly vacuumOverdue: readonly {
    readonly table: string
    readonly deadRows: number
    readonly threshold: number
    readonly vacuumAgeMs: number | null
  }[]
  readonly oldestXidTables: readonly { readonly table: string; readonly age: number }[]
  readonly invalidIndexes: readonly string[]
  readonly duplicateIndexes: readonly { readonly table: string; readonly indexes: readonly string[]; readonly bytes: number }[]
  readonly unusedIndexes: readonly { readonly index: string; readonly table: string; readonly bytes: number }[]
  readonly foreignKeysWithoutIndex: readonly { readonly constraint: string; readonly table: string; readonly columns: readonly string[] }[]
  readonly sequentialScans: readonly { readonly table: string; readonly scans: number; readonly rowsRead: number; readonly rows: number }[]
  readonly withoutPrimaryKey: readonly string[]
  /** How long the statistics have been collected: "unused" says nothing on a young server. */
  readonly statsAgeMs: number | null
}

/** `used` is 0..1 of the smaller of its own and its column's maximum. */
export type SequenceUse = { readonly sequence: string; readonly used: number; readonly lastValue: number }

export type SlowStatement = {
  readonly id: string
  /** Literals stripped, at most 200 characters; null without the privilege. */
  readonly query: string | null
  readonly calls: number
  readonly meanMs: number
  readonly totalMs: number
  /** Of all time spent in statements, 0..1. */
  readonly share: number
}

export type AppTables = {
  /** Names of migrations that this code has and the database has not. */
  readonly migrationsPending: readonly string[]
  readonly quarantined: number
  readonly openGaps: number
  /** Of the database, one a day, oldest first: what days-to-full is reckoned from. */
  readonly dailyBytes: readonly { readonly day: string; readonly bytes: number }[]
}
