/** Beyond it, a balancer should send clients elsewhere. */
const LAG_UNREADY_MS = 2_000

/** What readiness depends on; each is asked when somebody asks, nothing is remembered. */
export type ReadinessFacts = {
  /** Before clients are served, while they are, and when no more are taken. */
  readonly phase: () => 'starting' | 'serving' | 'draining'
  readonly isDiskFailing: () => boolean
  /** Rejects where the index can't be asked. */
  readonly askIndex: () => Promise<unknown>
  /** The event loop's worst lag since this was last asked. */
  readonly lagMs: () => number
}

/** Whether this process should be sent clients. Upstreams are no part of it. */
export class Readiness {
  readonly #facts: ReadinessFacts

  constructor(facts: ReadinessFacts) {
    this.#facts = facts
  }

  /** Why not, a sentence each; none: ready. */
  async reasonsAgainst(): Promise<readonly string[]> {
    const phase = this.#facts.phase()
    const lagMs = this.#facts.lagMs()
    const isIndexFailing = await this.#facts.askIndex().then(
      () => false,
      () => true, // why it fails is in the log of whoever met it
    )
    return [
      ...(phase === 'serving' ? [] : [phase]),
      ...(this.#facts.isDiskFailing() ? ['the disk fails; pulls are passed through'] : []),
      ...(isIndexFailing ? ['the index fails'] : []),
      ...(lagMs > LAG_UNREADY_MS ? [`the event loop was ${Math.round(lagMs)} ms late`] : []),
    ]
  }
}
