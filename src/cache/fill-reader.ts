import { OciError } from '../base/errors.ts'
import type { Want } from './streams.ts'
import type { Follower } from './window.ts'

/** What a reader wants: bytes `start` up to `end`. `isWhole` says that its client will take the body for the blob. */
export type Aim = { readonly start: number; readonly end: number; readonly isWhole: boolean }

/** What a reader needs of its fill. */
export interface Followed {
  readonly monotonicMs: number
  /** Up to where a reader at `offset` may read now; `offset` itself where it must wait. @throws why it never will */
  readableEnd(offset: number, aim: Aim): number
  read(into: Buffer, offset: number, end: number): Promise<number>
  /** A reader waits for its next byte, moved on, or left. */
  waits(): void
  moved(): void
  left(reader: FillReader): void
}

/** One client's seat at a fill: taken when it comes, aimed when its range is known, left when it goes. */
export class FillReader implements Follower {
  readonly #fill: Followed
  #aim: Aim | undefined
  #offset = 0
  #movedMs: number
  #waiting: PromiseWithResolvers<void> | undefined
  #left: OciError | undefined

  constructor(fill: Followed) {
    this.#fill = fill
    this.#movedMs = fill.monotonicMs
  }

  get offset(): number {
    return this.#offset
  }

  get end(): number {
    return this.#aim?.end ?? Number.POSITIVE_INFINITY
  }

  get movedMs(): number {
    return this.#movedMs
  }

  /** What it waits for, if it does. */
  get wanted(): Want | undefined {
    return this.#waiting && this.#aim && { offset: this.#offset, end: this.#aim.end, isRange: !this.#aim.isWhole }
  }

  /** To be called once, before the first read. */
  aim(aim: Aim): void {
    this.#aim = aim
    this.#offset = aim.start
    this.#fill.moved()
  }

  /**
   * Reads from `offset` on, at least one byte, waiting for it where it must; what was read is no longer needed.
   * @throws {OciError} the fill ended without it, or this reader was cut or has left
   */
  async read(into: Buffer, offset: number, end: number): Promise<number> {
    this.#moveTo(offset)
    for (;;) {
      if (this.#left) throw this.#left
      const aim = this.#aim ?? { start: offset, end, isWhole: true }
      const readable = Math.min(end, this.#fill.readableEnd(offset, aim))
      if (readable > offset) {
        const length = await this.#fill.read(into, offset, readable)
        this.#moveTo(offset + length)
        return length
      }
      const waiting = Promise.withResolvers<void>()
      this.#waiting = waiting
      this.#fill.waits() // which may wake it in this turn
      await waiting.promise
      this.#movedMs = this.#fill.monotonicMs // it was upstream who stood still
    }
  }

  /** Something changed that it may have waited for. */
  wake(): void {
    this.#waiting?.resolve()
    this.#waiting = undefined
  }

  cut(): void {
    this.#leave(new OciError('overloaded', 'the client took too long to read what could not be kept'))
  }

  close(): void {
    this.#leave(new OciError('internal', 'the client has left'))
  }

  #moveTo(offset: number): void {
    if (offset === this.#offset) return
    this.#offset = offset
    this.#movedMs = this.#fill.monotonicMs
    this.#fill.moved()
  }

  #leave(why: OciError): void {
    if (this.#left) return
    this.#left = why
    this.wake()
    this.#fill.left(this)
  }
}
