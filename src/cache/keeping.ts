import type { Outside } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { MIB } from '../base/units.ts'
import type { Digest } from '../oci/digest.ts'
import { DiskError } from '../store/disk-error.ts'
import type { Spool } from '../store/spool.ts'
import { InOrderHash } from './in-order.ts'
import type { Place } from './place.ts'
import type { Want } from './streams.ts'
import { type Follower, Window, type Windows } from './window.ts'

/** Reserved at a time where the size is not known. */
const RESERVED_STEP_BYTES = 64 * MIB

/** What keeps bytes, as a fill sees it. */
export interface Keeper {
  /** Makes room for so many bytes more; `take` takes it in the moment that it is there. */
  reserve(bytes: number, take: () => void): Promise<boolean>
  /** @throws {DiskError} */
  openSpool(digest: Digest, sizeBytes: number | undefined): Promise<Spool>
  /**
   * @param sums the checksums of the bytes that were verified
   * @throws {DiskError} after which the spool can be read until it is closed, and nothing is kept
   */
  commit(spool: Spool, sums: Buffer): Promise<void>
  setAside(spool: Spool, why: string): Promise<void>
}

type Parts = {
  readonly digest: Digest
  readonly sizeBytes: number | undefined
  readonly first: Want
  readonly keeper: Keeper
  readonly outside: Outside
  readonly log: Log
  readonly followers: ReadonlySet<Follower>
  readonly windows: Windows
  /** Aborted when the fill is over. */
  readonly signal: AbortSignal
  /** From now on nothing is kept: one stream, at the front. */
  readonly onWindow: () => void
}

type Writing = { readonly start: number; readonly end: number; readonly done: Promise<void> }

