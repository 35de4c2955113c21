import type { Outside } from '../base/clock.ts'
import type { TagPolicy } from '../base/config.ts'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import { essenceOf, isSchema1Type } from '../oci/media-types.ts'
import type { Repository, Tag } from '../oci/names.ts'
import type { Index } from '../store/index.ts'
import type { Absent, Denied } from '../upstream/told.ts'
import type { Absences } from './absences.ts'
import { askable, countsPulls, isOutage, type UpstreamOf } from './asks.ts'
import type { CacheFacts } from './facts.ts'
import { ageOf, ttlSecondsOf } from './freshness.ts'
import type { Links } from './links.ts'
import type { ManifestFetch } from './manifest-fetch.ts'
import { DENIED_MS, keyOf, manifestDenied, manifestUnknown, type Negatives } from './negatives.ts'
import type { TagPolicies } from './policies.ts'
import {
  isRefused,
  isUsable,
  type Known,
  planOf,
  REST_MS,
  Resolutions,
  type Told,
  toldOf,
  worthOf,
} from './resolutions.ts'
import { type Ask, SharedAsks } from './shared-asks.ts'
import { isSignatureTag, subjectOf } from './signature-tags.ts'
import type { Verdicts } from './verdicts.ts'

/** How long upstream may take while an answer is known. */
const PATIENCE_MS = 3_000
/** Longer than any answer may take: whoever asked has his own limit. */
const NO_LIMIT_MS = 60_000

/** What a tag points to, and how that came about. */
export type Resolved = {
  readonly digest: Digest
  readonly facts: CacheFacts
  readonly told: Told | undefined
  /** What it pointed to before, where that may stand in for a digest whose bytes cannot be had. */
  readonly previous: Digest | undefined
  /** Why upstream's word is missing: this is the last known, not what was asked for. */
  readonly failure: OciError | undefined
}

type Pointed = { readonly digest: Digest; readonly told: Told | undefined }
/** How an ask ended: `status` is upstream's. */
type Asked = Pointed & { readonly status: 200 | 404 }

type Parts = {
  readonly upstreamOf: UpstreamOf
  readonly index: Pick<Index, 'findResolution' | 'putResolution' | 'putGone' | 'forgetResolution' | 'findDescriptor'>
  readonly policies: TagPolicies
  readonly fetch: Pick<ManifestFetch, 'byTag'>
  readonly links: Pick<Links, 'mayShow'>
  readonly negatives: Negatives
  readonly absences: Absences
  readonly verdicts: Pick<Verdicts, 'isForAll'>
  readonly outside: Outside
  readonly log: Log
  readonly closing: AbortSignal
}

/** The way of a tag to its digest (design.md §3): what is fresh or stale is answered at once, all else by one ask. */
export class Resolver {
  readonly #parts: Parts
  readonly #resolutions: Resolutions
  readonly #asks: SharedAsks<Asked>

  constructor(parts: Parts) {
    this.#parts = parts
    this.#resolutions = new Resolutions(parts.index, parts.outside, parts.log)
    this.#asks = new SharedAsks(parts.outside, parts.closing)
  }

  /** The answer that memory gives at once, if it does; a stale one is revalidated behind. */
  find(repository: Repository, tag: Tag): Resolved | undefined {
    const known = this.#resolutions.peek(repository, tag)
    return known && this.#atOnce(repository, tag, known)
  }

  /** @throws {OciError} manifestUnknown, denied, or why upstream could not be asked while nothing usable is known */
  async resolve(repository: Repository, tag: Tag, signal: AbortSignal): Promise<Resolved> {
    const policy = this.#policyOf(repository, tag)
    const known = this.#resolutions.peek(repository, tag) ?? (await this.#resolutions.find(repository, tag, policy))
    const now = this.#resolutions.now()
    const found = known && this.#atOnce(repository, tag, known)
    if (found) return found
    const resting = this.#resolutions.restingOf(repository, tag)
    if (known && resting && planOf(known, resting, now) === 'rest') return this.#lastKnown(known, resting.failure)
    this.#parts.negatives.check(keyOf(repository, tag))
    return await this.#asked(repository, tag, known, signal)
  }

  /**
   * Asks by GET, where a HEAD told a digest whose bytes cannot be had.
   *
   * @throws {OciError} as `resolve`
   */
  async resolveByGet(repository: Repository, tag: Tag, signal: AbortSignal): Promise<Digest> {
    const ask = (it: Ask) => this.#concluded(repository, tag, it, this.#get(repository, tag, it.signal))
    const end = await this.#asks.join(`${keyOf(repository, tag)} GET`, ask, NO_LIMIT_MS, signal)
    if (!end) throw slow()
    return end.value.digest
  }

