// Looks at the database, the queue and the collectors, publishes the metrics and sends the alerts. Ticks every minute, and runs at once when the
// database's circuit opens. By hand, aws lambda invoke prints the report; with {"tests": ["connectivity", "performance"]} that is all it does:
// nothing is remembered, published or told. `performance` also looks at tables, indexes and slow statements.

import * as z from 'zod'
import { ConfigError } from '../shared/errors.ts'
import { checkHealth, reportHealth } from '../shared/health/check-health.ts'
import { healthTools } from './runtime.ts'

const eventSchema = z.strictObject({
  tests: z
    .array(z.enum(['connectivity', 'performance']))
    .min(1)
    .optional(),
  /** Who asks, and why: for the log. */
  because: z.string().optional(),
  scheduledAt: z.string().optional(),
})

export async function handler(event?: unknown) {
  const { tests, because } = parsed(event ?? {})
  const tools = healthTools()
  if (tests) return reportHealth(tools, { structure: tests.includes('performance') })
  const report = await checkHealth(tools)
  if (report.status !== 'HEALTHY') tools.log.warn({ event: 'health.checked', because, ...report })
  return report
}

function parsed(event: unknown): z.output<typeof eventSchema> {
  const result = eventSchema.safeParse(event)
  if (result.success) return result.data
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'the event'}: ${message}`)
  throw new ConfigError([
    `the health check can't read its event (${problems.join('; ')}); send {} or {"tests": ["connectivity", "performance"]}`,
  ])
}
