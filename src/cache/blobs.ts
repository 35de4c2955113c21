import { LRUCache } from 'lru-cache'
import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { KIB, MIB } from '../base/units.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/names.ts'
import type { Disk } from '../store/disk.ts'
import { DiskError } from '../store/disk-error.ts'
import type { Index } from '../store/index.ts'
import type { UpstreamOf } from './asks.ts'
import { BlobFound, DiskSeat, FillSeat, type Seat } from './blob-found.ts'
import { BlobProof, blobDenied, blobUnknown } from './blob-proof.ts'
import { type CacheFacts, HIT } from './facts.ts'
import { errorOf, type Fill, type FillEnd, type FillTold, TAIL_BYTES } from './fill.ts'
import type { Aim } from './fill-reader.ts'
import type { Fills } from './fills.ts'
import type { Links } from './links.ts'
import { ABSENT_MS, DENIED_MS, keyOf, Negatives } from './negatives.ts'
import { type Source, sourcesOf } from './source.ts'
import type { Want } from './streams.ts'
import type { Verdicts } from './verdicts.ts'
import { copyOf, within } from './waiting.ts'

/** Ours begin within 20 s at the most (contracts.md §5). */
const ANSWER_MS_MAX = 19_000
/** Configs and the like are answered from memory. */
const SMALL_BYTES_MAX = 64 * KIB
const SMALL_BYTES_IN_ALL = 64 * MIB
/** A fill that told nothing for so long may be waiting in line. */
const PATIENCE_MS = 5_000
/** How often a request that met a fill's end looks again. */
const LOOKS_MAX = 8

export type BlobHeadFound = { readonly sizeBytes: number; readonly facts: CacheFacts }

export type BlobsParts = {
  readonly upstreamOf: UpstreamOf
  readonly index: Pick<Index, 'findDescriptor'>
  readonly disk: Pick<Disk, 'find' | 'openBlob' | 'readWhole' | 'touch'>
  readonly links: Links
  readonly verdicts: Pick<Verdicts, 'opens' | 'under'>
  readonly fills: Fills
  readonly outside: Outside
  readonly log: Log
}

/** Where a client will begin to read, as far as its request tells before the size is known. */
export type Beginning = { readonly start: number; readonly end: number; readonly isRange: boolean }

