import type { OciError } from '../base/errors.ts'
import type { Source } from './source.ts'

/** Attempts at one source without progress before it is given up: before anyone was told a size, and after. */
const ATTEMPTS_MAX = { untold: 2, told: 5 } as const
const REST_FIRST_MS = 250
const REST_MAX_MS = 8_000

/** Faults that the same source would only repeat. */
const LASTING: ReadonlySet<string> = new Set(['address', 'encoding', 'header', 'range', 'realm', 'redirect', 'size'])

export type Turn = { readonly source: Source; readonly restMs: number }

/** How a source disappointed: said 404, refused us, or failed in a way that is an error. */
export type Failing = { readonly at: 'absent' } | { readonly at: 'denied' } | { readonly at: 'error'; error: OciError }

/**
 * Whose turn it is in one stream. A source that failed hands over to the next; the same one again comes at once after
 * progress, else after a rest that doubles. A source that would only repeat itself gets no further turn.
 */
export class Turns {
  readonly #sources: readonly Source[]
  readonly #attempts: number[]
  #at = 0
  #last: Failing | undefined

  constructor(sources: readonly Source[]) {
    this.#sources = sources
    this.#attempts = sources.map(() => 0)
  }

  /** Why the last turn failed; the worst where every source was asked. */
  get last(): Failing | undefined {
    return this.#last
  }

  /** The source to ask now, or undefined when each was given up. */
  next(isTold: boolean): Turn | undefined {
    const most = isTold ? ATTEMPTS_MAX.told : ATTEMPTS_MAX.untold
    for (let step = 0; step < this.#sources.length; step++) {
      const index = (this.#at + step) % this.#sources.length
      const source = this.#sources[index]
      const attempts = this.#attempts[index] ?? Number.POSITIVE_INFINITY
      if (!source || attempts >= most) continue
      this.#at = index
      return { source, restMs: attempts === 0 ? 0 : Math.min(REST_FIRST_MS * 2 ** (attempts - 1), REST_MAX_MS) }
    }
    return undefined
  }

  /** Ends the turn of the source that `next` gave. After progress it is as good as new, and is asked again at once. */
  failed(failing: Failing, hadProgress: boolean): void {
    const attempts = hadProgress ? 0 : (this.#attempts[this.#at] ?? 0) + 1
    this.#attempts[this.#at] = isLasting(failing) ? Number.POSITIVE_INFINITY : attempts
    if (!this.#last || rankOf(failing) >= rankOf(this.#last)) this.#last = failing
    this.#at = (this.#at + 1) % this.#sources.length
  }
}

/** One source's 404 says nothing where another's failure hides what it has; a refusal says more than an absence. */
const rankOf = (failing: Failing): number => ({ absent: 0, denied: 1, error: 2 })[failing.at]

function isLasting(failing: Failing): boolean {
  if (failing.at !== 'error') return true
  const { reason, fault } = failing.error
  return reason === 'accountSpent' || (fault !== undefined && LASTING.has(fault))
}
