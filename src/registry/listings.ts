import { OciError } from '../base/errors.ts'
import type { CacheFacts } from '../cache/facts.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/names.ts'
import type { Target } from './request.ts'

/** A page of a listing. `link`: the query that asks for the next one. */
type ListingFound = {
  readonly bytes: Buffer
  readonly contentType: string
  readonly link?: URLSearchParams | undefined
  readonly filters?: string | undefined
  readonly facts: CacheFacts
}

/** What this room asks of the cache about listings. */
export type Listings = {
  tags(repository: Repository, query: { n?: number; last?: string }, signal: AbortSignal): Promise<ListingFound>
  referrers(
    repository: Repository,
    digest: Digest,
    query: { artifactType?: string },
    signal: AbortSignal,
  ): Promise<ListingFound>
}

const VALUE_LENGTH_MAX = 1024

/** A value of the client's query. @throws {OciError} requestInvalid: longer than any real one */
export function findValue(query: URLSearchParams, name: string): string | undefined {
  const value = query.get(name)
  if (value === null) return undefined
  if (value.length <= VALUE_LENGTH_MAX) return value
  throw new OciError('requestInvalid', `the query's ${name} is longer than ${VALUE_LENGTH_MAX} characters`)
}

/**
 * Link to the next page (RFC 8288): relative, since ggcr refuses another scheme or host, and under the path and ns by
 * which the client came, since only these lead back to this repository.
 */
export function linkOf(target: Target, end: string, next: URLSearchParams, ns: string | undefined): string {
  const query = new URLSearchParams(next)
  if (ns !== undefined) query.set('ns', ns)
  return `<${target.clientPath}${end}?${query}>; rel="next"`
}