  /** The bytes of what the tag points to were seen. */
  verified(repository: Repository, tag: Tag, digest: Digest): void {
    this.#resolutions.verified(repository, tag, digest)
  }

  /** A write may have made untrue what is known. */
  async forget(repository: Repository, tag: Tag): Promise<void> {
    this.#asks.forget(repository, tag)
    this.#asks.forget(repository, `${tag} GET`)
    await this.#resolutions.forget(repository, tag)
  }

  /** Resolves once no ask is under way. */
  idle(): Promise<void> {
    return this.#asks.idle()
  }

  #atOnce(repository: Repository, tag: Tag, known: Known): Resolved | undefined {
    const now = this.#resolutions.now()
    const plan = planOf(known, this.#resolutions.restingOf(repository, tag), now)
    if (plan !== 'answer' && plan !== 'answerAndAsk') return undefined
    if (plan === 'answerAndAsk') this.#asks.begin(keyOf(repository, tag), this.#askOf(repository, tag))
    const ttlS = ttlSecondsOf(ageOf(known.anchor, now, known.policy), known.policy)
    return this.#resolved(known, { hit: true, ttlS, ...(known.isGone && { detail: 'gone' }) })
  }

  async #asked(repository: Repository, tag: Tag, known: Known | undefined, signal: AbortSignal): Promise<Resolved> {
    const key = keyOf(repository, tag)
    const hasAnswer = known !== undefined && isUsable(known, this.#resolutions.now())
    const patienceMs = hasAnswer ? Math.max(0, PATIENCE_MS - this.#asks.runningMs(key)) : NO_LIMIT_MS
    try {
      const end = await this.#asks.join(key, this.#askOf(repository, tag), patienceMs, signal)
      if (!end) throw slow()
      const { digest, told, status } = end.value
      const facts: CacheFacts = {
        ...{ hit: false, fwd: known ? 'stale' : 'uri-miss', fwdStatus: status },
        ...(end.collapsed && { collapsed: true }),
        ...(status === 404 && { detail: 'gone' }),
      }
      const current = this.#resolutions.peek(repository, tag)
      return this.#resolved(current?.digest === digest ? current : { digest, told }, facts)
    } catch (error) {
      return await this.#standIn(repository, tag, error)
    }
  }

  /** What may be shown instead of upstream's answer. @throws `error` where nothing may */
  async #standIn(repository: Repository, tag: Tag, error: unknown): Promise<Resolved> {
    const known = this.#resolutions.peek(repository, tag) // a refusal has made us forget it meanwhile
    if (!isOutage(error)) throw error
    if (!known) throw (await this.#wasAbsent(repository, tag)) ? manifestUnknown() : error
    if (isRefused(known)) {
      // an outage brings back nothing that was deleted
      this.#parts.negatives.remember(keyOf(repository, tag), manifestUnknown(), REST_MS)
      throw manifestUnknown()
    }
    if (!isUsable(known, this.#resolutions.now())) throw error
    if (error.reason === 'upstreamSlow') this.#resolutions.rest(repository, tag, error)
    return this.#lastKnown(known, error)
  }

  async #wasAbsent(repository: Repository, tag: Tag): Promise<boolean> {
    if (!isSignatureTag(tag)) return false // any other tag may have come since, and its pull fails either way
    return await this.#parts.absences.has(repository, tag, this.#policyOf(repository, tag).staleIfError)
  }

  #lastKnown(known: Known, failure: OciError): Resolved {
    const { upstreamStatus: fwdStatus } = failure
    const facts: CacheFacts = { hit: false, fwd: 'stale', ...(fwdStatus !== undefined && { fwdStatus }) }
    return { ...this.#resolved(known, facts), failure }
  }

  #resolved(known: Known | Pointed, facts: CacheFacts): Resolved {
    const { digest, told } = known
    const previous = 'previous' in known && known.previous
    const isWorth = previous && worthOf(previous, known.policy, this.#resolutions.now()) !== 'spent'
    return { digest, facts, told, previous: isWorth ? previous.digest : undefined, failure: undefined }
  }

  #askOf(repository: Repository, tag: Tag): (ask: Ask) => Promise<Asked> {
    return (ask) => this.#concluded(repository, tag, ask, this.#head(repository, tag, ask.signal))
  }

  /** One HEAD; a GET where it tells too little, but never after it failed where a GET costs a pull. */
  async #head(repository: Repository, tag: Tag, signal: AbortSignal): Promise<Pointed | Absent | Denied> {
    const upstream = askable(this.#parts.upstreamOf, repository)
    const head = await upstream.headManifest(repository.path, { tag }, signal)
    if (head.at === 'absent' || head.at === 'denied') return head
    if (head.at === 'unheadable' && countsPulls(repository.host)) {
      throw new OciError('upstreamFailed', 'the upstream takes no HEAD', { fault: 'status' })
    }
    if (head.at === 'unheadable' || !head.digest) return await this.#get(repository, tag, signal)
    if (head.contentType && isSchema1Type(essenceOf(head.contentType))) {
      throw new OciError('manifestInvalid', 'this is a schema 1 manifest, which no current client uses')
    }
    return { digest: head.digest, told: toldOf(head) }
  }

  async #get(repository: Repository, tag: Tag, signal: AbortSignal): Promise<Pointed | Absent | Denied> {
    const fetched = await this.#parts.fetch.byTag(repository, tag, signal)
    if (fetched.at !== 'found') return fetched
    const { digest, mediaType, bytes } = fetched.kept
    return { digest, told: { mediaType, sizeBytes: bytes.length } }
  }

