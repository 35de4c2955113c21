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
    ...inAccess(config),
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
    ...inPrivate(upstream, path),
  ]
}

/** Of a write nothing tells who may see what it leaves behind. */
function inPrivate(upstream: UpstreamConfig, path: readonly string[]): Trouble[] {
  if (upstream.private.length === 0 || !upstream.push) return []
  return [{ path: [...path, 'push'], says: 'is true where private has patterns: an upstream has one or the other' }]
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

/** The key that a mode needs, and no other has. */
const KEY_OF_MODE = { open: undefined, htpasswd: 'htpasswd', mtls: 'ca' } as const

function inAccess({ access, tls, upstreams }: Config): Trouble[] {
  const { mode } = access
  const needed = KEY_OF_MODE[mode]
  const path = ['access']
  const needless = (['htpasswd', 'ca'] as const).filter((key) => key !== needed && access[key] !== undefined)
  const pushing = Object.entries(upstreams).filter(([, { push }]) => push)
  return [
    ...(needed && access[needed] === undefined ? [{ path, says: `has mode ${mode} and lacks access.${needed}` }] : []),
    ...needless.map((key) => ({ path: [...path, key], says: `is given, but access.mode is ${mode}`, isOfKey: true })),
    ...(mode === 'mtls' && !tls ? [{ path, says: 'has mode mtls and there is no tls, which must come first' }] : []),
    ...(mode === 'htpasswd'
      ? pushing.map(([name]) => ({
          path: ['upstreams', name, 'push'],
          says: 'is true and access.mode is htpasswd: a write would take the password for us to upstream',
        }))
      : []),
    ...(mode === 'htpasswd' ? privateOf(upstreams) : []),
  ]
}

/** Both want the Authorization header. */
const privateOf = (upstreams: Config['upstreams']): Trouble[] =>
  Object.entries(upstreams)
    .filter(([, upstream]) => upstream.private.length > 0)
    .map(([name]) => ({
      path: ['upstreams', name, 'private'],
      says: 'has patterns and access.mode is htpasswd: a client would have to send two passwords in one header',
    }))

function sharedPort({ listen, admin }: Config): Trouble[] {
  if (admin.listen === 'off' || listen.port === 0 || listen.port !== admin.listen.port) return []
  const isSame = listen.host === admin.listen.host || listen.host === '0.0.0.0' || listen.host === '::'
  return isSame
    ? [{ path: ['admin', 'listen'], says: `has the port of listen, ${listen.port}: they need one each` }]
    : []
}
