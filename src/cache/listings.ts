import { LRUCache } from 'lru-cache'
import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { MIB } from '../base/units.ts'
import type { Digest } from '../oci/digest.ts'
import { essenceOf, MEDIA_TYPE } from '../oci/media-types.ts'
import type { Repository, Tag } from '../oci/names.ts'
import type { Index, Listing, ManifestFacts } from '../store/index.ts'
import type { ListingTold } from '../upstream/told.ts'
import { Absences } from './absences.ts'
import { type Asks, askable, isOutage, type UpstreamOf } from './asks.ts'
import type { CacheFacts } from './facts.ts'
import {
  ABSENT_MS,
  DENIED_MS,
  keyOf,
  manifestDenied,
  manifestUnknown,
  Negatives,
  repositoryUnknown,
} from './negatives.ts'
import { carried, findCarried, findTags, localPageOf, mergedOf, nextQueryOf, type Page, pageOf } from './pages.ts'
import { type Ask, SharedAsks } from './shared-asks.ts'
import { referrersTagOf } from './signature-tags.ts'
import type { Verdicts } from './verdicts.ts'

/** Tags are asked for each time: whoever lists them wants to see what was pushed just now. */
const TAGS_FRESH_MS = 0
/** Each verification of an image asks for its referrers. */
const REFERRERS_FRESH_MS = 10_000
const PATIENCE_MS = 3_000
const ANSWER_MS_MAX = 19_000
/** Pages of referrers that are gathered, and their bytes: they are merged at once. */
const PAGES_MAX = 20
const REFERRERS_BYTES_MAX = 4 * MIB
const REFUSED_MAX = 10_000

export type ListingFound = {
  readonly bytes: Buffer
  readonly contentType: string
  /** The query that asks for the next page. */
  readonly link?: URLSearchParams
  readonly filters?: string
  readonly facts: CacheFacts
}

type Parts = {
  readonly upstreamOf: UpstreamOf
  readonly index: Pick<
    Index,
    'findListing' | 'putListing' | 'forgetListings' | 'tagsOf' | 'referrersOf' | 'findResolution' | 'mayShow'
  >
  readonly verdicts: Pick<Verdicts, 'under' | 'isForAll'>
  readonly outside: Outside
  readonly log: Log
}

type Told = Extract<ListingTold, { readonly at: 'found' }>
/** One kind of listing: how it is asked for, judged, and made up from what is known when upstream is out. */
type Wanted = {
  readonly key: string
  readonly freshMs: number
  readonly ask: (signal: AbortSignal) => Promise<ListingTold>
  /** Undefined for what is no such list: then there is none. */
  readonly judge: (told: Told) => Omit<Listing, 'confirmedMs'> | undefined
  /** `isAbsent`: upstream's last word was that there is no such list. */
  readonly local: (isAbsent: boolean) => Promise<Omit<ListingFound, 'facts'> | undefined>
  readonly absent: () => OciError
  /** By what name that word is kept for an outage; without one, it makes all that is kept of the repository untrue. */
  readonly absence: string | undefined
  /** What the list is about, where it is about a manifest. */
  readonly subject: Digest | undefined
}

/** The API is there for the whole repository or not at all: with it, an unknown digest has an empty list. */
const REFERRERS_API = 'referrers'

