import { Xxh64, xxh64 } from '@node-rs/xxhash'
import { MIB } from '../base/units.ts'

/** A blob has one checksum for so many of its bytes; its last one is of what is left. */
export const BLOCK_BYTES = MIB
/** Of one checksum: xxh64, which costs 0.09 CPU s/GB where zlib's crc32 costs 0.28 and SHA-256 0.58 (M). */
const SUM_BYTES = 8

export const blocksOf = (sizeBytes: number): number => Math.ceil(sizeBytes / BLOCK_BYTES)

/** Whether these can be the checksums of a blob of this size. */
export const areOfSize = (sums: Uint8Array, sizeBytes: number): boolean =>
  sums.length === blocksOf(sizeBytes) * SUM_BYTES

/** Whether `block`, the whole of it, has the checksum that was taken of it. */
export function isBlock(sums: Buffer, index: number, block: Uint8Array): boolean {
  return xxh64(block) === sums.readBigUInt64LE(index * SUM_BYTES)
}

/** The checksums of bytes that come in order, in pieces of any size. They find what a disk changed, not a forger. */
export class Checksums {
  readonly #sums: bigint[] = []
  readonly #begun = new Xxh64()
  #begunBytes = 0

  /** Takes the next bytes. */
  take(piece: Uint8Array): void {
    for (let offset = 0; offset < piece.length; ) {
      const part = piece.subarray(offset, offset + BLOCK_BYTES - this.#begunBytes)
      offset += part.length
      if (part.length === BLOCK_BYTES) this.#sums.push(xxh64(part))
      else this.#takePart(part)
    }
  }

  /** Of one block, counted from where it began; undefined where not all of it was taken. */
  at(index: number): bigint | undefined {
    return this.#sums[index]
  }

  /** Of all that was taken: eight bytes a block. To be asked at the end, after which nothing is taken. */
  end(): Buffer {
    if (this.#begunBytes > 0) this.#endBlock()
    const sums = Buffer.alloc(this.#sums.length * SUM_BYTES)
    for (const [index, sum] of this.#sums.entries()) sums.writeBigUInt64LE(sum, index * SUM_BYTES)
    return sums
  }

  #takePart(part: Uint8Array): void {
    this.#begun.update(part)
    this.#begunBytes += part.length
    if (this.#begunBytes === BLOCK_BYTES) this.#endBlock()
  }

  #endBlock(): void {
    this.#sums.push(this.#begun.digest())
    this.#begun.reset()
    this.#begunBytes = 0
  }
}

/** The checksums of whole bytes. */
export function checksumsOf(bytes: Uint8Array): Buffer {
  const sums = new Checksums()
  sums.take(bytes)
  return sums.end()
}
