// The fault proxy in a process of its own, so that its work is not counted as the client's. Says its port, and ends when its parent does.

import { startFaultProxy } from '../../cli/local/fault-proxy.ts'

const [host = '', port, oneWayMs] = process.argv.slice(2)
const proxy = await startFaultProxy({ target: { host, port: Number(port) } })
await proxy.mode({ kind: 'delay', oneWayMs: Number(oneWayMs) })
process.send?.(proxy.port)
process.on('disconnect', () => process.exit())
