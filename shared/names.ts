// Names, and two times, that more than one part must agree on: collectors, state keys, stage-derived resources.

export const collectorNames = ['dexes', 'top-pools', 'new-pools', 'trades'] as const
export type CollectorName = (typeof collectorNames)[number]

/** Keys of the state table. */
export const stateKeys = {
  collector: (name: CollectorName) => `collector:${name}`,
  databaseBreaker: 'breaker:database',
  streamBreaker: (table: string) => `breaker:stream:${table}`,
  geckoBreaker: 'breaker:gecko',
  /** What users' own code talks to, by the name that it gave. */
  ownBreaker: (scope: string) => `breaker:own:${scope}`,
  geckoBudget: 'budget:gecko',
  alerts: 'alerts',
  refusals: 'refusals',
  /** What the health check remembers between its looks. */
  health: 'health',
} as const

/** What the health check publishes, and nobody else: ten metrics, the number that costs nothing on CloudWatch. Alarms and the dashboard use these. */
export const metricNames = [
  'Heartbeat',
  'Availability',
  'HealthStatus',
  'QueryLatency',
  'ConnectLatency',
  'LockWait',
  'ErrorRate',
  'BreakerOpenTime',
  'ConnectionUtilization',
  'CollectorLag',
] as const
export type MetricName = (typeof metricNames)[number]

/** Every name that a stage has of its own. Two stages may share an account and a database. */
export function stageNames(stage: string) {
  return {
    stack: `tokay-${stage}`,
    /** Postgres schema: `tokay` for prod, else `tokay_<stage>`. */
    schema: stage === 'prod' ? 'tokay' : `tokay_${stage.replaceAll('-', '_')}`,
    stateTable: `tokay-${stage}-state`,
    parkedQueue: `tokay-${stage}-parked-writes`,
    deadLettersQueue: `tokay-${stage}-parked-writes-dead-letters`,
    lostEventsQueue: `tokay-${stage}-lost-events`,
    /** The stage is in the namespace, not a dimension: a dimension would double the metrics' price. */
    metricNamespace: `Tokay/${stage}`,
  } as const
}

/** A parked batch that somebody has received comes back by itself after this time: a replayer that dies loses nothing. Longer than one merge and its transaction. */
export const parkedHiddenForS = 60

/** What stays of an invocation when its deadline has come: enough to park what a slow API gave last, and to record the run. */
export const parkingForMs = 5_000
