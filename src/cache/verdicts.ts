/*
 * cache, who may read what is private (design.md §7).
 *
 * Promises: a private repository is shown to a caller for 60 s after upstream, asked with his own credentials and a new
 * token for the very thing that he wants, said yes; before that nothing is looked up, so that what is held and what is
 * not cost the same and look the same; who may not read is told what he would be told of what is not there. A verdict
 * lives in memory alone. It opens the repository and no digest: links do that.
 * Read next: verdict-questions.ts (what is asked), links.ts; in upstream/: upstream.ts (asked as a caller).
 */
import { LRUCache } from 'lru-cache'
import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Repository } from '../oci/names.ts'
import { isOutage } from './asks.ts'
import { ABSENT_MS, DENIED_MS, keyOf, Negatives } from './negatives.ts'
import { type Ask, SharedAsks } from './shared-asks.ts'
import { absentOf, type Confirming, type Question, type Said, saidTo, textOf } from './verdict-questions.ts'

/** Counted from when the request was sent that confirmed it. */
const CONFIRMED_MS = 60_000
const VERDICTS_MAX = 10_000
/** Asks at a time. Whoever makes up credentials is asked for too, but takes no place of who was confirmed before. */
const ASKS_MAX = 256
/** Short of what an answer may take: what was asked for must still be got. */
const PATIENCE_MS = 10_000
/** An ask that others began may have been for something that is not there, which says nothing of anything else. */
const OTHERS_ASKS_MAX = 2

/** How a verdict came out; `unconfirmed` where upstream could not be asked. */
export type Verdict = 'yes' | 'no' | 'unconfirmed'

type Told = { readonly said: Said; readonly to: string }

type Parts = {
  readonly isPrivate: (repository: Repository) => boolean
  /** The upstream as a repository's caller sees it, whose every answer is by a token of now. */
  readonly confirmingFor: (repository: Repository) => Confirming | undefined
  readonly outside: Outside
  readonly log: Log
  readonly onVerdict: (verdict: Verdict) => void
}

const REPOSITORY: Question = { of: 'tags' }

export class Verdicts implements AsyncDisposable {
  readonly #parts: Parts
  readonly #negatives: Negatives
  readonly #asks: Readonly<Record<'known' | 'strange', SharedAsks<Told>>>
  /** When the request was sent that confirmed it. Those that are over say who may hear of an outage. */
  readonly #yes = new LRUCache<string, number>({ max: VERDICTS_MAX })
  /** When a caller was refused last: nothing that was sent before confirms him. */
  readonly #denied = new LRUCache<string, number>({ max: VERDICTS_MAX })
  readonly #closing = new AbortController()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#negatives = new Negatives(parts.outside.clock)
    const asks = () => new SharedAsks<Told>(parts.outside, this.#closing.signal)
    this.#asks = { known: asks(), strange: asks() }
  }

  /** Whether memory alone tells that the repository may be shown: the hot path's question. */
  opens(repository: Repository): boolean {
    return !this.#isGuarded(repository) || (repository.as !== undefined && this.#isConfirmed(repository))
  }

