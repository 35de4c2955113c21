import type { Outside } from '../base/clock.ts'
import { OciError, ociErrorOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { KIB, MIB } from '../base/units.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/names.ts'
import { DiskError } from '../store/disk-error.ts'
import type { Spool } from '../store/spool.ts'
import type { BlobOpen } from '../upstream/told.ts'
import { FillReader, type Followed } from './fill-reader.ts'
import { InOrderHash } from './in-order.ts'
import type { Place } from './place.ts'
import type { Source } from './source.ts'
import { type Filled, Streams, type Want } from './streams.ts'
import type { Failing } from './turns.ts'
import { Window } from './window.ts'

/** A whole body keeps back this much until the digest is right: a blob within it is answered once verified. */
export const TAIL_BYTES = 64 * KIB
/** Reserved at a time where the size is not known. */
const RESERVED_STEP_BYTES = 64 * MIB

/** How a fill ended. `passed`: right, and read by those who had joined, but not kept. `stopped`: its spool is kept. */
export type FillEnd =
  | { readonly at: 'kept' }
  | { readonly at: 'passed' }
  | { readonly at: 'stopped' }
  | { readonly at: 'mismatch'; readonly liars: readonly string[]; readonly error: OciError }
  | { readonly at: 'failed'; readonly why: Failing }

/** What the first answer of a source tells; `ended` where none came. `isPublic` is undefined where none was needed. */
export type FillTold =
  | { readonly at: 'open'; readonly isPublic: boolean | undefined }
  | { readonly at: 'ended'; readonly end: FillEnd }

/** What keeps bytes, as a fill sees it. */
export interface Keeper {
  /** Makes room for so many bytes more. */
  reserve(bytes: number): Promise<boolean>
  /** @throws {DiskError} */
  openSpool(digest: Digest, sizeBytes: number | undefined): Promise<Spool>
  /** @throws {DiskError} after which the spool can be read until it is closed, and nothing is kept */
  commit(spool: Spool): Promise<void>
  setAside(spool: Spool, why: string): Promise<void>
}

export type FillParts = {
  readonly digest: Digest
  /** Whose request began it: what it may not show, it must not tell others of. */
  readonly repository: Repository
  readonly sources: readonly Source[]
  /** As a manifest of the asking repository names it. */
  readonly sizeBytes: number | undefined
  /** Where the first reader begins, as far as is known. */
  readonly first: Want
  readonly keeper: Keeper
  readonly outside: Outside
  readonly log: Log
  /** Called when a reader leaves and none is left. */
  readonly onUnread: (fill: Fill) => void
}

/** The one fetch of one digest under way. It belongs to no request, and never rejects: how it ended is a value. */
export class Fill implements Filled, Followed {
  readonly digest: Digest
  readonly repository: Repository
  readonly told: Promise<FillTold>
  readonly ended: Promise<FillEnd>
  readonly #parts: FillParts
  readonly #readers = new Set<FillReader>()
  readonly #streams: Streams
  readonly #hash: InOrderHash
  readonly #contributors = new Set<string>()
  readonly #writing = new Set<Promise<void>>()
  readonly #aborter = new AbortController()
  readonly #tell: (told: FillTold) => void
  readonly #end: (end: FillEnd) => void
  #spool: Spool | undefined
  #window: Window | undefined
  #sizeBytes: number | undefined
  #isTold = false
  #isResumed = false
  #reservedEnd = 0
  /** A reservation or the opening of the window under way: no write begins meanwhile. */
  #settling: Promise<void> | undefined
  #state: { readonly at: 'filling' | 'verified' } | { readonly at: 'over'; readonly end: FillEnd } = { at: 'filling' }

  constructor(parts: FillParts) {
    this.#parts = parts
    this.digest = parts.digest
    this.repository = parts.repository
    this.#sizeBytes = parts.sizeBytes
    this.#streams = new Streams(this, parts.sources, parts.outside)
    this.#hash = new InOrderHash(parts.digest)
    const told = Promise.withResolvers<FillTold>()
    const ended = Promise.withResolvers<FillEnd>()
    this.told = told.promise
    this.ended = ended.promise
    this.#tell = told.resolve
    this.#end = ended.resolve
  }

  get sizeBytes(): number | undefined {
    return this.#sizeBytes
  }

  get isTold(): boolean {
    return this.#isTold
  }

  /** Where nothing is kept the window has moved on: whoever comes now needs a fill of their own. */
  get takesNewcomers(): boolean {
    return this.#window === undefined
  }

  get isOver(): boolean {
    return this.#state.at === 'over'
  }

  get readers(): number {
    return this.#readers.size
  }

  get monotonicMs(): number {
    return this.#parts.outside.clock.monotonicMs()
  }

  /** To be called once. */
  start(): void {
    void this.#start().catch((thrown) => this.failed({ at: 'error', error: ociErrorOf(thrown) }))
  }

  /** Takes a seat, which keeps the fill from being abandoned; to be closed by who took it. */
  enter(): FillReader {
    const reader = new FillReader(this)
    this.#readers.add(reader)
    return reader
  }

  /** Stops fetching; what has come is kept for the next fill. */
  stop(): void {
    if (this.#state.at === 'filling') void this.#over({ at: 'stopped' })
  }

  // What readers ask.

  readableEnd(offset: number, wholeBody: boolean): number {
    const state = this.#state
    if (state.at === 'over' && !isWhole(state.end)) throw errorOf(state.end)
    const heldEnd = this.#held.endFrom(offset)
    if (!wholeBody || state.at !== 'filling') return heldEnd
    return Math.min(heldEnd, Math.max(offset, (this.#sizeBytes ?? heldEnd) - TAIL_BYTES))
  }

  async read(into: Buffer, offset: number, end: number): Promise<number> {
    const length = (await this.#place?.read(into, offset, end)) ?? 0
    if (length > 0) return length
    throw new OciError('internal', 'bytes that are held could not be read', { fault: 'disk' })
  }

  wants(): readonly Want[] {
    const wants: Want[] = []
    for (const { wanted } of this.#readers) if (wanted) wants.push(wanted)
    if (!this.#isTold) wants.push(this.#parts.first)
    return wants
  }

  moved(): void {
    this.#window?.release()
  }

  waits(): void {
    if (this.#place && this.#state.at === 'filling') this.#streams.plan()
  }

  left(reader: FillReader): void {
    this.#readers.delete(reader)
    this.#window?.release()
    if (this.#readers.size > 0) return
    if (this.#window) this.stop()
    this.#parts.onUnread(this)
    if (this.#state.at === 'over') void this.#spool?.close()
  }

  // What streams ask and tell.

  get held(): Place['held'] {
    return this.#held
  }

  get end(): number {
    const size = this.#sizeBytes ?? Number.POSITIVE_INFINITY
    return this.#window && !this.#spool ? Math.min(size, this.#parts.first.end) : size
  }

  heard(told: BlobOpen, source: Source): void {
    if (this.#sizeBytes !== undefined && told.sizeBytes !== undefined && told.sizeBytes !== this.#sizeBytes) {
      throw new OciError('upstreamFailed', 'upstream tells another size than is known', { fault: 'size' })
    }
    this.#sizeBytes ??= told.sizeBytes
    this.#contributors.add(source.name)
    this.#isTold = true
    this.#tell({ at: 'open', isPublic: told.isPublic })
  }

  async write(offset: number, piece: Buffer): Promise<void> {
    const end = offset + piece.length
    // the look and the write are one turn: no write may begin while it is settled where to
    while (this.#settling || (!this.#window && end > this.#reservedEnd)) await this.#settle(() => this.#reserve(end))
    if (this.#state.at !== 'filling') return
    if (this.#window) return this.#pass(this.#window, offset, piece)
    if (!this.#spool) return
    const writing = this.#spool.write(offset, piece)
    this.#hash.take(offset, piece) // while the write is under way
    this.#writing.add(writing)
    try {
      await writing
      this.#arrived()
    } catch (thrown) {
      this.#writing.delete(writing)
      if (!(thrown instanceof DiskError)) throw thrown
      while (!this.#window) await this.#settle(() => this.#switch(thrown))
      await this.#pass(this.#window, offset, piece)
    } finally {
      this.#writing.delete(writing)
    }
  }

  endsAt(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
    this.#spool?.grow(sizeBytes)
    this.#arrived()
  }

  idle(): void {
    this.#arrived()
  }

  failed(why: Failing): void {
    void this.#over({ at: 'failed', why })
  }

  async #start(): Promise<void> {
    if (this.isOver) return
    const { keeper, digest, sizeBytes, first } = this.#parts
    try {
      if (sizeBytes !== undefined && !(await keeper.reserve(sizeBytes)))
        throw new DiskError('full', 'no room in the cap')
      this.#spool = await keeper.openSpool(digest, sizeBytes)
      this.#reservedEnd = sizeBytes ?? 0
      this.#isResumed = this.#spool.held.endFrom(0) > 0 || this.#spool.held.findNext(0) !== undefined
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown
      this.#openWindow(first.offset, thrown)
    }
    if (this.isOver) return void this.#spool?.keep()
    this.#arrived()
    this.#streams.plan()
  }

  /** Joins the settling under way, or begins it. */
  #settle(begin: () => Promise<void>): Promise<void> {
    this.#settling ??= begin().finally(() => {
      this.#settling = undefined
    })
    return this.#settling
  }

  async #reserve(end: number): Promise<void> {
    const target = this.#sizeBytes ?? end + RESERVED_STEP_BYTES
    const fits = await this.#parts.keeper.reserve(target - this.#reservedEnd)
    if (!fits) return this.#switch(new DiskError('full', 'no room in the cap'))
    this.#reservedEnd = target
    if (this.#sizeBytes !== undefined) this.#spool?.grow(this.#sizeBytes)
  }

  /** No write is under way when the window opens, so that it begins where the spool ends. */
  async #switch(why: DiskError): Promise<void> {
    await Promise.allSettled(this.#writing)
    const spool = this.#spool
    if (spool) await this.#hash.catchUp(spool)
    await spool?.abandon() // before the window turns newcomers away: their fill has a spool of the same name
    this.#openWindow(this.#held.gaps(this.end)[0]?.start ?? this.end, why)
  }

  #openWindow(start: number, why: DiskError): void {
    const { digest, log, outside } = this.#parts
    log.warn({ digest, error: why }, 'the disk takes no more: this fill goes on without keeping')
    this.#window = new Window({
      start,
      before: this.#spool,
      followers: this.#readers,
      outside,
      signal: this.#aborter.signal,
    })
    this.#streams.keepFrontOnly()
  }

  /** Pieces of streams that are not at the front are dropped: theirs were aborted. */
  async #pass(window: Window, offset: number, piece: Buffer): Promise<void> {
    if (offset !== window.held.gaps(Number.POSITIVE_INFINITY)[0]?.start) return
    this.#hash.take(offset, piece)
    await window.write(offset, piece)
    this.#arrived()
  }

  #arrived(): void {
    for (const reader of this.#readers) reader.wake()
    const place = this.#place
    if (!place || this.#state.at !== 'filling') return
    void this.#hash.catchUp(place).then(
      () => this.#check(),
      (thrown) => this.failed({ at: 'error', error: ociErrorOf(thrown) }),
    )
  }

  #check(): void {
    const size = this.#sizeBytes
    if (this.#state.at !== 'filling' || size === undefined || this.#held.gaps(this.end).length > 0) return
    if (this.#hash.at === size) void this.#complete()
    else if (this.#window && this.#spool === undefined) void this.#over({ at: 'passed' }) // a range: nothing to verify
  }

  async #complete(): Promise<void> {
    const { digest, keeper, log } = this.#parts
    if (!this.#hash.matches()) return this.#over(this.#mismatch())
    this.#state = { at: 'verified' }
    this.#streams.stop()
    for (const reader of this.#readers) reader.wake()
    if (this.#window || !this.#spool) return this.#over({ at: 'passed' })
    try {
      await keeper.commit(this.#spool)
      await this.#over({ at: 'kept' })
    } catch (error) {
      log.warn({ digest, error }, 'a verified blob could not be kept')
      await this.#over({ at: 'passed' })
    }
  }

  /** Bytes that a former fill left may be the wrong ones: then no source is blamed. */
  #mismatch(): FillEnd {
    const error = new OciError('upstreamFailed', 'upstream sent other bytes than the digest names', { fault: 'digest' })
    return { at: 'mismatch', liars: this.#isResumed ? [] : [...this.#contributors], error }
  }

  async #over(end: FillEnd): Promise<void> {
    if (this.#state.at === 'over') return
    this.#state = { at: 'over', end }
    this.#aborter.abort()
    this.#streams.stop()
    this.#tell({ at: 'ended', end })
    for (const reader of this.#readers) reader.wake()
    await Promise.allSettled(this.#writing)
    if (end.at === 'mismatch' && this.#spool) await this.#parts.keeper.setAside(this.#spool, 'wrong digest')
    else if (!isWhole(end) || this.#readers.size === 0) await this.#spool?.close()
    this.#end(end)
  }

  get #place(): Place | undefined {
    return this.#window ?? this.#spool
  }

  get #held(): Place['held'] {
    return this.#place?.held ?? NOTHING_HELD
  }
}

const NOTHING_HELD: Place['held'] = {
  endFrom: (offset) => offset,
  findNext: () => undefined,
  gaps: (end) => (end > 0 ? [{ start: 0, end }] : []),
}

const isWhole = (end: FillEnd): boolean => end.at === 'kept' || end.at === 'passed'

/** Why a reader gets no more of a fill that ended so. */
export function errorOf(end: FillEnd): OciError {
  if (end.at === 'mismatch') return end.error
  if (end.at === 'failed' && end.why.at === 'error') return end.why.error
  if (end.at === 'failed' && end.why.at === 'denied') return new OciError('denied', 'upstream refuses this blob')
  if (end.at === 'failed') return new OciError('blobUnknown', 'upstream does not have this blob')
  return new OciError('upstreamFailed', 'the fetch of this blob was stopped')
}
