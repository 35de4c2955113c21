import type { Clock } from '../base/clock.ts'
import type { Headers } from './headers.ts'

export type Head = { readonly status: number; readonly headers: Headers }

/** One answer as it arrives, whichever way: what its reader asks of it. */
export interface Arrivals {
  /** Bytes that `take` would give, at the least. */
  readonly arrivedBytes: number
  /** Whether nothing more will come; `error` tells why, and is undefined where the body ended. */
  readonly isOver: boolean
  readonly error: unknown
  /** What has arrived, at most 1 MiB, valid until the next take; lets more come. */
  take(): Buffer
  /** Resolves when `bytes` have arrived, or nothing more will, or after `ms`. One waiter at a time. */
  waitFor(bytes: number, ms: number, clock: Clock): Promise<void>
  /** Gives up: the socket is destroyed, unless all has come. */
  abort(reason: unknown): void
}

/** One that has been asked for: its head, and how far the request came where there is none. */
export interface Awaited extends Arrivals {
  readonly head: Promise<Head>
  readonly wasSent: boolean
  /** Whether it failed on a used socket before a byte came: the one failure that says nothing of the upstream. */
  readonly wasStale: boolean
}

/** What is told of an answer while it arrives. */
export type Events = {
  /** The request left on a socket. */
  readonly onSent: () => void
  /** Nothing more will come; the socket is free or destroyed. */
  readonly onOver: () => void
  readonly onBytes: (bytes: number) => void
}

/** The one reader of an answer who waits for more. */
export class Waiter {
  #waiting: { readonly bytes: number; readonly call: () => void } | undefined

  wait(bytes: number, ms: number, clock: Clock): Promise<void> {
    return new Promise((resolve) => {
      const cancel = clock.after(ms, () => this.#waiting?.call())
      const call = () => {
        cancel()
        this.#waiting = undefined
        resolve()
      }
      this.#waiting = { bytes, call }
    })
  }

  /** So many have arrived; `mostBytes` can before a take. */
  arrived(bytes: number, mostBytes: number): void {
    if (this.#waiting && bytes >= Math.min(this.#waiting.bytes, mostBytes)) this.#waiting.call()
  }

  over(): void {
    this.#waiting?.call()
  }
}
