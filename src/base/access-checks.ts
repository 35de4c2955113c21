import type { Config } from './config.ts'
import type { Trouble } from './config-trouble.ts'

/** The key that a mode needs, and no other has. */
const KEY_OF_MODE = { open: undefined, htpasswd: 'htpasswd', mtls: 'ca' } as const

/** What is wrong with who may read what: keys that lack each other, or want the same header of a client. */
export function contradictionsInAccess(config: Config): Trouble[] {
  return [...inMode(config), ...inOneHeader(config)]
}

function inMode({ access, tls }: Config): Trouble[] {
  const { mode } = access
  const needed = KEY_OF_MODE[mode]
  const path = ['access']
  const needless = (['htpasswd', 'ca'] as const).filter((key) => key !== needed && access[key] !== undefined)
  return [
    ...(needed && access[needed] === undefined ? [{ path, says: `has mode ${mode} and lacks access.${needed}` }] : []),
    ...needless.map((key) => ({ path: [...path, key], says: `is given, but access.mode is ${mode}`, isOfKey: true })),
    ...(mode === 'mtls' && !tls ? [{ path, says: 'has mode mtls and there is no tls, which must come first' }] : []),
  ]
}

/**
 * A client has one Authorization: for us, for an upstream whose private repositories it reads, or for one that it
 * writes to, which would be sent whatever it is.
 */
function inOneHeader({ access, upstreams }: Config): Trouble[] {
  const hidden = namesWith(upstreams, ({ private: patterns }) => patterns.length > 0)
  const pushed = namesWith(upstreams, ({ push }) => push)
  const pathOf = (name: string, key: string) => ['upstreams', name, key]
  if (access.mode === 'htpasswd') {
    const both = 'and access.mode is htpasswd: a client would have to send two passwords in one header'
    const leaked = 'and access.mode is htpasswd: a write would take the password for us to upstream'
    return [
      ...hidden.map((name) => ({ path: pathOf(name, 'private'), says: `has patterns ${both}` })),
      ...pushed.map((name) => ({ path: pathOf(name, 'push'), says: `is true ${leaked}` })),
    ]
  }
  const [owner] = hidden
  if (owner === undefined) return []
  const leaked = `is true and ${owner} has private repositories: a write would take the credentials for these elsewhere`
  const unclear = 'is true where private has patterns: nothing tells who may see what a write leaves behind'
  return pushed.map((name) => ({ path: pathOf(name, 'push'), says: hidden.includes(name) ? unclear : leaked }))
}

const namesWith = (upstreams: Config['upstreams'], holds: (upstream: Config['upstreams'][string]) => boolean) =>
  Object.entries(upstreams)
    .filter(([, upstream]) => holds(upstream))
    .map(([name]) => name)
