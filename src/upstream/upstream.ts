/*
 * upstream: one remote registry as the cache sees it.
 *
 * Promises: it dials only where it may; credentials go to the hosts that were named for them; nothing of a client's
 * request goes upstream; every wait ends; a 404 and a refusal are values, and all else that goes wrong is an OciError
 * that names its fault. What can be checked without the bytes is checked; digests are for the cache. Knows no disk.
 * Read next: endpoint.ts (what can be asked), asker.ts (challenges, redirects), wire.ts, pieces.ts (bytes).
 */
import { readFileSync } from 'node:fs'
import type { LookupFunction } from 'node:net'
import type { Outside } from '../base/clock.ts'
import type { UpstreamConfig } from '../base/config.ts'
import { type Fault, OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference, RegistryHost, RepositoryPath } from '../oci/names.ts'
import { Accounts } from './accounts.ts'
import { Asker } from './asker.ts'
import { Credentials } from './credentials.ts'
import { Endpoint } from './endpoint.ts'
import { Guard } from './guard.ts'
import { Network, type ProxySettings } from './network.ts'
import { Tokens } from './tokens.ts'
import type { BlobHead, ListingTold, ManifestHead, ManifestTold } from './told.ts'
import { type Hooks, Wire } from './wire.ts'

/** Docker Hub's registry has another name than its images. */
const HUB_ENDPOINT = 'https://registry-1.docker.io'

export type UpstreamParts = Hooks & {
  readonly log: Log
  /** An endpoint did wrong when it was asked for anything but a blob's bytes. */
  readonly onFault?: (fault: Fault) => void
  readonly proxy?: ProxySettings
  /** Left out: the system's resolver. */
  readonly lookup?: LookupFunction
}

export class Upstream implements AsyncDisposable {
  readonly host: RegistryHost
  readonly config: UpstreamConfig
  /** As configured; they hold the same content. */
  readonly #configured: readonly Endpoint[]
  readonly #networks: readonly Network[]
  readonly #parts: UpstreamParts

  /** @throws {Error} the file of extra CAs can't be read */
  constructor(host: RegistryHost, config: UpstreamConfig, outside: Outside, parts: UpstreamParts) {
    this.host = host
    this.config = config
    this.#parts = parts
    const extraCa = config.connect.ca === null ? undefined : readFileSync(config.connect.ca, 'utf8')
    const built = endpointUrlsOf(host, config).map((url) => endpointAt(url, config, outside, parts, extraCa))
    this.#configured = built.map(({ endpoint }) => endpoint)
    this.#networks = built.map(({ network }) => network)
  }

  /** In the order in which they are asked: as configured, but for those that hung lately. */
  get endpoints(): readonly Endpoint[] {
    if (!this.#configured.some(({ isSlow }) => isSlow)) return this.#configured
    return this.#configured.toSorted((one, other) => Number(one.isSlow) - Number(other.isSlow))
  }

  /** Where writes go: what is begun at one endpoint must be ended there. */
  get first(): Endpoint | undefined {
    return this.#configured[0]
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

  /** Cuts whatever is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#networks.map((network) => network[Symbol.asyncDispose]()))
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
        if (fault !== undefined) this.#parts.onFault?.(fault)
      }
    }
    throw first
  }
}

function endpointUrlsOf(host: RegistryHost, config: UpstreamConfig): readonly URL[] {
  const usual = host === 'docker.io' ? HUB_ENDPOINT : `https://${host}`
  return (config.endpoints ?? [usual]).map((text) => new URL(text))
}

function endpointAt(
  url: URL,
  { connect, timeouts, realms, accounts }: UpstreamConfig,
  outside: Outside,
  parts: UpstreamParts,
  extraCa: string | undefined,
): { readonly endpoint: Endpoint; readonly network: Network } {
  const guard = new Guard({ endpoint: url, realms, isPrivateAllowed: connect.private, lookup: parts.lookup })
  const network = new Network({
    connectMs: timeouts.connect,
    headersMs: timeouts.headers,
    extraCa,
    proxy: parts.proxy ?? {},
    connector: (options) => guard.connector(options),
    clock: outside.clock,
  })
  const timed = { headersMs: timeouts.headers, idleMs: timeouts.idle }
  const wire = new Wire({ network, guard, outside, hooks: parts, timeouts: timed })
  const tokens = new Tokens(wire, outside, timeouts.headers)
  const credentials = new Credentials({ endpoint: url, realms, tokens, accounts: new Accounts(accounts) })
  const totalMs = timeouts.connect + timeouts.headers
  return { network, endpoint: new Endpoint(url, new Asker(wire, credentials), { totalMs }, outside) }
}
