import type { Clock, Outside } from '../../src/base/clock.ts'

type Timer = { readonly dueMs: number; readonly act: () => void }

/** A clock that a test moves by hand. Both times go together, but for what `stepWall` does. */
export class HandClock implements Clock {
  #wallMs = Date.UTC(2026, 0, 1)
  #monotonicMs = 1_000
  readonly #timers = new Set<Timer>()
  /** Milliseconds that each look at the wall clock takes. */
  tickMs = 0

  wallMs(): number {
    this.#wallMs += this.tickMs
    return this.#wallMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const cancel = this.after(ms, resolve)
      const abandon = () => {
        cancel()
        resolve()
      }
      signal?.addEventListener('abort', abandon, { once: true })
    })
  }

  after(ms: number, act: () => void): () => void {
    const timer = { dueMs: this.#monotonicMs + ms, act }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  /** Time goes on, and what is due by then is done in order. */
  advance(ms: number): void {
    const untilMs = this.#monotonicMs + ms
    for (let next = this.#nextDue(untilMs); next; next = this.#nextDue(untilMs)) {
      this.#timers.delete(next)
      this.#goTo(Math.max(next.dueMs, this.#monotonicMs))
      next.act()
    }
    this.#goTo(untilMs)
  }

  /** Someone sets the wall clock. */
  stepWall(ms: number): void {
    this.#wallMs += ms
  }

  get timers(): number {
    return this.#timers.size
  }

  #goTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs
    this.#monotonicMs = monotonicMs
  }

  #nextDue(untilMs: number): Timer | undefined {
    const due = [...this.#timers].filter(({ dueMs }) => dueMs <= untilMs)
    return due.sort((a, b) => a.dueMs - b.dueMs)[0]
  }
}

export const outsideOf = (clock: Clock): Outside => ({ clock, random: () => 0.5 })
