/** setTimeout fires at once beyond 2^31 - 1 ms (24.8 days): longer waits are re-armed. */
const TIMER_MAX_MS = 2 ** 31 - 1

/** Time, handed in. Wall time is for what is stored or told; every wait and age within the process is monotonic. */
export interface Clock {
  /** Milliseconds since the epoch. May step in either direction. */
  wallMs(): number
  /** Milliseconds since some start; never goes back. */
  monotonicMs(): number
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls `act` once after `ms`, unless the returned function is called before. Does not keep the process alive. */
  after(ms: number, act: () => void): () => void
}

/** What comes from outside the process and is handed in, so that a test can hold it. */
export type Outside = { readonly clock: Clock; readonly random: () => number }

class SystemClock implements Clock {
  wallMs(): number {
    return Date.now()
  }

  monotonicMs(): number {
    return performance.now()
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = () => {
        cancel()
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const cancel = this.after(ms, done)
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  after(ms: number, act: () => void): () => void {
    const dueMs = performance.now() + ms
    const arm = (): NodeJS.Timeout => {
      const leftMs = dueMs - performance.now()
      return setTimeout(
        () => {
          if (performance.now() >= dueMs - 1) act()
          else timer = arm()
        },
        Math.min(Math.max(leftMs, 0), TIMER_MAX_MS),
      ).unref()
    }
    let timer = arm()
    return () => clearTimeout(timer)
  }
}

export const systemOutside: Outside = { clock: new SystemClock(), random: Math.random }
