import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'

type Signal = 'SIGTERM' | 'SIGINT'

/** What of `process` decides over its end. */
export type ProcessLike = {
  on(event: Signal | 'SIGHUP' | 'uncaughtException' | 'unhandledRejection', act: (what: unknown) => void): unknown
  exit(status: number): void
}

/** What drains: closes to newcomers, lets clients end within its bound, and closes what it holds. */
export type Drainable = { stop(): Promise<void> }

/** Clients have 30 s to end; what is closed behind them takes moments. */
const STOP_MS_MAX = 40_000

/** Errors of sockets whose owner had gone: nothing of ours is broken by them. */
const OF_SOCKETS = new Set(['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'ETIMEDOUT', 'ECONNABORTED', 'ERR_STREAM_DESTROYED'])

/**
 * How the process ends. The first SIGTERM or SIGINT drains and ends with 0, the second, or 40 s, ends at once: what is
 * on disk is right at any moment. A rejection that nobody owned cost one key, so it is told and the process goes on;
 * any other error that nobody caught means that something here is not as it believes: it is told, and the process ends
 * with 1, for its supervisor to start it anew. SIGHUP has the configuration read again; while nothing is served yet, or
 * no longer, it does nothing.
 */
export class Lifetime {
  readonly #process: ProcessLike
  readonly #log: Log
  readonly #clock: Clock
  #server: Drainable | undefined
  #reload: () => void = () => undefined
  #isEnding = false

  constructor(process: ProcessLike, log: Log, clock: Clock) {
    this.#process = process
    this.#log = log
    this.#clock = clock
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void this.#end(signal))
    process.on('SIGHUP', () => this.#hangUp())
    process.on('unhandledRejection', (error) => log.error({ error }, 'a promise that nobody owned was rejected'))
    process.on('uncaughtException', (error) => this.#onUncaught(error))
  }

  /** @param reload reads the configuration again; what it throws is told, and costs nothing else */
  own(server: Drainable, reload: () => void): void {
    this.#server = server
    this.#reload = reload
  }

  #hangUp(): void {
    if (!this.#server || this.#isEnding) {
      this.#log.warn({ signal: 'SIGHUP' }, 'the configuration is read again only while clients are served')
      return
    }
    try {
      this.#reload()
    } catch (error) {
      this.#log.error({ error }, 'the configuration could not be read again: the running one is kept')
    }
  }

  /** Never rejects. */
  async #end(signal: Signal): Promise<void> {
    if (this.#isEnding || !this.#server) {
      this.#process.exit(this.#isEnding ? 1 : 0)
      return
    }
    this.#isEnding = true
    this.#log.info({ signal }, 'draining')
    this.#clock.after(STOP_MS_MAX, () => {
      this.#log.error({}, 'what should have closed did not: ending at once')
      this.#process.exit(1)
    })
    const status = await this.#server.stop().then(
      () => 0,
      (error: unknown) => {
        this.#log.error({ error }, 'could not stop in order')
        return 1
      },
    )
    this.#process.exit(status)
  }

  #onUncaught(error: unknown): void {
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
    if (typeof code === 'string' && OF_SOCKETS.has(code)) {
      this.#log.error({ error }, 'a socket that nobody owned failed')
      return
    }
    this.#log.error({ error, stack: error instanceof Error ? error.stack : undefined }, 'an error that nobody caught')
    this.#process.exit(1)
  }
}
