import type { Exchange } from './exchange.ts'
import { findValue, type Listings, linkOf } from './listings.ts'
import type { Asked } from './request.ts'

type AskedReferrers = Extract<Asked, { route: 'referrers' }>

/**
 * Answers what refers to a digest (distribution-spec, "Listing Referrers"). The Content-Type goes out exactly as an
 * index's: ggcr and oras take anything else for a registry without this API.
 */
export async function answerReferrers(exchange: Exchange, asked: AskedReferrers, listings: Listings): Promise<void> {
  const { target, digest, query, ns } = asked
  exchange.digest = digest
  const artifactType = findValue(query, 'artifactType')
  const wanted = artifactType === undefined ? {} : { artifactType }
  const { bytes, contentType, link, filters, facts } = await listings.referrers(
    target.repository,
    digest,
    wanted,
    exchange.signal,
  )
  const head = ['Content-Type', contentType, 'Content-Length', String(bytes.length)]
  if (link) head.push('Link', linkOf(target, `/referrers/${digest}`, link, ns))
  if (filters !== undefined) head.push('OCI-Filters-Applied', filters)
  exchange.send(200, head, bytes, facts)
}
