import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import { Body } from './body.ts'
import { failureOf, slow } from './failure.ts'
import type { Guard } from './guard.ts'
import type { Headers } from './headers.ts'
import type { Lane, Network } from './network.ts'
import { Receiver } from './receiver.ts'

/** What a socket costs, in metrics; each may be left out. */
export type Hooks = {
  readonly onAnswer?: ((status: number | 'error') => void) | undefined
  readonly onBytes?: ((bytes: number) => void) | undefined
}

export type Asking = {
  readonly method: 'GET' | 'HEAD'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly lane: Exclude<Lane, 'fresh'>
}

/** One answer; its body is to be read, discarded or destroyed. */
export type Answer = { readonly status: number; readonly headers: Headers; readonly body: Body }

type Timeouts = { readonly headersMs: number; readonly idleMs: number }
type Parts = {
  readonly network: Network
  readonly guard: Guard
  readonly timeouts: Timeouts
  readonly outside: Outside
  readonly hooks: Hooks
}

/** A pool may make a request wait this long for a socket: blobs may all be long. */
const QUEUE_MS_MAX = 60_000

/** One request, one answer: no redirect followed, no challenge met. */
export class Wire {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * Sends a request and waits for the answer's head. Where a used socket dies before a byte came (it was closed while
   * the request was on its way), it is sent once more, at once, on a fresh one.
   *
   * @param signal ends the wait, and the body too
   * @throws {OciError} upstreamFailed, upstreamSlow
   */
  async send(asking: Asking, signal: AbortSignal): Promise<Answer> {
    this.#parts.guard.check(asking.url)
    const first = await this.#attempt(asking, asking.lane, signal)
    if (first.at === 'answered') return first.answer
    if (!first.wasStale || signal.aborted) throw first.error
    const second = await this.#attempt(asking, 'fresh', signal)
    if (second.at === 'answered') return second.answer
    throw second.error
  }

  async #attempt({ method, url, headers }: Asking, lane: Lane, signal: AbortSignal): Promise<Attempt> {
    const { network, hooks, outside, timeouts } = this.#parts
    const { clock } = outside
    let cancel = clock.after(QUEUE_MS_MAX, () => receiver.abort(slow('no connection to the upstream became free')))
    const receiver = new Receiver({
      onSent: () => {
        cancel()
        cancel = clock.after(timeouts.headersMs, () => receiver.abort(slow('the upstream did not answer in time')))
      },
      onOver: () => {
        cancel()
        signal.removeEventListener('abort', stop)
      },
      onBytes: (bytes) => hooks.onBytes?.(bytes),
    })
    const stop = () => receiver.abort(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    else network.of(lane).dispatch(optionsOf(method, url, headers), receiver)
    try {
      const head = await receiver.head
      cancel()
      hooks.onAnswer?.(head.status)
      return { at: 'answered', answer: { ...head, body: new Body(receiver, clock, timeouts.idleMs) } }
    } catch (error) {
      const isGivenUp = signal.aborted && !(signal.reason instanceof OciError) // by who asked: no fault of upstream's
      if (!isGivenUp) hooks.onAnswer?.('error')
      return {
        at: 'failed',
        error: failureOf(error, receiver.wasSent ? 'sent' : 'queued'),
        wasStale: receiver.wasStale,
      }
    }
  }
}

type Attempt =
  | { readonly at: 'answered'; readonly answer: Answer }
  | { readonly at: 'failed'; readonly error: unknown; readonly wasStale: boolean }

/** Nothing of a client's request is in here: what goes upstream is written by this room alone. */
function optionsOf(method: Asking['method'], url: URL, headers: Asking['headers']) {
  const all = { 'user-agent': 'millpond', 'accept-encoding': 'identity', ...headers }
  // Without `reset` undici closes the socket after each HEAD; a body sent after one ends the socket anyway.
  return { origin: url.origin, path: `${url.pathname}${url.search}`, method, headers: all, reset: false }
}