  /**
   * Does `work`, which looks for what is asked, once the caller may read the repository. A refusal is told as absence.
   *
   * @throws {OciError} unauthorized: nobody's credentials came with it; what `question` is told where it is not there;
   * why upstream can't be asked, to a caller who was confirmed before; or what `work` throws
   */
  async under<T>(repository: Repository, question: Question, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (!this.#isGuarded(repository)) return await work()
    await this.#confirmed(repository, question, signal)
    try {
      return await work()
    } catch (error) {
      throw error instanceof OciError && error.reason === 'denied' ? absentOf(question) : error
    }
  }

  /**
   * Whether what upstream says is not there is so for everyone: it may only have been hidden from this caller, who
   * could read until now. Never rejects.
   */
  async isForAll(repository: Repository, signal: AbortSignal): Promise<boolean> {
    if (!this.#isGuarded(repository)) return true
    try {
      return (await this.#ask(repository, REPOSITORY, signal)) === 'yes'
    } catch (error) {
      this.#parts.log.debug({ err: error, upstream: repository.host }, 'an absence could not be confirmed')
      return false
    }
  }

  /** Upstream refused the caller: what confirmed him is over. */
  refused(repository: Repository): void {
    const key = keyOf(repository, '')
    this.#yes.delete(key)
    this.#denied.set(key, this.#parts.outside.clock.monotonicMs())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new OciError('upstreamResting', 'this cache is closing'))
    await Promise.all([this.#asks.known.idle(), this.#asks.strange.idle()])
  }

  /** What a caller came for is guarded whatever the patterns say now. */
  #isGuarded(repository: Repository): boolean {
    return repository.as !== undefined || this.#parts.isPrivate(repository)
  }

  #isConfirmed(repository: Repository): boolean {
    const sentMs = this.#yes.get(keyOf(repository, ''))
    return sentMs !== undefined && this.#parts.outside.clock.monotonicMs() - sentMs < CONFIRMED_MS
  }

  async #confirmed(repository: Repository, question: Question, signal: AbortSignal): Promise<void> {
    if (!repository.as) throw new OciError('unauthorized', 'this repository is private: credentials are needed')
    if (this.#isConfirmed(repository)) return
    this.#checkNegatives(repository, question)
    const said = await this.#said(repository, question, signal)
    this.#parts.onVerdict(said === 'yes' ? 'yes' : 'no')
    if (said !== 'yes') throw absentOf(question)
  }

  /** @throws {OciError} the absence of what is asked for, where upstream lately said no */
  #checkNegatives(repository: Repository, question: Question): void {
    try {
      this.#negatives.check(keyOf(repository, ''))
      this.#negatives.check(keyOf(repository, textOf(question)))
    } catch {
      throw absentOf(question) // each question has words of its own
    }
  }

  /** One ask of a caller at a repository at a time, shared by all who wait. */
  async #said(repository: Repository, question: Question, signal: AbortSignal): Promise<Said> {
    const own = textOf(question)
    const isKnown = this.#yes.has(keyOf(repository, ''))
    const asks = isKnown ? this.#asks.known : this.#asks.strange
    try {
      for (let turn = 0; ; turn++) {
        const what = turn < OTHERS_ASKS_MAX ? '' : own
        const start = async (ask: Ask) => ({ said: await this.#ask(repository, question, ask.signal), to: own })
        const end = await asks.join(roomIn(asks, keyOf(repository, what)), start, PATIENCE_MS, signal)
        if (!end) throw new OciError('upstreamSlow', 'the upstream takes too long to answer', { fault: 'slow' })
        const { said, to } = end.value
        if (said === 'yes' || to === own) return said
        this.#checkNegatives(repository, question)
      }
    } catch (error) {
      if (!isOutage(error) || error.reason === 'overloaded') throw error // ours, and so whoever asks for whatever
      this.#parts.onVerdict('unconfirmed')
      // who was never confirmed hears of no outage: he would be told more than that nothing is here
      throw isKnown ? error : absentOf(question)
    }
  }

  /** Asks upstream, and remembers what it says. */
  async #ask(repository: Repository, question: Question, signal: AbortSignal): Promise<Said> {
    const key = keyOf(repository, '')
    const sentMs = this.#parts.outside.clock.monotonicMs()
    const upstream = this.#parts.confirmingFor(repository)
    if (!upstream) throw new OciError('nameUnknown', 'no upstream of this name is configured')
    const first = await saidTo(question, upstream, repository, signal)
    // what upstream deleted may be held here: whether the repository is open to him is another question
    const isOther = first === 'absent' && question.of !== 'tags' && (this.#yes.has(key) || question.of === 'referrers')
    const said = isOther ? await saidTo(REPOSITORY, upstream, repository, signal) : first
    if (said === 'yes') {
      if ((this.#denied.get(key) ?? Number.NEGATIVE_INFINITY) < sentMs) this.#yes.set(key, sentMs)
      return said
    }
    if (isOther || question.of === 'tags' || said === 'denied') this.#yes.delete(key)
    // who may not list may read all the same
    const isOfAll = first === 'denied' && (question.of === 'manifest' || question.of === 'blob')
    const what = isOfAll ? '' : textOf(question)
    this.#negatives.remember(keyOf(repository, what), absentOf(question), said === 'denied' ? DENIED_MS : ABSENT_MS)
    return said
  }
}

/** @throws {OciError} overloaded */
function roomIn(asks: SharedAsks<Told>, key: string): string {
  if (asks.count < ASKS_MAX || asks.runningMs(key) > 0) return key
  throw new OciError('overloaded', 'too many callers wait to be confirmed', { retryAfterMs: 5_000 })
}
