import type { Clock } from '../base/clock.ts'

const LOOKED_EACH_MS = 5_000

/** Looks after something now and then, one look at a time, until it is disposed of. */
export class Looking implements AsyncDisposable {
  readonly #look: () => Promise<void>
  readonly #clock: Clock
  #cancel: () => void = () => undefined
  #looking: Promise<void> | undefined
  #isClosed = false

  /** @param look never rejects */
  constructor(clock: Clock, look: () => Promise<void>) {
    this.#clock = clock
    this.#look = look
    this.#arm()
  }

  /** No look runs after this. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#cancel()
    await this.#looking
  }

  #arm(): void {
    if (this.#isClosed) return
    this.#cancel = this.#clock.after(LOOKED_EACH_MS, () => {
      this.#looking = this.#look().then(() => this.#arm())
    })
  }
}
