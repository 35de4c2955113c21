import type { Clock } from '../base/clock.ts'
import type { Digest } from '../oci/digest.ts'
import type { Entry } from './books.ts'
import { codeOf, type DiskError, diskErrorOf } from './disk-error.ts'
import { NEW, OpenFile, READ_WRITE, removeFile } from './files.ts'
import type { Folder } from './folder.ts'
import { RangeSet } from './ranges.ts'
import type { KeptSpool } from './recovery.ts'
import type { Room, Share } from './room.ts'
import { Spool, type SpoolEnd } from './spool.ts'

type Options = {
  readonly folder: Folder
  readonly room: Room
  readonly clock: Clock
  readonly bootId: string
  readonly kept: ReadonlyMap<Digest, KeptSpool>
  readonly onError: (error: DiskError) => void
}

type Kept = KeptSpool & { readonly share: Share }
type Begun = { readonly file: OpenFile; readonly held: RangeSet; readonly share: Share; readonly sizeBytes?: number }

/** The spools of a disk: growing, committed but still read, and kept by nobody for the next fill of their digest. */
export class Spools {
  readonly #options: Options
  readonly #growing = new Map<Digest, Spool>()
  readonly #committed = new Map<Digest, Spool>()
  readonly #open = new Set<Spool>()
  readonly #kept = new Map<Digest, Kept>()

  constructor(options: Options) {
    this.#options = options
    for (const [digest, spool] of options.kept) this.#putKept(digest, spool)
  }

  /** Those in the folder, open or not. */
  get count(): number {
    return this.#growing.size + this.#kept.size
  }

  /** Blobs that are still read through the spools that brought them. */
  get readCount(): number {
    return this.#committed.size
  }

  /** Whether a blob is still read through the spool that brought it. */
  isRead(digest: Digest): boolean {
    return this.#committed.has(digest)
  }

  /** Those that nobody has open, the oldest first. */
  kept(): readonly Entry[] {
    const entries = [...this.#kept].map(([digest, { note, keptMs }]) => {
      return { digest, sizeBytes: note.held.bytes, usedMs: keptMs }
    })
    return entries.sort((a, b) => a.usedMs - b.usedMs)
  }

  /**
   * Opens the one that was kept, where its size does not contradict, or a new one; `sizeBytes` are reserved at once.
   * The caller sees that one digest is opened once at a time. @throws {DiskError}
   */
  async open(digest: Digest, sizeBytes: number | undefined): Promise<Spool> {
    const before = this.#growing.get(digest)
    if (before?.state === 'growing') throw new Error(`a fill of ${digest} is under way`)
    await before?.freesName()
    const kept = this.#kept.get(digest)
    this.#kept.delete(digest)
    const begun = (kept && (await this.#resume(digest, kept, sizeBytes))) ?? (await this.#begin(digest, sizeBytes))
    const spool = new Spool({
      ...begun,
      digest,
      path: this.#options.folder.spool(digest),
      notePath: this.#options.folder.note(digest),
      bootId: this.#options.bootId,
      sizeBytes: sizeBytes ?? begun.sizeBytes,
      reservedBytes: sizeBytes ?? 0,
      onError: this.#options.onError,
      onLeft: (left, end) => this.#forget(left, end),
      onClosed: (closed) => this.#forgetOpen(closed),
    })
    this.#open.add(spool)
    this.#growing.set(digest, spool)
    return spool
  }

  /** The spool's file has its blob's name. */
  async becameBlob(spool: Spool): Promise<void> {
    this.#growing.delete(spool.digest)
    this.#committed.set(spool.digest, spool)
    await spool.becameBlob()
  }

  /** @returns bytes freed; 0 where none was kept */
  async removeKept(digest: Digest): Promise<number> {
    const kept = this.#kept.get(digest)
    if (!kept) return 0
    this.#kept.delete(digest)
    await removeFile(this.#options.folder.note(digest))
    const isGone = await removeFile(this.#options.folder.spool(digest))
    kept.share.set(0, 0)
    return isGone ? kept.note.held.bytes : 0
  }

  /** The folder is another: what grows can't be kept any more, and is read until it is closed. Never rejects. */
  async abandon(): Promise<void> {
    await Promise.all([...this.#growing.values()].map((spool) => spool.abandon()))
  }

  /** Keeps all that grow, closes all. Never rejects. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((spool) => spool.close()))
  }

  /** @returns undefined where it can't be gone on with @throws {DiskError} where it can't be told: it stays kept */
  async #resume(digest: Digest, kept: Kept, sizeBytes: number | undefined): Promise<Begun | undefined> {
    const { note, share } = kept
    const heldEnd = note.held.ranges.at(-1)?.end ?? 0
    const isOfSize = sizeBytes === undefined || (sizeBytes === (note.sizeBytes ?? sizeBytes) && heldEnd <= sizeBytes)
    try {
      const file = isOfSize ? await findHolding(this.#options.folder.spool(digest), heldEnd) : undefined
      share.set(0, 0)
      if (!file) return undefined
      return { file, held: note.held, share, ...(note.sizeBytes !== undefined && { sizeBytes: note.sizeBytes }) }
    } catch (thrown) {
      this.#kept.set(digest, kept)
      const error = diskErrorOf(thrown, 'opening a spool')
      this.#options.onError(error)
      throw error
    }
  }

  async #begin(digest: Digest, sizeBytes: number | undefined): Promise<Begun> {
    const share = this.#options.room.share()
    share.set(sizeBytes ?? 0, 0)
    try {
      await removeFile(this.#options.folder.note(digest)) // before there is data that it doesn't tell of
      await removeFile(this.#options.folder.spool(digest))
      const file = await OpenFile.open(this.#options.folder.spool(digest), NEW)
      return { file, held: new RangeSet(), share }
    } catch (thrown) {
      share.set(0, 0)
      const error = diskErrorOf(thrown, 'making a spool')
      this.#options.onError(error)
      throw error
    }
  }

  #forget(spool: Spool, end: SpoolEnd): void {
    if (this.#growing.get(spool.digest) === spool) this.#growing.delete(spool.digest)
    if (end === 'removed') return
    const note = {
      sizeBytes: spool.sizeBytes,
      held: RangeSet.of(spool.held.ranges),
      bootId: this.#options.bootId,
    }
    this.#putKept(spool.digest, { note, keptMs: this.#options.clock.wallMs() })
  }

  #forgetOpen(spool: Spool): void {
    this.#open.delete(spool)
    if (this.#committed.get(spool.digest) === spool) this.#committed.delete(spool.digest)
  }

  #putKept(digest: Digest, spool: KeptSpool): void {
    const share = this.#options.room.share()
    share.set(0, spool.note.held.bytes)
    this.#kept.set(digest, { ...spool, share })
  }
}

/**
 * The file at `path` where it is a regular one of at least this length. What comes after was written and not noted: it
 * may be more than the blob has.
 */
async function findHolding(path: string, bytes: number): Promise<OpenFile | undefined> {
  let file: OpenFile
  try {
    file = await OpenFile.open(path, READ_WRITE)
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP') return undefined
    throw error
  }
  try {
    const stats = await file.stat()
    if (stats.isFile() && stats.size >= bytes) {
      if (stats.size > bytes) await file.truncate(bytes)
      return file
    }
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  return undefined
}
