import type { UpstreamConfig } from '../base/config.ts'
import { type Fault, OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference, RegistryHost, RepositoryPath } from '../oci/names.ts'
import type { Endpoint } from './endpoint.ts'
import type { BlobHead, ListingTold, ManifestHead, ManifestTold } from './told.ts'

export type EndpointsParts = {
  readonly log: Log
  /** An endpoint did wrong when it was asked for anything but a blob's bytes. */
  readonly onFault?: (fault: Fault) => void
}

/** The endpoints of one upstream, which hold the same content, asked as our accounts or as one caller. */
export class Endpoints {
  readonly host: RegistryHost
  readonly config: UpstreamConfig
  /** As configured. */
  readonly #configured: readonly Endpoint[]
  readonly #parts: EndpointsParts

  constructor(host: RegistryHost, config: UpstreamConfig, configured: readonly Endpoint[], parts: EndpointsParts) {
    this.host = host
    this.config = config
    this.#configured = configured
    this.#parts = parts
  }

  /** In the order in which they are asked: as configured, but for those that hung lately. */
  get endpoints(): readonly Endpoint[] {
    if (!this.#configured.some(({ isSlow }) => isSlow)) return this.#configured
    return this.#configured.toSorted((one, other) => Number(one.isSlow) - Number(other.isSlow))
  }

  getManifest(path: RepositoryPath, reference: Reference, signal: AbortSignal): Promise<ManifestTold> {
    return this.#first((endpoint) => endpoint.getManifest(path, reference, signal), signal)
  }

  headManifest(path: RepositoryPath, reference: Reference, signal: AbortSignal): Promise<ManifestHead> {
    return this.#first((endpoint) => endpoint.headManifest(path, reference, signal), signal)
  }

  headBlob(path: RepositoryPath, digest: Digest, signal: AbortSignal): Promise<BlobHead> {
    return this.#first((endpoint) => endpoint.headBlob(path, digest, signal), signal)
  }

  getTags(
    path: RepositoryPath,
    query: { readonly n?: number | undefined; readonly last?: string | undefined },
    signal: AbortSignal,
  ): Promise<ListingTold> {
    const search = new URLSearchParams()
    if (query.n !== undefined) search.set('n', String(query.n))
    if (query.last !== undefined) search.set('last', query.last)
    return this.#first((endpoint) => endpoint.getTags(path, search, signal), signal)
  }

  getReferrers(
    path: RepositoryPath,
    digest: Digest,
    query: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): Promise<ListingTold> {
    const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined)
    const search = new URLSearchParams(given)
    return this.#first((endpoint) => endpoint.getReferrers(path, digest, search, signal), signal)
  }

  /** Milliseconds for which every endpoint wants to be left alone about manifests (429); 0 where one may be asked. */
  restMs(): number {
    return Math.min(...this.endpoints.map((endpoint) => endpoint.restMs))
  }

  /** The first endpoint that answers: 404 and a refusal are answers, and another endpoint would not know better. */
  async #first<T>(ask: (endpoint: Endpoint) => Promise<T>, signal: AbortSignal): Promise<T> {
    let first: unknown
    for (const endpoint of this.endpoints) {
      try {
        return await ask(endpoint)
      } catch (error) {
        first ??= error
        const fault = error instanceof OciError ? error.fault : undefined
        this.#parts.log.debug({ upstream: this.host, endpoint: endpoint.name, fault, err: error }, 'an endpoint failed')
        if (signal.aborted) break
        if (error instanceof OciError && error.metFault !== undefined) this.#parts.onFault?.(error.metFault)
      }
    }
    throw first
  }
}
