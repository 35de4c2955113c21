import type { Dispatcher } from 'undici'
import type { Clock } from '../base/clock.ts'
import { MIB } from '../base/units.ts'
import { type Awaited, type Events, type Head, Waiter } from './arrivals.ts'
import { isHangUp } from './failure.ts'
import { type Headers, lengthOf } from './headers.ts'

/** A piece of a body is at most this long. */
const PIECE_BYTES = MIB

type Controller = Dispatcher.DispatchController
type State =
  | { readonly at: 'queued' }
  | { readonly at: 'sent'; readonly controller: Controller }
  | { readonly at: 'answered'; readonly controller: Controller }
  | { readonly at: 'over'; readonly error: unknown } // undefined: the body ended

/**
 * One answer as it arrives: the adapter between undici's callbacks and what awaits them. A body is gathered into two
 * buffers: while one is read the other fills, and when it is full the socket is paused.
 */
export class Receiver implements Dispatcher.DispatchHandler, Awaited {
  /** Set by the pool: the request went out on a socket that had served others, and may have died since. */
  isOnUsedSocket = false
  readonly head: Promise<Head>
  readonly #settle: { readonly resolve: (head: Head) => void; readonly reject: (error: unknown) => void }
  readonly #events: Events
  #state: State = { at: 'queued' }
  #wasSent = false
  #hasBegun = false
  #filling: Buffer | undefined
  #filledBytes = 0
  #spare: Buffer | undefined
  /** What still came after the pause, in order; what the socket had read already bounds it. */
  #overflow: Buffer[] = []
  #bufferBytes = PIECE_BYTES
  readonly #waiter = new Waiter()

  constructor(events: Events) {
    this.#events = events
    const { promise, resolve, reject } = Promise.withResolvers<Head>()
    this.head = promise
    this.#settle = { resolve, reject }
    void promise.catch(() => undefined) // whoever awaits it hears of it; an ask that was given up has nobody
  }

  /** Bytes that `take` would give. */
  get arrivedBytes(): number {
    return this.#filledBytes
  }

  get isOver(): boolean {
    return this.#state.at === 'over'
  }

  /** Why nothing more comes; undefined while it may, and where the body ended. */
  get error(): unknown {
    return this.#state.at === 'over' ? this.#state.error : undefined
  }

  get wasSent(): boolean {
    return this.#wasSent
  }

  /** Whether it failed on a used socket before a byte came: the one failure that says nothing of the upstream. */
  get wasStale(): boolean {
    return this.isOnUsedSocket && !this.#hasBegun && isHangUp(this.error)
  }

  /** What has arrived, valid until the next take; lets more come. */
  take(): Buffer {
    const taken = this.#filling?.subarray(0, this.#filledBytes) ?? Buffer.alloc(0)
    ;[this.#filling, this.#spare] = [this.#spare, this.#filling]
    this.#filledBytes = 0
    const overflow = this.#overflow
    this.#overflow = []
    for (const chunk of overflow) this.#append(chunk)
    if (this.#state.at === 'answered' && this.#overflow.length === 0) this.#state.controller.resume()
    return taken
  }

  /** Resolves when `bytes` have arrived, or nothing more will, or after `ms`. One waiter at a time. */
  waitFor(bytes: number, ms: number, clock: Clock): Promise<void> {
    if (this.arrivedBytes >= bytes || this.isOver) return Promise.resolve()
    return this.#waiter.wait(bytes, ms, clock)
  }

  /** Gives up: the socket is destroyed, unless all has come. */
  abort(reason: unknown): void {
    const { at } = this.#state
    if (at === 'over') return
    const controller = at === 'queued' ? undefined : this.#state.controller
    this.#end(reason ?? new Error('given up'))
    controller?.abort(reason instanceof Error ? reason : new Error('given up', { cause: reason }))
  }

  onRequestStart(controller: Controller): void {
    if (this.#state.at === 'over') {
      controller.abort(new Error('given up while queued'))
      return
    }
    this.#state = { at: 'sent', controller }
    this.#wasSent = true
    this.#events.onSent()
  }

  onResponseStarted(): void {
    this.#hasBegun = true
  }

  onResponseStart(controller: Controller, status: number, headers: Headers): void {
    if (status < 200 || this.#state.at === 'over') return // RFC 9110 §15.2: informational, the answer follows
    this.#state = { at: 'answered', controller }
    this.#bufferBytes = Math.min(PIECE_BYTES, claimedBytesOf(headers) + 1) // never full before its end is seen
    this.#settle.resolve({ status, headers })
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#state.at === 'over') return
    this.#events.onBytes(chunk.length)
    this.#append(chunk)
    if (this.#overflow.length > 0 || this.#filledBytes === this.#bufferBytes) controller.pause()
    this.#waiter.arrived(this.#filledBytes, this.#bufferBytes)
  }

  onResponseEnd(): void {
    if (this.#state.at !== 'over') this.#end(undefined)
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    if (this.#state.at !== 'over') this.#end(error)
  }

  #append(chunk: Buffer): void {
    this.#filling ??= Buffer.allocUnsafeSlow(this.#bufferBytes)
    const copied = this.#overflow.length > 0 ? 0 : chunk.copy(this.#filling, this.#filledBytes)
    this.#filledBytes += copied
    if (copied < chunk.length) this.#overflow.push(chunk.subarray(copied))
  }

  #end(error: unknown): void {
    this.#state = { at: 'over', error }
    this.#settle.reject(error ?? new Error('ended without a head'))
    this.#events.onOver()
    this.#waiter.over()
  }
}

function claimedBytesOf(headers: Headers): number {
  try {
    return lengthOf(headers) ?? PIECE_BYTES
  } catch {
    return PIECE_BYTES // a header that came twice: whoever reads the head will refuse it
  }
}
