// The migrations that this code was written for, as the table `migrations` names them: the files themselves are in the bundles that migrate, and in no other.

export const migrationNames: readonly string[] = ['0001_collector-tables', '0002_exactly-once-and-quarantine', '0003_health']
