import type { Clock } from '../base/clock.ts'
import { KIB } from '../base/units.ts'
import type { Arrivals } from './arrivals.ts'
import { failureOf, slow, unusable } from './failure.ts'
import { Pace } from './pace.ts'

/** Small pieces cost a hash and a write each: up to here, and for so long, more is waited for. */
const GATHER_BYTES = 256 * KIB
const GATHER_MS = 2

const DONE = { done: true, value: undefined } as const

/**
 * A body as it is read: pieces of at most 1 MiB, each what has arrived when it is asked for, valid until the next is
 * asked for. Leaving early destroys the socket, and so does not beginning for as long as upstream may be silent. The
 * end is where the body ended: no proof that it is whole, unless `bodyBytes` is known.
 *
 * `next` throws OciError: upstreamSlow where it stalls or drips, which is counted only while a piece is waited for;
 * upstreamFailed: `cut`; `size`, before a byte of a surplus is given.
 */
export class Pieces implements AsyncIterable<Buffer, void, void>, AsyncIterator<Buffer, void, void> {
  readonly #arrivals: Arrivals
  readonly #clock: Clock
  readonly #pace: Pace
  readonly #bodyBytes: number | undefined
  readonly #cancelStart: () => void
  #count = 0
  #givenBytes = 0

  constructor(arrivals: Arrivals, clock: Clock, idleMs: number, bodyBytes: number | undefined) {
    this.#arrivals = arrivals
    this.#clock = clock
    this.#pace = new Pace(idleMs)
    this.#bodyBytes = bodyBytes
    this.#cancelStart = clock.after(idleMs, () => arrivals.abort(new Error('nobody began to read the body')))
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Buffer, void>> {
    this.#cancelStart()
    try {
      const piece = await this.#piece()
      if (!piece) return DONE
      this.#count++
      return { done: false, value: piece }
    } catch (error) {
      this.#arrivals.abort(new Error('the body was given up'))
      throw error
    }
  }

  async return(): Promise<IteratorResult<Buffer, void>> {
    this.#cancelStart()
    this.#arrivals.abort(new Error('the body was left'))
    return DONE
  }

  async #piece(): Promise<Buffer | undefined> {
    const arrivals = this.#arrivals
    const sinceMs = this.#clock.monotonicMs()
    await this.#arrival(sinceMs)
    // Less than this is worth a short wait, but never for the first piece, which somebody may be waiting for.
    if (this.#count > 0 && !arrivals.isOver) await arrivals.waitFor(GATHER_BYTES, GATHER_MS, this.#clock)
    this.#pace.note(this.#clock.monotonicMs() - sinceMs, arrivals.arrivedBytes)
    const piece = arrivals.take()
    this.#givenBytes += piece.length
    const expectedBytes = this.#bodyBytes ?? this.#givenBytes
    if (this.#givenBytes > expectedBytes) throw unusable('size', 'the upstream sent more than it said')
    if (this.#pace.isDripping) throw slow('the upstream sends too slowly')
    if (piece.length > 0) return piece
    if (!arrivals.isOver) throw slow('the upstream stopped sending')
    if (arrivals.error !== undefined) throw failureOf(arrivals.error, 'answered')
    if (this.#givenBytes < expectedBytes) throw unusable('cut', 'the upstream sent less than it said')
    return undefined
  }

  /** Waits for a byte or the end, no longer than upstream may stay silent. */
  async #arrival(sinceMs: number): Promise<void> {
    const { idleMs } = this.#pace
    let waitedMs = 0
    while (this.#arrivals.arrivedBytes === 0 && !this.#arrivals.isOver && waitedMs < idleMs) {
      await this.#arrivals.waitFor(1, idleMs - waitedMs, this.#clock)
      waitedMs = this.#clock.monotonicMs() - sinceMs
    }
  }
}