/** Where the bytes of one fill go: its spool, and once the disk takes no more a window; with the hash of both. */
export class Keeping {
  readonly hash: InOrderHash
  readonly #parts: Parts
  readonly #writing = new Set<Writing>()
  #spool: Spool | undefined
  #window: Window | undefined
  #sizeBytes: number | undefined
  #isResumed = false
  #reservedEnd = 0
  /** Why a write failed: the hash may have taken what the spool has not, which takes nothing from then on. */
  #lost: DiskError | undefined
  /** The opening, a reservation, or the switch to the window: no write begins meanwhile. */
  #settling: Promise<void> | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    this.#sizeBytes = parts.sizeBytes
    this.hash = new InOrderHash(parts.digest)
  }

  /** Where bytes are; undefined before it was opened. */
  get place(): Place | undefined {
    return this.#window ?? this.#spool
  }

  get held(): Place['held'] {
    return this.place?.held ?? NOTHING_HELD
  }

  /** Some of it was here before: nobody knows from which source. */
  get isResumed(): boolean {
    return this.#isResumed
  }

  /** Nothing is kept, and the window moves on. */
  get isPassing(): boolean {
    return this.#window !== undefined
  }

  /** Only what one reader wants passes through the window: not the blob, so there is nothing to verify. */
  get isPart(): boolean {
    return this.#window !== undefined && !this.#spool && (this.#parts.first.offset > 0 || this.end !== this.#sizeBytes)
  }

  /** Where the fill ends: the blob's end, or its reader's where only what he wants passes. */
  get end(): number {
    const size = this.#sizeBytes ?? Number.POSITIVE_INFINITY
    return this.#window && !this.#spool ? Math.min(size, this.#parts.first.end) : size
  }

  /** Whether a reader at `offset` gets all up to `end` here; a window that moved on, or ends before, is of no use. */
  reaches(offset: number, end: number): boolean {
    if (!this.#window) return true
    if (end > this.end) return false
    const { held } = this.#window
    return held.endFrom(offset) > offset || offset >= (held.gaps(Number.POSITIVE_INFINITY)[0]?.start ?? 0)
  }

  /** Goes on with what was kept, or begins; a disk that refuses means the window. To be called once. */
  open(): Promise<void> {
    return this.#settle(() => this.#open())
  }

  /** The blob's size has become known. Room is made for it at the first write: who names a size may lie. */
  sizeIs(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
  }

  /** The body ended: so much was all of it. */
  endsAt(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
    this.#spool?.grow(sizeBytes)
  }

  /** Keeps a piece. @returns false where some of it came from elsewhere meanwhile: the caller looks again */
  async write(offset: number, piece: Buffer): Promise<boolean> {
    const end = offset + piece.length
    // the look and the write are one turn: no write may begin while it is settled where to
    while (this.#settling || (!this.#window && (this.#lost || end > this.#reservedEnd))) {
      await this.#settle(() => (this.#lost ? this.#switch(this.#lost) : this.#reserve(end)))
    }
    if (this.#parts.signal.aborted) return true
    if (this.#window) await this.#pass(this.#window, offset, piece)
    else if (this.#spool) return await this.#put(this.#spool, offset, piece)
    return true
  }

  /** A reader moved or left. */
  release(): void {
    this.#window?.release()
  }

  /** Of the whole and right blob. @returns false where it could not be kept; it can still be read */
  async commit(): Promise<boolean> {
    if (this.#window || !this.#spool) return false
    try {
      await this.#parts.keeper.commit(this.#spool, this.hash.sums())
      return true
    } catch (error) {
      this.#parts.log.warn({ digest: this.#parts.digest, error }, 'a verified blob could not be kept')
      return false
    }
  }

  /** Resolves once no write, no opening and no switch is under way. Never rejects. */
  async idle(): Promise<void> {
    await Promise.allSettled([this.#settling, ...[...this.#writing].map(({ done }) => done)])
  }

  /** Nobody reads here any more: what is not a blob is kept for the next fill. Never rejects. */
  async close(): Promise<void> {
    await this.#spool?.close()
  }

  /** What came is wrong. */
  async setAside(): Promise<void> {
    if (this.#spool) await this.#parts.keeper.setAside(this.#spool, 'wrong digest')
  }

  /** Joins the settling under way, or begins it. */
  #settle(begin: () => Promise<void>): Promise<void> {
    this.#settling ??= begin().finally(() => {
      this.#settling = undefined
    })
    return this.#settling
  }

  async #open(): Promise<void> {
    const { keeper, digest, first } = this.#parts
    try {
      let spool = await keeper.openSpool(digest, undefined)
      if (this.#contradicts(spool)) {
        await spool.discard()
        spool = await keeper.openSpool(digest, undefined)
      }
      this.#spool = spool
      this.#isResumed = spool.held.bytes > 0
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
      this.#openWindow(first.offset, thrown)
    }
  }

  /** What was kept is of a blob of another size. */
  #contradicts({ sizeBytes, held }: Spool): boolean {
    const known = this.#sizeBytes
    if (known === undefined) return false
    return (sizeBytes ?? known) !== known || (held.ranges.at(-1)?.end ?? 0) > known
  }

  async #reserve(end: number): Promise<void> {
    const target = this.#sizeBytes ?? end + RESERVED_STEP_BYTES
    const take = () => (this.#sizeBytes === undefined ? this.#spool?.reserve(target) : this.#spool?.grow(target))
    const fits = await this.#parts.keeper.reserve(Math.max(0, target - (this.#spool?.takenBytes ?? 0)), take)
    if (!fits) return this.#switch(new DiskError('full', 'no room in the cap'))
    this.#reservedEnd = target
  }

  async #put(spool: Spool, offset: number, piece: Buffer): Promise<boolean> {
    const end = offset + piece.length
    const before = [...this.#writing].find((each) => each.start < end && each.end > offset)
    if (before || (spool.held.findNext(offset) ?? end) < end) {
      await before?.done.catch(() => undefined) // whoever writes it is told; here it matters that it is over
      return false
    }
    const writing = { start: offset, end, done: spool.write(offset, piece) }
    this.hash.take(offset, piece) // while the write is under way
    this.#writing.add(writing)
    try {
      await writing.done
      return true
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
      this.#lost ??= thrown
    } finally {
      this.#writing.delete(writing)
    }
    return await this.write(offset, piece) // through the window
  }

  /** No write is under way when the window opens, so that it begins where the spool ends. */
  async #switch(why: DiskError): Promise<void> {
    await Promise.allSettled([...this.#writing].map(({ done }) => done))
    const spool = this.#spool
    if (!spool) return this.#openWindow(this.#parts.first.offset, why)
    await this.hash.catchUp(spool)
    await spool.abandon() // before the window turns newcomers away: their fill has a spool of the same name
    if (spool.held.bytes > 0) return this.#openWindow(this.held.gaps(this.end)[0]?.start ?? this.end, why)
    await spool.close()
    this.#spool = undefined
    this.#openWindow(this.#parts.first.offset, why)
  }

  #openWindow(start: number, why: DiskError): void {
    const { digest, log, onWindow } = this.#parts
    log.warn({ digest, error: why }, 'the disk takes no more: this fill goes on without keeping')
    this.#window = new Window({ ...this.#parts, start, before: this.#spool })
    onWindow()
  }

  /** Pieces of streams that are not at the front are dropped: theirs were aborted. */
  async #pass(window: Window, offset: number, piece: Buffer): Promise<void> {
    if (offset !== window.end) return
    this.hash.take(offset, piece)
    await window.write(offset, piece)
  }
}

const NOTHING_HELD: Place['held'] = {
  endFrom: (offset) => offset,
  findNext: () => undefined,
  gaps: (end) => (end > 0 ? [{ start: 0, end }] : []),
}
