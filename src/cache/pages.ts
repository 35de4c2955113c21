import LinkHeader from 'http-link-header'
import { findJson, type JsonBounds } from '../oci/json.ts'

/** Of a page of 4 MiB: Google's registry lists each manifest beside the tags, by its digest. */
const BOUNDS: JsonBounds = { depthMax: 32, valuesMax: 600_000, namesMax: 20_000 }

/** A page as a client asks for it (distribution-spec, "Listing Tags"): at most `n`, after `last`. */
export type Page = { readonly n?: number; readonly last?: string }

/**
 * The query of a Link to the next page (RFC 8288), relative or absolute. Only the query is believed: where it leads is
 * ours to say. undefined where there is no next page, or the header cannot be read.
 */
export function nextQueryOf(link: string | undefined): URLSearchParams | undefined {
  if (link === undefined) return undefined
  const uri = findNext(link)
  const at = uri?.indexOf('?') ?? -1
  if (uri === undefined || at < 0) return undefined
  return new URLSearchParams(uri.slice(at + 1).split('#', 1)[0])
}

function findNext(link: string): string | undefined {
  try {
    return LinkHeader.parse(link).rel('next')[0]?.uri
  } catch {
    return undefined // a header that cannot be read: what came is all there is
  }
}

/**
 * The page out of `tags` where upstream gave more than was asked for: a redirect may have dropped the query
 * (registry.k8s.io). undefined where `tags` is the page already.
 */
export function pageOf(
  tags: readonly string[],
  { n, last }: Page,
): { readonly tags: readonly string[]; readonly next: URLSearchParams | undefined } | undefined {
  const from = last === undefined ? 0 : tags.indexOf(last) + 1
  const end = Math.min(tags.length, from + (n ?? tags.length))
  if (from === 0 && end === tags.length) return undefined
  const page = tags.slice(from, end)
  const next = end < tags.length && page.length > 0 ? nextOf(n, page.at(-1) ?? '') : undefined
  return { tags: page, next }
}

/** The page of tags in lexical order that we know by ourselves; `last` need not be one of them. */
export function localPageOf(tags: readonly string[], { n, last }: Page) {
  const rest = last === undefined ? tags : tags.filter((tag) => tag > last)
  return pageOf(rest, n === undefined ? {} : { n }) ?? { tags: rest, next: undefined }
}

const nextOf = (n: number | undefined, last: string): URLSearchParams =>
  new URLSearchParams({ ...(n !== undefined && { n: String(n) }), last })

/** How long a query of upstream's may be that is carried: what clients send back is bounded too. */
const CARRIED_LENGTH_MAX = 700
/** No tag begins so. */
const CARRIED = '~'

/**
 * The next query as clients may ask for it: they come back with `n` and `last` alone. Where upstream pages by a token
 * of its own (ECR's `next_token`), `last` carries its whole query; undefined where that is too long.
 */
export function carried(next: URLSearchParams): URLSearchParams | undefined {
  if ([...next.keys()].every((name) => name === 'n' || name === 'last')) return next
  const text = next.toString()
  const n = next.get('n')
  if (text.length > CARRIED_LENGTH_MAX) return undefined
  return new URLSearchParams({ ...(n !== null && { n }), last: CARRIED + Buffer.from(text).toString('base64url') })
}

/** The query that a page's `last` carries; `n` stays what the client asked for. */
export function findCarried({ n, last }: Page): URLSearchParams | undefined {
  if (!last?.startsWith(CARRIED)) return undefined
  const query = new URLSearchParams(Buffer.from(last.slice(CARRIED.length), 'base64url').toString())
  if (n === undefined) query.delete('n')
  else query.set('n', String(n))
  return query
}

/** The tags in a listing, or undefined where it is none; some registries say null for none. */
export function findTags(bytes: Buffer): readonly string[] | undefined {
  const read = findJson(bytes, BOUNDS)
  if (typeof read !== 'object' || read === null || !('tags' in read)) return undefined
  if (read.tags === null) return []
  const isList = Array.isArray(read.tags) && read.tags.every((tag) => typeof tag === 'string')
  return isList ? (read.tags as string[]) : undefined
}

/** Pages of referrers as one index: the first as it came, with the descriptors of all. undefined where one is none. */
export function mergedOf(pages: readonly Buffer[]): Buffer | undefined {
  const indexes = pages.map(findIndex)
  const manifests = indexes.flatMap((each) => each?.manifests ?? [])
  return indexes.includes(undefined) ? undefined : Buffer.from(JSON.stringify({ ...indexes[0], manifests }))
}

function findIndex(bytes: Buffer): { readonly manifests: readonly unknown[] } | undefined {
  const read = findJson(bytes, BOUNDS)
  if (typeof read !== 'object' || read === null || !('manifests' in read)) return undefined
  return Array.isArray(read.manifests) ? { ...read, manifests: read.manifests } : undefined
}
