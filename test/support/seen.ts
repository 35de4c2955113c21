import type { IncomingMessage } from 'node:http'
import type { Seen } from './misbehave.ts'

const ROUTES = [
  ['manifest', /^\/v2\/(.+)\/manifests\/([^/]+)$/],
  ['upload', /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/],
  ['blob', /^\/v2\/(.+)\/blobs\/([^/]+)$/],
  ['tags', /^\/v2\/(.+)\/tags\/list()$/],
  ['referrers', /^\/v2\/(.+)\/referrers\/([^/]+)$/],
  ['ping', /^\/v2\/?()()$/],
  ['token', /^\/token()()$/],
] as const

/** What a request asks for. */
export function seenOf(request: IncomingMessage): Seen {
  const { method = '', url = '', headers } = request
  const asked = url.split('?', 1)[0] ?? ''
  const range = headers.range
  const about = { method, url, headers, range, summary: range ? `${method} ${url} ${range}` : `${method} ${url}` }
  for (const [kind, pattern] of ROUTES) {
    const [whole, path = '', reference = ''] = pattern.exec(asked) ?? []
    if (whole !== undefined) return { ...about, kind, path, reference: decodeURIComponent(reference) }
  }
  return { ...about, kind: 'other', path: '', reference: '' }
}
