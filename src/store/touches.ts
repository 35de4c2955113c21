import type { Clock } from '../base/clock.ts'
import type { Digest } from '../oci/digest.ts'
import type { Books } from './books.ts'
import { type DiskError, diskErrorOf } from './disk-error.ts'

const WRITTEN_AFTER_MS = 1_000
/** Between two slices, for whoever waits for the loop. */
const BETWEEN_MS = 20

/** Brings the uses noted to the books, a slice at a time, behind everyone. */
export class Touches {
  readonly #books: Books
  readonly #clock: Clock
  readonly #onError: (error: DiskError) => void
  #cancel: (() => void) | undefined
  #isClosed = false

  constructor(books: Books, clock: Clock, onError: (error: DiskError) => void) {
    this.#books = books
    this.#clock = clock
    this.#onError = onError
  }

  touch(digest: Digest): void {
    try {
      this.#books.touch(digest, this.#clock.wallMs())
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'reading the books'))
      return
    }
    if (this.#books.hasUntold && !this.#cancel) this.#arm(WRITTEN_AFTER_MS)
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
  }

  #arm(afterMs: number): void {
    if (!this.#isClosed) this.#cancel = this.#clock.after(afterMs, () => this.#write())
  }

  #write(): void {
    this.#cancel = undefined
    try {
      if (this.#books.writeTouches()) this.#arm(BETWEEN_MS)
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'writing the books')) // the uses wait for the next touch
    }
  }
}
