import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import { MANIFEST_BYTES_MAX, type ManifestReading, readManifest } from '../oci/manifest.ts'
import type { Reference, Repository, Tag } from '../oci/names.ts'
import type { Absent, Denied, ManifestTold } from '../upstream/told.ts'
import { askable, type UpstreamOf } from './asks.ts'
import type { Links } from './links.ts'
import type { KeptManifest, ManifestStore } from './manifest-store.ts'
import type { Prover } from './prover.ts'

export type Fetched = { readonly at: 'found'; readonly kept: KeptManifest } | Absent | Denied

type Parts = {
  readonly upstreamOf: UpstreamOf
  readonly store: ManifestStore
  readonly links: Links
  readonly prover: Pick<Prover, 'prove'>
  readonly log: Log
}

type Found = Extract<ManifestTold, { readonly at: 'found' }>

/** Brings a manifest from upstream: whole in memory, verified before a byte of it is anyone's, then kept and linked. */
export class ManifestFetch {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** @throws {OciError} upstreamFailed with fault `digest`: other bytes; or whatever else upstream or they do wrong */
  async byDigest(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Fetched> {
    const told = await this.#get(repository, { digest }, signal)
    if (told.at !== 'found') return told
    const right = isOf(digest, told) ? told : await this.#elsewhere(repository, digest, signal)
    return await this.#keep(repository, digest, right, readManifest(right.bytes, right.contentType))
  }

  /**
   * Our hash is the digest.
   *
   * @throws {OciError} upstreamFailed: it is no manifest, such as a login page, or other bytes each time
   */
  async byTag(repository: Repository, tag: Tag, signal: AbortSignal): Promise<Fetched> {
    const first = await this.#get(repository, { tag }, signal)
    const told = isAsItSays(first) ? first : await this.#again(repository, tag, first, signal)
    if (told.at !== 'found') return told
    const reading = readManifest(told.bytes, told.contentType)
    if (reading.at === 'unreadable') throw notAManifest()
    return await this.#keep(repository, digestOf(told.bytes), told, reading)
  }

  /**
   * A header that claims another digest may lie, or the bytes may have been damaged on their way: a lie comes with the
   * same bytes twice.
   */
  async #again(repository: Repository, tag: Tag, first: ManifestTold, signal: AbortSignal): Promise<ManifestTold> {
    this.#parts.log.warn({ upstream: repository.host, tag }, 'a manifest is not what its own header says: asked again')
    const told = await this.#get(repository, { tag }, signal)
    const isSame = told.at === 'found' && first.at === 'found' && told.bytes.equals(first.bytes)
    if (isSame || isAsItSays(told)) return told
    throw new OciError('upstreamFailed', 'the upstream sends other bytes for this tag each time', { fault: 'digest' })
  }

  async #get(repository: Repository, reference: Reference, signal: AbortSignal): Promise<ManifestTold> {
    const upstream = askable(this.#parts.upstreamOf, repository)
    const told = await upstream.getManifest(repository.path, reference, signal)
    if (told.at === 'found' && told.bytes.length > MANIFEST_BYTES_MAX) {
      this.#parts.log.warn({ upstream: repository.host, ...reference }, 'a manifest is larger than any client takes')
      throw new OciError('upstreamFailed', 'the manifest is larger than 4 MiB', { fault: 'size' })
    }
    return told
  }

  /** One endpoint lied: each is asked, the first that tells the truth is believed. */
  async #elsewhere(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Found> {
    const { upstreamOf, log } = this.#parts
    const { endpoints } = askable(upstreamOf, repository)
    log.warn({ upstream: repository.host, digest }, 'an endpoint sent another manifest than the one asked for')
    for (const endpoint of endpoints.length > 1 ? endpoints : []) {
      try {
        const told = await endpoint.getManifest(repository.path, { digest }, signal)
        if (told.at === 'found' && isOf(digest, told)) return told
      } catch (error) {
        log.debug({ err: error, endpoint: endpoint.name }, 'an endpoint failed')
      }
    }
    throw new OciError('upstreamFailed', 'the upstream sent another manifest than the one asked for', {
      fault: 'digest',
    })
  }

  async #keep(repository: Repository, digest: Digest, told: Found, reading: ManifestReading): Promise<Fetched> {
    const { store, links, prover } = this.#parts
    const kept = await store.keep(digest, told.bytes, reading)
    await links.prove(repository, digest, told.isPublic)
    if (kept.manifest) prover.prove(repository, kept.manifest.children)
    return { at: 'found', kept }
  }
}

const isOf = (digest: Digest, { bytes }: Found): boolean => digestOf(bytes, algorithmOf(digest)) === digest

/** Whether a claim of its digest, if there is one, is true. */
const isAsItSays = (told: ManifestTold): boolean =>
  told.at !== 'found' || told.digest === undefined || isOf(told.digest, told)

export const notAManifest = (): OciError =>
  new OciError('upstreamFailed', 'what the upstream sent for this tag is no manifest', { fault: 'digest' })
