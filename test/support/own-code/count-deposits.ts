// An example of users' own code: a script that asks a service of theirs and counts what it says, once, in a table of theirs.
// node count-deposits.ts SERVICE_URL DATABASE_URL SCHEMA

import { batchIdOf, openResilientClient } from '../../../shared/resilient-client.ts'

const [service, url, schema] = process.argv.slice(2) as [string, string, string]
const client = openResilientClient({ url, schema })
const deposits = await client.withResilience('deposits', async ({ signal }) => {
  const response = await fetch(service, { signal })
  if (!response.ok) throw new Error(`deposits answered ${response.status}`)
  return (await response.json()) as { atMs: number; cents: number[] }
})
const total = deposits.cents.reduce((sum, cents) => sum + cents, 0)
const batchId = batchIdOf({ source: 'deposits', atMs: deposits.atMs, content: deposits.cents })
const { applied } = await client.exactlyOnce({ batchId, rows: deposits.cents.length }, [
  { name: 'add_deposits', text: 'update balance set cents = cents + $1::int', values: [total] },
])
console.log(applied)
await client.end()
