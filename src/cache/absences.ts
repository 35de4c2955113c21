import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { MEDIA_TYPE } from '../oci/media-types.ts'
import type { Repository } from '../oci/names.ts'
import type { Index } from '../store/index.ts'

type Facts = Pick<Index, 'findListing' | 'putListing'>

/** A listing of nothing: no listing of upstream's comes without a type. */
const ABSENCE = { bytes: Buffer.alloc(0), contentType: '', link: undefined, filters: undefined } as const
const PRESENCE = { ...ABSENCE, contentType: MEDIA_TYPE.ociIndex } as const

/**
 * Upstream's word that something is not there which an image may have or not: a list of referrers, a signature. Clients
 * ask for it on every pull and give the pull up at anything but a 404, so an outage is met with the word that was last.
 * Kept among the listings: a write to the repository forgets it. Never rejects.
 */
export class Absences {
  readonly #index: Facts
  readonly #clock: Clock
  readonly #log: Log

  constructor(index: Facts, clock: Clock, log: Log) {
    this.#index = index
    this.#clock = clock
    this.#log = log
  }

  async remember(repository: Repository, what: string): Promise<void> {
    await this.#put(repository, what, ABSENCE)
  }

  /** It is there after all. */
  async end(repository: Repository, what: string): Promise<void> {
    if (await this.has(repository, what)) await this.#put(repository, what, PRESENCE)
  }

  /** Whether upstream's last word was so, at most `ageMsMax` ago. */
  async has(repository: Repository, what: string, ageMsMax = Number.POSITIVE_INFINITY): Promise<boolean> {
    try {
      const found = await this.#index.findListing(repository, keyFor(what))
      return found?.contentType === ABSENCE.contentType && this.#clock.wallMs() - found.confirmedMs <= ageMsMax
    } catch (error) {
      this.#log.warn({ err: error }, 'the index failed for an absence')
      return false
    }
  }

  async #put(repository: Repository, what: string, how: typeof ABSENCE | typeof PRESENCE): Promise<void> {
    try {
      await this.#index.putListing(repository, keyFor(what), { ...how, confirmedMs: this.#clock.wallMs() })
    } catch (error) {
      this.#log.warn({ err: error }, 'the index failed for an absence')
    }
  }
}

const keyFor = (what: string): string => `absent/${what}`
