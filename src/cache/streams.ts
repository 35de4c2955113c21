import type { Outside } from '../base/clock.ts'
import { MIB } from '../base/units.ts'
import type { BlobOpen } from '../upstream/told.ts'
import type { Place } from './place.ts'
import type { Failing, Source } from './source.ts'
import { Sources } from './sources.ts'
import { type Gap, type StreamEnd, stream } from './stream.ts'

/** A reader whom a stream reaches within so many bytes waits for it. */
const NEAR_BYTES = 8 * MIB
const STREAMS_MAX = 8

/** What a reader waits for. `isRange` says that it may leave before `end`, as a reader of an open range does. */
export type Want = { readonly offset: number; readonly end: number; readonly isRange: boolean }

/** What the streams need of their fill. */
export interface Filled {
  /** Whether any source has told of the blob yet. */
  readonly isTold: boolean
  readonly sizeBytes: number | undefined
  readonly held: Place['held']
  /** Where the fill ends: the blob's end, or its reader's where nothing is kept. */
  readonly end: number
  wants(): Iterable<Want>
  /** @throws {OciError} upstreamFailed: another size than the blob has */
  heard(told: BlobOpen, source: Source): void
  /** @returns false where some of it came from elsewhere meanwhile */
  write(offset: number, piece: Buffer): Promise<boolean>
  endsAt(sizeBytes: number): void
  /** A stream ended and no other is left. */
  idle(): void
  failed(why: Failing): void
}

/**
 * The streams of one fill, which close the gaps of its place: one where the first reader is, one for each reader whom
 * none will reach soon, then one for each gap that is left, from the front. No two ever write the same byte.
 */
export class Streams {
  readonly #fill: Filled
  readonly #sources: Sources
  readonly #outside: Outside
  readonly #running = new Set<Running>()
  /** One stream, from the front, and far readers wait. */
  #frontOnly = false
  /** A source ignored a range, or gave a wrong one: it is asked for all. */
  #isRangeless = false
  #stopped = false

  constructor(fill: Filled, sources: readonly Source[], outside: Outside) {
    this.#fill = fill
    this.#sources = new Sources(sources)
    this.#outside = outside
  }

  get count(): number {
    return this.#running.size
  }

  /** Opens the streams that the readers' wants call for; where there is none to run, one for the first gap. */
  plan(): void {
    if (this.#stopped) return
    if (!this.#frontOnly) for (const want of this.#fill.wants()) if (!this.#isOnItsWay(want.offset)) this.#open(want)
    if (this.#running.size > 0) return
    const [gap] = this.#fill.held.gaps(this.#fill.end)
    if (gap) this.#open({ offset: gap.start, end: this.#frontOnly ? this.#fill.end : gap.end, isRange: false })
    else this.#fill.idle()
  }

  /** More places to get the bytes from, once those that it began with are given up. */
  add(sources: readonly Source[]): void {
    this.#sources.add(sources)
  }

  /** From now on one stream, at the first gap: those elsewhere stop. */
  keepFrontOnly(): void {
    this.#frontOnly = true
    const front = this.#fill.held.gaps(this.#fill.end)[0]?.start
    for (const running of this.#running) {
      if (this.#fill.held.endFrom(running.offset) === front) running.end = this.#fill.end
      else running.aborter.abort()
    }
  }

  stop(): void {
    this.#stopped = true
    for (const running of this.#running) running.aborter.abort()
  }

  #isOnItsWay(offset: number): boolean {
    if (this.#running.size >= STREAMS_MAX || this.#fill.held.endFrom(offset) > offset) return true
    for (const running of this.#running) {
      if (running.offset <= offset && offset < running.end && offset - running.offset <= NEAR_BYTES) return true
    }
    return false
  }

  /** Up to the next byte that is held or on its way; a stream that was on its way here stops here. */
  #open({ offset, end, isRange }: Want): void {
    let until = Math.min(end, this.#fill.end)
    if (!this.#frontOnly) until = Math.min(until, this.#fill.held.findNext(offset) ?? until)
    for (const running of this.#running) {
      if (running.offset > offset) until = Math.min(until, running.offset)
      else if (running.end > offset) running.end = offset
    }
    const isOpenEnded = isRange && until === this.#fill.end
    const gap = { offset, end: until, isOpenEnded, isWhole: this.#isRangeless }
    const running = new Running(this.#fill, this.#running, gap, () => {
      this.#doWithoutRanges()
      return running.aborter.signal.aborted ? 'give way' : 'go on'
    })
    this.#running.add(running)
    void stream(running, this.#sources, this.#outside, running.aborter.signal).then((end) => this.#ended(running, end))
  }

  #ended(running: Running, end: StreamEnd): void {
    this.#running.delete(running)
    if (this.#stopped) return
    if (end.at === 'failed' && !this.#mayGoOnWithoutRanges(end.why)) {
      this.#fill.failed(end.why)
    } else {
      if (end.at === 'failed') this.#doWithoutRanges()
      this.plan()
    }
  }

  #doWithoutRanges(): void {
    this.#isRangeless = true
    this.keepFrontOnly()
  }

  /** A source whose ranges are wrong may still send all from the front. */
  #mayGoOnWithoutRanges(why: Failing): boolean {
    return why.at === 'error' && why.error.fault === 'range' && !this.#isRangeless
  }
}

/** One stream's gap. */
class Running implements Gap {
  readonly aborter = new AbortController()
  readonly isOpenEnded: boolean
  readonly isWhole: boolean
  end: number
  readonly #fill: Filled
  readonly #all: ReadonlySet<Running>
  readonly #sentAll: () => 'go on' | 'give way'
  #offset: number

  /** @param sentAll called where a source sends all of the blob instead of the range */
  constructor(
    fill: Filled,
    all: ReadonlySet<Running>,
    gap: Pick<Gap, 'offset' | 'end' | 'isOpenEnded' | 'isWhole'>,
    sentAll: () => 'go on' | 'give way',
  ) {
    this.#fill = fill
    this.#all = all
    this.#offset = gap.offset
    this.end = gap.end
    this.isOpenEnded = gap.isOpenEnded
    this.isWhole = gap.isWhole
    this.#sentAll = sentAll
  }

  get offset(): number {
    return this.#offset
  }

  get isAlone(): boolean {
    return this.#all.size === 1
  }

  get isTold(): boolean {
    return this.#fill.isTold
  }

  get sizeBytes(): number | undefined {
    return this.#fill.sizeBytes
  }

  heard(told: BlobOpen, source: Source): 'go on' | 'give way' {
    this.#fill.heard(told, source)
    if (this.end === Number.POSITIVE_INFINITY) this.end = this.#fill.end
    return told.start < this.#offset ? this.#sentAll() : 'go on'
  }

  /** Held bytes are passed over and never written again: the hash may have been taken of them. */
  async append(piece: Buffer): Promise<void> {
    let rest = piece
    while (rest.length > 0 && this.#offset < this.end && !this.aborter.signal.aborted) {
      const { held } = this.#fill
      const heldEnd = held.endFrom(this.#offset)
      const isHeld = heldEnd > this.#offset
      const until = Math.min(this.end, isHeld ? heldEnd : (held.findNext(this.#offset) ?? this.end))
      const part = rest.subarray(0, Math.min(rest.length, until - this.#offset))
      if (!isHeld && !(await this.#fill.write(this.#offset, part))) continue
      this.#offset += part.length
      rest = rest.subarray(part.length)
    }
  }

  endsHere(): void {
    this.#fill.endsAt(this.#offset)
    this.end = this.#offset
  }
}
