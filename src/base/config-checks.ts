import { contradictionsInAccess } from './access-checks.ts'
import type { AccountConfig, Config, UpstreamConfig } from './config.ts'
import type { Trouble } from './config-trouble.ts'
import { DOCKER_HUB, DOCKER_HUB_ALIASES } from './well-known.ts'

/** What is wrong though each value by itself is right. */
export function contradictionsIn(config: Config): Trouble[] {
  const upstreams = Object.entries(config.upstreams)
  return [
    ...upstreams.flatMap(([name, upstream]) => inUpstream(name, upstream)),
    ...severalDefaults(upstreams),
    ...sharedHosts(upstreams),
    ...sharedPort(config),
    ...contradictionsInAccess(config),
    ...(upstreams.length === 0 && !config.wellKnown
      ? [{ path: ['wellKnown'], says: 'is false and upstreams is empty: there is nothing to serve' }]
      : []),
  ]
}

function inUpstream(name: string, upstream: UpstreamConfig): Trouble[] {
  const path = ['upstreams', name]
  const isOtherName = DOCKER_HUB_ALIASES.some((alias) => alias === name)
  return [
    ...(isOtherName ? [{ path, says: `is another name of ${DOCKER_HUB}: say ${DOCKER_HUB} here`, isOfKey: true }] : []),
    ...upstream.accounts.flatMap((account, at) => inAccount(account, [...path, 'accounts', at])),
    ...repeatedEndpoints(upstream.endpoints ?? [], path),
    ...HIDING_KEYS.flatMap((key) => vainPatterns(name, upstream[key], [...path, key])),
  ]
}

/** What these don't match is shown: a pattern of theirs that can match nothing is no harmless one. */
const HIDING_KEYS = ['private', 'deny'] as const

function vainPatterns(name: string, patterns: readonly string[], path: readonly string[]): Trouble[] {
  return patterns.flatMap((pattern, at) => {
    const why = whyVain(name, pattern)
    return why === undefined
      ? []
      : [{ path: [...path, at], says: `is ${pattern}, which matches no repository: ${why}` }]
  })
}

function whyVain(name: string, pattern: string): string | undefined {
  if (/[A-Z]/.test(pattern)) return 'names are in lower case'
  if (pattern.includes(':')) return 'names have no colon, and patterns here are not for tags'
  if (/\/(?:\/|$)/.test(pattern)) return 'names have no empty part'
  if (pattern.startsWith(`${name}/`)) return 'names are without their registry'
  const isOfOnePart = /^[^/!(]+$/.test(pattern) && pattern !== '**'
  return name === DOCKER_HUB && isOfOnePart ? 'names at docker.io have two parts, such as library/alpine' : undefined
}

const PASSWORD_KEYS = ['password', 'passwordFile', 'passwordEnv'] as const

function inAccount(account: AccountConfig, path: readonly (string | number)[]): Trouble[] {
  const given = PASSWORD_KEYS.filter((key) => account[key] !== undefined)
  if (given.length === 1) return []
  if (given.length === 0) return [{ path, says: `lacks one of ${PASSWORD_KEYS.join(', ')}` }]
  return [{ path, says: `has ${given.join(' and ')}: one of them is wanted` }]
}

function repeatedEndpoints(endpoints: readonly string[], path: readonly string[]): Trouble[] {
  const repeated = endpoints.findIndex((endpoint, at) => endpoints.indexOf(endpoint) < at)
  return repeated < 0 ? [] : [{ path: [...path, 'endpoints', repeated], says: 'stands here twice' }]
}

function severalDefaults(upstreams: readonly (readonly [string, UpstreamConfig])[]): Trouble[] {
  const [first, ...more] = upstreams.filter(([, upstream]) => upstream.default).map(([name]) => name)
  return more.map((name) => ({
    path: ['upstreams', name, 'default'],
    says: `is true, as it is for ${first}: one upstream can be the default`,
  }))
}

/** A Host header leads to one upstream. */
function sharedHosts(upstreams: readonly (readonly [string, UpstreamConfig])[]): Trouble[] {
  const ownerOf = new Map(upstreams.map(([name]) => [name, name]))
  const troubles: Trouble[] = []
  for (const [name, { hosts }] of upstreams) {
    for (const [at, host] of hosts.entries()) {
      const owner = ownerOf.get(host)
      const path = ['upstreams', name, 'hosts', at]
      if (owner !== undefined && owner !== name)
        troubles.push({ path, says: `is ${host}, which means ${owner} already` })
      ownerOf.set(host, name)
    }
  }
  return troubles
}

function sharedPort({ listen, admin }: Config): Trouble[] {
  if (admin.listen === 'off' || listen.port === 0 || listen.port !== admin.listen.port) return []
  const isSame = listen.host === admin.listen.host || listen.host === '0.0.0.0' || listen.host === '::'
  return isSame
    ? [{ path: ['admin', 'listen'], says: `has the port of listen, ${listen.port}: they need one each` }]
    : []
}
