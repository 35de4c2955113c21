import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/names.ts'
import { askable, countsPulls, type UpstreamOf } from './asks.ts'
import type { Links } from './links.ts'
import { ABSENT_MS, DENIED_MS, keyOf, manifestDenied, manifestUnknown, type Negatives } from './negatives.ts'
import { type Told, toldOf } from './resolutions.ts'
import { type Ask, type Shared, SharedAsks } from './shared-asks.ts'

const NO_LIMIT_MS = 60_000

type Parts = {
  readonly upstreamOf: UpstreamOf
  readonly links: Links
  readonly negatives: Negatives
  readonly outside: Outside
  readonly log: Log
  readonly closing: AbortSignal
}

/** Upstream's 200 to a HEAD for a digest in this repository, which is the link. */
export type Proof = { readonly told: Told | undefined }

/** Asks upstream whether a repository has a manifest, by one HEAD shared by all who wait. */
export class ManifestProof {
  readonly #parts: Parts
  readonly #asks: SharedAsks<Proof | undefined>

  constructor(parts: Parts) {
    this.#parts = parts
    this.#asks = new SharedAsks(parts.outside, parts.closing)
  }

  /**
   * The proof; without a value where a HEAD proves nothing, and only a GET tells.
   *
   * @throws {OciError} manifestUnknown, denied, or why upstream could not be asked
   */
  async ask(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Shared<Proof | undefined>> {
    const start = (ask: Ask) => this.#head(repository, digest, ask)
    const end = await this.#asks.join(keyOf(repository, digest), start, NO_LIMIT_MS, signal)
    if (end) return end
    throw new OciError('upstreamSlow', 'the upstream takes too long to answer', { fault: 'slow' })
  }

  forget(repository: Repository, digest: Digest): void {
    this.#asks.forget(repository, digest)
  }

  /** Resolves once no ask is under way. */
  idle(): Promise<void> {
    return this.#asks.idle()
  }

  async #head(repository: Repository, digest: Digest, ask: Ask): Promise<Proof | undefined> {
    const { links, negatives, upstreamOf, log } = this.#parts
    const head = await askable(upstreamOf, repository).headManifest(repository.path, { digest }, ask.signal)
    if (head.at === 'absent' || head.at === 'denied') {
      const error = head.at === 'absent' ? manifestUnknown() : manifestDenied()
      const ms = head.at === 'absent' ? ABSENT_MS : DENIED_MS
      if (ask.isCurrent()) negatives.remember(keyOf(repository, digest), error, ms)
      throw error
    }
    if (head.at === 'unheadable') {
      if (!countsPulls(repository.host)) return undefined
      throw new OciError('upstreamFailed', 'the upstream takes no HEAD', { fault: 'status' })
    }
    const told = toldOf(head)
    // without digest and type it may be a page that answers 200 to everything; a GET's bytes will tell
    if (head.digest !== digest && (head.digest || !told)) {
      log.warn({ upstream: repository.host, digest, told: head.digest }, 'a HEAD by digest told another digest or none')
      return undefined
    }
    if (ask.isCurrent()) await links.prove(repository, digest, head.isPublic)
    return { told }
  }
}
