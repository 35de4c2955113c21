import type { Clock } from '../base/clock.ts'
import { KIB } from '../base/units.ts'
import type { Arrivals } from './arrivals.ts'
import { Pieces } from './pieces.ts'

/** An unread body is drained up to here, so that its socket lives on; beyond it the socket is destroyed. */
const DRAIN_BYTES_MAX = 64 * KIB
const DRAIN_MS_MAX = 1_000

/** The body of one answer; it is read, discarded or destroyed, once. */
export class Body {
  readonly #arrivals: Arrivals
  readonly #clock: Clock
  readonly #idleMs: number

  constructor(arrivals: Arrivals, clock: Clock, idleMs: number) {
    this.#arrivals = arrivals
    this.#clock = clock
    this.#idleMs = idleMs
  }

  /** Its pieces as they come; there must be `bodyBytes` of them, if that is known. */
  pieces(bodyBytes?: number): Pieces {
    return new Pieces(this.#arrivals, this.#clock, this.#idleMs, bodyBytes)
  }

  /** The whole of a small body; undefined where it is larger than `bytesMax`. @throws {OciError} as pieces do */
  async whole(bytesMax: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = []
    let bytes = 0
    for await (const piece of this.pieces()) {
      bytes += piece.length
      if (bytes > bytesMax) return undefined
      pieces.push(Buffer.from(piece))
    }
    return Buffer.concat(pieces, bytes)
  }

  /** Frees the socket of a body that nobody wants (unread ones wedge a pool), behind the caller's back. */
  discard(): void {
    void this.#drain()
  }

  /** Destroys the socket, unless all has come. */
  destroy(): void {
    this.#arrivals.abort(new Error('the body was not wanted'))
  }

  /** Never rejects: nothing is thrown here, and a broken body has no reader. */
  async #drain(): Promise<void> {
    const deadlineMs = this.#clock.monotonicMs() + DRAIN_MS_MAX
    let bytes = 0
    while (!this.#arrivals.isOver && bytes <= DRAIN_BYTES_MAX) {
      const leftMs = deadlineMs - this.#clock.monotonicMs()
      if (leftMs <= 0) break
      await this.#arrivals.waitFor(1, leftMs, this.#clock)
      bytes += this.#arrivals.take().length
    }
    this.destroy()
  }
}
