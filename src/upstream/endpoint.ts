import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import type { Digest } from '../oci/digest.ts'
import { MANIFEST_BYTES_MAX } from '../oci/manifest.ts'
import { MANIFEST_ACCEPT, MEDIA_TYPE } from '../oci/media-types.ts'
import type { Reference, RepositoryPath } from '../oci/names.ts'
import type { Asker, Reply } from './asker.ts'
import { within } from './deadline.ts'
import { wholeOf } from './encoding.ts'
import { unusable } from './failure.ts'
import { digestClaimedBy, isEncoded, lengthOf, linesOf, oneOf, sizeRefusedBy } from './headers.ts'
import { partHeld, rangeHeaderOf, wholeHeld } from './range.ts'
import { Rest } from './rest.ts'
import type { Absent, Asked, BlobHead, BlobTold, Denied, ListingTold, ManifestHead, ManifestTold } from './told.ts'
import type { Asking } from './wire.ts'

/** A page of tags, or a list of referrers, is at most this long. */
const LISTING_BYTES_MAX = 4 * MIB
/** Whoever hangs is asked last for so long: each answer would take its whole patience again. */
const SLOW_MS = 30_000

type Timeouts = { readonly totalMs: number }
type Answered = Extract<Reply, { at: 'answered' }>

const ABSENT: Absent = { at: 'absent' }
const DENIED: Denied = { at: 'denied' }

/** One address of an upstream: what can be asked there, and what its answers mean. */
export class Endpoint {
  readonly url: URL
  readonly #asker: Asker
  readonly #timeouts: Timeouts
  readonly #outside: Outside
  readonly #onDenied: ((path: RepositoryPath) => void) | undefined
  /** Blobs are counted apart from manifests by those who limit: one's 429 doesn't stop the other. */
  readonly #rests: Readonly<Record<Kind['limit'], Rest>>
  #slowUntilMs = Number.NEGATIVE_INFINITY

  /** @param onDenied hears of each refusal that is the answer */
  constructor(url: URL, asker: Asker, timeouts: Timeouts, outside: Outside, onDenied?: (path: RepositoryPath) => void) {
    this.url = url
    this.#asker = asker
    this.#timeouts = timeouts
    this.#outside = outside
    this.#onDenied = onDenied
    this.#rests = { manifests: new Rest(outside.clock), blobs: new Rest(outside.clock) }
  }

  /** Tells it apart from the others of its upstream, in logs too. */
  get name(): string {
    return this.url.host
  }

  /** Milliseconds for which it wants no more requests for manifests. */
  get restMs(): number {
    return this.#rests.manifests.leftMs
  }

  /** Whether it lately took longer than it may. */
  get isSlow(): boolean {
    return this.#outside.clock.monotonicMs() < this.#slowUntilMs
  }

