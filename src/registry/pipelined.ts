import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Of all connections: each costs about 5 KiB. Whoever brings more is cut. */
const WAITING_MAX = 10_000

/**
 * Requests that a client sent ahead, each waiting until the answers before its own have gone (fault 25): node gives all
 * that it parsed at once. No more is read from a connection where one waits, so it brings what one read holds.
 */
export class Pipelined {
  readonly #waiting = new Map<Socket, number>()
  #count = 0

  /** Whether the request has come before its turn. node gives a response its socket when it has. */
  static isEarly(response: ServerResponse): boolean {
    return response.socket === null
  }

  /** Calls `take` when it is its turn; never where the client leaves before. @returns false: there are too many */
  wait({ socket }: IncomingMessage, response: ServerResponse, take: () => void): boolean {
    if (this.#count >= WAITING_MAX) return false
    if (!this.#waiting.has(socket)) socket.once('close', this.#forget)
    this.#waiting.set(socket, (this.#waiting.get(socket) ?? 0) + 1)
    this.#count += 1
    queueMicrotask(() => this.#stop(socket))
    response.once('socket', () => queueMicrotask(() => this.#turn(socket, take)))
    return true
  }

  #turn(socket: Socket, take: () => void): void {
    const left = this.#waiting.get(socket)
    if (left === undefined) return
    this.#count -= 1
    if (left > 1) this.#waiting.set(socket, left - 1)
    else {
      this.#waiting.delete(socket)
      socket.off('close', this.#forget)
    }
    take()
    if (left > 1) this.#stop(socket)
    else socket.resume() // its client's leaving is noticed again
  }

  /** In a microtask, behind node: it asks for more whenever a request or an answer is whole. */
  #stop(socket: Socket): void {
    if (this.#waiting.has(socket)) socket.pause()
  }

  readonly #forget = (): void => {
    for (const [socket, left] of this.#waiting) {
      if (!socket.destroyed) continue
      this.#waiting.delete(socket)
      this.#count -= left
    }
  }
}
