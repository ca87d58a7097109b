// A local HTTP server that ends when it is told to, whatever its clients do.

import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Listens on 127.0.0.1; port 0 is a free one. Rejects when the port is taken. */
export async function listen(server: Server, port: number): Promise<{ port: number; close(): Promise<void> }> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      // Kept-alive and hanging connections would hold the server open for ever.
      server.closeAllConnections()
      await closed
    },
  }
}
