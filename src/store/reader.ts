import { KIB, MIB } from '../base/units.ts'

/**
 * A client begins with small buffers and gets large ones when it has read this much: one that stops early holds little.
 */
const GROWS_AFTER_BYTES = 8 * MIB
const SMALL_BYTES = 64 * KIB
const LARGE_BYTES = 512 * KIB
/** Where the budget is spent: nobody waits, but goes by small steps. */
const LEAST_BYTES = 4 * KIB
/** Of the budget, kept for such: of the default that is room for 4,096 clients. */
const LEAST_PART = 1 / 8
const FREE_MAX = 16

/** Bytes that can be read at an offset: of a whole blob, or of one that is still filling. */
export interface Bytes {
  /** Reads from `offset` up to `end` as much as is there and `into` takes; 0 where nothing more will come. */
  read(into: Buffer, offset: number, end: number): Promise<number>
}

/** Where bytes go. */
export interface Client {
  /**
   * Resolves when the piece may be overwritten: true once it was taken, false when the client has gone. Never rejects.
   */
  write(piece: Buffer): Promise<boolean>
}

/** The one budget of read buffers. */
export class Buffers {
  readonly #budgetBytes: number
  readonly #free = new Map<number, Buffer[]>([LEAST_BYTES, SMALL_BYTES, LARGE_BYTES].map((bytes) => [bytes, []]))
  #lentBytes = 0

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes
  }

  get lentBytes(): number {
    return this.#lentBytes
  }

  lend(): Buffer {
    return this.#take(this.#has(SMALL_BYTES) ? SMALL_BYTES : LEAST_BYTES)
  }

  /** A large buffer in place of a smaller one, where the budget has it; else the same. */
  grow(buffer: Buffer): Buffer {
    if (buffer.length === LARGE_BYTES || !this.#has(LARGE_BYTES - buffer.length)) return buffer
    this.giveBack(buffer)
    return this.#take(LARGE_BYTES)
  }

  giveBack(buffer: Buffer): void {
    this.#lentBytes -= buffer.length
    const free = this.#free.get(buffer.length)
    if (free && free.length < FREE_MAX) free.push(buffer)
  }

  #has(bytes: number): boolean {
    return this.#lentBytes + bytes <= this.#budgetBytes * (1 - LEAST_PART)
  }

  #take(bytes: number): Buffer {
    this.#lentBytes += bytes
    return this.#free.get(bytes)?.pop() ?? Buffer.allocUnsafeSlow(bytes)
  }
}

/**
 * Walks bytes `start` to `end` to one client. The next read runs while the last is written, through two reused buffers
 * lent from the one budget: a client costs this pair, however slow it is.
 *
 * @returns bytes taken by the client; fewer than asked for when it has gone, or when the bytes ended early
 * @throws {OciError} when the bytes fail; the headers are gone, so the caller cuts the connection
 */
export async function walk(
  bytes: Bytes,
  { start, end }: { readonly start: number; readonly end: number },
  to: Client,
  buffers: Buffers,
): Promise<number> {
  let full = buffers.lend()
  let spare = buffers.lend()
  try {
    let taken = 0
    let length = await bytes.read(full, start, end)
    while (length > 0) {
      const next = start + taken + length
      const reading = next < end ? bytes.read(spare, next, end) : Promise.resolve(0)
      reading.catch(() => undefined) // it is awaited below, once the buffer that is being written is free again
      if (!(await to.write(full.subarray(0, length)))) {
        await reading.catch(() => undefined) // the spare buffer is free only then
        return taken
      }
      taken += length
      length = await reading
      if (taken >= GROWS_AFTER_BYTES) full = buffers.grow(full)
      ;[full, spare] = [spare, full]
    }
    return taken
  } finally {
    buffers.giveBack(full)
    buffers.giveBack(spare)
  }
}
