import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

/** The rate is an average over this. */
const WINDOW_MS = 60_000
const LOOK_EVERY_MS = 5_000

type Seen = { readonly sinceMs: number; readonly takenBytes: number }

type Parts = {
  readonly clock: Clock
  readonly bytesPerS: number
  /** The answers under way. */
  readonly owed: ReadonlyMap<ServerResponse, Socket>
  /** Called before a client is cut. */
  readonly onSlow: () => void
}

/**
 * Cuts clients that take too little of their answer (fault 21), whatever it is. Who has taken all that was written
 * waits for us, and is not slow. The kernel takes bytes for the client, on a fast link by the MiB: who takes less than
 * it does in a minute can't be told from one who stands still.
 */
export class SlowClients {
  readonly #parts: Parts
  readonly #seen = new WeakMap<ServerResponse, Seen>()
  #cancel: () => void = () => undefined

  constructor(parts: Parts) {
    this.#parts = parts
  }

  start(): void {
    if (this.#parts.bytesPerS <= 0) return
    this.#cancel = this.#parts.clock.after(LOOK_EVERY_MS, () => {
      this.#look()
      this.start()
    })
  }

  stop(): void {
    this.#cancel()
  }

  #look(): void {
    const { clock, owed, bytesPerS } = this.#parts
    const nowMs = clock.monotonicMs()
    for (const [response, socket] of owed) {
      if (socket.destroyed) continue
      const takenBytes = socket.bytesWritten - socket.writableLength
      const seen = this.#seen.get(response)
      const hasMoved = !seen || takenBytes - seen.takenBytes >= (bytesPerS * WINDOW_MS) / 1000
      if (hasMoved || socket.writableLength === 0) this.#seen.set(response, { sinceMs: nowMs, takenBytes })
      else if (nowMs - seen.sinceMs >= WINDOW_MS) this.#cut(socket)
    }
  }

  #cut(socket: Socket): void {
    this.#parts.onSlow()
    socket.destroy()
  }
}
