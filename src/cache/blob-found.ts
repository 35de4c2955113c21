import { OciError } from '../base/errors.ts'
import type { OpenBlob } from '../store/open-blob.ts'
import type { Bytes } from '../store/reader.ts'
import type { CacheFacts } from './facts.ts'
import type { FillReader } from './fill-reader.ts'

export type Span = { readonly start: number; readonly end: number }

/** A blob for one client, who closes it. */
export interface BlobFound {
  readonly sizeBytes: number
  readonly facts: CacheFacts
  /** The bytes of one span, to be walked once from its start. */
  open(span: Span): Bytes
  /** Never rejects. */
  close(): Promise<void>
}

/** One that is whole on the disk. */
export function foundOnDisk(blob: OpenBlob, facts: CacheFacts): BlobFound {
  return {
    sizeBytes: blob.sizeBytes,
    facts,
    open: () => blob,
    close: async () => {
      await blob[Symbol.asyncDispose]()
    },
  }
}

/** Of a fill that proved wrong, or that kept nothing and has passed: another may bring the bytes. */
const GOES_OVER: ReadonlySet<string | undefined> = new Set(['digest', 'disk'])

/** One that is filling. A reader that was sent nothing goes on with another fill; no body is ever made of two. */
export class FoundFilling implements BlobFound {
  readonly sizeBytes: number
  readonly facts: CacheFacts
  readonly #again: () => Promise<BlobFound>
  #reader: FillReader
  #other: { readonly found: BlobFound; readonly bytes: Bytes } | undefined
  #span: Span | undefined
  #isClosed = false

  constructor(reader: FillReader, sizeBytes: number, facts: CacheFacts, again: () => Promise<BlobFound>) {
    this.#reader = reader
    this.sizeBytes = sizeBytes
    this.facts = facts
    this.#again = again
  }

  open(span: Span): Bytes {
    this.#span = span
    this.#reader.aim({ ...span, isWhole: span.start === 0 && span.end === this.sizeBytes })
    return this
  }

  async read(into: Buffer, offset: number, end: number): Promise<number> {
    if (this.#other) return await this.#other.bytes.read(into, offset, end)
    try {
      return await this.#reader.read(into, offset, end)
    } catch (error) {
      const isUnsent = offset === this.#span?.start && error instanceof OciError && GOES_OVER.has(error.fault)
      if (!isUnsent || this.#isClosed) throw error
      return await (await this.#goOver(error)).read(into, offset, end)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#reader.close()
    await this.#other?.found.close()
  }

  async #goOver(error: OciError): Promise<Bytes> {
    const found = await this.#again()
    if (!this.#span || this.#isClosed || found.sizeBytes !== this.sizeBytes) {
      await found.close()
      throw error
    }
    this.#other = { found, bytes: found.open(this.#span) }
    return this.#other.bytes
  }
}
