/** Bytes from `start` up to `end`, exclusive. */
export type Range = { readonly start: number; readonly end: number }

/** Which bytes are held: what a reader or a stream may ask, and nothing that changes it. */
export interface Held {
  /** How many bytes are held in all. */
  readonly bytes: number
  /** Sorted, apart from each other, none empty. */
  readonly ranges: readonly Range[]
  /** Whether every byte from `start` up to `end` is held; an empty range is. */
  has(start: number, end: number): boolean
  /** Where the held run at `offset` ends; `offset` itself where that byte is not held. */
  endFrom(offset: number): number
  /** The first held byte at or after `offset`; undefined where there is none. */
  findNext(offset: number): number | undefined
  /** What is missing of the bytes below `end`, from the front. */
  gaps(end: number): readonly Range[]
}

/** A set of byte ranges that only grows; ranges that touch become one. */
export class RangeSet implements Held {
  #ranges: Range[] = []
  #bytes = 0

  /** A set of these ranges; they may overlap and come in any order. @throws {RangeError} for what is no range */
  static of(ranges: Iterable<Range>): RangeSet {
    const set = new RangeSet()
    for (const { start, end } of ranges) set.add(start, end)
    return set
  }

  get bytes(): number {
    return this.#bytes
  }

  get ranges(): readonly Range[] {
    return this.#ranges
  }

  /** @throws {RangeError} unless 0 ≤ start ≤ end, both safe integers */
  add(start: number, end: number): void {
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
      throw new RangeError(`no range: ${start} to ${end}`)
    }
    if (start === end) return
    const from = this.#firstEndingAtOrAfter(start)
    let merged: Range = { start, end }
    let to = from
    for (let met = this.#ranges[to]; met && met.start <= end; met = this.#ranges[++to]) {
      merged = { start: Math.min(merged.start, met.start), end: Math.max(merged.end, met.end) }
      this.#bytes -= met.end - met.start
    }
    this.#bytes += merged.end - merged.start
    if (to === from + 1) this.#ranges[from] = merged
    else this.#ranges.splice(from, to - from, merged)
  }

  has(start: number, end: number): boolean {
    return start >= end || this.endFrom(start) >= end
  }

  endFrom(offset: number): number {
    const met = this.#ranges[this.#firstEndingAtOrAfter(offset + 1)]
    return met && met.start <= offset ? met.end : offset
  }

  findNext(offset: number): number | undefined {
    const met = this.#ranges[this.#firstEndingAtOrAfter(offset + 1)]
    return met && Math.max(met.start, offset)
  }

  gaps(end: number): readonly Range[] {
    const gaps: Range[] = []
    let reached = 0
    for (const range of this.#ranges) {
      if (range.start >= end) break
      if (range.start > reached) gaps.push({ start: reached, end: range.start })
      reached = range.end
    }
    if (reached < end) gaps.push({ start: reached, end })
    return gaps
  }

  /** The place, by bisection, of the first range whose end is at or after `offset`. */
  #firstEndingAtOrAfter(offset: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ranges[middle]?.end ?? offset) < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
