import type { Digest } from '../oci/digest.ts'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { type OpenFile, removeFile } from './files.ts'
import { writeNote } from './note.ts'
import type { Held, RangeSet } from './ranges.ts'
import type { Share } from './room.ts'

/** Progress between two notes: what a kill costs at most. */
const NOTED_EACH_BYTES = 8 * 1024 * 1024

/**
 * `growing` takes bytes; `committed` is a whole blob that is still read through here; `abandoned` has no name any more
 * and is only read; `ended` is closed.
 */
export type SpoolState = 'growing' | 'committed' | 'abandoned' | 'ended'

/** How a growing spool ended, for the disk's own list. */
export type SpoolEnd = 'kept' | 'removed'

export type SpoolParts = {
  readonly digest: Digest
  readonly file: OpenFile
  readonly path: string
  readonly notePath: string
  readonly bootId: string
  readonly sizeBytes: number | undefined
  /** What the caller made room for. */
  readonly reservedBytes: number
  readonly held: RangeSet
  readonly share: Share
  readonly onError: (error: DiskError) => void
  /** Called once, unless it is committed: the file is kept by its name, or the name is free. */
  readonly onLeft: (spool: Spool, end: SpoolEnd) => void
  readonly onClosed: (spool: Spool) => void
}

/**
 * The growing file of one fill. Many write and many read at once; what is read was written before.
 * It ends by `close`, or at once by `keep` or `discard`.
 */
export class Spool implements AsyncDisposable {
  readonly digest: Digest
  readonly #parts: SpoolParts
  readonly #held: RangeSet
  #sizeBytes: number | undefined
  #reservedBytes: number
  #state: SpoolState = 'growing'
  #notedBytes: number
  #noting: Promise<void> | undefined
  /** Of the file when all that was verified was in it. */
  #sealed: string | undefined
  #abandoning: Promise<void> | undefined
  #ending: Promise<void> | undefined

  constructor(parts: SpoolParts) {
    this.digest = parts.digest
    this.#parts = parts
    this.#held = parts.held
    this.#notedBytes = parts.held.bytes
    this.#sizeBytes = parts.sizeBytes
    this.#reservedBytes = parts.reservedBytes
    this.#account()
  }

  /** Which bytes are here. A live view: it grows with each write. */
  get held(): Held {
    return this.#held
  }

  /** The whole blob's size, once it is known. */
  get sizeBytes(): number | undefined {
    return this.#sizeBytes
  }

  get state(): SpoolState {
    return this.#state
  }

  get path(): string {
    return this.#parts.path
  }