/** The way of a blob (design.md §3): link, then disk, then the fill that is under way or a new one. */
export class Blobs implements AsyncDisposable {
  readonly #parts: BlobsParts
  readonly #negatives: Negatives
  readonly #proof: BlobProof
  readonly #small = new LRUCache<Digest, Buffer>({
    maxSize: SMALL_BYTES_IN_ALL,
    sizeCalculation: (bytes) => bytes.length || 1,
  })
  readonly #closing = new AbortController()

  constructor(parts: BlobsParts) {
    const { upstreamOf, links, outside } = parts
    this.#parts = parts
    this.#negatives = new Negatives(outside.clock)
    this.#proof = new BlobProof({
      upstreamOf,
      links,
      negatives: this.#negatives,
      outside,
      closing: this.#closing.signal,
    })
  }

  /** What memory answers at once: a small blob that this repository may show. */
  find(repository: Repository, digest: Digest): Buffer | undefined {
    if (!this.#parts.verdicts.opens(repository)) return undefined
    const bytes = this.#small.get(digest)
    if (!bytes || !this.#parts.links.knows(repository, digest)) return undefined
    this.#parts.disk.touch(digest)
    return bytes
  }

  /**
   * Opens a blob for one client. What `signal` aborts is this client's waiting; a fill goes on.
   *
   * @throws {OciError} whatever the client is to be told
   */
  async open(repository: Repository, digest: Digest, from: Beginning, signal: AbortSignal): Promise<BlobFound> {
    const work = this.#parts.verdicts.under(repository, { of: 'blob', digest }, signal, () =>
      this.#open(repository, digest, from),
    )
    try {
      const end = await within(work, ANSWER_MS_MAX, this.#parts.outside.clock, signal)
      if (end) return new BlobFound(end.value, (aim) => this.#open(repository, digest, beginningOf(aim)))
    } catch (error) {
      if (signal.aborted) this.#closeLate(work)
      throw error
    }
    this.#closeLate(work)
    throw new OciError('upstreamSlow', 'the upstream takes too long to answer', { fault: 'slow' })
  }

  /**
   * As `open`, for a HEAD: what is not held is asked for by one HEAD upstream, and no fill begins. @throws {OciError}
   */
  async head(repository: Repository, digest: Digest, signal: AbortSignal): Promise<BlobHeadFound> {
    return await this.#parts.verdicts.under(repository, { of: 'blob', digest }, signal, () =>
      this.#head(repository, digest, signal),
    )
  }

  async #head(repository: Repository, digest: Digest, signal: AbortSignal): Promise<BlobHeadFound> {
    const { links, disk, fills, index } = this.#parts
    if (await links.mayShow(repository, digest)) {
      const sizeBytes = (await this.#findHeldSize(digest)) ?? fills.find(digest)?.sizeBytes
      if (sizeBytes !== undefined) return { sizeBytes, facts: HIT }
    }
    this.#negatives.check(keyOf(repository, digest))
    const proved = await this.#proof.ask(repository, digest, signal)
    const facts: CacheFacts = { hit: false, fwd: 'uri-miss', fwdStatus: 200 }
    const known = disk.find(digest)?.sizeBytes ?? fills.find(digest)?.sizeBytes ?? proved.sizeBytes
    const told = known ?? (await index.findDescriptor(repository, digest))?.sizeBytes
    if (told !== undefined) return { sizeBytes: told, facts }
    const found = await this.open(
      repository,
      digest,
      { start: 0, end: Number.POSITIVE_INFINITY, isRange: false },
      signal,
    )
    await found.close()
    return { sizeBytes: found.sizeBytes, facts }
  }

  /** A write went through: what it may have made untrue is known no longer. @throws what the index throws */
  async forget(repository: Repository, digest?: Digest): Promise<void> {
    this.#negatives.forgetRepository(repository)
    if (!digest) return
    this.#proof.forget(repository, digest)
    await this.#parts.links.forget(repository, digest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new OciError('upstreamResting', 'this cache is closing'))
  }

  async #open(repository: Repository, digest: Digest, from: Beginning): Promise<Seat> {
    this.#negatives.check(keyOf(repository, digest))
    let last: OciError | undefined
    let came: CacheFacts | undefined
    for (let look = 0; look < LOOKS_MAX; look++) {
      const isLinked = await this.#parts.links.mayShow(repository, digest)
      const held = await this.#openHeld(repository, digest, isLinked, from, came)
      if (held && held !== 'unreadable') return held
      const sizeBytes = (await this.#parts.index.findDescriptor(repository, digest))?.sizeBytes
      for (let other = this.#findOfOtherSize(digest, sizeBytes); other; ) {
        // that it runs is not for everyone to see
        if (!isLinked) await this.#proof.askForFill(repository, digest, this.#closing.signal)
        await other.ended // nothing is awaited after this: the next fill of the digest is ours
        other = this.#findOfOtherSize(digest, sizeBytes)
      }
      if (!held && this.#parts.disk.find(digest)) continue // it came while we looked
      const end = await this.#fetched(repository, digest, isLinked, sizeBytes, from)
      if ('taken' in end) return end.taken
      last = end.error
      came = end.came // a small one is answered from the disk when it is whole
    }
    throw last ?? new OciError('upstreamFailed', 'the blob could not be fetched')
  }

  /** Of what a GET would find: a row alone says nothing of its file. */
  async #findHeldSize(digest: Digest): Promise<number | undefined> {
    if (!this.#parts.disk.find(digest)) return undefined
    try {
      await using blob = await this.#parts.disk.openBlob(digest)
      return blob?.sizeBytes
    } catch (error) {
      return this.#unreadable(digest, error)
    }
  }

  async #openHeld(
    repository: Repository,
    digest: Digest,
    isLinked: boolean,
    from: Beginning,
    came: CacheFacts | undefined,
  ): Promise<Seat | 'unreadable' | undefined> {
    const { disk } = this.#parts
    if (!disk.find(digest)) return undefined
    // held and not linked: upstream is asked as if it were not held
    if (!isLinked) await this.#proof.askForFill(repository, digest, this.#closing.signal)
    try {
      const blob = await disk.openBlob(digest, from.start)
      if (!blob) return undefined
      disk.touch(digest)
      if (blob.sizeBytes <= SMALL_BYTES_MAX) void this.#remember(digest)
      return new DiskSeat(blob, came ?? (isLinked ? HIT : { hit: false, fwd: 'uri-miss', fwdStatus: 200 }))
    } catch (error) {
      this.#unreadable(digest, error)
      return 'unreadable' // upstream still has it
    }
  }

  #unreadable(digest: Digest, error: unknown): undefined {
    if (!(error instanceof DiskError)) throw error
    this.#parts.log.warn({ digest, error }, 'a held blob could not be opened')
  }

  /** A fill whose starter knows another size ends without us: one of the two was lied to. */
  #findOfOtherSize(digest: Digest, sizeBytes: number | undefined): Fill | undefined {
    const fill = this.#parts.fills.find(digest)
    if (!fill || sizeBytes === undefined || (fill.sizeBytes ?? sizeBytes) === sizeBytes) return undefined
    return fill
  }

  /**
   * Takes a seat at a fill. One that failed whoever began it is no news for who joined: he goes on to the next in that
   * very turn, since who floods us with such fills would begin that one too.
   *
   * @throws {OciError}
   */
  async #fetched(
    repository: Repository,
    digest: Digest,
    isLinked: boolean,
    sizeBytes: number | undefined,
    from: Beginning,
  ): Promise<{ readonly taken: Seat } | { readonly error: OciError | undefined; readonly came: CacheFacts }> {
    for (let turn = 1; ; turn++) {
      const seat = this.#join(repository, digest, sizeBytes, from)
      const end = await this.#seated(repository, digest, isLinked || turn > 1, seat) // who joined was proved
      if ('taken' in end) return end
      if (seat.isNew || !end.error || turn === LOOKS_MAX) return { ...end, came: seat.isNew ? STARTED : JOINED }
    }
  }

  #join(repository: Repository, digest: Digest, sizeBytes: number | undefined, from: Beginning) {
    return this.#parts.fills.joinOrStart(digest, () => ({
      repository,
      sources: this.#sourcesOf(repository, digest),
      sizeBytes,
      first: firstOf(from, sizeBytes),
    }))
  }

  #sourcesOf(repository: Repository, digest: Digest): readonly Source[] {
    return sourcesOf(this.#parts.upstreamOf(repository)?.endpoints ?? [], repository, digest)
  }

  /** Waits at a fill until it can be answered from, or is over. @throws {OciError} */
  async #seated(
    repository: Repository,
    digest: Digest,
    isLinked: boolean,
    { fill, isNew }: { readonly fill: Fill; readonly isNew: boolean },
  ): Promise<{ readonly taken: Seat } | { readonly error: OciError | undefined }> {
    const reader = fill.enter()
    let taken: Seat | undefined
    try {
      if (!isNew && !isLinked) await this.#proof.askForFill(repository, digest, this.#closing.signal)
      if (!isNew) this.#parts.fills.lend(fill, this.#sourcesOf(repository, digest))
      const told = await this.#told(repository, digest, fill)
      if (!isNew && told.at === 'ended' && told.end.at === 'failed')
        return this.#over(repository, digest, told.end, fill.repository)
      if (told.at === 'open' && isNew && !isLinked) await this.#linked(repository, digest, told.isPublic)
      const size = fill.sizeBytes
      // a blob within the tail is answered once verified, as is one whose size the end alone tells
      const end = told.at === 'ended' || size === undefined || size <= TAIL_BYTES ? await fill.ended : undefined
      if (end && (end.at !== 'passed' || fill.sizeBytes === undefined))
        return this.#over(repository, digest, end, fill.repository)
      // whole by what was left of another's fill, and not kept: no source was asked
      if (told.at === 'ended' && isNew && !isLinked) await this.#linked(repository, digest, undefined)
      taken = new FillSeat(fill, reader, fill.sizeBytes ?? 0, isNew ? STARTED : JOINED)
      return { taken }
    } finally {
      if (!taken) reader.close()
    }
  }

  /**
   * What the fill's first source tells. A fill may have to wait for its turn, or for one of its upstream's connections:
   * a HEAD, which waits for neither, tells as much then, so that the answer begins and its client stays.
   */
  async #told(repository: Repository, digest: Digest, fill: Fill): Promise<FillTold> {
    const told = await within(fill.told, PATIENCE_MS, this.#parts.outside.clock)
    if (told) return told.value
    const asked = fill.sizeBytes === undefined ? undefined : this.#proof.ask(repository, digest, this.#closing.signal)
    const proved = asked?.then(({ isPublic }): FillTold => ({ at: 'open', isPublic }))
    // what goes wrong with the HEAD is no news of the fill
    return await Promise.race([fill.told, ...(proved ? [proved.catch(() => fill.told)] : [])])
  }

  /** A fill ended before it could be answered from. What a starter is told is final, but for wrong bytes. */
  #over(
    repository: Repository,
    digest: Digest,
    end: FillEnd,
    of: Repository,
  ): { readonly error: OciError | undefined } {
    if (end.at === 'kept' || end.at === 'passed') return { error: undefined }
    const isAbsent = end.at === 'failed' && end.why.at === 'absent'
    const isDenied = end.at === 'failed' && end.why.at === 'denied'
    const error = isAbsent ? blobUnknown() : isDenied ? blobDenied() : copyOf(errorOf(end))
    const isOwn = keyOf(of, '') === keyOf(repository, '')
    if (!isOwn || end.at === 'mismatch' || end.at === 'stopped') return { error }
    if (isAbsent || isDenied) {
      this.#negatives.remember(keyOf(repository, digest), error, isAbsent ? ABSENT_MS : DENIED_MS)
    }
    throw error
  }

  /** A fill that needed no answer from upstream, being whole already, proves nothing. */
  async #linked(repository: Repository, digest: Digest, isPublic: boolean | undefined): Promise<void> {
    if (isPublic === undefined) await this.#proof.ask(repository, digest, this.#closing.signal)
    else await this.#parts.links.prove(repository, digest, isPublic)
  }

  async #remember(digest: Digest): Promise<void> {
    try {
      const bytes = this.#small.has(digest) ? undefined : await this.#parts.disk.readWhole(digest, SMALL_BYTES_MAX)
      if (bytes) this.#small.set(digest, bytes)
    } catch (error) {
      this.#parts.log.debug({ digest, error }, 'a small blob could not be read into memory')
    }
  }

  /** Nobody waits for it any more: what it opens is closed again. */
  #closeLate(work: Promise<Seat>): void {
    void work.then(
      (seat) => seat.close(),
      (error) => this.#parts.log.debug({ error }, 'a blob that nobody waited for could not be opened'),
    )
  }
}

const STARTED: CacheFacts = { hit: false, fwd: 'uri-miss', fwdStatus: 200, stored: true }
const JOINED: CacheFacts = { hit: false, fwd: 'uri-miss', fwdStatus: 200, collapsed: true }

/**
 * Where a fill begins for a reader who goes on. What will be taken for the whole blob is verified as a whole, also
 * where nothing can be kept: then the fill passes from the front.
 */
const beginningOf = ({ start, end, isWhole }: Aim): Beginning =>
  isWhole ? { start: 0, end: Number.POSITIVE_INFINITY, isRange: false } : { start, end, isRange: true }

/** Where the size is unknown a range can't be placed yet: the fill begins at the front. */
function firstOf({ start, end, isRange }: Beginning, sizeBytes: number | undefined): Want {
  const isPlaced = sizeBytes !== undefined && start < sizeBytes
  return isPlaced ? { offset: start, end, isRange } : { offset: 0, end: Number.POSITIVE_INFINITY, isRange }
}
