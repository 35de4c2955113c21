import { LRUCache } from 'lru-cache'
import type { Outside } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import { MANIFEST_BYTES_MAX } from '../oci/manifest.ts'
import type { Disk } from '../store/disk.ts'
import type { Index } from '../store/index.ts'
import type { Pins } from './pins.ts'
import { usedBy } from './wholeness.ts'

/** Above the first part of the cap a pass starts, and goes on down to the second. */
const HIGH_WATERMARK = 0.95
const LOW_WATERMARK = 0.9
const CHECK_EACH_MS = 60_000
const CANDIDATES = 100
/** A manifest's use is told to its children at most this often. */
const TOUCH_EACH_MS = 3_600_000
const TOUCHED_MAX = 50_000
/** Uses that wait to be told to children; beyond it they are told an hour later. */
const TOUCHING_MAX = 1_000

type Parts = {
  readonly disk: Pick<
    Disk,
    'capBytes' | 'usedBytes' | 'find' | 'shortBytes' | 'leastRecentlyUsed' | 'remove' | 'touch' | 'refused'
  >
  readonly index: Pick<Index, 'usersOf' | 'findManifest' | 'forgetManifest'>
  readonly pins: Pins
  readonly outside: Outside
  readonly log: Log
  readonly onEvicted?: (bytes: number) => void
}

/** A walk over the candidates: after which of them it goes on, and the pinned ones that it met. */
type Walk = {
  readonly at: 'on the way' | 'over'
  readonly after: Parameters<Disk['leastRecentlyUsed']>[1]
  readonly pinned: readonly Digest[]
}
const START: Walk = { at: 'on the way', after: undefined, pinned: [] }
const OVER: Walk = { at: 'over', after: undefined, pinned: [] }

/**
 * Keeps the disk under its cap: evicts by last use, never what is pinned, under a reader or being filled.
 * One pass at a time: who wants room waits for the pass before his, and evicts only what is missing then.
 */
export class Evictor implements AsyncDisposable {
  readonly #parts: Parts
  readonly #touched = new LRUCache<Digest, number>({ max: TOUCHED_MAX })
  readonly #touching = new Set<Promise<void>>()
  #turn: Promise<unknown> = Promise.resolve()
  #passing: Promise<void> | undefined
  #isClosed = false
  #cancelCheck: () => void = () => {}

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Looks at the watermarks now, and then now and then, besides at each reservation. */
  start(): void {
    if (this.#isClosed) return
    this.#passBehind()
    this.#cancelCheck()
    this.#cancelCheck = this.#parts.outside.clock.after(CHECK_EACH_MS, () => this.start())
  }

  /**
   * Makes room for `bytes` more; false where what may be evicted is not enough. `take` is called in the moment when
   * there is room, so that nobody else is given the same. Never rejects.
   */
  async reserve(bytes: number, take: () => void = () => undefined): Promise<boolean> {
    const { disk } = this.#parts
    if (bytes > disk.capBytes) return false // it would evict everything, and not fit then
    let hasRoom = disk.shortBytes(bytes) === 0
    if (hasRoom) take()
    else hasRoom = await this.#inTurn(() => this.#evict(bytes, take))
    this.#passBehind()
    return hasRoom
  }

  /**
   * A use of a manifest is one of all it names: a node that has the base layer never asks for it, yet the image is in
   * use. Waits for nothing.
   */
  touchManifest(digest: Digest): void {
    const nowMs = this.#parts.outside.clock.monotonicMs()
    const lastMs = this.#touched.get(digest)
    if (lastMs !== undefined && nowMs - lastMs < TOUCH_EACH_MS) return
    if (this.#touching.size >= TOUCHING_MAX || this.#isClosed) return
    this.#touched.set(digest, nowMs)
    const touch = this.#touch(digest).finally(() => this.#touching.delete(touch))
    this.#touching.add(touch)
  }

  /** Resolves once no pass and no touch is under way. */
  async idle(): Promise<void> {
    while (this.#passing || this.#touching.size > 0) await Promise.all([this.#passing, ...this.#touching])
    await this.#turn
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#cancelCheck()
    await this.idle()
  }

  /** What was kept after a miss is not told again within the hour: its children came after it. */
  async #touch(digest: Digest): Promise<void> {
    const { disk, log } = this.#parts
    try {
      for (const used of await usedBy(digest, this.#parts)) disk.touch(used)
    } catch (error) {
      log.warn({ err: error, digest }, 'a use of an image could not be noted')
    }
  }

  #passBehind(): void {
    const { disk } = this.#parts
    const isHigh = disk.usedBytes > disk.capBytes * HIGH_WATERMARK || disk.shortBytes(0) > 0
    if (!isHigh || this.#passing || this.#isClosed) return
    this.#passing = this.#pass().finally(() => {
      this.#passing = undefined
    })
  }

  /** Down to the low watermark, a page of candidates a turn, so that who wants room now waits for one page at most. */
  async #pass(): Promise<void> {
    const { disk } = this.#parts
    const excessBytes = () => Math.max(disk.usedBytes - disk.capBytes * LOW_WATERMARK, disk.shortBytes(0))
    let walk: Walk = START
    while (walk.at !== 'over') {
      const from: Walk = walk
      walk = await this.#inTurn(() => this.#evictPage(excessBytes, from))
    }
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(act)
    this.#turn = done
    return done
  }

  /** Evicts from the least recently used on, until so many bytes fit, and takes them then. Never rejects. */
  async #evict(bytes: number, take: () => void): Promise<boolean> {
    const { disk, log } = this.#parts
    const missingBytes = () => disk.shortBytes(bytes)
    let walk: Walk = START
    while (walk.at !== 'over') walk = await this.#evictPage(missingBytes, walk)
    const isEnough = missingBytes() <= 0
    if (isEnough)
      take() // at once: nobody may find the same room
    else if (!this.#isClosed) {
      disk.refused(bytes)
      log.warn({ bytes: missingBytes() }, 'nothing that may be evicted is left')
    }
    return isEnough
  }

