// Another example: a process that lives on between its invocations, as a Lambda instance does. Each line on stdin is one; each gets its answer as
// a line: which backend served it, and at which attempt.
// node invoked.ts DATABASE_URL SCHEMA

import { createInterface } from 'node:readline'
import { silentLog } from '../../../shared/log.ts'
import { openResilientClient } from '../../../shared/resilient-client.ts'

const [url, schema] = process.argv.slice(2) as [string, string]
const client = openResilientClient({ url, schema, log: silentLog, settings: { database: { poolMax: 2 } } })
for await (const invocation of createInterface({ input: process.stdin })) {
  const { attempts } = client.counters()
  const [row] = await client.query({
    name: 'count',
    text: 'update invocations set n = n + 1 returning n, pg_backend_pid() as backend',
    values: [],
  })
  console.log(JSON.stringify({ invocation, ...row, attempts: client.counters().attempts - attempts }))
}
await client.end()
