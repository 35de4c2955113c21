/*
 * disk: the bounded folder of whole blobs and spools.
 *
 * Promises: what is in `blobs/` was whole when it got its name; never more than the cap (the quarantine, a twentieth of
 * it at most, comes on top), and space kept free on the volume; nothing under a reader is removed; a disk that fails
 * costs the one call, and is probed until it works.
 * Doesn't know what a manifest is, nor who asks. Read next: spool.ts (how a blob comes), books.ts (what is known of
 * it), recovery.ts (what a crash leaves).
 */
import { rename, unlink } from 'node:fs/promises'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import type { Cursor, Entry, Found } from './books.ts'
import { codeOf, type DiskError, diskErrorOf } from './disk-error.ts'
import { type DiskOptions, type DiskParts, noteCleanStop, openParts } from './disk-open.ts'
import { removeFile, writeFlushed } from './files.ts'
import { isRight } from './hashed.ts'
import { type OpenBlob, OpenBlobs } from './open-blob.ts'
import { findRegular } from './recovery.ts'
import type { Spool } from './spool.ts'
import { isTorn } from './sqlite-file.ts'
import { Touches } from './touches.ts'
import { Turns } from './turns.ts'

export type DiskCounts = {
  readonly blobs: number
  /** Of blobs alone. */
  readonly bytes: number
  readonly spools: number
  /** Set aside since the start. */
  readonly quarantined: number
}

