import type { IncomingHttpHeaders } from 'node:http'
import { API_VERSION, cacheStatusOf } from './answer.ts'
import type { Passing } from './routes.ts'

/** What goes upstream of a client's head. Its own Authorization is among them here, and nowhere else (fault 79). */
const PASSED_UP: ReadonlySet<string> = new Set([
  'accept',
  'authorization',
  'content-length',
  'content-range',
  'content-type',
  'host', // made anew by the proxy
  'if-match',
  'if-none-match',
  'user-agent',
])

/** Fields of one connection (RFC 9110 §7.6.1), or by which another origin would speak for ours. */
const NOT_PASSED_DOWN: ReadonlySet<string> = new Set([
  'alt-svc',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'set-cookie',
  'strict-transport-security',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

export function passedUpOf(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => PASSED_UP.has(name)))
}

/** Upstream's answer as it is, its challenge too, with what we say on every answer. */
export function passedDownOf(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const kept = Object.entries(headers).filter(([name]) => !NOT_PASSED_DOWN.has(name))
  const [name = '', value] = API_VERSION
  return {
    [name.toLowerCase()]: value,
    ...Object.fromEntries(kept),
    'cache-status': cacheStatusOf({ hit: false, fwd: 'method' }),
  }
}

/** A write's path and query at its upstream, from its parsed meaning alone. */
export function upstreamPathOf(passing: Passing, url: string): string {
  const { repository } = passing.target
  const query = queryOf(passing, url)
  const text = query.toString()
  return `/v2/${repository.path}/${endOf(passing)}${text === '' ? '' : `?${text}`}`
}

function endOf(passing: Passing): string {
  switch (passing.route) {
    case 'manifest':
      return `manifests/${'tag' in passing.reference ? passing.reference.tag : passing.reference.digest}`
    case 'blob':
      return `blobs/${passing.digest}`
    case 'upload':
      return `blobs/uploads/${passing.session ?? ''}`
    default:
      return passing satisfies never
  }
}

/** The client's, without ns, which is ours. A mount's `from` is a name as the client has it: it becomes upstream's. */
function queryOf({ target }: Passing, url: string): URLSearchParams {
  const question = url.indexOf('?')
  const query = new URLSearchParams(question < 0 ? '' : url.slice(question + 1))
  query.delete('ns')
  const from = query.get('from')
  if (from === null) return query
  const { host, isHub } = target.registry
  const path = from.startsWith(`${host}/`) ? from.slice(host.length + 1) : from
  query.set('from', isHub && !path.includes('/') ? `library/${path}` : path)
  return query
}

/**
 * Upstream's Location as a path that leads back here, by the client's own name for the repository. One that leads
 * elsewhere (an upload service of another origin) is told as it is: the client may go there with what it has for that
 * host, as it would without us; we don't. The endpoint's own host under another scheme is the endpoint, behind what
 * ends TLS for it.
 *
 * @returns undefined where no client should go: to no web address, or from https down to http
 */
export function clientLocationOf(location: string, passing: Passing, endpoint: URL): string | undefined {
  const { clientPath, repository } = passing.target
  const base = endpoint.href.replace(/\/$/, '')
  const own = new URL(`${base}/v2/${repository.path}/`)
  const whole = URL.parse(location, own.href)
  if (!whole || !isWeb(whole)) return undefined
  if (whole.host === own.host && whole.pathname.startsWith(own.pathname)) {
    if (passing.ns !== undefined) whole.searchParams.set('ns', passing.ns)
    return `${clientPath}/${whole.pathname.slice(own.pathname.length)}${whole.search}`
  }
  return endpoint.protocol === 'https:' && whole.protocol === 'http:' ? undefined : whole.href
}

const isWeb = ({ protocol }: URL): boolean => protocol === 'https:' || protocol === 'http:'
