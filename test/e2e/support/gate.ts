/** Stops what passes once so many bytes have gone by, until it is opened again. */
export class Gate {
  #afterBytes = Number.POSITIVE_INFINITY
  #opening = Promise.withResolvers<void>()
  #stopping = Promise.withResolvers<void>()

  /** From now on nobody passes who has had `bytes`. Resolves when the first one was stopped. */
  stopAfter(bytes: number): Promise<void> {
    this.#opening = Promise.withResolvers()
    this.#stopping = Promise.withResolvers()
    this.#afterBytes = bytes
    return this.#stopping.promise
  }

  open(): void {
    this.#afterBytes = Number.POSITIVE_INFINITY
    this.#opening.resolve()
  }

  async pass(hadBytes: number): Promise<void> {
    if (hadBytes < this.#afterBytes) return
    this.#stopping.resolve()
    await this.#opening.promise
  }
}
