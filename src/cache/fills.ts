/*
 * cache: what the product exists for.
 *
 * Promises: one fetch of a digest at a time, however many ask; the last piece leaves only when the digest is verified;
 * a client that is slow, or leaves, changes nothing for the others. Knows nothing of HTTP.
 * Read next: fill.ts, streams.ts and stream.ts (the loop); in store/: spool.ts (what has arrived), reader.ts (how it
 * leaves).
 */
import type { Digest } from '../oci/digest.ts'
import { Blame } from './blame.ts'
import { Fill, type FillEnd, type FillParts } from './fill.ts'
import type { Source } from './source.ts'
import { Windows } from './window.ts'

/** How many may run; more wait. And how many of them without a reader: the first left stops, its spool is kept. */
type FillLimits = { readonly fills: number; readonly abandonedFills: number }

type Common = Pick<FillParts, 'keeper' | 'outside' | 'log'>

/** The fills under way, by digest. */
export class Fills implements AsyncDisposable {
  readonly #common: Common
  readonly #limits: FillLimits
  readonly #onEnd: (end: FillEnd) => void
  readonly #windows = new Windows()
  readonly #underWay = new Map<Digest, Fill>()
  readonly #running = new Set<Fill>()
  readonly #queue: Fill[] = []
  /** Those without a reader, the longest first. */
  readonly #unread = new Set<Fill>()
  readonly #blame = new Blame()
  #isClosing = false

  /** @param onEnd is told how each fill ended */
  constructor(common: Common, limits: FillLimits, onEnd: (end: FillEnd) => void) {
    this.#common = common
    this.#limits = limits
    this.#onEnd = onEnd
  }

  /** Running or waiting to run. */
  get count(): number {
    return this.#running.size + this.#queue.length
  }

  /** Clients who read from one, or wait at it. */
  get readers(): number {
    return this.#all().reduce((sum, fill) => sum + fill.readers, 0)
  }

  find(digest: Digest): Fill | undefined {
    return this.#underWay.get(digest)
  }

  /** Joins the fill of `digest`, or starts one; one that is over is waited for, since both have the same spool. */
  joinOrStart(
    digest: Digest,
    start: () => Pick<FillParts, 'repository' | 'sources' | 'sizeBytes' | 'first'>,
  ): { readonly fill: Fill; readonly isNew: boolean } {
    const found = this.#underWay.get(digest)
    if (found?.takesNewcomers) return { fill: found, isNew: false }
    const { repository, sources, sizeBytes, first } = start()
    const fill = new Fill({
      ...this.#common,
      windows: this.#windows,
      digest,
      repository,
      sizeBytes,
      first,
      sources: this.#blame.trusted(digest, sources),
      after: found?.isOver ? found.ended : undefined,
      onUnread: (unread) => this.#leftAlone(unread),
    })
    this.#underWay.set(digest, fill)
    this.#queue.push(fill)
    this.#startNext()
    void fill.ended.then((end) => this.#ended(fill, end))
    return { fill, isNew: true }
  }

  /** Lends a fill the sources of one who joined it, and who was shown that he may. */
  lend(fill: Fill, sources: readonly Source[]): void {
    fill.lend(this.#blame.unblamed(fill.digest, sources))
  }

  /** Those that nobody reads stop, now and from now on; their spools are kept. */
  drain(): void {
    this.#isClosing = true
    for (const fill of this.#all()) if (fill.readers === 0) fill.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true
    const all = this.#all()
    for (const fill of all) fill.stop()
    await Promise.all(all.map((fill) => fill.ended))
  }

  #all(): readonly Fill[] {
    return [...this.#running, ...this.#queue]
  }

  #startNext(): void {
    while (this.#running.size < this.#limits.fills) {
      const next = this.#queue.shift()
      if (!next) return
      this.#running.add(next)
      next.start()
    }
  }

  #ended(fill: Fill, end: FillEnd): void {
    if (this.#underWay.get(fill.digest) === fill) this.#underWay.delete(fill.digest)
    this.#running.delete(fill)
    this.#unread.delete(fill)
    const place = this.#queue.indexOf(fill)
    if (place >= 0) this.#queue.splice(place, 1)
    this.#blame.note(fill.digest, end)
    this.#onEnd(end)
    this.#startNext()
  }

  #leftAlone(fill: Fill): void {
    this.#unread.delete(fill)
    if (this.#isClosing) fill.stop()
    if (fill.isOver) return
    this.#unread.add(fill)
    for (const each of this.#unread) if (each.readers > 0 || each.isOver) this.#unread.delete(each)
    const [oldest] = this.#unread
    if (this.#unread.size > this.#limits.abandonedFills) oldest?.stop()
  }
}
