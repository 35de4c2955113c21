import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

/** The rate is an average over this. */
const WINDOW_MS = 60_000
const LOOK_EVERY_MS = 5_000

type Seen = {
  readonly sinceMs: number
  /** What the kernel had taken then. */
  readonly givenBytes: number
  /** What it has for the client, when it was last asked. */
  readonly queuedBytes: number | undefined
  /** What the client has taken of that since. */
  readonly drainedBytes: number
}

type Parts = {
  readonly clock: Clock
  readonly bytesPerS: number
  /** The answers under way. */
  readonly owed: ReadonlyMap<ServerResponse, Socket>
  /** Called before a client is cut. */
  readonly onSlow: () => void
  /** What the kernel holds for clients. Never rejects. */
  readonly sendQueuesOf: (sockets: readonly Socket[]) => Promise<ReadonlyMap<Socket, number>>
}

type Still = { readonly response: ServerResponse; readonly socket: Socket; readonly seen: Seen }

/**
 * Cuts clients that take too little of their answer (fault 21), whatever it is. Who has taken all that was written
 * waits for us, and is not slow. The kernel takes bytes for a client by the MiB, and wants no more until a third of
 * them are gone: of one for whom it takes none, it is asked what the client itself has taken.
 */
export class SlowClients {
  readonly #parts: Parts
  readonly #seen = new WeakMap<ServerResponse, Seen>()
  #cancel: () => void = () => undefined
  #isStopped = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  start(): void {
    if (this.#parts.bytesPerS <= 0 || this.#isStopped) return
    this.#cancel = this.#parts.clock.after(LOOK_EVERY_MS, () => {
      void this.#look().then(() => this.start())
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel()
  }

  async #look(): Promise<void> {
    const still = this.#still()
    if (still.length === 0) return
    const queues = await this.#parts.sendQueuesOf(still.map(({ socket }) => socket))
    for (const each of still) this.#judge(each, queues.get(each.socket))
  }

  /** Those for whom the kernel has taken too little by now. */
  #still(): readonly Still[] {
    const still: Still[] = []
    for (const [response, socket] of this.#parts.owed) {
      if (socket.destroyed) continue
      const seen = this.#seen.get(response)
      const givenBytes = socket.bytesWritten - socket.writableLength
      if (!seen || socket.writableLength === 0 || givenBytes - seen.givenBytes >= this.#leastBytes) {
        this.#begin(response, givenBytes, undefined)
      } else {
        still.push({ response, socket, seen })
      }
    }
    return still
  }

  #judge({ response, socket, seen }: Still, queuedBytes: number | undefined): void {
    if (this.#parts.owed.get(response) !== socket) return // it has all meanwhile
    const drainedBytes = seen.drainedBytes + drainedOf(seen.queuedBytes, queuedBytes)
    if (drainedBytes >= this.#leastBytes) this.#begin(response, seen.givenBytes, queuedBytes)
    else if (this.#parts.clock.monotonicMs() - seen.sinceMs >= WINDOW_MS) this.#cut(socket)
    else this.#seen.set(response, { ...seen, queuedBytes, drainedBytes })
  }

  get #leastBytes(): number {
    return (this.#parts.bytesPerS * WINDOW_MS) / 1000
  }

  /** It moved, or is new: another minute begins. */
  #begin(response: ServerResponse, givenBytes: number, queuedBytes: number | undefined): void {
    const sinceMs = this.#parts.clock.monotonicMs()
    this.#seen.set(response, { sinceMs, givenBytes, queuedBytes, drainedBytes: 0 })
  }

  #cut(socket: Socket): void {
    if (socket.destroyed) return
    this.#parts.onSlow()
    socket.destroy()
  }
}

/** A queue that grew was filled up: what was taken from it before is not seen. */
const drainedOf = (beforeBytes: number | undefined, nowBytes: number | undefined): number =>
  beforeBytes === undefined || nowBytes === undefined ? 0 : Math.max(0, beforeBytes - nowBytes)
