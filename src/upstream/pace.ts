import { KIB } from '../base/units.ts'

/** Slower than this over the whole window, an upstream is as good as stalled (a drip keeps every idle timer quiet). */
const WINDOW_MS = 60_000
const WINDOW_BYTES_MIN = (WINDOW_MS / 1000) * KIB

/** How patient we are with a body: of the time that we waited for it, never of what we took to use it. */
export class Pace {
  /** How long it may be silent. */
  readonly idleMs: number
  #waitedMs = 0
  #bytes = 0
  #isDripping = false

  constructor(idleMs: number) {
    this.idleMs = idleMs
  }

  get isDripping(): boolean {
    return this.#isDripping
  }

  /** Counts a wait and what came of it; each full window is judged. */
  note(waitedMs: number, bytes: number): void {
    this.#waitedMs += waitedMs
    this.#bytes += bytes
    if (this.#waitedMs < WINDOW_MS) return
    this.#isDripping = this.#bytes < WINDOW_BYTES_MIN
    this.#waitedMs = 0
    this.#bytes = 0
  }
}
