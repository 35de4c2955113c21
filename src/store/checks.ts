import { LRUCache } from 'lru-cache'
import type { Clock } from '../base/clock.ts'
import type { Digest } from '../oci/digest.ts'
import { areOfSize, blocksOf, isBlock } from './checksums.ts'

/** For so long a block that was compared is believed, were nothing else to tell that its file has changed. */
const CHECKED_FOR_MS = 3_600_000
/** Blocks remembered, at twelve bytes each: a tebibyte. What is forgotten is compared again. */
const BLOCKS_MAX = 1_048_576
/** What an entry costs besides, in blocks; it also bounds how many there are. */
const ENTRY_BLOCKS = 32

/** What a file's content doesn't change without; undefined where the path leads to another file, or to none. */
export type Stamp = string | undefined

/** What is known of one blob's blocks: their checksums, and which of them were compared when. */
export class Check {
  readonly sizeBytes: number
  readonly #sums: Buffer
  readonly #clock: Clock
  /** By block; 0: never. */
  readonly #checkedMs: Float64Array
  #stamp: Stamp

  constructor(sums: Buffer, sizeBytes: number, clock: Clock) {
    this.sizeBytes = sizeBytes
    this.#sums = sums
    this.#clock = clock
    this.#checkedMs = new Float64Array(blocksOf(sizeBytes))
  }

  /** Whether the block was compared within the hour. */
  isRecent(index: number): boolean {
    const checkedMs = this.#checkedMs[index] ?? 0
    return checkedMs > 0 && this.#clock.monotonicMs() + 1 - checkedMs < CHECKED_FOR_MS
  }

  /** Whether it was so in the file that has this stamp. */
  isChecked(index: number, stamp: Stamp): boolean {
    return stamp !== undefined && stamp === this.#stamp && this.isRecent(index)
  }

  /**
   * Compares a whole block and notes that it is right.
   * @param stamp as it was before the block was read
   */
  compare(index: number, block: Uint8Array, stamp: Stamp): boolean {
    if (!isBlock(this.#sums, index, block)) return false
    if (stamp === undefined) return true
    if (stamp !== this.#stamp) this.#checkedMs.fill(0)
    this.#stamp = stamp
    this.#checkedMs[index] = this.#clock.monotonicMs() + 1 // a clock may begin at 0
    return true
  }
}

/** The checks of the blobs that were read lately. */
export class Checks {
  readonly #clock: Clock
  readonly #checks = new LRUCache<Digest, Check>({
    maxSize: BLOCKS_MAX,
    sizeCalculation: ({ sizeBytes }) => blocksOf(sizeBytes) + ENTRY_BLOCKS,
  })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Undefined where nothing is remembered of a blob of this size. */
  find(digest: Digest, sizeBytes: number): Check | undefined {
    const known = this.#checks.get(digest)
    return known?.sizeBytes === sizeBytes ? known : undefined
  }

  /** With these checksums, of which nothing was compared yet. @returns undefined where they are of another size */
  add(digest: Digest, sizeBytes: number, sums: Buffer): Check | undefined {
    if (!areOfSize(sums, sizeBytes)) return undefined
    const check = new Check(sums, sizeBytes, this.#clock)
    this.#checks.set(digest, check)
    return check
  }
}
