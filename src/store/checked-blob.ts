import type { Blocks } from './blocks.ts'
import type { Check } from './checks.ts'
import { BLOCK_BYTES } from './checksums.ts'
import { DiskError } from './disk-error.ts'
import type { OpenBlob, RawBlob } from './open-blob.ts'

/** Resolves when whoever comes next will not find these bytes. @returns what the reader is told */
export type OnWrong = (why: string, cause?: unknown) => Promise<DiskError>

type Parts = {
  readonly raw: RawBlob
  readonly check: Check
  readonly blocks: Blocks
  readonly onWrong: OnWrong
}

type Held = { readonly index: number; readonly bytes: Buffer; readonly length: number }

const NOTHING = Buffer.alloc(0)

/**
 * A blob for one reader, who reads one piece at a time. Of a block that is to be compared nothing leaves before all of
 * it was: it is read once, into memory, and leaves from there.
 */
export class CheckedBlob implements OpenBlob {
  readonly #parts: Parts
  #held: Held | undefined
  #isLoading = false
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get sizeBytes(): number {
    return this.#parts.raw.sizeBytes
  }

  async read(into: Buffer, offset: number, end: number): Promise<number> {
    const upTo = Math.min(end, this.sizeBytes)
    if (offset >= upTo) return 0
    const index = Math.floor(offset / BLOCK_BYTES)
    const stop = Math.min(upTo, (index + 1) * BLOCK_BYTES, offset + into.length)
    if (this.#held?.index === index) return this.#copyHeld(this.#held, into, offset, stop)
    this.#letGo()
    const { raw, check } = this.#parts
    if (check.isRecent(index)) {
      const length = await this.#read(into, offset, stop)
      // asked after the read: what changed the bytes before it is seen
      if (check.isChecked(index, raw.stamp())) return length
    }
    return await this.#load(index, into, offset, stop)
  }

  /** Compares the block at `offset`, if that is due: were it wrong, no answer has begun yet. @throws {DiskError} */
  async check(offset: number): Promise<void> {
    const index = Math.floor(offset / BLOCK_BYTES)
    const { raw, check } = this.#parts
    if (offset >= this.sizeBytes || check.isChecked(index, raw.stamp())) return
    await this.#load(index, NOTHING, offset, offset)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    if (!this.#isLoading) this.#letGo() // else the disk is still writing into it
    await this.#parts.raw[Symbol.asyncDispose]()
  }

  /** Reads and compares the whole block, and gives the bytes asked for. */
  async #load(index: number, into: Buffer, offset: number, stop: number): Promise<number> {
    const place = offset - index * BLOCK_BYTES
    const block = this.#parts.blocks.hold()
    if (!block) {
      await this.#parts.blocks.borrow(async (borrowed) => {
        await this.#compare(index, borrowed)
        borrowed.copy(into, 0, place, place + stop - offset)
      })
      return stop - offset
    }
    let held: Held | undefined
    this.#isLoading = true
    try {
      held = { index, bytes: block, length: await this.#compare(index, block) }
    } finally {
      this.#isLoading = false
      if (!held) this.#parts.blocks.giveBack(block)
    }
    this.#held = held
    const copied = this.#copyHeld(held, into, offset, stop)
    if (this.#isClosed) this.#letGo()
    return copied
  }

  /** @returns the block's length @throws {DiskError} of kind `wrong` */
  async #compare(index: number, block: Buffer): Promise<number> {
    const { raw, check, onWrong } = this.#parts
    const start = index * BLOCK_BYTES
    const end = Math.min(start + BLOCK_BYTES, this.sizeBytes)
    const stamp = raw.stamp() // before the read: a change after it will be seen
    const length = await this.#read(block, start, end)
    if (check.compare(index, block.subarray(0, length), stamp)) return length
    throw await onWrong('its bytes are not those that were kept')
  }

  #read(into: Buffer, offset: number, end: number): Promise<number> {
    const { raw, onWrong } = this.#parts
    return readOrBlame(() => raw.read(into, offset, end), onWrong)
  }

  #copyHeld({ index, bytes, length }: Held, into: Buffer, offset: number, stop: number): number {
    const start = index * BLOCK_BYTES
    const copied = bytes.copy(into, 0, offset - start, stop - start)
    if (offset + copied >= start + length) this.#letGo()
    return copied
  }

  #letGo(): void {
    if (this.#held) this.#parts.blocks.giveBack(this.#held.bytes)
    this.#held = undefined
  }
}

/**
 * A file that is shorter than it was, or can't be read, is as wrong as one of other bytes.
 * @throws {DiskError} of kind `wrong`, but where a limit of ours was met
 */
export async function readOrBlame<T>(read: () => Promise<T>, onWrong: OnWrong): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof DiskError) || error.isOurs) throw error
    throw await onWrong('it could not be read', error)
  }
}
