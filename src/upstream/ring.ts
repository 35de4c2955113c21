/** A socket reads at most so much at a time. */
const STEP_BYTES = 512 * 1024

/**
 * Bytes on their way from a socket to one reader, without a copy: the socket writes into a region that is told to it
 * ahead, the reader is given what was written. Offsets count from the body's start, and wrap around.
 */
export class Ring {
  readonly #bytes: Buffer
  /** Written up to `#end`, given up to `#given`; what is below `#free` may be overwritten. */
  #free = 0
  #given = 0
  #end = 0

  constructor(sizeBytes: number) {
    this.#bytes = Buffer.allocUnsafeSlow(sizeBytes)
  }

  get arrivedBytes(): number {
    return this.#end - this.#given
  }

  /** Where the next bytes are to be written, at most `mostBytes`: it may not be free yet. */
  region(mostBytes: number): Buffer {
    const at = this.#end % this.#bytes.length
    return this.#bytes.subarray(at, at + this.#lengthAt(at, mostBytes))
  }

  /** Whether that region may be written now. */
  isFree(mostBytes: number): boolean {
    const used = this.#end - this.#free
    return used + this.#lengthAt(this.#end % this.#bytes.length, mostBytes) <= this.#bytes.length
  }

  wrote(bytes: number): void {
    this.#end += bytes
  }

  /** Copies in what came with the head. */
  put(bytes: Buffer): void {
    for (let from = 0; from < bytes.length; ) {
      const copied = bytes.copy(this.region(bytes.length - from), 0, from)
      this.wrote(copied)
      from += copied
    }
  }

  /** What was written next, in one piece of at most `mostBytes`, and frees what was given before. */
  take(mostBytes: number): Buffer {
    this.#free = this.#given
    const at = this.#given % this.#bytes.length
    const length = Math.min(this.arrivedBytes, mostBytes, this.#bytes.length - at)
    this.#given += length
    return this.#bytes.subarray(at, at + length)
  }

  #lengthAt(at: number, mostBytes: number): number {
    return Math.min(STEP_BYTES, mostBytes, this.#bytes.length - at)
  }
}
