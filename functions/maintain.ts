// Hourly upkeep: for now the migrations' second chance, for a deploy that met a database which was away.

import { handler as migrateNow } from './migrate.ts'

export async function handler() {
  return migrateNow()
}
