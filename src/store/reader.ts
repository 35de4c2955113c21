import { KIB, MIB } from '../base/units.ts'

/**
 * A client begins with small buffers and gets large ones when it has read this much: one that stops early holds little.
 */
const GROWS_AFTER_BYTES = 8 * MIB
const SMALL_BYTES = 64 * KIB
const LARGE_BYTES = 512 * KIB
/** All buffers of all readers; beyond it nobody waits, they stay small. */
const BUDGET_BYTES = 256 * MIB
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
  readonly #free: { readonly small: Buffer[]; readonly large: Buffer[] } = { small: [], large: [] }
  #lentBytes = 0

  constructor(budgetBytes = BUDGET_BYTES) {
    this.#budgetBytes = budgetBytes
  }

  get lentBytes(): number {
    return this.#lentBytes
  }

  lend(): Buffer {
    this.#lentBytes += SMALL_BYTES
    return this.#free.small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES)
  }

  /** A large buffer in place of a small one, where the budget has it; else the same. */
  grow(buffer: Buffer): Buffer {
    if (buffer.length === LARGE_BYTES || this.#lentBytes + LARGE_BYTES > this.#budgetBytes) return buffer
    this.giveBack(buffer)
    this.#lentBytes += LARGE_BYTES
    return this.#free.large.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
  }

  giveBack(buffer: Buffer): void {
    this.#lentBytes -= buffer.length
    const free = buffer.length === LARGE_BYTES ? this.#free.large : this.#free.small
    if (free.length < FREE_MAX) free.push(buffer)
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
