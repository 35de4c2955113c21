import { OciError } from '../base/errors.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { parseReference, parseRepositoryPath, type Reference, type Repository } from '../oci/names.ts'
import { type Registries, type Registry, unknownHost } from './registries.ts'

/** The repository that a request is about, and how its client came to name it so. */
export type Target = {
  readonly registry: Registry
  readonly repository: Repository
  /** It is shown only to callers who may read it upstream. */
  readonly isPrivate: boolean
  /** The client's own path, up to the end of the name; what follows it there leads back to this repository. */
  readonly clientPath: string
}

/** A request's meaning. `ns` is the upstream's name as the client gave it in the query. */
export type Asked = { readonly ns: string | undefined } & (
  | { readonly route: 'ping' | 'catalog' }
  | { readonly route: 'token' }
  | { readonly route: 'manifest'; readonly target: Target; readonly reference: Reference }
  | { readonly route: 'blob'; readonly target: Target; readonly digest: Digest }
  | { readonly route: 'tags'; readonly target: Target; readonly query: URLSearchParams }
  | { readonly route: 'referrers'; readonly target: Target; readonly digest: Digest; readonly query: URLSearchParams }
  | {
      readonly route: 'upload'
      readonly target: Target
      /** Undefined where an upload is to be started. */
      readonly session: string | undefined
      readonly query: URLSearchParams
    }
)

type Route = Asked['route']

/** What a path's end says. `nameEnd`: how many of the parts before it are the name. */
type Tail = {
  readonly route: Exclude<Route, 'ping' | 'catalog' | 'token'>
  readonly nameEnd: number
  readonly last: string
}

/** Where our own realm is; no repository's path begins so. */
const TOKEN_PATH = '/token'
const NO_QUERY = new URLSearchParams()
const PLAIN = /^[A-Za-z0-9._-]+$/
const SESSION = /^[A-Za-z0-9._~=:@+-]{1,1024}$/
const DOTS = /^\.+$/ // a path that is built of them would climb

/**
 * Reads a request-target in origin form (RFC 9112 §3.2.1) as node:http gives it, still encoded.
 *
 * @throws {OciError} requestInvalid, notServed, nameInvalid, nameUnknown, manifestUnknown, digestInvalid
 */
export function parseRequest(url: string, hostHeader: string | undefined, registries: Registries): Asked {
  if (!url.startsWith('/')) throw new OciError('requestInvalid', 'the request target must be a path')
  const { path, query } = splitOf(url)
  if (path === TOKEN_PATH) return { route: 'token', ns: undefined }
  const rawParts = path.slice(1).split('/')
  const parts = rawParts.map(decodedOf)
  const ns = query.get('ns') ?? undefined
  const { from, named } = versionIn(parts, registries)
  const rest = parts.slice(from)
  const chosen = ns === undefined ? named : registries.parse(ns)
  if (rest.length === 0 || (rest.length === 1 && rest[0] === '')) return { route: 'ping', ns }
  if (rest.at(-1) === '_catalog' && rest.length <= 2) return { route: 'catalog', ns }
  const tail = tailOf(rest)
  if (!tail) throw noRoute(rest)
  const nameParts = rest.slice(0, tail.nameEnd)
  const target = targetOf(nameParts, { chosen, isByNs: ns !== undefined, hostHeader, registries })
  const clientPath = `/${rawParts.slice(0, from + tail.nameEnd).join('/')}`
  return askedOf(tail, { ...target, clientPath }, query, ns)
}

/** The `ns` of a request that could not be read, for the answer that says so. */
export const namespaceOf = (url: string): string | undefined => splitOf(url).query.get('ns') ?? undefined

function splitOf(url: string): { path: string; query: URLSearchParams } {
  const question = url.indexOf('?')
  if (question < 0) return { path: url, query: NO_QUERY }
  return { path: url.slice(0, question), query: new URLSearchParams(url.slice(question + 1)) }
}

/** Once. A slash that comes out of it would make two parts of one when a name is put together again. */
function decodedOf(part: string): string {
  if (!part.includes('%')) return part
  const decoded = percentDecoded(part)
  if (decoded?.includes('/') === false) return decoded
  throw new OciError('nameInvalid', 'the path is not properly percent-encoded')
}

function percentDecoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined // not UTF-8, or a percent sign without its two digits
  }
}

