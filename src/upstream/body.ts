import type { Clock } from '../base/clock.ts'
import { KIB } from '../base/units.ts'
import { failureOf, slow } from './failure.ts'
import { Pace } from './pace.ts'
import type { Receiver } from './receiver.ts'

/** After the first piece, less than this is worth a short wait for more: small pieces cost a hash and a write each. */
const GATHER_BYTES = 64 * KIB
const GATHER_MS = 2
/** An unread body is drained up to here, so that its socket lives on; beyond it the socket is destroyed. */
const DRAIN_BYTES_MAX = 64 * KIB
const DRAIN_MS_MAX = 1_000

/** The body of one answer; it is read, or discarded, once. */
export class Body {
  readonly #receiver: Receiver
  readonly #clock: Clock
  readonly #idleMs: number

  constructor(receiver: Receiver, clock: Clock, idleMs: number) {
    this.#receiver = receiver
    this.#clock = clock
    this.#idleMs = idleMs
  }

  /**
   * Pieces of at most 1 MiB, each what has arrived when it is asked for, valid until the next is asked for. Leaving
   * early destroys the socket. The end is where the body ended: no proof that it is whole.
   *
   * @throws {OciError} upstreamSlow: it stalled or drips, counted only while a piece is waited for; upstreamFailed: cut
   */
  async *pieces(): AsyncGenerator<Buffer, void, void> {
    const receiver = this.#receiver
    const pace = new Pace(this.#idleMs)
    try {
      for (let count = 0; ; count++) {
        await this.#arrival(pace)
        if (count > 0) await this.#gathering(pace)
        const piece = receiver.take()
        if (piece.length === 0 && !receiver.isOver) throw slow('the upstream stopped sending')
        if (piece.length === 0 && receiver.error !== undefined) throw failureOf(receiver.error, 'answered')
        if (piece.length === 0) return
        if (pace.isDripping) throw slow('the upstream sends too slowly')
        yield piece
      }
    } finally {
      receiver.abort(new Error('the body was left'))
    }
  }

  /** The whole of a small body; undefined where it is larger than `bytesMax`. */
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

  /** Frees the socket of a body that nobody wants (unread ones wedge a pool): behind the caller's back, within bounds. */
  discard(): void {
    void this.#drain()
  }

  /** Destroys the socket. */
  destroy(): void {
    this.#receiver.abort(new Error('the body was not wanted'))
  }

  /** Never rejects: nothing is thrown here, and a broken body has no reader. */
  async #drain(): Promise<void> {
    const deadlineMs = this.#clock.monotonicMs() + DRAIN_MS_MAX
    let bytes = 0
    while (!this.#receiver.isOver && bytes <= DRAIN_BYTES_MAX) {
      const leftMs = deadlineMs - this.#clock.monotonicMs()
      if (leftMs <= 0) break
      await this.#receiver.waitFor(1, leftMs, this.#clock)
      bytes += this.#receiver.take().length
    }
    this.destroy()
  }

  /** Waits for a byte or the end, no longer than upstream may stay silent. */
  async #arrival(pace: Pace): Promise<void> {
    const sinceMs = this.#clock.monotonicMs()
    let waitedMs = 0
    while (this.#receiver.arrivedBytes === 0 && !this.#receiver.isOver && pace.patienceMs(waitedMs) > 0) {
      await this.#receiver.waitFor(1, pace.patienceMs(waitedMs), this.#clock)
      waitedMs = this.#clock.monotonicMs() - sinceMs
    }
    pace.note(waitedMs, this.#receiver.arrivedBytes)
  }

  async #gathering(pace: Pace): Promise<void> {
    const receiver = this.#receiver
    const before = receiver.arrivedBytes
    if (before >= GATHER_BYTES || receiver.isOver) return
    await receiver.waitFor(GATHER_BYTES, GATHER_MS, this.#clock)
    pace.note(GATHER_MS, receiver.arrivedBytes - before)
  }
}
