// The way to a Postgres over Neon's driver: proxy -> a server that speaks Neon's protocol -> proxy -> Postgres.

import { startFaultProxy } from '../../cli/local/fault-proxy.ts'
import { startNeonServer } from '../../cli/local/neon-server.ts'
import type { Way } from './write-path.ts'

export async function openNeonWay(serverPort: number, workloadUrl: string): Promise<Way & Required<Pick<Way, 'behind'>>> {
  const behind = await startFaultProxy({ target: { host: '127.0.0.1', port: serverPort } })
  const neon = await startNeonServer({ target: { host: '127.0.0.1', port: behind.port } })
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: neon.port } })
  return {
    proxy,
    url: proxy.url(workloadUrl),
    driver: 'neon',
    behind,
    // its answer comes when the transaction is over
    commitAnswer: 'HTTP/1.1 200',
    close: () => neon.close(),
  }
}
