import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

/** Each is a timer: health is asked seldom, about seconds. */
const RESOLUTION_MS = { scrapes: 20, health: 100, warnings: 20 } as const
/** Later than this, whoever asks for something that is held waits for it visibly. */
const WARNED_MS = 50
const WARN_EVERY_MS = 60_000
const QUANTILES = [0.5, 0.99, 1] as const

/**
 * How late the event loop runs its timers. Readers don't disturb each other: scrapes take from one histogram, health
 * from another, and each begins anew when read.
 */
export class LoopLag {
  readonly #forScrapes = started(RESOLUTION_MS.scrapes)
  readonly #forHealth = started(RESOLUTION_MS.health)

  /** Quantiles since the last call, in milliseconds beyond the sampling's own pace. */
  takeQuantilesMs(): readonly (readonly [quantile: string, ms: number])[] {
    const found = QUANTILES.map((each) => {
      const ms = lagMs(this.#forScrapes.percentile(each * 100), RESOLUTION_MS.scrapes)
      return [String(each), ms] as const
    })
    this.#forScrapes.reset()
    return found
  }

  /** The worst since the last call, in milliseconds. */
  takeMaxMs(): number {
    const ms = lagMs(this.#forHealth.max, RESOLUTION_MS.health)
    this.#forHealth.reset()
    return ms
  }

  [Symbol.dispose](): void {
    this.#forScrapes.disable()
    this.#forHealth.disable()
  }
}

/** Says in the log, once a minute at the most, that the event loop was late. */
export class LagWatch {
  readonly #late: ReturnType<typeof started> = started(RESOLUTION_MS.warnings)
  readonly #clock: Clock
  readonly #log: Log
  #cancel: () => void = () => undefined

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
    this.#watch()
  }

  [Symbol.dispose](): void {
    this.#cancel()
    this.#late.disable()
  }

  #watch(): void {
    this.#cancel = this.#clock.after(WARN_EVERY_MS, () => {
      const lateMs = Math.round(lagMs(this.#late.max, RESOLUTION_MS.warnings))
      this.#late.reset()
      if (lateMs > WARNED_MS) this.#log.warn({ lateMs }, 'the event loop was late')
      this.#watch()
    })
  }
}

function started(resolution: number): ReturnType<typeof monitorEventLoopDelay> {
  const histogram = monitorEventLoopDelay({ resolution })
  histogram.enable()
  return histogram
}

/** An empty histogram reads a huge minimum and 0 or NaN else: no lag is known, so none is told. */
function lagMs(nanoseconds: number, resolutionMs: number): number {
  const ms = nanoseconds / 1e6 - resolutionMs
  return Number.isFinite(ms) ? Math.max(0, ms) : 0
}