/** `/v2/…` or `/<host>/v2/…`: where the API begins, and the upstream that stands before it. */
function versionIn(parts: readonly string[], registries: Registries): { from: number; named?: Registry } {
  const [first = '', second] = parts
  if (first === 'v2') return { from: 1 }
  if (second === 'v2') return { from: 2, named: registries.parse(first) }
  throw noRoute(parts)
}

/** From the right, since a name may hold components called manifests, blobs, tags or uploads. */
function tailOf(rest: readonly string[]): Tail | undefined {
  const nameEnd = rest.length - 2
  const last = rest.at(-1) ?? ''
  switch (rest[nameEnd]) {
    case 'manifests':
      return { route: 'manifest', nameEnd, last }
    case 'blobs':
      return last === 'uploads' ? { route: 'upload', nameEnd, last: '' } : { route: 'blob', nameEnd, last }
    case 'tags':
      return last === 'list' ? { route: 'tags', nameEnd, last } : undefined
    case 'referrers':
      return { route: 'referrers', nameEnd, last }
    case 'uploads':
      return rest[nameEnd - 1] === 'blobs' ? { route: 'upload', nameEnd: nameEnd - 1, last } : undefined
    default:
      return undefined
  }
}

type Naming = {
  /** By ns, or else by the host before `/v2/`. */
  readonly chosen: Registry | undefined
  readonly isByNs: boolean
  readonly hostHeader: string | undefined
  readonly registries: Registries
}

function targetOf(nameParts: readonly string[], naming: Naming): Omit<Target, 'clientPath'> {
  const { registry, skip } = registryOf(nameParts, naming)
  const path = nameParts.slice(skip).join('/')
  const isShort = registry.isHub && nameParts.length - skip === 1
  const repository = { host: registry.host, path: parseRepositoryPath(isShort ? `library/${path}` : path) }
  // No name at Docker Hub has a dot in its first component: it is a host that we don't know.
  if (registry.isHub && nameParts[skip]?.includes('.')) throw unknownHost()
  if (!registry.mayServe(repository.path)) {
    throw new OciError('nameUnknown', 'this repository is not served here, by configuration')
  }
  return { registry, repository, isPrivate: registry.isPrivate(repository.path) }
}

/** The upstream, and how many components of the name only repeated it. At least one is left for the name. */
function registryOf(nameParts: readonly string[], naming: Naming): { registry: Registry; skip: number } {
  const { chosen, isByNs, hostHeader, registries } = naming
  const [first = '', second] = nameParts
  if (chosen && !isByNs) return { registry: chosen, skip: 0 }
  const named = nameParts.length > 1 ? registries.find(first) : undefined
  if (chosen) {
    if (named !== chosen) return { registry: chosen, skip: 0 }
    return { registry: chosen, skip: second === 'v2' && nameParts.length > 2 ? 2 : 1 } // a mirror without override_path
  }
  if (named) return { registry: named, skip: 1 }
  const meant = (hostHeader === undefined ? undefined : registries.findByHostHeader(hostHeader)) ?? registries.default
  if (!meant) throw unknownHost()
  return { registry: meant, skip: 0 }
}

function askedOf({ route, last }: Tail, target: Target, query: URLSearchParams, ns: string | undefined): Asked {
  switch (route) {
    case 'manifest':
      return { route, ns, target, reference: parseReference(last) }
    case 'blob':
      return { route, ns, target, digest: parseDigest(last) }
    case 'tags':
      return { route, ns, target, query }
    case 'referrers':
      return { route, ns, target, digest: parseDigest(last), query }
    case 'upload':
      return { route, ns, target, session: sessionOf(last), query }
    default:
      return route satisfies never
  }
}

function sessionOf(last: string): string | undefined {
  if (last === '') return undefined
  if (SESSION.test(last) && !DOTS.test(last)) return last
  throw new OciError('nameInvalid', 'this is not the name of an upload')
}

export const nothingHere = (): OciError =>
  new OciError('notServed', 'nothing is served here: the API of this registry begins at /v2/')

/** What could be a path of another service is absent; what could be none (`..`, an empty part) is refused. */
function noRoute(parts: readonly string[]): OciError {
  const isPlain = parts.every((part) => PLAIN.test(part) && !DOTS.test(part)) || (parts.length === 1 && parts[0] === '')
  return isPlain
    ? nothingHere()
    : new OciError('nameInvalid', 'the path does not follow the grammar of the distribution specification')
}
