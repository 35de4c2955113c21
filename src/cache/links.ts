import { LRUCache } from 'lru-cache'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/names.ts'
import type { Index } from '../store/index.ts'
import { sharedKeyOf } from './negatives.ts'

const LINKS_MAX = 100_000

type Facts = Pick<Index, 'mayShow' | 'putLink' | 'forgetLink'>

/**
 * Which repository may show which digest, in memory before the index. Only yes is remembered: a no may be made a yes by
 * another manifest at any time.
 */
export class Links {
  readonly #index: Facts
  readonly #log: Log
  readonly #known = new LRUCache<string, true>({ max: LINKS_MAX })
  #forgotten = 0

  constructor(index: Facts, log: Log) {
    this.#index = index
    this.#log = log
  }

  /** Whether it is known in memory already: the hot path's question. */
  knows(repository: Repository, digest: Digest): boolean {
    return this.#known.get(sharedKeyOf(repository, digest)) === true
  }

  /** An index that cannot be asked proves nothing: upstream is asked then. Never rejects. */
  async mayShow(repository: Repository, digest: Digest): Promise<boolean> {
    if (this.knows(repository, digest)) return true
    const forgotten = this.#forgotten
    try {
      const isShown = await this.#index.mayShow(repository, digest)
      // what was forgotten while the index was asked must not come back
      if (isShown && forgotten === this.#forgotten) this.#known.set(sharedKeyOf(repository, digest), true)
      return isShown
    } catch (error) {
      this.#log.warn({ err: error, upstream: repository.host }, 'the index could not be asked for a link')
      return false
    }
  }

  /** Upstream answered 200 for `digest` in this repository. Never rejects: what is not kept is asked for anew. */
  async prove(repository: Repository, digest: Digest, isPublic: boolean): Promise<void> {
    this.#known.set(sharedKeyOf(repository, digest), true)
    try {
      await this.#index.putLink({ repository, digest, isPublic })
    } catch (error) {
      this.#log.warn({ err: error, upstream: repository.host, digest }, 'a link could not be kept')
    }
  }

  /** The proof is void. @throws what the index throws: a link that stays would show what should be gone */
  async forget(repository: Repository, digest: Digest): Promise<void> {
    this.#forgotten++
    this.#known.delete(sharedKeyOf(repository, digest))
    await this.#index.forgetLink(repository, digest)
  }
}
