import { LRUCache } from 'lru-cache'
import type { Outside } from '../base/clock.ts'
import type { TagPolicy } from '../base/config.ts'
import type { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import { essenceOf, isManifestType } from '../oci/media-types.ts'
import type { Repository, Tag } from '../oci/names.ts'
import type { Index } from '../store/index.ts'
import type { ManifestHead } from '../upstream/told.ts'
import {
  type Anchor,
  ageOf,
  anchorNow,
  anchorOf,
  type Freshness,
  freshnessOf,
  type Instant,
  spread,
} from './freshness.ts'
import { keyOf, sharedKeyOf } from './negatives.ts'

const KNOWN_MAX = 50_000
/** After a failure nobody asks again for this long while an answer is known. */
export const REST_MS = 5_000

/** What a HEAD told of a manifest besides its digest, for a HEAD of ours. */
export type Told = { readonly mediaType: string; readonly sizeBytes: number }

/** A HEAD's type and length, where both are there and the type is a manifest's. */
export function toldOf(head: Extract<ManifestHead, { readonly at: 'found' }>): Told | undefined {
  const mediaType = head.contentType === undefined ? undefined : essenceOf(head.contentType)
  if (mediaType === undefined || !isManifestType(mediaType) || head.sizeBytes === undefined) return undefined
  return { mediaType, sizeBytes: head.sizeBytes }
}

type Pointed = { readonly digest: Digest; readonly anchor: Anchor }

/** A resolution in memory. It is replaced whole. */
export type Known = Pointed & {
  /** With a fresh window that was drawn for this confirmation. */
  readonly policy: TagPolicy
  readonly told: Told | undefined
  /** Upstream's last word was 404. */
  readonly isGone: boolean
  /** What it pointed to before, until the bytes of what it points to now were seen: a HEAD's digest is a hint. */
  readonly previous: Pointed | undefined
}

/** Upstream failed whoever asked: until then he makes do with what is known. */
export type Resting = { readonly untilMs: number; readonly failure: OciError }

/** What a request for a known tag is worth; `ask` is all that cannot be answered from what is known. */
export type Plan = 'answer' | 'answerAndAsk' | 'rest' | 'ask'

export function planOf(known: Known, resting: Resting | undefined, now: Instant): Plan {
  if (isRefused(known)) return 'ask'
  const isResting = resting !== undefined && now.monotonicMs < resting.untilMs
  const worth = worthOf(known, known.policy, now)
  if (worth === 'fresh') return 'answer'
  if (worth === 'stale') return isResting ? 'answer' : 'answerAndAsk'
  return worth === 'expired' && isResting ? 'rest' : 'ask'
}

/** Deleted upstream, by a policy that lets no outage bring it back. */
export const isRefused = ({ isGone, policy }: Known): boolean => isGone && policy.gone === 'refuse'

/** Whether it may stand in while upstream fails. */
export const isUsable = (known: Known, now: Instant): boolean =>
  !isRefused(known) && worthOf(known, known.policy, now) !== 'spent'

export const worthOf = ({ anchor }: Pointed, policy: TagPolicy, now: Instant): Freshness =>
  freshnessOf(ageOf(anchor, now, policy), policy)

type Facts = Pick<Index, 'findResolution' | 'putResolution' | 'putGone' | 'forgetResolution'>

/** What tags point to: in memory, and behind it in the index, whose failures cost no answer. */
export class Resolutions {
  readonly #index: Facts
  readonly #outside: Outside
  readonly #log: Log
  readonly #known = new LRUCache<string, Known>({ max: KNOWN_MAX })
  /** Of what is known; upstream may fail one caller and not another. */
  readonly #resting = new LRUCache<string, Resting>({ max: KNOWN_MAX })

  constructor(index: Facts, outside: Outside, log: Log) {
    this.#index = index
    this.#outside = outside
    this.#log = log
  }

  now(): Instant {
    const { clock } = this.#outside
    return { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() }
  }

  peek(repository: Repository, tag: Tag): Known | undefined {
    return this.#known.get(sharedKeyOf(repository, tag))
  }

  /** From the index, unless memory came to know it meanwhile. */
  async find(repository: Repository, tag: Tag, policy: TagPolicy): Promise<Known | undefined> {
    const stored = await this.#tried('asked', this.#index.findResolution(repository, tag))
    const known = this.peek(repository, tag)
    if (known || !stored) return known
    const { digest, confirmedMs, goneMs } = stored
    const spread = this.#spread(policy)
    const anchor = anchorOf(Math.max(confirmedMs, goneMs ?? 0), this.now(), spread)
    const isGone = goneMs !== undefined
    return this.#set(repository, tag, {
      ...{ digest, anchor, policy: spread, isGone },
      ...{ told: undefined, previous: undefined },
    })
  }

  /** Upstream says that `tag` points to `digest`. */
  async confirm(repository: Repository, tag: Tag, digest: Digest, policy: TagPolicy, told: Told | undefined) {
    const now = this.now()
    const before = this.peek(repository, tag)
    const isSame = before?.digest === digest
    this.#resting.delete(keyOf(repository, tag))
    this.#set(repository, tag, {
      ...{ digest, anchor: anchorNow(now), policy: this.#spread(policy), isGone: false },
      told: told ?? (isSame ? before.told : undefined),
      previous: before?.previous ?? (isSame ? undefined : before),
    })
    await this.#tried('told', this.#index.putResolution(repository, tag, digest, now.wallMs))
  }

  /** Upstream says that a known tag is no more. */
  async gone(repository: Repository, tag: Tag, known: Known): Promise<void> {
    const now = this.now()
    this.#resting.delete(keyOf(repository, tag))
    this.#set(repository, tag, { ...known, anchor: anchorNow(now), isGone: true })
    await this.#tried('told', this.#index.putGone(repository, tag, now.wallMs))
  }

  /** The bytes behind what the tag points to were seen: what it pointed to before is needed no more. */
  verified(repository: Repository, tag: Tag, digest: Digest): void {
    const known = this.peek(repository, tag)
    if (known?.previous && known.digest === digest) this.#set(repository, tag, { ...known, previous: undefined })
  }

  /** Upstream failed: it is left alone for a while. */
  rest(repository: Repository, tag: Tag, failure: OciError): void {
    const untilMs = this.#outside.clock.monotonicMs() + REST_MS
    if (this.peek(repository, tag)) this.#resting.set(keyOf(repository, tag), { untilMs, failure })
  }

  restingOf(repository: Repository, tag: Tag): Resting | undefined {
    if (this.#resting.size === 0) return undefined // a hit is spared the making of a key
    return this.#resting.get(keyOf(repository, tag))
  }

  async forget(repository: Repository, tag: Tag): Promise<void> {
    this.#known.delete(sharedKeyOf(repository, tag))
    this.#resting.delete(keyOf(repository, tag))
    await this.#tried('told', this.#index.forgetResolution(repository, tag))
    this.#known.delete(sharedKeyOf(repository, tag)) // what was read back while the index forgot
  }

  #spread(policy: TagPolicy): TagPolicy {
    return spread(policy, this.#outside.random())
  }

  #set(repository: Repository, tag: Tag, known: Known): Known {
    this.#known.set(sharedKeyOf(repository, tag), known)
    return known
  }

  async #tried<T>(what: 'asked' | 'told', work: Promise<T>): Promise<T | undefined> {
    try {
      return await work
    } catch (error) {
      this.#log.warn({ err: error, what }, 'the index failed for a resolution')
      return undefined
    }
  }
}
