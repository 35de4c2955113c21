/** What changes one key happens one after the other; keys never wait for each other. */
export class Turns<Key> {
  readonly #last = new Map<Key, Promise<unknown>>()

  /** Runs `act` once all that was asked for `key` before is over, however it ended. */
  run<T>(key: Key, act: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const turn = before ? before.then(act, act) : act()
    this.#last.set(key, turn)
    const forget = () => {
      if (this.#last.get(key) === turn) this.#last.delete(key)
    }
    turn.then(forget, forget)
    return turn
  }

  /** Resolves once nothing is under way, however it ended. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.allSettled(this.#last.values())
  }
}
