import type { Outside } from '../base/clock.ts'
import { OciError, ociErrorOf } from '../base/errors.ts'
import type { Repository } from '../oci/names.ts'
import { keysFor, sharedKeyOf } from './negatives.ts'
import { copyOf, within } from './waiting.ts'

/** Waiters on one key; more are told to come again (faults.md, "Limits"). */
const WAITERS_MAX = 2000
/** An ask that still runs after this is stopped: the key is free again, whatever upstream does. */
const ASK_MS_MAX = 120_000

/** What an ask is told of itself. `isCurrent` ends when someone made its answer untrue: then it is not to be kept. */
export type Ask = { readonly signal: AbortSignal; readonly isCurrent: () => boolean }

export type Shared<T> = { readonly value: T; readonly collapsed: boolean }

type UnderWay<T> = { readonly ended: Promise<T>; readonly startedMs: number; waiters: number }

/**
 * One ask upstream per key, shared by all who come while it runs. It belongs to none of them: each may leave, and it
 * goes on. The key is free before the first waiter hears of the end, so that nobody gets an answer to a question asked
 * after it; all are released at once, and each gets an error of his own.
 */
export class SharedAsks<T> {
  readonly #underWay = new Map<string, UnderWay<T>>()
  /** All of them, those that were forgotten too. */
  readonly #running = new Set<Promise<unknown>>()
  readonly #outside: Outside
  readonly #closing: AbortSignal

  constructor(outside: Outside, closing: AbortSignal) {
    this.#outside = outside
    this.#closing = closing
  }

  /** Milliseconds that the ask of `key` has been under way; 0 when there is none. */
  runningMs(key: string): number {
    const found = this.#underWay.get(key)
    return found ? this.#outside.clock.monotonicMs() - found.startedMs : 0
  }

  /** Asks under way. */
  get count(): number {
    return this.#underWay.size
  }

  /** Waiters on all keys. */
  get waiters(): number {
    let sum = 0
    for (const { waiters } of this.#underWay.values()) sum += waiters
    return sum
  }

  /**
   * The end of the ask of `key`, which `start` begins where none is under way; undefined if it takes longer than `ms`.
   *
   * @throws {OciError} overloaded beyond 2,000 waiters, or a copy of what the ask threw; the reason of `signal`
   */
  async join(
    key: string,
    start: (ask: Ask) => Promise<T>,
    ms: number,
    signal?: AbortSignal,
  ): Promise<Shared<T> | undefined> {
    const found = this.#underWay.get(key)
    const joined = found ?? this.#start(key, start)
    if (joined.waiters >= WAITERS_MAX) {
      throw new OciError('overloaded', 'too many clients wait for the same answer', { retryAfterMs: 5000 })
    }
    joined.waiters++
    try {
      const end = await within(joined.ended, ms, this.#outside.clock, signal)
      return end && { value: end.value, collapsed: found !== undefined }
    } catch (error) {
      throw signal?.aborted ? error : copyOf(ociErrorOf(error))
    } finally {
      joined.waiters--
    }
  }

  /** Begins the ask of `key` if none is under way, and waits for nothing. The ask itself tells what went wrong. */
  begin(key: string, start: (ask: Ask) => Promise<T>): void {
    if (!this.#underWay.has(key)) this.#start(key, start)
  }

  /** Makes an answer that is on its way untrue: who waits still gets it, who comes now has it asked anew. */
  forget(repository: Repository, what: string): void {
    for (const key of keysFor(this.#underWay.keys(), repository, what)) this.#underWay.delete(key)
  }

  /** As `forget`, for all keys of a repository. */
  forgetRepository(repository: Repository): void {
    const prefix = sharedKeyOf(repository, '')
    for (const key of this.#underWay.keys()) if (key.startsWith(prefix)) this.#underWay.delete(key)
  }

  /** Resolves once none is under way. Never rejects. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  #start(key: string, start: (ask: Ask) => Promise<T>): UnderWay<T> {
    const stop = new AbortController()
    const slow = new OciError('upstreamSlow', 'the upstream did not answer', { fault: 'slow' })
    const cancel = this.#outside.clock.after(ASK_MS_MAX, () => stop.abort(slow))
    const signal = AbortSignal.any([stop.signal, this.#closing])
    const isCurrent = () => this.#underWay.get(key) === begun
    const ended = Promise.resolve()
      .then(() => start({ signal, isCurrent }))
      .finally(() => {
        cancel()
        this.#running.delete(ended)
        if (isCurrent()) this.#underWay.delete(key)
      })
    this.#running.add(ended)
    ended.catch(() => {}) // each waiter has it from `ended` itself; there may be none
    const begun: UnderWay<T> = { ended, startedMs: this.#outside.clock.monotonicMs(), waiters: 0 }
    this.#underWay.set(key, begun)
    return begun
  }
}
