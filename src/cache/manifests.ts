/*
 * cache, the way of a manifest (design.md §3): by tag through the resolver to a digest; by digest from memory, disk or
 * one shared fetch upstream. A repository shows only what is linked in it.
 *
 * Promises: bytes are those of their digest; who may not see a digest cannot tell whether it is held; an answer comes
 * within 20 s; what is known stands in while upstream fails, as the policy allows.
 * Read next: resolver.ts, freshness.ts, manifest-fetch.ts, manifest-store.ts, links.ts.
 */
import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference, Repository, Tag } from '../oci/names.ts'
import type { Disk } from '../store/disk.ts'
import type { Index } from '../store/index.ts'
import { Absences } from './absences.ts'
import { countsPulls, isOutage, type UpstreamOf } from './asks.ts'
import { type CacheFacts, HIT } from './facts.ts'
import type { Links } from './links.ts'
import { ManifestFetch, notAManifest } from './manifest-fetch.ts'
import { ManifestProof } from './manifest-proof.ts'
import { type HeldManifest, type KeptManifest, ManifestStore } from './manifest-store.ts'
import { ABSENT_MS, DENIED_MS, keyOf, manifestDenied, manifestUnknown, Negatives } from './negatives.ts'
import type { TagPolicies } from './policies.ts'
import type { Prover } from './prover.ts'
import type { Told } from './resolutions.ts'
import { type Resolved, Resolver } from './resolver.ts'
import { SharedAsks } from './shared-asks.ts'
import { isSignatureTag, subjectOf } from './signature-tags.ts'
import type { Verdicts } from './verdicts.ts'
import { copyOf, within } from './waiting.ts'
import { isWhole } from './wholeness.ts'

/** Ours begin within 20 s at the most: containerd leaves at 30, a ping of dockerd at 15 (contracts.md §5). */
const ANSWER_MS_MAX = 19_000

/** Upstream was asked, and said yes. */
const ASKED = { hit: false, fwd: 'uri-miss', fwdStatus: 200 } as const

export type ManifestFound = {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
  readonly facts: CacheFacts
}

export type ManifestHeadFound = {
  readonly digest: Digest
  readonly mediaType: string
  readonly sizeBytes: number
  readonly facts: CacheFacts
}

export type ManifestsParts = {
  readonly upstreamOf: UpstreamOf
  readonly index: Index
  readonly disk: Pick<Disk, 'find' | 'readWhole' | 'put'>
  readonly policies: TagPolicies
  readonly links: Links
  readonly verdicts: Verdicts
  readonly prover: Pick<Prover, 'prove'>
  /** Room for what is kept, and word of each use. */
  readonly evictor: { reserve(bytes: number): Promise<boolean>; touchManifest(digest: Digest): void }
  readonly outside: Outside
  readonly log: Log
  /** For manifests in memory. */
  readonly memoryBytes: number
}

type Readable = HeldManifest & { readonly facts: CacheFacts }

export class Manifests implements AsyncDisposable {
  readonly #parts: ManifestsParts
  readonly #store: ManifestStore
  readonly #fetch: ManifestFetch
  readonly #resolver: Resolver
  readonly #proof: ManifestProof
  readonly #fetches: SharedAsks<KeptManifest>
  readonly #negatives: Negatives
  readonly #closing = new AbortController()

  constructor(parts: ManifestsParts) {
    const { upstreamOf, index, disk, policies, links, verdicts, prover, evictor, outside, log, memoryBytes } = parts
    const closing = this.#closing.signal
    this.#parts = parts
    this.#negatives = new Negatives(outside.clock)
    this.#store = new ManifestStore({ disk, index, room: evictor, log, memoryBytes })
    this.#fetch = new ManifestFetch({ upstreamOf, store: this.#store, links, prover, log })
    const shared = { upstreamOf, negatives: this.#negatives, outside, log, closing }
    const absences = new Absences(index, outside.clock, log)
    this.#resolver = new Resolver({ ...shared, index, policies, links, absences, verdicts, fetch: this.#fetch })
    this.#proof = new ManifestProof({ ...shared, links })
    this.#fetches = new SharedAsks(outside, closing)
  }

  /** What memory answers at once: a tag that is fresh or stale, its digest's bytes and its link. The hot path. */
  find(repository: Repository, reference: Reference): ManifestFound | undefined {
    if (!this.#parts.verdicts.opens(repository)) return undefined
    if ('digest' in reference) return this.#inMemory(repository, reference.digest, HIT)
    const resolved = this.#resolver.find(repository, reference.tag)
    const found = resolved && this.#inMemory(repository, resolved.digest, resolved.facts)
    return found?.isReadable ? found : undefined
  }

  /** @throws {OciError} whatever the client is to be told; the reason of `signal` when it aborts */
  async get(repository: Repository, reference: Reference, signal: AbortSignal): Promise<ManifestFound> {
    const found = this.find(repository, reference)
    if (found) return found
    return await this.#inTime(repository, reference, signal, () => {
      if ('digest' in reference) return this.#byDigest(repository, reference.digest, signal)
      const { tag } = reference
      return this.#forSignatures(repository, tag, this.#byTag(repository, tag, signal), signal)
    })
  }

