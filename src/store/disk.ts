/*
 * disk: the bounded folder of whole blobs and spools.
 *
 * Promises: what is in `blobs/` was whole when it got its name; never more than the cap (the quarantine, a twentieth of
 * it at most, comes on top), and space kept free on the volume; nothing under a reader is removed; a disk that fails
 * costs the one call, and is probed until it works.
 * Doesn't know what a manifest is, nor who asks. Read next: spool.ts (how a blob comes), books.ts (what is known of
 * it), recovery.ts (what a crash leaves).
 */
import { rename } from 'node:fs/promises'
import type { Clock } from '../base/clock.ts'
import type { Cap } from '../base/config.ts'
import type { Log } from '../base/log.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import type { Cursor, Entry } from './books.ts'
import { CheckedReads } from './checked-reads.ts'
import { checksumsOf } from './checksums.ts'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { DiskHealth } from './disk-health.ts'
import { type DiskOptions, type DiskParts, noteCleanStop, openParts } from './disk-open.ts'
import { DiskWalk } from './disk-walk.ts'
import { removeBlob, tryDrop } from './dropping.ts'
import { removeFile, writeFlushed } from './files.ts'
import { Folder } from './folder.ts'
import { type OpenBlob, OpenBlobs, type RawBlob } from './open-blob.ts'
import { Quarantine } from './quarantine.ts'
import { findRegular, PROBE } from './recovery.ts'
import { Reopening } from './reopening.ts'
import type { Spool } from './spool.ts'
import { Touches } from './touches.ts'
import { Turns } from './turns.ts'

export type DiskCounts = {
  readonly blobs: number
  /** Blobs that are read, as such or through the spool that brought them. */
  readonly open: number
  /** Of blobs alone. */
  readonly bytes: number
  readonly spools: number
  /** Set aside since the start. */
  readonly quarantined: number
}

