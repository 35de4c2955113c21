import { OciError } from '../base/errors.ts'
import type { Head } from './answer.ts'
import type { Exchange } from './exchange.ts'
import { findValue, type Listings, linkOf } from './listings.ts'
import type { Asked } from './request.ts'

type AskedTags = Extract<Asked, { route: 'tags' }>

/** Larger pages are cut to this: what a client may make us hold has a bound (fault 69). */
const TAGS_PAGE_MAX = 1000

/** Answers a page of a repository's tags (distribution-spec, "Listing Tags"), as upstream gave it. */
export async function answerTags(exchange: Exchange, asked: AskedTags, listings: Listings): Promise<void> {
  const { repository } = asked.target
  const last = findValue(asked.query, 'last')
  const n = findCount(asked.query)
  const page = { ...(n !== undefined && { n: Math.max(n, 1) }), ...(last !== undefined && { last }) }
  const found = await listings.tags(repository, page, exchange.signal)
  // None are wanted: the page of one only told that the repository is there.
  const bytes = n === 0 ? Buffer.from(JSON.stringify({ name: repository.path, tags: [] })) : found.bytes
  const link: Head = n === 0 || !found.link ? [] : ['Link', linkOf(asked.target, '/tags/list', found.link, asked.ns)]
  const head = ['Content-Type', found.contentType, 'Content-Length', String(bytes.length), ...link]
  exchange.send(200, head, bytes, found.facts)
}

function findCount(query: URLSearchParams): number | undefined {
  const text = findValue(query, 'n')
  if (text === undefined) return undefined
  if (/^[0-9]{1,16}$/.test(text)) return Math.min(Number(text), TAGS_PAGE_MAX)
  throw new OciError('requestInvalid', "the query's n must be a whole number")
}
