import type { Outside } from '../base/clock.ts'
import { MIB } from '../base/units.ts'
import type { Place } from './place.ts'

const WINDOW_BYTES = 16 * MIB
/** Of all windows, but for what each may always have, so that it moves. */
const WINDOWS_BYTES = 192 * MIB
const LEAST_BYTES = MIB
/** A reader who stands still this long holds everyone up, and is cut. */
const STANDSTILL_MS = 10_000

/** A reader as the window sees it. */
export interface Follower {
  /** The next byte it wants. */
  readonly offset: number
  /** Where it will stop: one that ends before the window holds nobody up. */
  readonly end: number
  /** When it last moved, by the monotonic clock. */
  readonly movedMs: number
  /** Ends it, with its connection. */
  cut(): void
}

/** What all windows hold. */
export class Windows {
  #bytes = 0

  /** Whether a window that holds so much may come to hold `thenBytes`. */
  mayHold(bytes: number, thenBytes: number): boolean {
    return thenBytes <= LEAST_BYTES || (thenBytes <= WINDOW_BYTES && this.#bytes - bytes + thenBytes <= WINDOWS_BYTES)
  }

  /** Counts bytes that a window took, or, negative, let go. */
  add(bytes: number): void {
    this.#bytes += bytes
  }
}

type Parts = {
  /** The first byte that comes through here. */
  readonly start: number
  /** What was spooled below `start` before the disk filled, which stays readable. */
  readonly before?: Place | undefined
  readonly followers: ReadonlySet<Follower>
  readonly windows: Windows
  readonly outside: Outside
  readonly signal: AbortSignal
}

/** Where nothing can be kept: a stretch of the blob in memory that moves with its slowest reader. */
export class Window implements Place {
  readonly #parts: Parts
  #pieces: { readonly start: number; readonly bytes: Buffer }[] = []
  #end: number
  #moved = Promise.withResolvers<void>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#end = parts.start
  }

  readonly held = {
    endFrom: (offset: number): number => {
      const { start, before } = this.#parts
      if (offset < start) {
        const end = before?.held.endFrom(offset) ?? offset
        return end >= start ? Math.max(start, this.#end) : end
      }
      return offset >= this.#start ? Math.max(offset, this.#end) : offset
    },
    findNext: (offset: number): number | undefined => (offset < this.#end ? offset : undefined),
    gaps: (end: number) => (this.#end < end ? [{ start: this.#end, end }] : []),
  }

  /** Up to where it has come. */
  get end(): number {
    return this.#end
  }

  /** Waits for room, which is made by readers that move, or that are cut for standing still. */
  async write(offset: number, piece: Buffer): Promise<void> {
    const end = offset + piece.length
    const { signal, windows } = this.#parts
    const mayTake = () => windows.mayHold(this.#end - this.#start, end - this.#needed())
    while (!signal.aborted && !mayTake()) await this.#room()
    if (offset !== this.#end) return // another brought it while this one waited
    this.#pieces.push({ start: offset, bytes: Buffer.from(piece) })
    windows.add(piece.length)
    this.#end = end
    this.#drop()
  }

  async read(into: Buffer, offset: number, end: number): Promise<number> {
    const { start, before } = this.#parts
    if (offset < start) return (await before?.read(into, offset, Math.min(end, start))) ?? 0
    let filled = 0
    for (const piece of this.#pieces) {
      const from = offset + filled - piece.start
      if (from < 0 || from >= piece.bytes.length) continue
      filled += piece.bytes.copy(into, filled, from, Math.min(piece.bytes.length, end - piece.start))
      if (filled === into.length || offset + filled >= end) break
    }
    return filled
  }

  /** A reader moved or left: what nobody needs any more is let go. */
  release(): void {
    this.#drop()
    this.#moved.resolve()
    this.#moved = Promise.withResolvers()
  }

  get #start(): number {
    return this.#pieces[0]?.start ?? this.#end
  }

  #drop(): void {
    const needed = this.#needed()
    for (let first = this.#pieces[0]; first && first.start + first.bytes.length <= needed; first = this.#pieces[0]) {
      this.#pieces.shift()
      this.#parts.windows.add(-first.bytes.length)
    }
  }

  /** The first byte in the window that a reader still wants. */
  #needed(): number {
    let least = this.#end
    for (const follower of this.#followers()) least = Math.min(least, follower.offset)
    return Math.max(least, this.#start)
  }

  /** Those who want something that comes through here. */
  #followers(): Follower[] {
    const { followers, start } = this.#parts
    return [...followers].filter(({ offset, end }) => offset < end && end > start)
  }

  /** Waits until a reader moves; the slowest is cut where it stood still too long. */
  async #room(): Promise<void> {
    const { outside, signal } = this.#parts
    const slowest = this.#followers().sort((one, other) => one.offset - other.offset)[0]
    if (!slowest) return this.#drop()
    const leftMs = slowest.movedMs + STANDSTILL_MS - outside.clock.monotonicMs()
    if (leftMs <= 0) {
      slowest.cut()
      return this.#drop()
    }
    const waiting = new AbortController()
    const wake = () => waiting.abort()
    signal.addEventListener('abort', wake, { once: true })
    void this.#moved.promise.then(wake)
    await outside.clock.sleep(leftMs, waiting.signal)
    signal.removeEventListener('abort', wake)
  }
}
