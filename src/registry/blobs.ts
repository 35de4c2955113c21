import { OciError } from '../base/errors.ts'
import type { BlobFound } from '../cache/blob-found.ts'
import type { Beginning, Blobs } from '../cache/blobs.ts'
import { type CacheFacts, HIT } from '../cache/facts.ts'
import type { Digest } from '../oci/digest.ts'
import { MEDIA_TYPE } from '../oci/media-types.ts'
import type { Repository } from '../oci/names.ts'
import { type Buffers, walk } from '../store/reader.ts'
import type { Head } from './answer.ts'
import type { Exchange } from './exchange.ts'
import { contentRangeOf, etagOf, rangeOf, type Selection, type Span, selectionOf, unsatisfiedRangeOf } from './range.ts'
import type { AskedBlob } from './routes.ts'

/** What this room asks of the cache about blobs. */
export type BlobSource = Pick<Blobs, 'find' | 'open' | 'head'>

type Sized = { readonly digest: Digest; readonly sizeBytes: number }

const NOT_CHANGING = 'max-age=31536000'

/** Answers blobs, whole or one range: from memory, from the disk, or while they are filling. */
export class BlobAnswers {
  readonly #blobs: BlobSource
  readonly #buffers: Buffers

  constructor(blobs: BlobSource, buffers: Buffers) {
    this.#blobs = blobs
    this.#buffers = buffers
  }

  /**
   * What memory holds is answered before this returns, without a promise. @throws {OciError} what the client is told
   */
  answer(exchange: Exchange, { digest, target: { repository } }: AskedBlob): Promise<void> | undefined {
    const bytes = this.#blobs.find(repository, digest)
    if (!bytes)
      return exchange.isHead ? this.#head(exchange, repository, digest) : this.#get(exchange, repository, digest)
    const sized = { digest, sizeBytes: bytes.length }
    const span = begun(exchange, selectionOf(exchange.request.headers, sized, exchange.isHead), sized, HIT)
    if (span) exchange.send(span.status, span.head, bytes.subarray(span.start, span.end), HIT)
    return undefined
  }

  async #head(exchange: Exchange, repository: Repository, digest: Digest): Promise<void> {
    const { sizeBytes, facts } = await this.#blobs.head(repository, digest, exchange.signal)
    const span = begun(
      exchange,
      selectionOf(exchange.request.headers, { digest, sizeBytes }, true),
      { digest, sizeBytes },
      facts,
    )
    if (span) exchange.send(span.status, span.head, undefined, facts)
  }

  async #get(exchange: Exchange, repository: Repository, digest: Digest): Promise<void> {
    const from = beginningOf(exchange.request.headers.range)
    const found = await this.#blobs.open(repository, digest, from, exchange.signal)
    // whoever waits for a byte of a client that has gone is woken
    const leave = () => void found.close()
    exchange.signal.addEventListener('abort', leave, { once: true })
    try {
      await this.#sendFound(exchange, digest, found)
    } finally {
      exchange.signal.removeEventListener('abort', leave)
      await found.close()
    }
  }

  async #sendFound(exchange: Exchange, digest: Digest, found: BlobFound): Promise<void> {
    const { sizeBytes, facts } = found
    const sized = { digest, sizeBytes }
    const span = begun(exchange, selectionOf(exchange.request.headers, sized, false), sized, facts)
    if (!span) return
    if (exchange.hasLeft) return exchange.cut(new OciError('internal', 'the client has left'))
    const bytes = found.open(span)
    exchange.start(span.status, span.head, facts)
    const taken = await walk(bytes, span, exchange, this.#buffers)
    if (taken === span.end - span.start) exchange.end()
    else exchange.cut(new OciError('internal', 'the bytes of a blob ended early', { fault: 'disk' }))
  }
}

/** What is to be sent; undefined where the answer has no bytes of the blob and has been given. */
function begun(
  exchange: Exchange,
  selection: Selection,
  sized: Sized,
  facts: CacheFacts,
): (Span & { readonly status: number; readonly head: Head }) | undefined {
  switch (selection.at) {
    case 'whole':
      return {
        start: 0,
        end: sized.sizeBytes,
        status: 200,
        head: [...headOf(sized.digest), ...lengthOf(sized.sizeBytes)],
      }
    case 'part': {
      const { start, end } = selection
      const range = ['Content-Range', contentRangeOf(selection, sized.sizeBytes)]
      return { start, end, status: 206, head: [...headOf(sized.digest), ...lengthOf(end - start), ...range] }
    }
    case 'unchanged':
      exchange.send(304, ['ETag', etagOf(sized.digest), 'Docker-Content-Digest', sized.digest], undefined, facts)
      return undefined
    case 'unsatisfiable':
      exchange.fail(new OciError('rangeNotSatisfiable', 'the blob has no such range'), [
        'Content-Range',
        unsatisfiedRangeOf(sized.sizeBytes),
      ])
      return undefined
    case 'several':
      throw new OciError('rangeUnsupported', 'one range at a time')
    default:
      return selection satisfies never
  }
}

const headOf = (digest: Digest): Head => [
  ...['Content-Type', MEDIA_TYPE.octets, 'Docker-Content-Digest', digest, 'ETag', etagOf(digest)],
  ...['Accept-Ranges', 'bytes', 'Cache-Control', NOT_CHANGING],
]

const lengthOf = (bytes: number): Head => ['Content-Length', String(bytes)]

/** Where a client will begin, as far as its Range tells before the size is known; a suffix tells nothing. */
function beginningOf(range: string | undefined): Beginning {
  const unknown = Number.MAX_SAFE_INTEGER
  const read = rangeOf(range, unknown)
  if (read.at !== 'part' || read.start > unknown / 2) return { start: 0, end: Number.POSITIVE_INFINITY, isRange: false }
  return { start: read.start, end: read.end === unknown ? Number.POSITIVE_INFINITY : read.end, isRange: true }
}
