// Runs one collector. A schedule's event names it and the tick's own time; by hand: {"collector": "new-pools"}, which runs whether due or not.

import type { Context } from 'aws-lambda'
import * as z from 'zod'
import { collect } from '../shared/collect/collect.ts'
import { collectors } from '../shared/collect/collectors.ts'
import { collectorNames } from '../shared/names.ts'
import { collectTools, deadlineAtMs } from './runtime.ts'

const eventSchema = z.object({
  collector: z.enum(collectorNames),
  scheduledAt: z.iso.datetime().optional(),
  dryRun: z.boolean().default(false),
})

export async function handler(event: unknown, context: Context) {
  const { collector, scheduledAt, dryRun } = eventSchema.parse(event)
  const tools = await collectTools()
  const result = await collect(collectors[collector], tools, {
    scheduledAtMs: scheduledAt === undefined ? tools.clock.nowMs() : Date.parse(scheduledAt),
    force: scheduledAt === undefined,
    dryRun,
    deadlineAtMs: deadlineAtMs(context),
  })
  tools.log.info({ event: `collector.${result.kind}`, collector, ...result })
  return result
}
