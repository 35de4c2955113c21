import { LRUCache } from 'lru-cache'
import type { Clock } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Repository } from '../oci/names.ts'
import { copyOf } from './waiting.ts'

const NEGATIVES_MAX = 10_000
/** faults.md, "Limits": 404 by policy, or this where no policy applies; a refusal shorter; all else not at all. */
export const ABSENT_MS = 10_000
export const DENIED_MS = 5_000

type Negative = { readonly error: OciError; readonly untilMs: number }

/** What upstream lately said no to: remembered for seconds, so that a loop of clients is not one of ours. */
export class Negatives {
  readonly #clock: Clock
  readonly #found = new LRUCache<string, Negative>({ max: NEGATIVES_MAX })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  remember(key: string, error: OciError, ms: number): void {
    if (ms > 0) this.#found.set(key, { error, untilMs: this.#clock.monotonicMs() + ms })
  }

  /** @throws {OciError} a copy of the no that is remembered, if one is */
  check(key: string): void {
    const found = this.#found.get(key)
    if (!found) return
    if (this.#clock.monotonicMs() < found.untilMs) throw copyOf(found.error)
    this.#found.delete(key)
  }

  forget(key: string): void {
    this.#found.delete(key)
  }

  /** A write may have made any of them untrue, whoever asked. */
  forgetRepository(repository: Repository): void {
    const prefix = sharedKeyOf(repository, '')
    for (const key of this.#found.keys()) if (key.startsWith(prefix)) this.#found.delete(key)
  }
}

/**
 * A key for what was asked of a repository: on behalf of a caller it is his alone, since what upstream says to one is
 * for nobody else. What follows the space cannot be mistaken for a part of the name, nor `@` for what is asked.
 */
export const keyOf = (repository: Repository, what: string): string =>
  sharedKeyOf(repository, repository.as ? `@${repository.as.id} ${what}` : what)

/** Those of `keys` that are for this, whoever asked. */
export const keysFor = (keys: Iterable<string>, repository: Repository, what: string): readonly string[] =>
  [...keys].filter((key) => {
    const ofCaller = sharedKeyOf(repository, '@')
    return key === sharedKeyOf(repository, what) || (key.startsWith(ofCaller) && key.endsWith(` ${what}`))
  })

/** A key for what is true of a repository whoever asks. */
export const sharedKeyOf = ({ host, path }: Repository, what: string): string => `${host}/${path} ${what}`

/** One text for all that is not here, whether it is held for another repository or not at all. */
export const manifestUnknown = (): OciError => new OciError('manifestUnknown', 'the upstream has no such manifest')
export const repositoryUnknown = (): OciError => new OciError('nameUnknown', 'the upstream has no such repository')
export const manifestDenied = (): OciError =>
  new OciError('denied', 'the upstream refuses this repository to us', { fault: 'denied' })
