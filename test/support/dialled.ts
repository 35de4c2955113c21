import diagnostics from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** Every address to which this process begins a connection from now on, until the test ends: `127.0.0.1:443`. */
export function watchDialled(): readonly string[] {
  const dialled: string[] = []
  const note = (message: unknown) => {
    const { socket } = message as { readonly socket: Socket }
    socket.on('connectionAttempt', (address: string, port: number) => void dialled.push(`${address}:${port}`))
  }
  diagnostics.subscribe('net.client.socket', note)
  onTestFinished(() => void diagnostics.unsubscribe('net.client.socket', note))
  return dialled
}
