import { OciError } from '../base/errors.ts'
import { DOCKER_HUB } from '../base/well-known.ts'
import type { RegistryHost } from '../oci/names.ts'
import type { Upstream } from '../upstream/upstream.ts'

/** What the decisions ask of an upstream. */
export type Asks = Pick<
  Upstream,
  'config' | 'endpoints' | 'getManifest' | 'headManifest' | 'headBlob' | 'getTags' | 'getReferrers'
>

/** The configured upstreams; a host that is none of them is never dialled. */
export type UpstreamOf = (host: RegistryHost) => Asks | undefined

/** @throws {OciError} nameUnknown */
export function askable<T>(upstreamOf: (host: RegistryHost) => T | undefined, host: RegistryHost): T {
  const found = upstreamOf(host)
  if (found) return found
  throw new OciError('nameUnknown', 'no upstream of this name is configured')
}

/** Docker Hub counts each GET of a manifest as a pull, and no HEAD: a GET after one that failed would only cost. */
export const countsPulls = (host: RegistryHost): boolean => host === DOCKER_HUB

const OUTAGES: ReadonlySet<OciError['reason']> = new Set([
  'accountSpent',
  'overloaded',
  'upstreamFailed',
  'upstreamResting',
  'upstreamSlow',
])

/** Whether this is upstream's trouble, in which what is known may be shown; what it said no to is none. */
export const isOutage = (error: unknown): error is OciError => error instanceof OciError && OUTAGES.has(error.reason)