/** Tags and referrers: upstream's answer as it came, and while upstream is out what is remembered or known of them. */
export class Listings implements AsyncDisposable {
  readonly #parts: Parts
  readonly #negatives: Negatives
  readonly #absences: Absences
  readonly #asks: SharedAsks<Listing>
  readonly #refused = new LRUCache<string, true>({ max: REFUSED_MAX })
  readonly #closing = new AbortController()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#negatives = new Negatives(parts.outside.clock)
    this.#absences = new Absences(parts.index, parts.outside.clock, parts.log)
    this.#asks = new SharedAsks(parts.outside, this.#closing.signal)
  }

  /** @throws {OciError} nameUnknown, denied, or why upstream could not be asked while nothing is known */
  async tags(repository: Repository, page: Page, signal: AbortSignal): Promise<ListingFound> {
    const upstream = askable(this.#parts.upstreamOf, repository)
    const wanted: Wanted = {
      key: `tags?${new URLSearchParams({ n: String(page.n ?? ''), last: page.last ?? '' })}`,
      freshMs: TAGS_FRESH_MS,
      ask: (asking) => askTags(upstream, repository, page, asking),
      judge: (told) => judgeTags(told, page, repository),
      local: () => this.#knownTags(repository, page),
      absent: repositoryUnknown,
      absence: undefined,
      subject: undefined,
    }
    const { verdicts } = this.#parts
    return await verdicts.under(repository, { of: 'tags' }, signal, () => this.#listed(repository, wanted, signal))
  }

  /** @throws {OciError} manifestUnknown where upstream has no referrers API; as `tags` */
  async referrers(
    repository: Repository,
    digest: Digest,
    query: { readonly artifactType?: string },
    signal: AbortSignal,
  ): Promise<ListingFound> {
    const upstream = askable(this.#parts.upstreamOf, repository)
    const wanted: Wanted = {
      key: `referrers/${digest}?${new URLSearchParams(query)}`,
      freshMs: REFERRERS_FRESH_MS,
      ask: (asking) => askReferrers(upstream, repository, digest, query, asking),
      judge: judgeReferrers,
      local: (isAbsent) => this.#knownReferrers(repository, digest, query.artifactType, isAbsent),
      absent: manifestUnknown,
      absence: REFERRERS_API,
      subject: digest,
    }
    const question = { of: 'referrers', digest } as const
    return await this.#parts.verdicts.under(repository, question, signal, () =>
      this.#listed(repository, wanted, signal),
    )
  }

  /** A write went through. @throws what the index throws */
  async forget(repository: Repository): Promise<void> {
    this.#negatives.forgetRepository(repository)
    this.#asks.forgetRepository(repository)
    await this.#parts.index.forgetListings(repository)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new OciError('upstreamResting', 'this cache is closing'))
    await this.#asks.idle()
  }

  async #listed(repository: Repository, wanted: Wanted, signal: AbortSignal): Promise<ListingFound> {
    this.#negatives.check(keyOf(repository, wanted.key))
    const stored = await this.#find(repository, wanted.key)
    const isAbsent = !stored && wanted.absence !== undefined && (await this.#absences.has(repository, wanted.absence))
    const ageMs = stored ? this.#parts.outside.clock.wallMs() - stored.confirmedMs : 0
    if (stored && ageMs >= 0 && ageMs < wanted.freshMs) {
      return foundOf(stored, { hit: true, ttlS: Math.floor((wanted.freshMs - ageMs) / 1000) })
    }
    try {
      const start = (ask: Ask) => this.#ask(repository, wanted, ask)
      const end = await this.#asks.join(
        keyOf(repository, wanted.key),
        start,
        stored || isAbsent ? PATIENCE_MS : ANSWER_MS_MAX,
        signal,
      )
      if (!end) throw new OciError('upstreamSlow', 'the upstream takes too long to answer', { fault: 'slow' })
      const collapsed = end.collapsed && { collapsed: true }
      return foundOf(end.value, { hit: false, fwd: 'uri-miss', fwdStatus: 200, ...collapsed })
    } catch (error) {
      // what was refused to us last is not shown in an outage either
      if (!isOutage(error) || this.#refused.has(keyOf(repository, ''))) throw error
      const { upstreamStatus: fwdStatus } = error
      const status = fwdStatus !== undefined && { fwdStatus }
      if (stored) return foundOf(stored, { hit: false, fwd: 'stale', ...status })
      const local = await wanted.local(isAbsent)
      if (!local) throw isAbsent ? wanted.absent() : error
      return { ...local, facts: { hit: false, fwd: 'stale', ...status, detail: 'local' } }
    }
  }

  async #ask(repository: Repository, wanted: Wanted, ask: Ask): Promise<Listing> {
    const told = await wanted.ask(ask.signal)
    const judged = told.at === 'found' ? wanted.judge(told) : undefined
    if (judged) {
      const listing = { ...judged, confirmedMs: this.#parts.outside.clock.wallMs() }
      this.#refused.delete(keyOf(repository, ''))
      if (ask.isCurrent()) {
        await this.#tried(this.#parts.index.putListing(repository, wanted.key, listing))
        if (wanted.absence !== undefined) await this.#absences.end(repository, wanted.absence)
      }
      return listing
    }
    const isDenied = told.at === 'denied'
    const error = isDenied ? manifestDenied() : wanted.absent()
    if (isDenied) this.#refused.set(keyOf(repository, ''), true)
    if (ask.isCurrent()) {
      await (isDenied ? this.#denied(repository) : this.#absent(repository, wanted, ask))
      this.#negatives.remember(keyOf(repository, wanted.key), error, isDenied ? DENIED_MS : ABSENT_MS)
    }
    throw error
  }

  /** What is refused to one caller others may see. */
  async #denied(repository: Repository): Promise<void> {
    if (!repository.as) await this.#tried(this.#parts.index.forgetListings(repository))
  }

  /** Names that anyone makes up leave nothing on the disk: an absence is kept where upstream has shown something. */
  async #absent(repository: Repository, { absence, subject }: Wanted, { signal }: Ask): Promise<void> {
    if (!(await this.#parts.verdicts.isForAll(repository, signal))) return
    if (absence === undefined) await this.#tried(this.#parts.index.forgetListings(repository))
    else if (await this.#isKnown(repository, subject)) await this.#absences.remember(repository, absence)
  }

  /** By what is shown, or by a tag alone: oras asks for the referrers of what a tag points to before it has that. */
  async #isKnown(repository: Repository, subject: Digest | undefined): Promise<boolean> {
    const { index } = this.#parts
    if (subject && (await this.#tried(index.mayShow(repository, subject)))) return true
    return ((await this.#tried(index.tagsOf(repository))) ?? []).length > 0
  }

  async #knownTags(repository: Repository, page: Page) {
    const known = (await this.#tried(this.#parts.index.tagsOf(repository))) ?? []
    if (known.length === 0) return undefined // upstream's failure says more than an empty list
    const { tags, next } = localPageOf(known, page)
    return { bytes: tagsBytes(repository, tags), contentType: 'application/json', ...(next && { link: next }) }
  }

  /** Undefined where upstream's failure, or the fallback tag, says more. */
  async #knownReferrers(repository: Repository, digest: Digest, artifactType: string | undefined, isAbsent: boolean) {
    if (isAbsent && (await this.#knowsTag(repository, referrersTagOf(digest)))) return undefined
    const known = (await this.#tried(this.#parts.index.referrersOf(repository, digest))) ?? []
    // not to know of any is not to know that there are none: that, upstream must have said
    if (known.length === 0 && !isAbsent) return undefined
    const asked = known.filter((each) => artifactType === undefined || each.artifactType === artifactType)
    const document = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: asked.map(descriptorOf) }
    return {
      bytes: Buffer.from(JSON.stringify(document)),
      contentType: MEDIA_TYPE.ociIndex,
      ...(artifactType !== undefined && { filters: 'artifactType' }),
    }
  }

  async #knowsTag(repository: Repository, tag: Tag): Promise<boolean> {
    const known = await this.#tried(this.#parts.index.findResolution(repository, tag))
    return known !== undefined && known.goneMs === undefined
  }

  async #find(repository: Repository, key: string): Promise<Listing | undefined> {
    return await this.#tried(this.#parts.index.findListing(repository, key))
  }

  async #tried<T>(work: Promise<T>): Promise<T | undefined> {
    try {
      return await work
    } catch (error) {
      this.#parts.log.warn({ err: error }, 'the index failed for a listing')
      return undefined
    }
  }
}

function foundOf({ bytes, contentType, link, filters }: Listing, facts: CacheFacts): ListingFound {
  const next = nextQueryOf(link)
  return { bytes, contentType, ...(next && { link: next }), ...(filters !== undefined && { filters }), facts }
}

function judgeTags({ bytes, link, filters }: Told, page: Page, repository: Repository): Omit<Listing, 'confirmedMs'> {
  const tags = findTags(bytes)
  if (!tags) throw new OciError('upstreamFailed', 'what the upstream sent is no list of tags', { fault: 'header' })
  const cut = findCarried(page) ? undefined : pageOf(tags, page)
  const told = nextQueryOf(link)
  const next = cut?.next ?? (told && carried(told))
  return {
    bytes: cut ? tagsBytes(repository, cut.tags) : bytes,
    contentType: 'application/json',
    link: next && `<?${next}>; rel="next"`,
    filters,
  }
}

/** Anything but an index is the answer of a registry without the API: clients take the fallback tag at a 404. */
function judgeReferrers({ bytes, contentType, link, filters }: Told): Omit<Listing, 'confirmedMs'> | undefined {
  if (essenceOf(contentType ?? '') !== MEDIA_TYPE.ociIndex) return undefined
  return { bytes, contentType: MEDIA_TYPE.ociIndex, link, filters }
}

/** A page whose query a client carried back to us; upstream's token is good at the endpoint that gave it, the first. */
function askTags(upstream: Asks, { path }: Repository, page: Page, signal: AbortSignal): Promise<ListingTold> {
  const query = findCarried(page)
  const [endpoint] = upstream.endpoints
  return query && endpoint ? endpoint.getTags(path, query, signal) : upstream.getTags(path, page, signal)
}

/** All pages as one: few registries have several, and clients could not name the next one through us. */
async function askReferrers(
  upstream: Asks,
  { path }: Repository,
  digest: Digest,
  query: { readonly artifactType?: string },
  signal: AbortSignal,
): Promise<ListingTold> {
  const first = await upstream.getReferrers(path, digest, query, signal)
  if (first.at !== 'found') return first
  const pages = [first.bytes]
  let { length: bytes } = first.bytes
  const [endpoint] = upstream.endpoints
  for (let next = nextQueryOf(first.link); next && endpoint && pages.length < PAGES_MAX; ) {
    const told = await endpoint.getReferrers(path, digest, next, signal)
    if (told.at !== 'found')
      throw new OciError('upstreamFailed', 'a page of the referrers is missing', { fault: 'status' })
    pages.push(told.bytes)
    bytes += told.bytes.length
    if (bytes > REFERRERS_BYTES_MAX) {
      throw new OciError('upstreamFailed', 'the referrers are more than any client takes', { fault: 'size' })
    }
    next = nextQueryOf(told.link)
  }
  const merged = pages.length > 1 ? mergedOf(pages) : undefined
  return { ...first, bytes: merged ?? first.bytes, link: undefined }
}

const tagsBytes = ({ path }: Repository, tags: readonly string[]): Buffer =>
  Buffer.from(JSON.stringify({ name: path, tags }))

function descriptorOf({ mediaType, digest, sizeBytes, artifactType, annotations }: ManifestFacts) {
  return {
    ...{ mediaType, digest, size: sizeBytes },
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  }
}
