import type { Outside } from '../base/clock.ts'
import { OciError, ociErrorOf } from '../base/errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/names.ts'
import type { BlobHead } from '../upstream/told.ts'
import { askable, isOutage, type UpstreamOf } from './asks.ts'
import type { Links } from './links.ts'
import { ABSENT_MS, DENIED_MS, keyOf, type Negatives } from './negatives.ts'
import { type Ask, SharedAsks } from './shared-asks.ts'
import { isLasting, REST_FIRST_MS } from './turns.ts'

const NO_LIMIT_MS = 60_000

type Parts = {
  readonly upstreamOf: UpstreamOf
  readonly links: Links
  readonly negatives: Negatives
  readonly outside: Outside
  readonly closing: AbortSignal
}

export type BlobProved = Extract<BlobHead, { at: 'found' }>

/** Asks upstream whether a repository has a blob, by one HEAD shared by all who wait; its 200 is the link. */
export class BlobProof {
  readonly #parts: Parts
  readonly #asks: SharedAsks<BlobProved>

  constructor(parts: Parts) {
    this.#parts = parts
    this.#asks = new SharedAsks(parts.outside, parts.closing)
  }

  /** @throws {OciError} blobUnknown, denied, or why upstream could not be asked */
  async ask(repository: Repository, digest: Digest, signal: AbortSignal): Promise<BlobProved> {
    const start = (ask: Ask) => this.#head(repository, digest, ask)
    const end = await this.#asks.join(keyOf(repository, digest), start, NO_LIMIT_MS, signal)
    if (end) return end.value
    throw new OciError('upstreamSlow', 'the upstream takes too long to answer', { fault: 'slow' })
  }

  /**
   * As `ask`, for what is held or on its way, in place of a fill: what fails is tried as often as a fill would try it,
   * so that no client is told by the time which of the two it was (fault 75).
   *
   * @throws {OciError} as `ask`
   */
  async askForFill(repository: Repository, digest: Digest, signal: AbortSignal): Promise<BlobProved> {
    try {
      return await this.ask(repository, digest, signal)
    } catch (thrown) {
      const error = ociErrorOf(thrown)
      if (!isOutage(error) || isLasting({ at: 'error', error })) throw error
      const { clock, random } = this.#parts.outside
      await clock.sleep(REST_FIRST_MS * random(), signal)
      return await this.ask(repository, digest, signal)
    }
  }

  forget(repository: Repository, digest: Digest): void {
    this.#asks.forget(repository, digest)
  }

  async #head(repository: Repository, digest: Digest, ask: Ask): Promise<BlobProved> {
    const { links, negatives, upstreamOf } = this.#parts
    const head = await askable(upstreamOf, repository).headBlob(repository.path, digest, ask.signal)
    if (head.at === 'found') {
      if (ask.isCurrent()) await links.prove(repository, digest, head.isPublic)
      return head
    }
    const error = head.at === 'absent' ? blobUnknown() : blobDenied()
    if (ask.isCurrent()) {
      negatives.remember(keyOf(repository, digest), error, head.at === 'absent' ? ABSENT_MS : DENIED_MS)
    }
    throw error
  }
}

/** One text for all that is not here, whether it is held for another repository or not at all. */
export const blobUnknown = (): OciError => new OciError('blobUnknown', 'the upstream has no such blob')
export const blobDenied = (): OciError =>
  new OciError('denied', 'the upstream refuses this repository to us', { fault: 'denied' })
