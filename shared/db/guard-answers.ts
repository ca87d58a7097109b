// A pooler that loses its server in the middle of an answer says so in the middle of that answer: what follows is read as if it were the row's
// bytes. pg's parser then throws where the socket's bytes arrive, outside of every promise, and that would end the process. Here it ends the
// connection, and whoever waits for an answer hears why.

import type { Duplex } from 'node:stream'
import { ownErrno } from './pg-failure.ts'

type Listener = (chunk: Buffer) => void
/** Of pg's Connection: called with the socket, or with the TLS socket around it. */
type Listening = { attachListeners(stream: { on(event: string, listener: Listener): unknown }): void }

export function guardAnswers(connection: object): void {
  const listening = connection as Listening
  const attach = listening.attachListeners.bind(listening)
  listening.attachListeners = (stream) => {
    const socket = stream as Duplex
    attach({
      on: (event, listener) => socket.on(event, event === 'data' ? guarded(socket, listener) : listener),
    })
  }
}

const guarded = (socket: Duplex, listener: Listener) => (chunk: Buffer) => {
  try {
    listener(chunk)
  } catch (cause) {
    const error = new Error(
      'the answer makes no sense: a pooler has lost its server in the middle of it, or something else has broken it',
      { cause },
    )
    socket.destroy(Object.assign(error, { code: ownErrno.brokenAnswer }))
  }
}
