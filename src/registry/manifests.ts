import { OciError } from '../base/errors.ts'
import { KIB } from '../base/units.ts'
import type { CacheFacts } from '../cache/facts.ts'
import type { ManifestFound, Manifests } from '../cache/manifests.ts'
import type { Digest } from '../oci/digest.ts'
import { type Descriptor, readManifest } from '../oci/manifest.ts'
import { essenceOf, MEDIA_TYPE } from '../oci/media-types.ts'
import type { Reference, Repository } from '../oci/names.ts'
import type { Head } from './answer.ts'
import type { Exchange } from './exchange.ts'
import { etagOf, isMatch } from './range.ts'

/** What this room asks of the cache about manifests. */
export type ManifestSource = Pick<Manifests, 'find' | 'get' | 'head'>

/** A body as text costs its bytes once more in memory. */
const TEXT_BYTES_MAX = 16 * KIB

type Prepared = { readonly head: Head; readonly body: Buffer | string }

type Named = { readonly repository: Repository; readonly reference: Reference }

/** Types of one manifest for one platform; who names these alone can't read a list. */
const SINGLE: ReadonlySet<string> = new Set([
  MEDIA_TYPE.dockerManifest,
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.dockerSchema1,
  MEDIA_TYPE.dockerSchema1Signed,
  'application/json',
])

/**
 * Answers manifests by tag or digest.
 *
 * The client's Accept chooses nothing (one form is kept for everyone), but for the one exception of distribution's: by
 * tag, a docker list for a client that can't read lists becomes its linux/amd64 manifest.
 */
export class ManifestAnswers {
  readonly #manifests: ManifestSource
  /** Made once for each manifest in memory; its bytes are what memory holds. */
  readonly #prepared = new WeakMap<Buffer, Prepared>()

  constructor(manifests: ManifestSource) {
    this.#manifests = manifests
  }

  /**
   * What memory holds is answered before this returns, without a promise; else the answer's promise is returned.
   *
   * @throws {OciError} what the client is to be told
   */
  answer(exchange: Exchange, named: Named): Promise<void> | undefined {
    const found = this.#manifests.find(named.repository, named.reference)
    if (found && !isListForSingle(exchange, named, found.mediaType)) {
      this.#send(exchange, named, found)
      return undefined
    }
    return found || !exchange.isHead ? this.#get(exchange, named) : this.#head(exchange, named)
  }

  async #get(exchange: Exchange, named: Named): Promise<void> {
    const { repository, reference } = named
    const found = await this.#manifests.get(repository, reference, exchange.signal)
    if (!isListForSingle(exchange, named, found.mediaType)) {
      this.#send(exchange, named, found)
      return
    }
    const child = childForSingle(found)
    if (!child) throw new OciError('manifestUnknown', 'this is a list without a manifest for linux/amd64')
    const chosen = await this.#manifests.get(repository, { digest: child.digest }, exchange.signal)
    this.#send(exchange, { repository, reference: { digest: child.digest } }, chosen)
  }

  async #head(exchange: Exchange, named: Named): Promise<void> {
    const found = await this.#manifests.head(named.repository, named.reference, exchange.signal)
    if (isListForSingle(exchange, named, found.mediaType)) await this.#get(exchange, named)
    else send(exchange, named, found, headOf(found), undefined)
  }

  #send(exchange: Exchange, named: Named, found: ManifestFound): void {
    const { head, body } = this.#preparedOf(found)
    send(exchange, named, found, head, body)
  }

  #preparedOf({ digest, mediaType, bytes }: ManifestFound): Prepared {
    const known = this.#prepared.get(bytes)
    if (known) return known
    const head = headOf({ digest, mediaType, sizeBytes: bytes.length })
    const prepared = { head, body: bytes.length <= TEXT_BYTES_MAX ? bytes.toString('latin1') : bytes }
    this.#prepared.set(bytes, prepared)
    return prepared
  }
}

type Sent = { readonly digest: Digest; readonly facts: CacheFacts }

function send(
  exchange: Exchange,
  { reference }: Named,
  found: Sent,
  head: Head,
  bytes: Prepared['body'] | undefined,
): void {
  exchange.digest = found.digest
  const unless = exchange.request.headers['if-none-match']
  if (unless !== undefined && isMatch(unless, etagOf(found.digest))) {
    exchange.send(304, ['ETag', etagOf(found.digest), ...digestHeadOf(found.digest)], undefined, found.facts)
    return
  }
  const asked = 'digest' in reference ? reference.digest : found.digest
  exchange.send(200, asked === found.digest ? head : withDigest(head, found.digest, asked), bytes, found.facts)
}

function headOf(found: { mediaType: string; sizeBytes: number; digest: Digest }): Head {
  const { mediaType, sizeBytes, digest } = found
  const type = ['Content-Type', mediaType, 'Content-Length', String(sizeBytes)]
  return [...type, ...digestHeadOf(digest), 'ETag', etagOf(digest)]
}

const digestHeadOf = (digest: Digest): Head => ['Docker-Content-Digest', digest]

/** A request by digest is told the digest that it asked for: clients compare them as text, whatever the algorithm. */
const withDigest = (head: Head, from: Digest, to: Digest): Head => head.map((text) => (text === from ? to : text))

function isListForSingle(exchange: Exchange, { reference }: Named, mediaType: string): boolean {
  if (mediaType !== MEDIA_TYPE.dockerList || !('tag' in reference)) return false
  const accepted = (exchange.request.headers.accept ?? '').split(',').map(essenceOf).filter(Boolean)
  const wantsOne = accepted.includes(MEDIA_TYPE.dockerManifest) || accepted.includes(MEDIA_TYPE.ociManifest)
  return wantsOne && accepted.every((type) => SINGLE.has(type))
}

function childForSingle({ bytes, mediaType }: ManifestFound): Descriptor | undefined {
  const reading = readManifest(bytes, mediaType)
  if (reading.at !== 'read') return undefined
  return reading.manifest.children.find(({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64')
}
