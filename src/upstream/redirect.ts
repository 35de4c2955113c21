import { unusable } from './failure.ts'
import { type Headers, oneOf } from './headers.ts'

/** Redirects followed for one request; one more is a loop. */
export const HOPS_MAX = 5

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

export const isRedirect = (status: number): boolean => REDIRECTS.has(status)

/** Where a redirect leads. @throws {OciError} upstreamFailed, `redirect`: nowhere, no web address, down from https */
export function nextOf(from: URL, headers: Headers): URL {
  const location = oneOf(headers, 'location')
  const next = location === undefined || !URL.canParse(location, from.href) ? undefined : new URL(location, from)
  if (!next) throw unusable('redirect', 'the upstream redirects to nowhere')
  const isWeb = next.protocol === 'https:' || next.protocol === 'http:'
  if (!isWeb || (from.protocol === 'https:' && next.protocol === 'http:')) {
    throw unusable(
      'redirect',
      'the upstream redirects to where we do not follow: from https to http, or to no web address',
    )
  }
  next.username = ''
  next.password = ''
  next.hash = ''
  return next
}

/** Registries that redirect listings drop the query (registry.k8s.io): it is put back where the location has none. */
export function withQueryOf(first: URL, next: URL): URL {
  if (next.search !== '' || first.search === '') return next
  const whole = new URL(next)
  whole.search = first.search
  return whole
}