  /** One page of candidates. After one that freed something the walk begins anew: the page's places have changed. */
  async #evictPage(missingBytes: () => number, { after, pinned }: Walk): Promise<Walk> {
    const candidates = missingBytes() > 0 ? this.#parts.disk.leastRecentlyUsed(CANDIDATES, after) : []
    const met = [...pinned]
    let freedBytes = 0
    for (const { digest } of candidates) {
      if (missingBytes() <= 0 || this.#isClosed) break
      const end = await this.#evictOne(digest)
      if (end === 'pinned') met.push(digest)
      else freedBytes += end
    }
    const last = candidates.at(-1)
    const goesOn = last !== undefined && missingBytes() > 0 && !this.#isClosed
    if (goesOn && freedBytes === 0) return { at: 'on the way', after: last, pinned: met }
    // used as of now, so that the next walk does not meet them first; not before this one is over, or it would again
    for (const digest of met) this.#parts.disk.touch(digest)
    return goesOn ? START : OVER
  }

  async #evictOne(digest: Digest): Promise<number | 'pinned'> {
    const { disk, log, onEvicted } = this.#parts
    try {
      if (await this.#isPinned(digest)) return 'pinned'
      const bytes = await disk.remove(digest)
      if (bytes > 0) onEvicted?.(bytes)
      if (bytes > 0 && bytes <= MANIFEST_BYTES_MAX) await this.#forgetFacts(digest)
      return bytes
    } catch (error) {
      log.warn({ err: error, digest }, 'a blob could not be evicted')
      return 0
    }
  }

  /**
   * What the index knows of a manifest goes with its bytes, and comes again with them: else it would grow for ever. Its
   * links stay, upstream did answer for it; what it names is proved anew when somebody asks.
   */
  async #forgetFacts(digest: Digest): Promise<void> {
    const { disk, index } = this.#parts
    if ((await index.findManifest(digest)) && !disk.find(digest)) await index.forgetManifest(digest)
  }

  async #isPinned(digest: Digest): Promise<boolean> {
    const { pins, index } = this.#parts
    return !pins.isEmpty && pins.isPinned(await index.usersOf(digest))
  }
}