  /** Draws from upstream's word, or its failure, what is to be known from now on. */
  async #concluded(repository: Repository, tag: Tag, ask: Ask, work: Promise<Pointed | Absent | Denied>) {
    const key = keyOf(repository, tag)
    try {
      const said = await work
      if (!('at' in said)) return await this.#pointed(repository, tag, ask, said)
      if (said.at === 'absent') return await this.#absent(repository, tag, ask)
    } catch (error) {
      if (ask.isCurrent() && isOutage(error)) {
        this.#parts.log.warn({ err: error, upstream: repository.host, tag }, 'a tag could not be revalidated')
        this.#resolutions.rest(repository, tag, error)
      }
      throw error
    }
    if (ask.isCurrent()) {
      // what is refused to us is not shown in an outage either; a caller who is refused has no verdict any more
      if (!repository.as) await this.#resolutions.forget(repository, tag)
      this.#parts.negatives.remember(key, manifestDenied(), DENIED_MS)
    }
    throw manifestDenied()
  }

  async #pointed(repository: Repository, tag: Tag, ask: Ask, said: Pointed): Promise<Asked> {
    if (ask.isCurrent()) {
      this.#parts.negatives.forget(keyOf(repository, tag))
      await this.#resolutions.confirm(repository, tag, said.digest, this.#policyOf(repository, tag), said.told)
    }
    return { ...said, status: 200 }
  }

  async #absent(repository: Repository, tag: Tag, ask: Ask): Promise<Asked> {
    const policy = this.#policyOf(repository, tag)
    const isForAll = await this.#parts.verdicts.isForAll(repository, ask.signal)
    if (!isForAll) throw manifestUnknown()
    const known = this.#resolutions.peek(repository, tag)
    if (known && ask.isCurrent()) await this.#resolutions.gone(repository, tag, known)
    if (known && policy.gone === 'serve') return { digest: known.digest, told: known.told, status: 404 }
    if (ask.isCurrent()) {
      this.#parts.negatives.remember(keyOf(repository, tag), manifestUnknown(), policy.negative)
      await this.#rememberAbsent(repository, tag)
    }
    throw manifestUnknown()
  }

  /** Only of what is about something that is known here: else any name that a client makes up would be kept. */
  async #rememberAbsent(repository: Repository, tag: Tag): Promise<void> {
    const subject = isSignatureTag(tag) ? subjectOf(tag) : undefined
    if (subject && (await this.#knows(repository, subject))) await this.#parts.absences.remember(repository, tag)
  }

  /** Whether it is shown here, or at least named by something that is: oras asks before it has the manifest itself. */
  async #knows(repository: Repository, digest: Digest): Promise<boolean> {
    const { links, index, log } = this.#parts
    if (await links.mayShow(repository, digest)) return true
    try {
      return (await index.findDescriptor(repository, digest)) !== undefined
    } catch (error) {
      log.warn({ err: error, upstream: repository.host, digest }, 'the index could not be asked for a descriptor')
      return false
    }
  }

  #policyOf(repository: Repository, tag: Tag): TagPolicy {
    return this.#parts.policies.of(repository.host, tag)
  }
}

const slow = (): OciError => new OciError('upstreamSlow', 'the upstream takes too long to answer', { fault: 'slow' })