export class Disk implements AsyncDisposable {
  /** For who looks after the blobs: to walk and to verify them all. */
  readonly walk: DiskWalk
  readonly #reopening: Reopening
  #cap: Cap
  readonly #clock: Clock
  readonly #log: Log
  readonly #health: DiskHealth
  readonly #quarantine: Quarantine
  readonly #open = new OpenBlobs()
  readonly #turns = new Turns<Digest>()
  #touches: Touches
  readonly #checked: CheckedReads
  readonly #onError = (error: DiskError): void => {
    this.#reopening.met(error)
    this.#health.failed(error)
  }

  /**
   * Takes the folder, alone, and sets right what the last run left there.
   * @throws {DiskError} whose message is for the operator: another process has the folder, or it can't be used
   */
  static async open(options: DiskOptions): Promise<Disk> {
    let onError: (error: DiskError) => void = () => undefined // nobody asks before it is open
    const parts = await openParts(new Folder(options.folder), options, (error) => onError(error))
    const disk = new Disk(parts, options)
    onError = disk.#onError
    return disk
  }

  private constructor(parts: DiskParts, options: DiskOptions) {
    const { cap, log, outside } = options
    this.#cap = cap
    this.#clock = outside.clock
    this.#log = log
    this.#checked = new CheckedReads({
      find: (digest) => this.#find(digest),
      books: () => this.#parts.books,
      clock: outside.clock,
      openRaw: (digest) => this.#openFound(digest),
      setAside: (digest, inode, why) => this.#setWrongAside(digest, inode, why),
      onError: this.#onError,
    })
    this.walk = new DiskWalk({
      books: () => this.#parts.books,
      folder: () => this.#parts.folder,
      setAside: (digest, inode, why) => this.#setWrongAside(digest, inode, why),
      dropLost: (digest) => this.#dropLost(digest),
      onError: this.#onError,
    })
    this.#touches = new Touches(parts.books, outside.clock, this.#onError)
    this.#quarantine = new Quarantine(parts.folder.quarantine, () => this.capBytes, outside.clock, log)
    this.#reopening = new Reopening(parts, options, {
      onError: this.#onError,
      onLeave: async () => {
        this.#touches.close()
        await this.#turns.idle()
        this.#open.partAll()
      },
      onOpened: ({ books, room }) => {
        room.setCap(this.#cap) // it may have been changed meanwhile
        this.#touches = new Touches(books, outside.clock, this.#onError)
        this.#health.worked()
      },
    })
    this.#health = new DiskHealth({
      findTrouble: () => this.#reopening.findTrouble(),
      shortBytes: (bytes) => this.shortBytes(bytes),
      probePath: `${parts.folder.spools}/${PROBE}`,
      clock: outside.clock,
      log,
    })
  }

  get capBytes(): number {
    return this.#parts.room.capBytes
  }

  /** Blobs and spools; a spool counts what it has reserved. */
  get usedBytes(): number {
    return this.#parts.room.usedBytes
  }

  /** Whether something is not kept for now: for want of room, or since the disk fails. */
  get isDegraded(): boolean {
    return this.#health.condition !== 'well'
  }

  /** True from a failure of the disk, other than that it is full, until a write works again. */
  get isFailing(): boolean {
    return this.#health.condition === 'failing'
  }

  counts(): DiskCounts {
    const { books, spools } = this.#parts
    const open = this.#open.size + spools.readCount
    return { blobs: books.blobs, bytes: books.bytes, open, spools: spools.count, quarantined: this.#quarantine.count }
  }

  /** What the books say: from memory, or a prepared statement. */
  find(digest: Digest): { readonly sizeBytes: number } | undefined {
    return this.#find(digest)
  }

  /** How many bytes must be removed before `bytes` more fit; 0: they fit. */
  shortBytes(bytes: number): number {
    return this.#parts.room.shortBytes(bytes)
  }

  /** Another cap, from now on. @throws the system's error: a part of a volume that doesn't answer; the old one holds */
  setCap(cap: Cap): void {
    this.#parts.room.setCap(cap)
    this.#cap = cap
    void this.#quarantine.trim()
  }

  /** For whoever makes room: so many bytes found none, and nothing that may be evicted is left. */
  refused(bytes: number): void {
    this.#health.refused(bytes)
  }

  /**
   * Opens a blob for one reader, who begins at `offset` and disposes of it; what it reads was compared. A row whose
   * file is missing or of another size is dropped; one without checksums, or from before a power cut, is hashed first.
   * @returns undefined where there is no such blob @throws {DiskError} where it can't be told, or not now (EMFILE); of
   * kind `wrong` where it was set aside, now or by a read
   */
  async openBlob(digest: Digest, offset = 0): Promise<OpenBlob | undefined> {
    return await this.#checked.open(digest, offset)
  }

  /**
   * All bytes of a blob of at most `bytesMax`; they have its digest.
   * @returns undefined where there is none, or a larger one, or one that was wrong @throws {DiskError}
   */
  async readWhole(digest: Digest, bytesMax: number): Promise<Buffer | undefined> {
    const found = this.find(digest)
    if (!found || found.sizeBytes > bytesMax) return undefined
    return await this.#checked.readWhole(digest)
  }

  /** Keeps whole, verified bytes. Never rejects. @returns false where there is no room, or the disk fails */
  put(digest: Digest, bytes: Buffer): Promise<boolean> {
    return this.#turns.run(digest, async () => {
      if (this.find(digest)) return true
      if (this.#reopening.isAway) return false
      if (this.shortBytes(bytes.length) > 0) return false
      const share = this.#parts.room.share()
      share.set(bytes.length, 0)
      const draft = `${this.#parts.folder.spool(digest)}.put`
      try {
        await removeFile(draft)
        await writeFlushed(draft, bytes)
        await this.#place(draft, digest, bytes.length, checksumsOf(bytes), () => share.set(0, 0))
        return true
      } catch (thrown) {
        this.#onError(diskErrorOf(thrown, 'keeping a blob'))
        await removeFile(draft)
        return false
      } finally {
        share.set(0, 0)
      }
    })
  }

  /**
   * Opens the spool of a digest: what an earlier fill kept, or a new one. `sizeBytes` are reserved at once; whoever
   * calls made room for them. One digest has one growing spool at a time. @throws {DiskError}
   */
  openSpool(digest: Digest, sizeBytes: number | undefined): Promise<Spool> {
    const away = new DiskError('failed', 'the folder is being opened anew')
    return this.#turns.run(digest, () => {
      return this.#reopening.isAway ? Promise.reject(away) : this.#parts.spools.open(digest, sizeBytes)
    })
  }

  /**
   * Makes a whole spool, whose bytes were verified, a blob; `sums` are the checksums of those bytes. Its readers go on
   * through the spool; until it is closed the blob counts as under a reader.
   * @throws {DiskError} after which the spool is abandoned
   */
  commit(spool: Spool, sums: Buffer): Promise<void> {
    return this.#turns.run(spool.digest, async () => {
      try {
        const sizeBytes = await spool.seal()
        await this.#place(spool.path, spool.digest, sizeBytes, sums, () => this.#parts.spools.becameBlob(spool))
      } catch (thrown) {
        const error = diskErrorOf(thrown, 'committing a spool')
        this.#onError(error)
        await spool.abandon()
        throw error
      }
    })
  }

  /** Quarantines a growing spool, whose bytes are not what they should be, and closes it. Never rejects. */
  setAside(spool: Spool, why: string): Promise<void> {
    return this.#turns.run(spool.digest, async () => {
      if (spool.state === 'growing') await this.#quarantine.setAside(spool.path, nameOf(spool.digest), why)
      await spool.discard()
    })
  }

  /** Notes a use; written behind, in slices. */
  touch(digest: Digest): void {
    if (!this.#reopening.isAway) this.#touches.touch(digest)
  }

  /**
   * What to evict first: spools that nobody fills, then blobs by last use. `after` goes on from an entry given before.
   */
  leastRecentlyUsed(count: number, after?: Cursor): readonly Entry[] {
    if (this.#reopening.isAway) return []
    try {
      const kept = after ? [] : this.#parts.spools.kept().slice(0, count)
      return [...kept, ...this.#parts.books.leastRecentlyUsed(count - kept.length, after)]
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'reading the books'))
      return [] // nothing that can be evicted: the pull goes on without keeping
    }
  }

  /** Removes a blob, or a spool that nobody fills. Never rejects. @returns bytes freed; 0 where it is under a reader */
  remove(digest: Digest): Promise<number> {
    return this.#turns.run(digest, async () => {
      if (this.#reopening.looksElsewhere()) return 0
      const freed = await this.#parts.spools.removeKept(digest)
      if (this.#open.has(digest) || this.#parts.spools.isRead(digest)) return freed
      const found = this.#find(digest)
      return freed + (found ? await removeBlob(this.#parts, digest, found, this.#onError) : 0)
    })
  }

  /** Keeps what is growing for the next start, and notes that this stop is a clean one. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#health.close()
    const { books, spools, blobFolders, folder } = this.#parts
    this.#touches.close()
    await this.#turns.idle()
    await spools.close()
    const isElsewhere = this.#reopening.looksElsewhere() // what lies there may be another's: nothing is noted in it
    try {
      if (this.#reopening.areBooksWhole && !isElsewhere) noteCleanStop(books)
      else books.abandon()
      if (!isElsewhere) await removeFile(folder.holder)
    } catch (thrown) {
      books.abandon()
      this.#log.error({ error: thrown }, 'the books could not be closed as whole: the next start sets them right')
    }
    await Promise.all([blobFolders.sha256.close(), blobFolders.sha512.close()])
  }

  get #parts(): DiskParts {
    return this.#reopening.parts
  }

  #find(digest: Digest) {
    if (this.#reopening.isAway) return undefined
    try {
      return this.#parts.books.find(digest)
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'reading the books'))
      return undefined // a miss, which a fill makes good
    }
  }

  /** Between the look into the books and the descriptor's place in the map nothing is awaited: see `remove`. */
  async #openFound(digest: Digest): Promise<RawBlob | undefined> {
    const found = this.#find(digest)
    if (!found) return undefined
    const blob = await this.#open.open(digest, this.#parts.folder.blob(digest), found.sizeBytes, this.#onError)
    if (!blob) await this.#dropLost(digest)
    return blob
  }

  /**
   * Gives a whole file its blob's name, in that order: on the medium, named, the name on the medium, in the books.
   * `handOver` gives back what was reserved for it, in the same moment that the blob counts.
   */
  async #place(
    path: string,
    digest: Digest,
    sizeBytes: number,
    sums: Buffer,
    handOver: () => void | Promise<void>,
  ): Promise<void> {
    const { books, room, folder, blobFolders } = this.#parts
    await rename(path, folder.blob(digest))
    try {
      await blobFolders[algorithmOf(digest)].flushWhole()
      const before = books.find(digest)
      books.enter(digest, sizeBytes, this.#clock.wallMs(), sums)
      room.take(sizeBytes - (before?.sizeBytes ?? 0))
    } catch (error) {
      await removeFile(folder.blob(digest)) // a row that is left without its file is a miss
      throw error
    }
    this.#open.part(digest)
    this.#health.worked()
    await handOver()
  }

  async #setBlobAside(digest: Digest, why: string): Promise<void> {
    const { folder } = this.#parts
    tryDrop(this.#parts, digest, this.#onError)
    this.#open.part(digest)
    try {
      if (await findRegular(folder.blob(digest)))
        await this.#quarantine.setAside(folder.blob(digest), nameOf(digest), why)
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'setting a blob aside'))
    }
  }

  /** The row told of a file that is not there, or not of that size; unless a commit has just made it true. */
  #dropLost(digest: Digest): Promise<void> {
    return this.#turns.run(digest, async () => {
      if (this.#reopening.looksElsewhere()) return
      const found = this.#find(digest)
      const stats = await findRegular(this.#parts.folder.blob(digest)).catch(() => undefined) // unreadable is lost too
      if (found && stats?.size === found.sizeBytes) return
      await this.#setBlobAside(digest, 'its size is not what the books say')
    })
  }

  /** Only the file of this inode: another fill may have brought the right bytes meanwhile. Never rejects. */
  #setWrongAside(digest: Digest, inode: number, why: string): Promise<void> {
    return this.#turns.run(digest, async () => {
      const stats = await findRegular(this.#parts.folder.blob(digest)).catch(() => undefined) // unreadable is lost too
      if (stats === undefined || stats.ino === inode) await this.#setBlobAside(digest, why)
      else this.#open.part(digest)
    })
  }
}

const nameOf = (digest: Digest): string => `${algorithmOf(digest)}-${hexOf(digest)}`
