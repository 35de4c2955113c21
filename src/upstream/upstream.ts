/*
 * upstream: one remote registry as the cache sees it.
 *
 * Promises: it dials only where it may; credentials go to the hosts that were named for them; nothing of a client's
 * request goes upstream; every wait ends; a 404 and a refusal are values, and all else that goes wrong is an OciError
 * that names its fault. What can be checked without the bytes is checked; digests are for the cache. Knows no disk.
 * Read next: endpoints.ts, endpoint.ts (what can be asked), asker.ts (challenges, redirects), wire.ts, pieces.ts
 * (bytes).
 */
import { readFileSync } from 'node:fs'
import type { LookupFunction } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Caller } from '../base/caller.ts'
import type { Outside } from '../base/clock.ts'
import type { UpstreamConfig } from '../base/config.ts'
import { matcherOf } from '../base/patterns.ts'
import type { RegistryHost, RepositoryPath } from '../oci/names.ts'
import { Accounts, accountOf } from './accounts.ts'
import { Asker } from './asker.ts'
import { Credentials, type Identity, waysOf } from './credentials.ts'
import { Endpoint } from './endpoint.ts'
import { Endpoints, type EndpointsParts } from './endpoints.ts'
import { Guard } from './guard.ts'
import { Network, type ProxySettings } from './network.ts'
import { HELD, type Holding, Tokens } from './tokens.ts'
import { type Hooks, Wire } from './wire.ts'

/** Docker Hub's registry has another name than its images. */
const HUB_ENDPOINT = 'https://registry-1.docker.io'
/** Callers whose tokens and challenges are remembered; the one who was longest away signs in anew. */
const CALLERS_MAX = 1_000
/** A caller reads a few repositories; and what he may no longer read must show soon. */
const HELD_FOR_CALLER: Holding = { tokensMax: 32, heldMsMax: 60_000 }
const WAYS_MAX = 4_096

export type UpstreamParts = Hooks &
  EndpointsParts & {
    readonly proxy?: ProxySettings
    /** Left out: the system's resolver. */
    readonly lookup?: LookupFunction
    /** A caller was refused: what he could read before he may read no longer. */
    readonly onCallerDenied?: (path: RepositoryPath, caller: Caller) => void
  }

/** An upstream as one caller sees it. `confirming` asks for a new token each time: nothing that it says is old. */
export type CallersView = { readonly usual: Endpoints; readonly confirming: Endpoints }

/** One endpoint's address, and what all who ask there share: sockets, and where they may lead. */
type Site = { readonly url: URL; readonly network: Network; readonly wire: Wire }

export class Upstream implements AsyncDisposable {
  readonly host: RegistryHost
  readonly config: UpstreamConfig
  /** Asked as the configured accounts. */
  readonly ours: Endpoints
  /** Where writes go: what is begun at one endpoint must be ended there. */
  readonly first: Endpoint | undefined
  /** Whether a repository is asked for by its callers alone. */
  readonly isPrivate: (path: RepositoryPath) => boolean
  readonly #sites: readonly Site[]
  readonly #outside: Outside
  readonly #parts: UpstreamParts
  readonly #views = new LRUCache<string, CallersView>({ max: CALLERS_MAX })

  /** @throws {Error} the file of extra CAs can't be read */
  constructor(host: RegistryHost, config: UpstreamConfig, outside: Outside, parts: UpstreamParts) {
    this.host = host
    this.config = config
    this.isPrivate = matcherOf(config.private)
    this.#outside = outside
    this.#parts = parts
    const extraCa = config.connect.ca === null ? undefined : readFileSync(config.connect.ca, 'utf8')
    this.#sites = endpointUrlsOf(host, config).map((url) => siteAt(url, config, outside, parts, extraCa))
    const accounts = new Accounts(config.accounts, this.isPrivate)
    const identity = { find: (path: RepositoryPath) => accounts.find(path), isCaller: false }
    const configured = this.#sites.map((site) => this.#endpointsAt(site, identity, HELD, WAYS_MAX).usual)
    this.ours = new Endpoints(host, config, configured, parts)
    this.first = configured[0]
  }

  /** The upstream asked with a caller's own credentials, by the rules that hold for an account's, and no other's. */
  as(caller: Caller): CallersView {
    const found = this.#views.get(caller.id)
    if (found) return found
    const account = accountOf(caller)
    const identity = { find: () => account, isCaller: true }
    const { onCallerDenied } = this.#parts
    const onDenied = (path: RepositoryPath) => onCallerDenied?.(path, caller)
    const waysMax = HELD_FOR_CALLER.tokensMax
    const each = this.#sites.map((site) => this.#endpointsAt(site, identity, HELD_FOR_CALLER, waysMax, onDenied))
    const { host, config } = this
    const viewOf = (endpoints: readonly Endpoint[]) => new Endpoints(host, config, endpoints, this.#parts)
    const view = {
      usual: viewOf(each.map(({ usual }) => usual)),
      confirming: viewOf(each.map(({ confirming }) => confirming)),
    }
    this.#views.set(caller.id, view)
    return view
  }

  /** Cuts whatever is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#sites.map(({ network }) => network[Symbol.asyncDispose]()))
  }

  #endpointsAt(
    { url, wire }: Site,
    identity: Identity,
    holding: Holding,
    waysMax: number,
    onDenied?: (path: RepositoryPath) => void,
  ): { readonly usual: Endpoint; readonly confirming: Endpoint } {
    const { timeouts, realms } = this.config
    const tokens = new Tokens(wire, this.#outside, timeouts.headers, holding)
    const told = { endpoint: url, realms, identity, tokens, ways: waysOf(waysMax) }
    const totalMs = timeouts.connect + timeouts.headers
    const endpointOf = (credentials: Credentials) =>
      new Endpoint(url, new Asker(wire, credentials), { totalMs }, this.#outside, onDenied)
    return {
      usual: endpointOf(new Credentials(told)),
      confirming: endpointOf(new Credentials({ ...told, isFresh: true })),
    }
  }
}

function endpointUrlsOf(host: RegistryHost, config: UpstreamConfig): readonly URL[] {
  const usual = host === 'docker.io' ? HUB_ENDPOINT : `https://${host}`
  return (config.endpoints ?? [usual]).map((text) => new URL(text))
}

function siteAt(
  url: URL,
  { connect, timeouts, realms }: UpstreamConfig,
  outside: Outside,
  parts: UpstreamParts,
  extraCa: string | undefined,
): Site {
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
  return { url, network, wire: new Wire({ network, guard, outside, hooks: parts, timeouts: timed }) }
}
