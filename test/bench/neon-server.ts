// The server that speaks Neon's protocol, in a process of its own, so that its work is not counted as the client's. Says its port, and ends when
// its parent does.

import { startNeonServer } from '../../cli/local/neon-server.ts'

const [host = '', port] = process.argv.slice(2)
const server = await startNeonServer({ target: { host, port: Number(port) } })
process.send?.(server.port)
process.on('disconnect', () => process.exit())
