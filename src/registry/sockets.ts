import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

/** A listener's connections, and which of them are owed an answer: what a drain must know (fault 84). */
export class Sockets {
  readonly #server: Server
  readonly #clock: Clock
  readonly #open = new Set<Socket>()
  readonly #owed = new Map<ServerResponse, Socket>()

  constructor(server: Server, clock: Clock) {
    this.#server = server
    this.#clock = clock
    server.on('connection', (socket: Socket) => {
      this.#open.add(socket)
      socket.once('close', () => this.#open.delete(socket))
    })
  }

  /** An answer takes time: its connection is left alone until it has ended. */
  hold(socket: Socket, response: ServerResponse): void {
    if (response.closed) return
    this.#owed.set(response, socket)
    response.once('close', () => this.#owed.delete(response))
  }

  /** Resolves when every connection has closed, by itself or at `waitMs`. */
  async drain(waitMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const owed = new Set([...this.#owed.values()].map(peerOf))
    for (const [response, socket] of this.#owed) response.once('close', () => socket.destroySoon())
    const idle = [...this.#open].filter((socket) => !owed.has(peerOf(socket)))
    for (const socket of idle) socket.destroySoon() // what it is writing still leaves
    const cancel = this.#clock.after(waitMs, () => {
      for (const socket of this.#open) socket.destroy()
    })
    await closed
    cancel()
  }
}

/** Under TLS an answer's socket is not the one that was accepted; its peer is. */
const peerOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`
