import type { Outside } from '../base/clock.ts'
import { OciError, ociErrorOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { KIB } from '../base/units.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/names.ts'
import type { BlobOpen } from '../upstream/told.ts'
import { type Aim, FillReader, type Followed } from './fill-reader.ts'
import { type Keeper, Keeping } from './keeping.ts'
import type { Place } from './place.ts'
import { type Failing, idOf, type Source } from './source.ts'
import { type Filled, Streams, type Want } from './streams.ts'
import type { Windows } from './window.ts'

/** A whole body keeps back this much until the digest is right: a blob within it is answered once verified. */
export const TAIL_BYTES = 64 * KIB

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
  readonly windows: Windows
  readonly outside: Outside
  readonly log: Log
  /** The end of a fill of the same digest that is over and not yet done with its spool. */
  readonly after?: Promise<unknown> | undefined
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
  readonly #keeping: Keeping
  readonly #contributors = new Set<string>()
  readonly #aborter = new AbortController()
  readonly #tell: (told: FillTold) => void
  readonly #end: (end: FillEnd) => void
  #sizeBytes: number | undefined
  #isTold = false
  #state: { readonly at: 'filling' | 'verified' } | { readonly at: 'over'; readonly end: FillEnd } = { at: 'filling' }

  constructor(parts: FillParts) {
    this.#parts = parts
    this.digest = parts.digest
    this.repository = parts.repository
    this.#sizeBytes = parts.sizeBytes
    this.#streams = new Streams(this, parts.sources, parts.outside)
    this.#keeping = new Keeping({
      ...parts,
      followers: this.#readers,
      signal: this.#aborter.signal,
      onWindow: () => this.#streams.keepFrontOnly(),
    })
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

  /** Where nothing is kept the window has moved on, and an end is not for who comes after it: theirs is a new fill. */
  get takesNewcomers(): boolean {
    return !this.#keeping.isPassing && !this.isOver
  }

  get isOver(): boolean {
    return this.#state.at === 'over'
  }

  /** It is over, and what it brought is a blob. */
  get isKept(): boolean {
    return this.#state.at === 'over' && this.#state.end.at === 'kept'
  }

  get readers(): number {
    return this.#readers.size
  }

  /** The checksum of a block as it came; undefined where it has not been hashed yet. */
  sumAt(index: number): bigint | undefined {
    return this.#keeping.hash.sumAt(index)
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

  /** Who joined by a right of his own lends it to the fill, for when its starter's is over. */
  lend(sources: readonly Source[]): void {
    this.#streams.add(sources)
  }

  /** Stops fetching; what has come is kept for the next fill. */
  stop(): void {
    if (this.#state.at === 'filling') void this.#over({ at: 'stopped' })
  }

  // What readers ask.

  readableEnd(offset: number, { end, isWhole }: Aim): number {
    const state = this.#state
    if (state.at === 'over' && !isOfWhole(state.end)) throw errorOf(state.end)
    const heldEnd = this.held.endFrom(offset)
    const isPassedBy = state.at === 'over' ? heldEnd === offset : !this.#keeping.reaches(offset, end)
    if (isPassedBy && offset < end) throw passedBy()
    if (!isWhole || state.at !== 'filling') return heldEnd
    return Math.min(heldEnd, Math.max(offset, (this.#sizeBytes ?? heldEnd) - TAIL_BYTES))
  }

  async read(into: Buffer, offset: number, end: number): Promise<number> {
    const length = (await this.#keeping.place?.read(into, offset, end)) ?? 0
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
    this.#keeping.release()
  }

  /** Where all is held it waits for the digest alone: to plan then would wake it, to wait again, without end. */
  waits(): void {
    if (!this.#keeping.place || this.#state.at !== 'filling') return
    if (this.held.gaps(this.end).length > 0) this.#streams.plan()
  }

  left(reader: FillReader): void {
    this.#readers.delete(reader)
    this.#keeping.release()
    if (this.#readers.size > 0) return
    if (this.#keeping.isPassing) this.stop()
    this.#parts.onUnread(this)
    // what is no blob is closed by its end: kept for the next fill, or set aside and not to be kept
    if (this.#state.at === 'over' && isOfWhole(this.#state.end)) void this.#keeping.close()
  }

  // What streams ask and tell.

  get held(): Place['held'] {
    return this.#keeping.held
  }

  get end(): number {
    return this.#keeping.end
  }

  heard(told: BlobOpen, source: Source): void {
    if (this.#sizeBytes !== undefined && told.sizeBytes !== undefined && told.sizeBytes !== this.#sizeBytes) {
      throw new OciError('upstreamFailed', 'upstream tells another size than is known', { fault: 'size' })
    }
    if (told.sizeBytes !== undefined) this.#keeping.sizeIs(told.sizeBytes)
    this.#sizeBytes ??= told.sizeBytes
    this.#contributors.add(idOf(source))
    this.#isTold = true
    this.#tell({ at: 'open', isPublic: told.isPublic })
  }

  async write(offset: number, piece: Buffer): Promise<boolean> {
    const isTaken = await this.#keeping.write(offset, piece)
    this.#arrived()
    return isTaken
  }

  endsAt(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
    this.#keeping.endsAt(sizeBytes)
    this.#arrived()
  }

  idle(): void {
    this.#arrived()
  }

  failed(why: Failing): void {
    void this.#over({ at: 'failed', why })
  }

  async #start(): Promise<void> {
    await this.#parts.after
    if (this.isOver) return
    await this.#keeping.open()
    if (this.isOver) return
    this.#arrived()
    this.#streams.plan()
  }

  #arrived(): void {
    for (const reader of this.#readers) reader.wake()
    const { place, hash } = this.#keeping
    if (!place || this.#state.at !== 'filling') return
    void hash.catchUp(place).then(
      () => this.#check(),
      (thrown) => this.failed({ at: 'error', error: ociErrorOf(thrown) }),
    )
  }

  #check(): void {
    const size = this.#sizeBytes
    if (this.#state.at !== 'filling' || size === undefined || this.held.gaps(this.end).length > 0) return
    if (this.#keeping.hash.at >= size) void this.#complete()
    else if (this.#keeping.isPart) void this.#over({ at: 'passed' })
  }

  /** Right is only what has the size and the digest: what an earlier fill kept may be longer. */
  async #complete(): Promise<void> {
    const { hash } = this.#keeping
    if (hash.at !== this.#sizeBytes || !hash.matches()) return this.#over(this.#mismatch())
    this.#state = { at: 'verified' }
    this.#streams.stop()
    for (const reader of this.#readers) reader.wake()
    await this.#over({ at: (await this.#keeping.commit()) ? 'kept' : 'passed' })
  }

  /** Bytes that a former fill left may be the wrong ones: then no source is blamed. */
  #mismatch(): FillEnd {
    const error = new OciError('upstreamFailed', 'upstream sent other bytes than the digest names', { fault: 'digest' })
    return { at: 'mismatch', liars: this.#keeping.isResumed ? [] : [...this.#contributors], error }
  }

  async #over(end: FillEnd): Promise<void> {
    if (this.#state.at === 'over') return
    this.#state = { at: 'over', end }
    this.#aborter.abort()
    this.#streams.stop()
    this.#tell({ at: 'ended', end })
    for (const reader of this.#readers) reader.wake()
    await this.#keeping.idle()
    if (end.at === 'mismatch') await this.#keeping.setAside()
    else if (!isOfWhole(end) || this.#readers.size === 0) await this.#keeping.close()
    this.#end(end)
  }
}

const isOfWhole = (end: FillEnd): boolean => end.at === 'kept' || end.at === 'passed'

/** For a reader whose bytes will not come this way: if none was sent, another fill brings them. */
const passedBy = (): OciError =>
  new OciError('overloaded', 'nothing can be kept, and these bytes have passed', { fault: 'disk' })

/** Why a reader gets no more of a fill that ended so. */
export function errorOf(end: FillEnd): OciError {
  if (end.at === 'mismatch') return end.error
  if (end.at === 'failed' && end.why.at === 'error') return end.why.error
  if (end.at === 'failed' && end.why.at === 'denied') return new OciError('denied', 'upstream refuses this blob')
  if (end.at === 'failed') return new OciError('blobUnknown', 'upstream does not have this blob')
  return new OciError('upstreamFailed', 'the fetch of this blob was stopped')
}
