import type { Outside } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Events } from './arrivals.ts'
import { BlobAnswer, UnknownEnd } from './blob-socket.ts'
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
    const { error, wasStale } = first
    const isLeft = error instanceof UnknownEnd
    if (isLeft) this.#parts.network.blobSockets?.leave(asking.url)
    if ((!wasStale && !isLeft) || signal.aborted) throw error
    const second = await this.#attempt(asking, isLeft ? asking.lane : 'fresh', signal)
    if (second.at === 'answered') return second.answer
    throw second.error
  }

  async #attempt(asking: Asking, lane: Lane, signal: AbortSignal): Promise<Attempt> {
    const { hooks, outside, timeouts } = this.#parts
    const { clock } = outside
    let cancel = clock.after(QUEUE_MS_MAX, () => arrivals.abort(slow('no connection to the upstream became free')))
    const events: Events = {
      onSent: () => {
        cancel()
        cancel = clock.after(timeouts.headersMs, () => arrivals.abort(slow('the upstream did not answer in time')))
      },
      onOver: () => {
        cancel()
        signal.removeEventListener('abort', stop)
      },
      onBytes: (bytes) => hooks.onBytes?.(bytes),
    }
    const { arrivals, begin } = this.#prepared(asking, lane, events)
    const stop = () => arrivals.abort(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    else begin()
    try {
      const head = await arrivals.head
      cancel()
      hooks.onAnswer?.(head.status)
      return { at: 'answered', answer: { ...head, body: new Body(arrivals, clock, timeouts.idleMs) } }
    } catch (error) {
      if (error instanceof UnknownEnd) return { at: 'failed', error, wasStale: false }
      const isGivenUp = signal.aborted && !(signal.reason instanceof OciError) // by who asked: no fault of upstream's
      if (!isGivenUp) hooks.onAnswer?.('error')
      return {
        at: 'failed',
        error: failureOf(error, arrivals.wasSent ? 'sent' : 'queued'),
        wasStale: arrivals.wasStale,
      }
    }
  }

  /** Blobs take the way that costs least where it can be taken; all else goes through undici. */
  #prepared({ method, url, headers, lane: of }: Asking, lane: Lane, events: Events) {
    const { network } = this.#parts
    const { blobSockets } = network
    const sent = headersOf(headers)
    if (of === 'blobs' && method === 'GET' && blobSockets?.takes(url)) {
      const answer = new BlobAnswer(events)
      const begin = () => blobSockets.send({ url, headers: sent, answer }, lane === 'fresh')
      return { arrivals: answer, begin }
    }
    const receiver = new Receiver(events)
    // Without `reset` undici closes the socket after each HEAD; a body sent after one ends the socket anyway.
    const options = { origin: url.origin, path: `${url.pathname}${url.search}`, method, headers: sent, reset: false }
    return { arrivals: receiver, begin: () => void network.of(lane).dispatch(options, receiver) }
  }
}

type Attempt =
  | { readonly at: 'answered'; readonly answer: Answer }
  | { readonly at: 'failed'; readonly error: unknown; readonly wasStale: boolean }

/** Nothing of a client's request is in here: what goes upstream is written by this room alone. */
const headersOf = (headers: Asking['headers']) => ({
  'user-agent': 'millpond',
  'accept-encoding': 'identity',
  ...headers,
})
