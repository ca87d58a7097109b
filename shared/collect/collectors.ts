// The collectors by name. A new one is a file of its own, a line here, a name in names.ts and its settings in config.ts.

import type { CollectorName } from '../names.ts'
import type { Collector } from './collector.ts'
import { dexes } from './dexes.ts'
import { newPools } from './new-pools.ts'
import { topPools } from './top-pools.ts'
import { trades } from './trades.ts'

export const collectors: Readonly<Record<CollectorName, Collector>> = { dexes, 'top-pools': topPools, 'new-pools': newPools, trades }
