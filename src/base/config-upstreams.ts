import { type Config, type UpstreamConfig, upstreamDefaults } from './config.ts'
import { DOCKER_HUB, DOCKER_HUB_ALIASES, WELL_KNOWN } from './well-known.ts'

/**
 * Every upstream that is served, by its name: what was configured and, unless refused, the well-known. Each has its
 * endpoints; one at most is the default.
 */
export function upstreamsOf(config: Config): ReadonlyMap<string, UpstreamConfig> {
  const configured = Object.entries(config.upstreams)
  const names = new Set([...configured.map(([name]) => name), ...(config.wellKnown ? WELL_KNOWN : [])])
  const hasDefault = configured.some(([, upstream]) => upstream.default)
  return new Map(
    [...names].map((name) => {
      const upstream = config.upstreams[name] ?? upstreamDefaults()
      const isDefault = upstream.default || (!hasDefault && name === DOCKER_HUB)
      return [name, { ...upstream, default: isDefault, endpoints: upstream.endpoints ?? [endpointOf(name)] }]
    }),
  )
}

/** Docker Hub's API is not at its own name. */
const endpointOf = (name: string): string => `https://${name === DOCKER_HUB ? DOCKER_HUB_ALIASES[0] : name}`