  getManifest(path: RepositoryPath, reference: Reference, signal: AbortSignal): Promise<ManifestTold> {
    return this.#within(signal, async (within) => {
      const reply = await this.#ask('GET', `${path}/manifests/${textOf(reference)}`, path, MANIFEST, within)
      const answered = this.#answeredOf(path, reply)
      if (answered.at !== 'answered') return answered
      return await reading(answered, async (answer) => {
        const facts = { ...factsOf(answered), digest: digestClaimedBy(answer.headers) }
        return { ...facts, bytes: await wholeOf(answer, MANIFEST_BYTES_MAX) }
      })
    })
  }

  headManifest(path: RepositoryPath, reference: Reference, signal: AbortSignal): Promise<ManifestHead> {
    return this.#within(signal, async (within) => {
      const reply = await this.#ask('HEAD', `${path}/manifests/${textOf(reference)}`, path, MANIFEST, within)
      if (isUnheadable(reply)) return { at: 'unheadable' }
      const answered = this.#answeredOf(path, reply)
      if (answered.at !== 'answered') return answered
      const { headers } = answered.answer
      return { ...factsOf(answered), digest: digestClaimedBy(headers), sizeBytes: lengthOf(headers) }
    })
  }

  /** HEAD; where that fails as it does for what was signed for GET, the first byte is asked for instead. */
  headBlob(path: RepositoryPath, digest: Digest, signal: AbortSignal): Promise<BlobHead> {
    return this.#within(signal, async (within) => {
      const reply = await this.#ask('HEAD', `${path}/blobs/${digest}`, path, BLOB_HEAD, within)
      if (reply.at === 'refused' || isUnheadable(reply)) return await this.#probeBlob(path, digest, within)
      const answered = this.#answeredOf(path, reply)
      if (answered.at !== 'answered') return answered
      const told: BlobHead = { ...factsOf(answered), sizeBytes: lengthOf(answered.answer.headers) }
      if (told.sizeBytes !== undefined) return told
      return await this.#probeBlob(path, digest, within).catch(() => told) // a size is more than was promised
    })
  }

  /**
   * Opens a blob at `asked`. `signal` ends the body too.
   *
   * @throws {OciError} upstreamFailed, upstreamSlow, accountSpent; so do the pieces (pieces.ts)
   */
  async openBlob(path: RepositoryPath, digest: Digest, asked: Asked, signal: AbortSignal): Promise<BlobTold> {
    const kind = blobKind(rangeHeaderOf(asked))
    const reply = await this.#noting(this.#ask('GET', `${path}/blobs/${digest}`, path, kind, signal))
    const answered = this.#answeredOf(path, reply, [200, 206])
    if (answered.at !== 'answered') return answered
    return await reading(answered, ({ status, headers, body }) => {
      if (isEncoded(headers)) throw unusable('encoding', 'the upstream encoded a blob though identity was asked for')
      const { start, bodyBytes, sizeBytes } = status === 200 ? wholeHeld(headers) : partHeld(headers, asked)
      return { ...factsOf(answered), start, sizeBytes, pieces: body.pieces(bodyBytes) }
    })
  }

  getTags(path: RepositoryPath, query: URLSearchParams, signal: AbortSignal): Promise<ListingTold> {
    return this.#getListing(`${path}/tags/list${searchOf(query)}`, path, TAGS, signal)
  }

  /** A registry without this API says so in several ways; they all mean that the fallback tag is to be asked. */
  getReferrers(
    path: RepositoryPath,
    digest: Digest,
    query: URLSearchParams,
    signal: AbortSignal,
  ): Promise<ListingTold> {
    return this.#getListing(`${path}/referrers/${digest}${searchOf(query)}`, path, REFERRERS, signal)
  }

  #getListing(route: string, path: RepositoryPath, kind: Kind, signal: AbortSignal): Promise<ListingTold> {
    return this.#within(signal, async (within) => {
      const reply = await this.#ask('GET', route, path, kind, within)
      const answered = this.#answeredOf(path, reply, [200], kind.absentStatuses)
      if (answered.at !== 'answered') return answered
      return await reading(answered, async (answer) => {
        const link = linesOf(answer.headers, 'link').join(', ') || undefined
        const filters = linesOf(answer.headers, 'oci-filters-applied').join(',') || undefined
        return { ...factsOf(answered), link, filters, bytes: await wholeOf(answer, LISTING_BYTES_MAX) }
      })
    })
  }

  async #probeBlob(path: RepositoryPath, digest: Digest, signal: AbortSignal): Promise<BlobHead> {
    const first = { start: 0, end: 1 }
    const reply = await this.#ask('GET', `${path}/blobs/${digest}`, path, BLOB_PROBE, signal)
    const answered = this.#answeredOf(path, reply, [200, 206, 416])
    if (answered.at !== 'answered') return answered
    const { status, headers, body } = answered.answer
    body.discard()
    const refusedBytes = status === 416 ? sizeRefusedBy(headers) : undefined
    if (status === 416 && refusedBytes !== 0) throw unusable('range', 'the upstream refuses the first byte of a blob')
    const held = status === 206 ? partHeld(headers, first) : wholeHeld(headers)
    return { ...factsOf(answered), sizeBytes: refusedBytes ?? held.sizeBytes }
  }

  #answeredOf(path: RepositoryPath, ...replied: Parameters<typeof answeredOf>): ReturnType<typeof answeredOf> {
    const answered = answeredOf(...replied)
    if (answered.at === 'denied') this.#onDenied?.(path)
    return answered
  }

  #ask(method: 'GET' | 'HEAD', route: string, path: RepositoryPath, kind: Kind, signal: AbortSignal): Promise<Reply> {
    const base = this.url.pathname.replace(/\/+$/, '')
    const url = new URL(`${base}/v2/${route}`, this.url)
    const asking = { method, url, headers: kind.headers, lane: kind.lane }
    return this.#asker.ask(asking, path, this.#rests[kind.limit], signal)
  }

  /** Everything but blobs' bodies ends within the time for connecting and for answering. */
  #within<T>(signal: AbortSignal, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#noting(within(this.#outside.clock, this.#timeouts.totalMs, signal, act))
  }

  async #noting<T>(work: Promise<T>): Promise<T> {
    try {
      const done = await work
      this.#slowUntilMs = Number.NEGATIVE_INFINITY
      return done
    } catch (error) {
      const isSlow = error instanceof OciError && error.reason === 'upstreamSlow'
      if (isSlow) this.#slowUntilMs = this.#outside.clock.monotonicMs() + SLOW_MS
      throw error
    }
  }
}