  /** The larger of what is reserved for it and what it holds. */
  get takenBytes(): number {
    return Math.max(this.#reservedBytes, this.#held.bytes)
  }

  /** The whole size has become known: so much is reserved. */
  grow(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
    this.reserve(sizeBytes)
  }

  /** So much is reserved for it, whatever its size will be. */
  reserve(bytes: number): void {
    this.#reservedBytes = bytes
    this.#account()
  }

  /**
   * Writes the piece at `offset`; its bytes count as held when all of them are written. `piece` must stay as it is
   * until then. @throws {DiskError} after which this spool still holds what it held
   */
  async write(offset: number, piece: Buffer): Promise<void> {
    if (this.#state !== 'growing') throw new DiskError('failed', 'the spool takes no bytes any more')
    try {
      await this.#parts.file.write(piece, offset)
    } catch (thrown) {
      throw this.#told(thrown, 'writing a spool')
    }
    this.#held.add(offset, offset + piece.length)
    if (this.#state !== 'growing') return
    this.#account()
    if (this.#held.bytes - this.#notedBytes >= NOTED_EACH_BYTES) this.#noting ??= this.#note()
  }

  /**
   * Reads held bytes from `offset` up to `end`, as many as `into` takes.
   * @returns how many; 0 where the byte at `offset` is not held
   * @throws {DiskError} also once the spool has ended; of kind `wrong` where the file was changed since it was sealed
   */
  async read(into: Buffer, offset: number, end: number): Promise<number> {
    const heldEnd = Math.min(end, this.#held.endFrom(offset), offset + into.length)
    if (heldEnd <= offset) return 0
    try {
      const bytes = await this.#parts.file.read(into, offset, heldEnd)
      if (this.#isChanged()) throw new DiskError('wrong', 'the file of a blob was changed under its readers')
      if (bytes < heldEnd - offset) throw new DiskError('failed', 'the spool is shorter than what was written to it')
      return bytes
    } catch (thrown) {
      throw this.#told(thrown, 'reading a spool')
    }
  }

  /** Asked after each read: by the name of its blob the file may be met by others, and what they do to it is seen. */
  #isChanged(): boolean {
    return this.#sealed !== undefined && this.#sealed !== this.#parts.file.stamp()
  }

  /** Closes it and leaves it in the folder with its note, for the next fill or the next start. Never rejects. */
  keep(): Promise<void> {
    this.#ending ??= this.#held.bytes > 0 && this.#state === 'growing' ? this.#endKept() : this.#end()
    return this.#ending
  }

  /** Closes and deletes it. Never rejects. */
  discard(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  /** It will not be kept: its name is free at once, and what it holds is read until it is closed. Never rejects. */
  abandon(): Promise<void> {
    if (this.#state === 'growing') this.#abandoning ??= this.#leaveName()
    return this.#abandoning ?? Promise.resolve()
  }

  /** For when its last reader has left: a committed one's blob may be evicted then, a growing one is kept. */
  close(): Promise<void> {
    return this.keep()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** For the disk: resolves when another spool may have its name. */
  async freesName(): Promise<void> {
    await (this.#abandoning ?? this.#ending)
  }

  /**
   * For the disk, which commits it: all of it is on the medium and it has the right size.
   * @returns the size @throws {DiskError} after which it can only be discarded
   */
  async seal(): Promise<number> {
    if (this.#state !== 'growing') throw new DiskError('failed', 'the spool has ended')
    const sizeBytes = this.#sizeBytes ?? this.#held.endFrom(0)
    try {
      await this.#parts.file.flush()
      this.#sealed = this.#parts.file.stamp()
      const stats = await this.#parts.file.stat()
      if (stats.size === sizeBytes && this.#held.bytes === sizeBytes) return sizeBytes
    } catch (thrown) {
      throw this.#told(thrown, 'flushing a spool')
    }
    throw new DiskError('failed', `the spool holds ${this.#held.bytes} of ${sizeBytes} bytes`)
  }

  /** For the disk: the file has its blob's name and is accounted for there. Readers go on through this spool. */
  async becameBlob(): Promise<void> {
    this.#state = 'committed'
    this.#parts.share.set(0, 0)
    await this.#noting
    await removeFile(this.#parts.notePath)
  }

  async #endKept(): Promise<void> {
    this.#state = 'ended'
    await this.#noting
    await this.#note()
    await this.#parts.file.close()
    this.#parts.share.set(0, 0)
    this.#parts.onLeft(this, 'kept')
    this.#parts.onClosed(this)
  }

  async #end(): Promise<void> {
    if (this.#state === 'growing') await this.abandon()
    await this.#abandoning
    this.#state = 'ended'
    await this.#parts.file.close()
    this.#parts.share.set(0, 0)
    this.#parts.onClosed(this)
  }

  /** Its bytes still take room, until the descriptor is closed. */
  async #leaveName(): Promise<void> {
    this.#state = 'abandoned'
    this.#parts.share.set(0, this.#held.bytes)
    await this.#noting
    await removeFile(this.#parts.path)
    await removeFile(this.#parts.notePath)
    this.#parts.onLeft(this, 'removed')
  }

  async #note(): Promise<void> {
    try {
      const bytes = this.#held.bytes
      await writeNote(this.#parts.notePath, this.#sizeBytes, this.#held, this.#parts.bootId)
      this.#notedBytes = bytes
    } catch (thrown) {
      this.#told(thrown, 'noting what a spool holds') // the note before it is still true, of less
    } finally {
      this.#noting = undefined
    }
  }

  #account(): void {
    if (this.#state === 'growing') this.#parts.share.set(this.takenBytes, this.#held.bytes)
  }

  #told(thrown: unknown, doing: string): DiskError {
    const error = diskErrorOf(thrown, doing)
    this.#parts.onError(error)
    return error
  }
}
