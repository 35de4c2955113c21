import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

/** A listener's connections, and which of them are owed an answer: what a drain must know (fault 84). */
export class Sockets {
  readonly #server: Server
  readonly #clock: Clock
  /** By peer: under TLS an accepted socket gives way to the one that speaks for it. */
  readonly #open = new Map<string, Socket>()
  readonly #owed = new Map<ServerResponse, Socket>()

  constructor(server: Server, clock: Clock) {
    this.#server = server
    this.#clock = clock
    server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('secureConnection', (socket: Socket) => this.#add(socket))
  }

  /** An answer takes time: its connection is left alone until it has ended. */
  hold(socket: Socket, response: ServerResponse): void {
    if (response.closed) return
    this.#owed.set(response, socket)
    response.once('close', () => this.#owed.delete(response))
  }

  owes(socket: Socket): boolean {
    return [...this.#owed.values()].includes(socket)
  }

  /** Resolves when every connection has closed, by itself or at `waitMs`. */
  async drain(waitMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const [response, socket] of this.#owed) response.once('close', () => socket.destroySoon())
    const owed = new Set(this.#owed.values())
    for (const socket of this.#open.values()) if (!owed.has(socket)) socket.destroySoon() // what it writes still leaves
    const cancel = this.#clock.after(waitMs, () => {
      for (const socket of this.#open.values()) socket.destroy()
    })
    await closed
    cancel()
  }

  #add(socket: Socket): void {
    const peer = `${socket.remoteAddress} ${socket.remotePort}`
    this.#open.set(peer, socket)
    socket.once('close', () => this.#open.delete(peer))
  }
}
