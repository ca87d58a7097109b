// What is different about a server, by who runs it: read before drawing conclusions from its figures.

import type { Flavor } from './observation.ts'

export const pooledNote =
  'A pooler or a proxy stands before the server: connections are counted behind it. How many wait for one, only it can say (PgBouncer: show pools).'

export const platformNotes: Readonly<Record<Flavor, readonly string[]>> = {
  pg: [],
  neon: [
    'The cache hit rate means nothing here: what misses the buffers may be in the file cache.',
    'Statistics and pg_stat_statements begin anew whenever the compute has slept.',
    'The limit of connections grows with the compute size: 104 at 0.25 CU, 7 of them reserved. The pooled host takes 10,000.',
    'A look every minute keeps the compute awake; health.probe: piggyback lets it sleep.',
  ],
  rds: [
    'CPUUtilization, FreeStorageSpace, FreeableMemory and DiskQueueDepth are in CloudWatch, namespace AWS/RDS, at no cost.',
    'FreeStorageSpace says when the disk is full; health.thresholds.databaseFullBytes makes days-to-full count to the same end.',
  ],
  aurora: [
    'CPUUtilization, FreeLocalStorage and AuroraReplicaLag are in CloudWatch, namespace AWS/RDS, at no cost.',
    'Aurora has no WAL functions: what replication slots keep, and the lag of its readers, are not seen from SQL.',
  ],
}
