import type { Clock } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import { type Headers, oneOf } from './headers.ts'

const REST_MS_MAX = 5 * 60_000
const REST_MS_MIN = 1_000
/** Where a 429 says nothing of how long. */
const REST_MS_DEFAULT = 5_000

/** Milliseconds that a Retry-After asks for: seconds or an HTTP date (RFC 9110 §10.2.3), within our bounds. */
export function retryAfterMsOf(text: string | undefined, wallMs: number): number {
  const askedMs = text === undefined ? Number.NaN : askedMsOf(text.trim(), wallMs)
  if (!Number.isFinite(askedMs)) return REST_MS_DEFAULT
  return Math.min(Math.max(askedMs, REST_MS_MIN), REST_MS_MAX)
}

const askedMsOf = (text: string, wallMs: number): number =>
  /^[0-9]{1,10}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - wallMs

/** A 429 obeyed: until its Retry-After is over nothing is asked here any more. */
export class Rest {
  readonly #clock: Clock
  #untilMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get leftMs(): number {
    return Math.max(0, this.#untilMs - this.#clock.monotonicMs())
  }

  /** Begins, or goes on for longer. */
  obey(headers: Headers): OciError {
    const ms = retryAfterMsOf(oneOf(headers, 'retry-after'), this.#clock.wallMs())
    this.#untilMs = Math.max(this.#untilMs, this.#clock.monotonicMs() + ms)
    return this.#spent(429)
  }

  /** @throws {OciError} accountSpent, while it lasts */
  check(): void {
    if (this.leftMs > 0) throw this.#spent()
  }

  #spent(upstreamStatus?: number): OciError {
    const retryAfterMs = this.leftMs
    return new OciError('accountSpent', 'the upstream limits our requests', {
      fault: 'limited',
      retryAfterMs,
      ...(upstreamStatus !== undefined && { upstreamStatus }),
    })
  }
}
