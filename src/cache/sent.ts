import { OciError } from '../base/errors.ts'
import { BLOCK_BYTES, blocksOf, Checksums } from '../store/checksums.ts'
import type { Aim } from './fill-reader.ts'

/**
 * What one client was given of a fill. Its file may have changed after the hash was taken of what came, and nobody
 * compares a growing file: so the checksums of what leaves are compared with those of what came, block by block, and of
 * a whole body all of them before its end leaves. A block of which only a part is wanted is not compared.
 */
export class Sent {
  readonly #cameAt: (index: number) => bigint | undefined
  readonly #aim: Aim
  readonly #sizeBytes: number
  readonly #sums = new Checksums()
  /** The first block that is given from its start. */
  readonly #first: number
  #offset: number
  /** Blocks compared. */
  #compared = 0

  /** @param cameAt the checksum of a block as it came, once it is known */
  constructor(cameAt: (index: number) => bigint | undefined, aim: Aim, sizeBytes: number) {
    this.#cameAt = cameAt
    this.#aim = aim
    this.#sizeBytes = sizeBytes
    this.#first = blocksOf(aim.start)
    this.#offset = aim.start
  }

  /** Whether anything was given. */
  get hasBegun(): boolean {
    return this.#offset > this.#aim.start
  }

  /** Takes the next bytes, before they leave. @throws {OciError} what has left, or would, is not what came */
  take(piece: Buffer): void {
    const before = Math.max(0, this.#first * BLOCK_BYTES - this.#offset)
    this.#sums.take(piece.subarray(before))
    this.#offset += piece.length
    const isAtEnd = this.#offset === this.#sizeBytes
    if (isAtEnd) this.#sums.end()
    const isRight = this.#compare()
    const isAllCompared = this.#first + this.#compared === blocksOf(this.#sizeBytes)
    if (isRight && (isAllCompared || !isAtEnd || !this.#aim.isWhole)) return
    throw new OciError('internal', 'bytes of a blob changed on the disk before they left', { fault: 'disk' })
  }

  #compare(): boolean {
    for (;;) {
      const left = this.#sums.at(this.#compared)
      const came = left === undefined ? undefined : this.#cameAt(this.#first + this.#compared)
      if (came === undefined) return true
      if (came !== left) return false
      this.#compared += 1
    }
  }
}
