// The port of metrics: a handful of numbers, published once a run by the health check alone. Each name costs money on CloudWatch.

export type Metric = {
  readonly name: string
  readonly value: number
  readonly unit: 'Count' | 'Milliseconds' | 'Seconds' | 'Percent' | 'None'
}

export interface Metrics {
  /** One call for all of them. A value that is not a finite number is left out and logged: it would make the whole call fail. */
  publishMetrics(namespace: string, metrics: readonly Metric[]): Promise<void>
}