/** What is asked for: on which sockets, under whose 429, and the statuses that mean that there is none. */
type Kind = {
  readonly lane: Asking['lane']
  readonly limit: 'manifests' | 'blobs'
  readonly headers: { readonly accept: string; readonly range?: string }
  readonly absentStatuses: readonly number[]
}

const MANIFEST: Kind = kindOf({ accept: MANIFEST_ACCEPT })
const TAGS: Kind = kindOf({ accept: 'application/json' })
const REFERRERS: Kind = { ...kindOf({ accept: MEDIA_TYPE.ociIndex }), absentStatuses: [400, 404, 405, 406, 501] }
/** What is small never waits behind long blobs. */
const BLOB_HEAD: Kind = { ...kindOf({ accept: '*/*' }), limit: 'blobs' }
const BLOB_PROBE: Kind = { ...kindOf({ accept: '*/*', range: 'bytes=0-0' }), limit: 'blobs' }

function kindOf(headers: Kind['headers']): Kind {
  return { lane: 'heads', limit: 'manifests', headers, absentStatuses: [404] }
}

const blobKind = (range: string | undefined): Kind => ({
  lane: 'blobs',
  limit: 'blobs',
  headers: { accept: '*/*', ...(range !== undefined && { range }) },
  absentStatuses: [404],
})

const textOf = (reference: Reference): string => ('tag' in reference ? reference.tag : reference.digest)
const searchOf = (query: URLSearchParams): string => (query.size > 0 ? `?${query}` : '')

/**
 * An answer of a wanted status, or what its refusal means.
 *
 * @throws {OciError} upstreamFailed: `redirect` where one led to a refusal (a signed URL that expired is no verdict on
 * us), else `status`
 */
function answeredOf(
  reply: Reply,
  wanted: readonly number[] = [200],
  absent: readonly number[] = [404],
): Answered | Absent | Denied {
  if (reply.at === 'refused') {
    if (!reply.isElsewhere) return DENIED
    throw unusable('redirect', 'the upstream redirects to where we are refused')
  }
  const { status, body } = reply.answer
  if (wanted.includes(status)) return reply
  body.discard()
  if (absent.includes(status)) return ABSENT
  const fault = status === 416 ? 'range' : 'status'
  throw new OciError('upstreamFailed', `the upstream answered ${status}`, { fault, upstreamStatus: status })
}

/** What `read` makes of an answer; where it throws, the body is not left behind on its socket. */
async function reading<T>({ answer }: Answered, read: (answer: Answered['answer']) => T | Promise<T>): Promise<T> {
  try {
    return await read(answer)
  } catch (error) {
    answer.body.destroy()
    throw error
  }
}

/** 405 and 501 say it; a redirect to what was signed for GET alone answers a HEAD with 401 or 403. */
const isUnheadable = (reply: Reply): boolean =>
  reply.at === 'refused' ? reply.isElsewhere : reply.answer.status === 405 || reply.answer.status === 501

function factsOf({ answer, isPublic }: Answered) {
  return { at: 'found' as const, contentType: oneOf(answer.headers, 'content-type'), isPublic }
}
