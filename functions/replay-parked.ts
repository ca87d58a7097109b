// Writes what was parked, and is the only prober of the database's open circuit. Ticks every minute; an empty queue costs one count.

import type { Context } from 'aws-lambda'
import { replayParked } from '../shared/collect/replay-parked.ts'
import { deadlineAtMs, writeTools } from './runtime.ts'

export async function handler(_event: unknown, context: Context) {
  return replayParked(writeTools(), { deadlineAtMs: deadlineAtMs(context) })
}
