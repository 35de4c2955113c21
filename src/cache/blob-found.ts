import { OciError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import { DiskError } from '../store/disk-error.ts'
import type { OpenBlob } from '../store/open-blob.ts'
import type { Bytes } from '../store/reader.ts'
import type { CacheFacts } from './facts.ts'
import type { Fill } from './fill.ts'
import type { Aim, FillReader } from './fill-reader.ts'
import { Sent } from './sent.ts'

export type Span = { readonly start: number; readonly end: number }

/** Where a client's bytes come from: a blob on the disk, or a seat at a fill. */
export interface Seat {
  readonly sizeBytes: number
  readonly facts: CacheFacts
  /** Whether the bytes that it gives unchecked are held as a blob by now. */
  readonly isKept: boolean
  /** The checksum of a block of what it brings, once that is known; left out where what it gives was compared. */
  readonly sumAt?: (index: number) => bigint | undefined
  /** The bytes of one aim, to be walked once from its start. */
  open(aim: Aim): Bytes
  /** Whether another seat may go on at `offset`, where this one failed. */
  mayGoOn(offset: number, error: unknown): boolean
  /** Never rejects. */
  close(): Promise<void>
}

/** One that is whole on the disk. What it gave was compared: it is the digest's, whatever comes next. */
export class DiskSeat implements Seat {
  readonly facts: CacheFacts
  readonly isKept = false
  readonly #blob: OpenBlob

  constructor(blob: OpenBlob, facts: CacheFacts) {
    this.#blob = blob
    this.facts = facts
  }

  get sizeBytes(): number {
    return this.#blob.sizeBytes
  }

  open(): Bytes {
    return this.#blob
  }

  mayGoOn(_offset: number, error: unknown): boolean {
    return isWrongFile(error)
  }

  async close(): Promise<void> {
    await this.#blob[Symbol.asyncDispose]()
  }
}

const isWrongFile = (error: unknown): boolean => error instanceof DiskError && error.kind === 'wrong'

/** Of a fill that proved wrong, or that kept nothing and has passed: another may bring the bytes. */
const GOES_OVER: ReadonlySet<string | undefined> = new Set(['digest', 'disk'])

/**
 * One that is filling. What it gave is not verified yet: no body is ever made of two fills. But a file can prove
 * wrong only when all was verified: what it gave until then was the digest's.
 */
export class FillSeat implements Seat {
  readonly sizeBytes: number
  readonly facts: CacheFacts
  readonly sumAt: (index: number) => bigint | undefined
  readonly #fill: Pick<Fill, 'isKept'>
  readonly #reader: FillReader
  #start = 0

  constructor(fill: Pick<Fill, 'isKept' | 'sumAt'>, reader: FillReader, sizeBytes: number, facts: CacheFacts) {
    this.#fill = fill
    this.sumAt = (index) => fill.sumAt(index)
    this.#reader = reader
    this.sizeBytes = sizeBytes
    this.facts = facts
  }

  get isKept(): boolean {
    return this.#fill.isKept
  }

  open(aim: Aim): Bytes {
    this.#start = aim.start
    this.#reader.aim(aim)
    return this.#reader
  }

  mayGoOn(offset: number, error: unknown): boolean {
    if (isWrongFile(error)) return true
    return offset === this.#start && error instanceof OciError && GOES_OVER.has(error.fault)
  }

  async close(): Promise<void> {
    this.#reader.close()
  }
}

/** Who is so far behind a fill that was kept reads on from the blob, whose bytes are compared. */
const BEHIND_BYTES = MIB
/** How often one reader takes another seat: a disk that keeps nothing right, or sources that all lie. */
const SEATS_MAX = 8

/** A blob for one client, who closes it. Where its seat fails it goes on from another, at the same byte. */
export class BlobFound implements Bytes {
  readonly sizeBytes: number
  readonly facts: CacheFacts
  readonly #again: (aim: Aim) => Promise<Seat>
  readonly #left = Promise.withResolvers<never>()
  #seat: Seat
  #bytes: Bytes | undefined
  #aim: Aim | undefined
  #sent: Sent | undefined
  #seats = 1
  #isClosed = false

  /** @param again takes the digest's next seat */
  constructor(seat: Seat, again: (aim: Aim) => Promise<Seat>) {
    this.#seat = seat
    this.sizeBytes = seat.sizeBytes
    this.facts = seat.facts
    this.#again = again
    this.#left.promise.catch(() => undefined) // for whoever waits, if anyone does
  }

  /** The bytes of one span, to be walked once from its start. */
  open(span: Span): Bytes {
    this.#aim = { ...span, isWhole: span.start === 0 && span.end === this.sizeBytes }
    this.#opened(this.#aim)
    return this
  }

  async read(into: Buffer, offset: number, end: number): Promise<number> {
    for (;;) {
      if (this.#seat.isKept && end - offset > BEHIND_BYTES && this.#seats < SEATS_MAX) await this.#leaveKept(offset)
      const length = await this.#tryRead(into, offset, end)
      if (length === undefined) continue
      this.#sent?.take(into.subarray(0, length))
      return length
    }
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#left.reject(new OciError('internal', 'the client has left'))
    await this.#seat.close()
  }

  /** @returns undefined where another seat was taken instead */
  async #tryRead(into: Buffer, offset: number, end: number): Promise<number | undefined> {
    try {
      return (await this.#bytes?.read(into, offset, end)) ?? 0
    } catch (error) {
      if (this.#isClosed || this.#seats === SEATS_MAX || !this.#seat.mayGoOn(offset, error)) throw error
      await this.#goOver(offset, error)
      return undefined
    }
  }

  async #goOver(offset: number, error: unknown): Promise<void> {
    await this.#seat.close()
    if (!(await this.#sit(offset))) throw error
  }

  /** Where no other seat is to be had it reads on as it did. */
  async #leaveKept(offset: number): Promise<void> {
    const kept = this.#seat
    try {
      if (await this.#sit(offset)) return await kept.close()
    } catch (error) {
      if (this.#isClosed) throw error
    }
    this.#seats = SEATS_MAX
  }

  /**
   * A body that began as the whole blob ends as one: its tail waits for the digest, wherever it goes on.
   * @returns false where there is no seat at this blob @throws {OciError}
   */
  async #sit(offset: number): Promise<boolean> {
    if (!this.#aim) return false
    const aim = { ...this.#aim, start: offset }
    const seat = await this.#take(aim)
    if (seat.sizeBytes !== this.sizeBytes || this.#isClosed) {
      await seat.close()
      return false
    }
    this.#seats += 1
    this.#seat = seat
    this.#opened(aim)
    return true
  }

  /** What was given from a seat before is compared on: those who go over gave what was right, or nothing yet. */
  #opened(aim: Aim): void {
    this.#bytes = this.#seat.open(aim)
    const { sumAt } = this.#seat
    if (sumAt && !this.#sent?.hasBegun) this.#sent = new Sent(sumAt, aim, this.sizeBytes)
  }

  /** A client that leaves waits no longer; what comes for it then is closed. */
  async #take(aim: Aim): Promise<Seat> {
    const taking = this.#again(aim)
    try {
      const seat = await Promise.race([taking, this.#left.promise])
      if (!this.#isClosed) return seat
    } catch (error) {
      if (!this.#isClosed) throw error
    }
    taking.then(
      (seat) => seat.close(),
      () => undefined, // nobody waits for it any more
    )
    return await this.#left.promise
  }
}
