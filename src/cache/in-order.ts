import type { Hash } from 'node:crypto'
import { OciError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import { type Digest, hasherOf, matches } from '../oci/digest.ts'
import { Checksums } from '../store/checksums.ts'
import type { Place } from './place.ts'

/**
 * The hash of a blob whose bytes may come out of order: taken in order, from the pieces where they come at the front.
 * With it, of the very same bytes, the checksums that later reads are compared with.
 */
export class InOrderHash {
  readonly #digest: Digest
  readonly #hasher: Hash
  readonly #sums = new Checksums()
  #at = 0
  #catchingUp: Promise<void> | undefined

  constructor(digest: Digest) {
    this.#digest = digest
    this.#hasher = hasherOf(digest)
  }

  /** How far the hash was taken. */
  get at(): number {
    return this.#at
  }

  /** Takes a piece that is on its way to its place, where it is the next one. */
  take(offset: number, piece: Buffer): void {
    if (offset !== this.#at || this.#catchingUp) return
    this.#update(piece)
  }

  /** Takes from its place what came ahead, or before a restart. One walk at a time; all who ask wait for the same. */
  catchUp(place: Place): Promise<void> {
    if (!this.#catchingUp && place.held.endFrom(this.#at) === this.#at) return Promise.resolve()
    this.#catchingUp ??= this.#walk(place)
    return this.#catchingUp
  }

  /** Whether what was taken is the blob. To be asked once, at the end. */
  matches(): boolean {
    this.#sums.end()
    return matches(this.#digest, this.#hasher)
  }

  /** The checksums of what was taken. To be asked at the end. */
  sums(): Buffer {
    return this.#sums.end()
  }

  /** Of one block; undefined where the hash has not come to its end. */
  sumAt(index: number): bigint | undefined {
    return this.#sums.at(index)
  }

  #update(piece: Buffer): void {
    this.#hasher.update(piece)
    this.#sums.take(piece)
    this.#at += piece.length
  }

  async #walk(place: Place): Promise<void> {
    const buffer = Buffer.allocUnsafe(MIB)
    try {
      for (let end = place.held.endFrom(this.#at); end > this.#at; end = place.held.endFrom(this.#at)) {
        const length = await place.read(buffer, this.#at, end)
        if (length === 0) throw new OciError('internal', 'bytes that are held could not be hashed', { fault: 'disk' })
        this.#update(buffer.subarray(0, length))
      }
    } finally {
      this.#catchingUp = undefined // in the turn of the last look: what comes now finds no walk that would miss it
    }
  }
}
