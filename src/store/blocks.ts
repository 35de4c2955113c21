import { BLOCK_BYTES } from './checksums.ts'

/** Blocks that readers hold while their clients take them; who gets none reads the bytes that were compared again. */
const HELD_MAX = 32
/** Blocks in which bytes are compared and which are free again at once. */
const BORROWED_MAX = 4
const FREE_MAX = 8

/** The memory in which blocks are compared: a bound for all readers, and nobody waits for another's client. */
export class Blocks {
  readonly #free: Buffer[] = []
  readonly #waiting: (() => void)[] = []
  #held = 0
  #borrowed = 0

  get held(): number {
    return this.#held
  }

  /** A block to be given back by `giveBack`; undefined where too many are held. */
  hold(): Buffer | undefined {
    if (this.#held >= HELD_MAX) return undefined
    this.#held += 1
    return this.#take()
  }

  giveBack(block: Buffer): void {
    this.#held -= 1
    this.#put(block)
  }

  /** Lends a block while `act` runs, which must wait for no client; in the order of who asks. */
  async borrow(act: (block: Buffer) => Promise<void>): Promise<void> {
    if (this.#borrowed >= BORROWED_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#borrowed += 1
    const block = this.#take()
    try {
      await act(block)
    } finally {
      this.#put(block)
      const next = this.#waiting.shift() // who has the place from here on
      if (next) next()
      else this.#borrowed -= 1
    }
  }

  #take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  #put(block: Buffer): void {
    if (this.#free.length < FREE_MAX) this.#free.push(block)
  }
}
