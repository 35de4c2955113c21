import type { Clock } from '../base/clock.ts'
import { sizeText } from '../base/units.ts'

const SHOWN_EACH_MS = 100
const WIDTH = 30
const CLEARED = '\r\x1b[K'

/** A bar on standard error, where a person watches; else nothing but what is said. */
export class Progress implements Disposable {
  readonly #totalBytes: number
  readonly #clock: Clock
  readonly #startedMs: number
  readonly #isWatched = process.stderr.isTTY === true
  #shownMs = Number.NEGATIVE_INFINITY

  constructor(totalBytes: number, clock: Clock) {
    this.#totalBytes = totalBytes
    this.#clock = clock
    this.#startedMs = clock.monotonicMs()
  }

  show(bytes: number): void {
    const nowMs = this.#clock.monotonicMs()
    if (!this.#isWatched || nowMs - this.#shownMs < SHOWN_EACH_MS) return
    this.#shownMs = nowMs
    const part = Math.min(bytes / Math.max(this.#totalBytes, 1), 1)
    const full = Math.round(part * WIDTH)
    const bar = `${'█'.repeat(full)}${'░'.repeat(WIDTH - full)}`
    const rate = `${sizeText(bytes / Math.max((nowMs - this.#startedMs) / 1000, 0.001))}/s`
    const done = `${sizeText(bytes)} of ${sizeText(this.#totalBytes)}`
    process.stderr.write(`${CLEARED}${bar} ${Math.floor(part * 100)} %  ${done}  ${rate}`)
  }

  /** A line on standard output. */
  say(line: string): void {
    this[Symbol.dispose]()
    process.stdout.write(`${line}\n`)
  }

  [Symbol.dispose](): void {
    if (this.#isWatched) process.stderr.write(CLEARED)
  }
}
