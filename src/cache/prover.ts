import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { isManifestType } from '../oci/media-types.ts'
import type { Repository } from '../oci/names.ts'
import type { Disk } from '../store/disk.ts'
import { askable, type UpstreamOf } from './asks.ts'
import type { Links } from './links.ts'

const RUNNING_MAX = 4
/** Beyond it proofs are left out: whoever asks for such a digest has upstream asked then. */
const QUEUE_MAX = 1000

type Wanted = { readonly repository: Repository; readonly digest: Digest; readonly isManifest: boolean }

type Parts = {
  readonly upstreamOf: UpstreamOf
  readonly links: Links
  readonly disk: Pick<Disk, 'find'>
  readonly log: Log
}

/**
 * Proves behind a new manifest what it names and we hold already, one HEAD each. A mention is no proof; and what is
 * unlinked looks absent in an outage, though its bytes are here.
 */
export class Prover implements AsyncDisposable {
  readonly #parts: Parts
  readonly #queue: Wanted[] = []
  readonly #running = new Set<Promise<void>>()
  readonly #stop = new AbortController()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Waits for nothing and fails nothing. */
  prove(repository: Repository, children: readonly Descriptor[]): void {
    for (const { digest, mediaType } of children) {
      if (this.#queue.length >= QUEUE_MAX) break
      if (!this.#parts.disk.find(digest) || this.#parts.links.knows(repository, digest)) continue
      this.#queue.push({ repository, digest, isManifest: isManifestType(mediaType) })
    }
    this.#startSome()
  }

  /** Resolves once nothing is left to prove. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue.length = 0
    this.#stop.abort()
    await this.idle()
  }

  #startSome(): void {
    while (this.#running.size < RUNNING_MAX) {
      const wanted = this.#queue.shift()
      if (!wanted || this.#stop.signal.aborted) return
      const run = this.#one(wanted).finally(() => {
        this.#running.delete(run)
        this.#startSome()
      })
      this.#running.add(run)
    }
  }

  async #one({ repository, digest, isManifest }: Wanted): Promise<void> {
    const { upstreamOf, links, log } = this.#parts
    try {
      if (await links.mayShow(repository, digest)) return
      const upstream = askable(upstreamOf, repository)
      const { signal } = this.#stop
      const head = isManifest
        ? await upstream.headManifest(repository.path, { digest }, signal)
        : await upstream.headBlob(repository.path, digest, signal)
      const isOther = 'digest' in head && head.digest !== digest
      if (head.at === 'found' && !isOther) await links.prove(repository, digest, head.isPublic)
    } catch (error) {
      log.debug({ err: error, upstream: repository.host, digest }, 'a digest that is held could not be proved')
    }
  }
}
