import { OciError } from '../base/errors.ts'
import { DOCKER_HUB } from '../base/well-known.ts'
import type { RegistryHost, Repository } from '../oci/names.ts'
import type { Endpoints } from '../upstream/endpoints.ts'

/** What the decisions ask of an upstream. */
export type Asks = Pick<
  Endpoints,
  'config' | 'endpoints' | 'getManifest' | 'headManifest' | 'headBlob' | 'getTags' | 'getReferrers'
>

/**
 * The configured upstreams, asked as the caller on whose behalf a repository is asked for; a host that is none of them
 * is never dialled.
 */
export type UpstreamOf = (repository: Repository) => Asks | undefined

/** @throws {OciError} nameUnknown */
export function askable(upstreamOf: UpstreamOf, repository: Repository): Asks {
  const found = upstreamOf(repository)
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
