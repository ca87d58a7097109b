// How tests open the pg adapter when its limits are not what they are about.

import { systemClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'

export const pgOptions = {
  poolMax: 2,
  connectForMs: 3_000,
  wakeForMs: 3_000,
  idleForMs: 15_000,
  lifetimeMs: 600_000,
  clock: systemClock,
  log: silentLog,
}