  /**
   * As `get`, without the bytes: what is not held is asked for by one HEAD upstream and not fetched.
   *
   * @throws {OciError} as `get`
   */
  async head(repository: Repository, reference: Reference, signal: AbortSignal): Promise<ManifestHeadFound> {
    const found = this.find(repository, reference)
    if (found) return headOf(found, found.facts)
    return await this.#inTime(repository, reference, signal, () => {
      if ('digest' in reference) return this.#headByDigest(repository, reference.digest, signal)
      const { tag } = reference
      return this.#forSignatures(repository, tag, this.#headByTag(repository, tag, signal), signal)
    })
  }

  /** A write went through: what it may have made untrue is known no longer. */
  async forget(repository: Repository, reference?: Reference): Promise<void> {
    this.#negatives.forgetRepository(repository)
    if (!reference) return
    if ('tag' in reference) return await this.#resolver.forget(repository, reference.tag)
    const { digest } = reference
    this.#fetches.forget(repository, digest)
    this.#proof.forget(repository, digest)
    const users = await this.#parts.index.usersOf(digest)
    const here = users.find(
      (user) => user.repository.host === repository.host && user.repository.path === repository.path,
    )
    for (const tag of here?.tags ?? []) await this.#resolver.forget(repository, tag)
    await this.#parts.links.forget(repository, digest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new OciError('upstreamResting', 'this cache is closing'))
    await Promise.all([this.#fetches.idle(), this.#resolver.idle(), this.#proof.idle()])
  }

  #inMemory(repository: Repository, digest: Digest, facts: CacheFacts): Readable | undefined {
    const held = this.#store.peek(digest)
    return held && this.#parts.links.knows(repository, digest) ? this.#used(held, facts) : undefined
  }

  #used(held: HeldManifest, facts: CacheFacts): Readable {
    this.#parts.evictor.touchManifest(held.digest)
    return { digest: held.digest, mediaType: held.mediaType, bytes: held.bytes, isReadable: held.isReadable, facts }
  }

  async #byTag(repository: Repository, tag: Tag, signal: AbortSignal): Promise<ManifestFound> {
    const resolved = await this.#resolver.resolve(repository, tag, signal)
    const { failure } = resolved
    // podman takes all from where it got the manifest: without the blobs it is better off at another mirror
    if (failure && failure.reason !== 'upstreamSlow' && !(await this.#isWhole(resolved.digest))) throw copyOf(failure)
    const found = await this.#followed(repository, tag, resolved, signal)
    if (!found.isReadable) throw notAManifest()
    this.#resolver.verified(repository, tag, found.digest)
    return { ...found, facts: found.facts.hit ? resolved.facts : found.facts }
  }

  /** The bytes of what a tag points to, or of what stands in for them. */
  async #followed(repository: Repository, tag: Tag, resolved: Resolved, signal: AbortSignal): Promise<Readable> {
    try {
      return await this.#byDigest(repository, resolved.digest, signal)
    } catch (error) {
      if (isHintWrong(error) && !countsPulls(repository.host)) {
        const { digest } = resolved
        this.#parts.log.warn({ upstream: repository.host, tag, digest }, 'a HEAD told a digest that is not to be had')
        const other = await this.#resolver.resolveByGet(repository, tag, signal)
        return await this.#byDigest(repository, other, signal)
      }
      const { previous } = resolved
      if (!previous || !isOutage(error) || !(await this.#isWhole(previous))) throw error
      const found = await this.#byDigest(repository, previous, signal)
      return { ...found, facts: { hit: false, fwd: 'stale', detail: 'previous' } }
    }
  }

  async #byDigest(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Readable> {
    const found = this.#inMemory(repository, digest, HIT)
    if (found) return found
    this.#negatives.check(keyOf(repository, digest))
    const isShown = await this.#parts.links.mayShow(repository, digest)
    if (!this.#store.has(digest)) return await this.#fetched(repository, digest, signal)
    // held and not linked: upstream is asked as if it were not held
    const proof = isShown ? undefined : await this.#proof.ask(repository, digest, signal)
    const held = !isShown && !proof?.value ? undefined : await this.#store.find(digest)
    if (!held) return await this.#fetched(repository, digest, signal)
    if (isShown) return this.#used(held, HIT)
    this.#parts.prover.prove(repository, await this.#store.childrenOf(digest))
    return this.#used(held, { ...ASKED, ...(proof?.collapsed && { collapsed: true }) })
  }

  async #fetched(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Readable> {
    const key = keyOf(repository, digest)
    const end = await this.#fetches.join(
      key,
      async (ask) => {
        const fetched = await this.#fetch.byDigest(repository, digest, ask.signal)
        if (fetched.at === 'found') return fetched.kept
        const error = fetched.at === 'absent' ? manifestUnknown() : manifestDenied()
        if (ask.isCurrent()) this.#negatives.remember(key, error, fetched.at === 'absent' ? ABSENT_MS : DENIED_MS)
        throw error
      },
      ANSWER_MS_MAX,
      signal,
    )
    if (!end) throw slow()
    const { value: kept, collapsed } = end
    return this.#used(kept, {
      ...ASKED,
      ...(kept.isStored && { stored: true }),
      ...(collapsed && { collapsed: true }),
    })
  }

  async #headByTag(repository: Repository, tag: Tag, signal: AbortSignal): Promise<ManifestHeadFound> {
    const resolved = await this.#resolver.resolve(repository, tag, signal)
    const { digest, facts, told, failure } = resolved
    const held = (await this.#parts.links.mayShow(repository, digest)) ? await this.#store.find(digest) : undefined
    if (held && !held.isReadable) throw notAManifest()
    if (held) return headOf(this.#used(held, facts), facts)
    if (told) {
      if (!facts.hit && !failure) this.#proveBehind(repository, digest)
      return { digest, ...told, facts }
    }
    if (failure && failure.reason !== 'upstreamSlow') throw copyOf(failure)
    // upstream's HEAD told too little, or it was told to another process
    return await this.#headByDigest(repository, digest, signal)
  }

  /** Held for another repository, and told to be in this one: linked behind, so that an outage takes it from nobody. */
  #proveBehind(repository: Repository, digest: Digest): void {
    if (!this.#store.has(digest)) return
    const ended = this.#proof.ask(repository, digest, this.#closing.signal)
    void ended.catch((error: unknown) => {
      this.#parts.log.debug({ err: error, upstream: repository.host, digest }, 'a held manifest could not be proved')
    })
  }

  async #headByDigest(repository: Repository, digest: Digest, signal: AbortSignal): Promise<ManifestHeadFound> {
    if (await this.#parts.links.mayShow(repository, digest)) {
      const held = await this.#store.find(digest)
      if (held) return headOf(this.#used(held, HIT), HIT)
    }
    this.#negatives.check(keyOf(repository, digest))
    const proof = await this.#proof.ask(repository, digest, signal)
    const told: Told | undefined = proof.value?.told
    const collapsed = proof.collapsed && { collapsed: true }
    if (told) return { digest, ...told, facts: { ...ASKED, ...collapsed } }
    const found = await this.#fetched(repository, digest, signal)
    return headOf(found, found.facts)
  }

  /** A signature that we are refused is absent where the rest may be read: cosign and podman go on then. */
  async #forSignatures<T>(repository: Repository, tag: Tag, work: Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await work
    } catch (error) {
      const isRefused = error instanceof OciError && error.reason === 'denied'
      if (!isRefused || !isSignatureTag(tag) || !(await this.#mayRead(repository, tag, signal))) throw error
      throw manifestUnknown()
    }
  }

  /** Whether manifests of the repository may be read: what the tag signs, or else any that is known. */
  async #mayRead(repository: Repository, tag: Tag, signal: AbortSignal): Promise<boolean> {
    const subject = subjectOf(tag)
    if (!subject) return (await this.#parts.index.tagsOf(repository)).length > 0
    if (await this.#parts.links.mayShow(repository, subject)) return true
    try {
      return (await this.#proof.ask(repository, subject, signal)).value !== undefined
    } catch {
      return false // refused too, or not to be told: the refusal stands
    }
  }

  async #isWhole(digest: Digest): Promise<boolean> {
    if (!this.#store.has(digest)) return false
    try {
      return await isWhole(digest, this.#parts)
    } catch (error) {
      this.#parts.log.warn({ err: error, digest }, 'the index could not be asked what an image names')
      return true
    }
  }

  /** `work` under its caller's verdict, where the repository is private; within the time of an answer. */
  async #inTime<T>(
    repository: Repository,
    reference: Reference,
    signal: AbortSignal,
    work: () => Promise<T>,
  ): Promise<T> {
    const { verdicts, outside } = this.#parts
    const allowed = verdicts.under(repository, { of: 'manifest', reference }, signal, work)
    const end = await within(allowed, ANSWER_MS_MAX, outside.clock, signal)
    if (!end) throw slow()
    return end.value
  }
}

const headOf = ({ digest, mediaType, bytes }: Omit<ManifestFound, 'facts'>, facts: CacheFacts): ManifestHeadFound => ({
  ...{ digest, mediaType, sizeBytes: bytes.length, facts },
})

/** The digest that a HEAD told leads to nothing, or to something else. */
const isHintWrong = (error: unknown): boolean =>
  error instanceof OciError && (error.reason === 'manifestUnknown' || error.fault === 'digest')

const slow = (): OciError => new OciError('upstreamSlow', 'the upstream takes too long to answer', { fault: 'slow' })
