// Looks at the database, the queue and the collectors, publishes the metric and sends the alerts. Ticks every minute, runs at once when the
// database's circuit opens, and by hand: aws lambda invoke prints the report.

import { checkHealth } from '../shared/health/check-health.ts'
import { healthTools } from './runtime.ts'

export async function handler() {
  const tools = healthTools()
  const report = await checkHealth(tools)
  if (report.status !== 'healthy') tools.log.warn({ event: 'health.checked', ...report })
  return report
}