export class Disk implements AsyncDisposable {
  readonly #parts: DiskParts
  readonly #clock: Clock
  readonly #log: Log
  readonly #open = new OpenBlobs()
  readonly #turns = new Turns<Digest>()
  readonly #touches: Touches
  readonly #hashing = new Map<Digest, Promise<boolean>>()
  /** Met while running: the next start makes the books anew. */
  #areBooksTorn = false
  readonly #onError = (error: DiskError) => {
    if (isTorn(error.cause)) this.#areBooksTorn = true
    this.#parts.health.failed(error)
  }

  /**
   * Takes the folder, alone, and sets right what the last run left there.
   * @throws {DiskError} whose message is for the operator: another process has the folder, or it can't be used
   */
  static async open(options: DiskOptions): Promise<Disk> {
    return new Disk(await openParts(options), options)
  }

  private constructor(parts: DiskParts, { log, outside }: DiskOptions) {
    this.#parts = parts
    this.#clock = outside.clock
    this.#log = log
    this.#touches = new Touches(parts.books, outside.clock, this.#onError)
  }

  get capBytes(): number {
    return this.#parts.room.capBytes
  }

  /** Blobs and spools; a spool counts what it has reserved. */
  get usedBytes(): number {
    return this.#parts.room.usedBytes
  }

  /** True from a failure of the disk until a write works again. */
  get isDegraded(): boolean {
    return this.#parts.health.isDegraded
  }

  counts(): DiskCounts {
    const { books, spools, quarantine } = this.#parts
    return { blobs: books.blobs, bytes: books.bytes, spools: spools.count, quarantined: quarantine.count }
  }

  /** What the books say: from memory, or a prepared statement. */
  find(digest: Digest): { readonly sizeBytes: number } | undefined {
    return this.#find(digest)
  }

  /** How many bytes must be removed before `bytes` more fit; 0: they fit. */
  shortBytes(bytes: number): number {
    return this.#parts.room.shortBytes(bytes)
  }

  /**
   * Opens a blob for one reader, who disposes of it. A row whose file is missing or of another size is dropped.
   * @returns undefined where there is no such blob @throws {DiskError} where it can't be told, or not now (EMFILE)
   */
  async openBlob(digest: Digest): Promise<OpenBlob | undefined> {
    if (this.#find(digest)?.trust === 'suspect' && !(await this.#proveSuspect(digest))) return undefined
    return await this.#openFound(digest)
  }

  /**
   * All bytes of a blob of at most `bytesMax`.
   * @returns undefined where there is none, or a larger one @throws {DiskError}
   */
  async readWhole(digest: Digest, bytesMax: number): Promise<Buffer | undefined> {
    const found = this.find(digest)
    if (!found || found.sizeBytes > bytesMax) return undefined
    await using blob = await this.openBlob(digest)
    if (!blob) return undefined
    const bytes = Buffer.allocUnsafeSlow(blob.sizeBytes)
    await blob.read(bytes, 0, blob.sizeBytes)
    return bytes
  }

  /** Keeps whole, verified bytes. Never rejects. @returns false where there is no room, or the disk fails */
  put(digest: Digest, bytes: Buffer): Promise<boolean> {
    return this.#turns.run(digest, async () => {
      if (this.find(digest)) return true
      if (this.shortBytes(bytes.length) > 0) return false
      const share = this.#parts.room.share()
      share.set(bytes.length, 0)
      const draft = `${this.#parts.folder.spool(digest)}.put`
      try {
        await removeFile(draft)
        await writeFlushed(draft, bytes)
        await this.#place(draft, digest, bytes.length, () => share.set(0, 0))
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
    return this.#turns.run(digest, () => this.#parts.spools.open(digest, sizeBytes))
  }

  /**
   * Makes a whole spool, whose bytes were verified, a blob. Its readers go on through the spool; until it is closed
   * the blob counts as under a reader. @throws {DiskError} after which the spool is abandoned
   */
  commit(spool: Spool): Promise<void> {
    return this.#turns.run(spool.digest, async () => {
      try {
        const sizeBytes = await spool.seal()
        await this.#place(spool.path, spool.digest, sizeBytes, () => this.#parts.spools.becameBlob(spool))
      } catch (thrown) {
        const error = diskErrorOf(thrown, 'committing a spool')
        this.#onError(error)
        await spool.abandon()
        throw error
      }
    })
  }

  /** Quarantines a blob, or a spool, which is closed: bytes that are not what they should be. Never rejects. */
  setAside(what: Spool | Digest, why: string): Promise<void> {
    const digest = typeof what === 'string' ? what : what.digest
    return this.#turns.run(digest, async () => {
      if (typeof what === 'string') return await this.#setBlobAside(digest, why)
      if (what.state === 'committed') await this.#setBlobAside(digest, why)
      if (what.state === 'growing') await this.#parts.quarantine.setAside(what.path, nameOf(digest), why)
      await what.discard()
    })
  }

  /** Notes a use; written behind, in slices. */
  touch(digest: Digest): void {
    this.#touches.touch(digest)
  }

  /**
   * What to evict first: spools that nobody fills, then blobs by last use. `after` goes on from an entry given before.
   */
  leastRecentlyUsed(count: number, after?: Cursor): readonly Entry[] {
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
      const freed = await this.#parts.spools.removeKept(digest)
      if (this.#open.has(digest) || this.#parts.spools.isRead(digest)) return freed
      return freed + (await this.#removeBlob(digest))
    })
  }

  /** Keeps what is growing for the next start, and notes that this stop is a clean one. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { books, spools, health, blobFolders, folder } = this.#parts
    this.#touches.close()
    await health.close()
    await this.#turns.idle()
    await spools.close()
    try {
      if (this.#areBooksTorn) books.abandon()
      else noteCleanStop(books)
      await removeFile(folder.holder)
    } catch (thrown) {
      books.abandon()
      this.#log.error({ error: thrown }, 'the books could not be closed as whole: the next start sets them right')
    }
    await Promise.all([blobFolders.sha256.close(), blobFolders.sha512.close()])
  }

  #find(digest: Digest) {
    try {
      return this.#parts.books.find(digest)
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'reading the books'))
      return undefined // a miss, which a fill makes good
    }
  }

  /** Between the look into the books and the descriptor's place in the map nothing is awaited: see `remove`. */
  async #openFound(digest: Digest): Promise<OpenBlob | undefined> {
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
  async #place(path: string, digest: Digest, sizeBytes: number, handOver: () => void | Promise<void>): Promise<void> {
    const { books, room, folder, blobFolders, health } = this.#parts
    await rename(path, folder.blob(digest))
    try {
      await blobFolders[algorithmOf(digest)].flushWhole()
      const before = books.find(digest)
      books.enter(digest, sizeBytes, this.#clock.wallMs())
      room.take(sizeBytes - (before?.sizeBytes ?? 0))
    } catch (error) {
      await removeFile(folder.blob(digest)) // a row that is left without its file is a miss
      throw error
    }
    this.#open.part(digest)
    health.worked()
    await handOver()
  }

  /** The row goes first, so that nobody finds the blob meanwhile; where it can't, the file makes the room for that. */
  async #removeBlob(digest: Digest): Promise<number> {
    const { folder } = this.#parts
    const found = this.#find(digest)
    if (!found) return 0
    const isDropped = this.#tryDrop(digest)
    try {
      await unlink(folder.blob(digest))
    } catch (thrown) {
      if (codeOf(thrown) === 'ENOENT') return 0
      this.#onError(diskErrorOf(thrown, 'removing a blob'))
      if (isDropped) this.#reenter(digest, found)
      return 0
    }
    if (!isDropped) this.#tryDrop(digest)
    return found.sizeBytes
  }

  /** A full disk has no room for the note that a row is gone. What has a row still counts. */
  #tryDrop(digest: Digest): boolean {
    const { books, room } = this.#parts
    try {
      room.take(-(books.drop(digest)?.sizeBytes ?? 0))
      return true
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'writing the books'))
      return false
    }
  }

  /** A file that can't be removed still takes its bytes. */
  #reenter(digest: Digest, { sizeBytes, usedMs, trust }: Found): void {
    const { books, room } = this.#parts
    try {
      books.enterFound([{ digest, sizeBytes, usedMs }], trust)
      room.take(sizeBytes)
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'writing the books')) // the next start finds it
    }
  }

  async #setBlobAside(digest: Digest, why: string): Promise<void> {
    const { folder, quarantine } = this.#parts
    this.#tryDrop(digest)
    this.#open.part(digest)
    try {
      if (await findRegular(folder.blob(digest))) await quarantine.setAside(folder.blob(digest), nameOf(digest), why)
    } catch (thrown) {
      this.#onError(diskErrorOf(thrown, 'setting a blob aside'))
    }
  }

  /** The row told of a file that is not there, or not of that size; unless a commit has just made it true. */
  #dropLost(digest: Digest): Promise<void> {
    return this.#turns.run(digest, async () => {
      const found = this.#find(digest)
      const stats = await findRegular(this.#parts.folder.blob(digest)).catch(() => undefined) // unreadable is lost too
      if (found && stats?.size === found.sizeBytes) return
      await this.#setBlobAside(digest, 'its size is not what the books say')
    })
  }

  /** One reading of a suspect for all who ask. @returns whether it may be served @throws {DiskError} */
  #proveSuspect(digest: Digest): Promise<boolean> {
    const underWay = this.#hashing.get(digest)
    if (underWay) return underWay
    const proof = this.#hashSuspect(digest).finally(() => this.#hashing.delete(digest))
    this.#hashing.set(digest, proof)
    return proof
  }

  async #hashSuspect(digest: Digest): Promise<boolean> {
    await using blob = await this.#openFound(digest)
    if (!blob) return false
    if (await isRight(digest, blob)) {
      this.#parts.books.trust(digest)
      return true
    }
    await this.setAside(digest, 'its bytes are not its digest after the machine went down')
    return false
  }
}

const nameOf = (digest: Digest): string => `${algorithmOf(digest)}-${hexOf(digest)}`
