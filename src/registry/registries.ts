import type { UpstreamConfig } from '../base/config.ts'
import { OciError } from '../base/errors.ts'
import { matcherOf } from '../base/patterns.ts'
import { DOCKER_HUB, DOCKER_HUB_ALIASES } from '../base/well-known.ts'
import { findRegistryHost, type RegistryHost, type RepositoryPath } from '../oci/names.ts'

/** What of an upstream's configuration decides which requests are its. */
export type Rules = Pick<UpstreamConfig, 'default' | 'hosts' | 'allow' | 'deny' | 'private' | 'push'>

/** One upstream as requests see it. */
export class Registry {
  readonly host: RegistryHost
  readonly isHub: boolean
  readonly takesWrites: boolean
  readonly #isPrivate: (path: string) => boolean
  #isAllowed: (path: string) => boolean
  #isDenied: (path: string) => boolean

  constructor(host: RegistryHost, rules: Rules) {
    this.host = host
    this.isHub = host === DOCKER_HUB
    this.takesWrites = rules.push
    this.#isAllowed = matcherOf(rules.allow)
    this.#isDenied = matcherOf(rules.deny)
    this.#isPrivate = matcherOf(rules.private)
  }

  /** From now on other patterns hold. */
  obey({ allow, deny }: Pick<Rules, 'allow' | 'deny'>): void {
    this.#isAllowed = matcherOf(allow)
    this.#isDenied = matcherOf(deny)
  }

  mayServe(path: RepositoryPath): boolean {
    return this.#isAllowed(path) && !this.#isDenied(path)
  }

  /** Whether it is shown only to callers who may read it upstream. */
  isPrivate(path: RepositoryPath): boolean {
    return this.#isPrivate(path)
  }
}

/** The closed list of upstreams: what isn't here is never dialled (fault 83). */
export class Registries {
  /** What a request means that names none; undefined where it then means nothing. */
  readonly default: Registry | undefined
  /** Whether some of what is served is private: then clients are challenged. */
  readonly hasPrivate: boolean
  readonly #byName = new Map<string, Registry>()
  readonly #byHostHeader = new Map<string, Registry>()

  /** @param upstreams every upstream there is, the well-known among them */
  constructor(upstreams: Iterable<readonly [RegistryHost, Rules]>) {
    let chosen: Registry | undefined
    let hasPrivate = false
    for (const [host, rules] of upstreams) {
      const registry = new Registry(host, rules)
      for (const name of namesOf(registry)) {
        this.#byName.set(name, registry)
        this.#byHostHeader.set(name, registry)
      }
      for (const name of rules.hosts) this.#byHostHeader.set(name.toLowerCase(), registry)
      if (rules.default) chosen = registry
      hasPrivate ||= rules.private.length > 0
    }
    this.hasPrivate = hasPrivate
    this.default = chosen ?? this.#byName.get(DOCKER_HUB)
  }

  /** From now on the patterns of these hold, for the upstreams that there are. */
  obey(upstreams: Iterable<readonly [RegistryHost, Rules]>): void {
    for (const [host, rules] of upstreams) this.#byName.get(host)?.obey(rules)
  }

  /** By the name that clients use for it, as `ns` or in a path. */
  find(name: string): Registry | undefined {
    return this.#byName.get(name) ?? this.#byName.get(name.toLowerCase())
  }

  /** @throws {OciError} nameInvalid, nameUnknown */
  parse(name: string): Registry {
    const registry = this.find(name)
    if (registry) return registry
    if (!findRegistryHost(name)) throw new OciError('nameInvalid', 'this is not the name of a registry host')
    throw unknownHost()
  }

  /** By a Host header, with its port or without. */
  findByHostHeader(header: string): Registry | undefined {
    const lower = header.toLowerCase()
    return this.#byHostHeader.get(lower) ?? this.#byHostHeader.get(lower.replace(/:[0-9]{0,5}$/, ''))
  }
}

export const unknownHost = (): OciError => new OciError('nameUnknown', 'no upstream of this cache has that host name')

const namesOf = ({ host, isHub }: Registry): readonly string[] => (isHub ? [host, ...DOCKER_HUB_ALIASES] : [host])
