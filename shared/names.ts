// Names that more than one part must agree on: collectors, state keys, stage-derived resources.

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
} as const

/** Every name that a stage has of its own. Two stages may share an account and a database. */
export function stageNames(stage: string) {
  return {
    stack: `tokay-${stage}`,
    /** Postgres schema: `tokay` for prod, else `tokay_<stage>`. */
    schema: stage === 'prod' ? 'tokay' : `tokay_${stage.replaceAll('-', '_')}`,
    /** SSM SecureString that holds the Postgres URL. */
    databaseUrlParameter: `/tokay/${stage}/database-url`,
    /** The stage is in the namespace, not a dimension: a dimension would double the metrics' price. */
    metricNamespace: `Tokay/${stage}`,
  } as const
}
