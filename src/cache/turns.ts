import type { Failing, Source } from './source.ts'
import type { Sources } from './sources.ts'

/** Attempts at one source without progress before it is given up: before anyone was told a size, and after. */
const ATTEMPTS_MAX = { untold: 2, told: 5 } as const
export const REST_FIRST_MS = 250
const REST_MAX_MS = 8_000

/** Faults that the same source would only repeat. */
const LASTING: ReadonlySet<string> = new Set(['address', 'encoding', 'header', 'range', 'realm', 'redirect', 'size'])

export type Turn = { readonly source: Source; readonly restMs: number }

/**
 * Whose turn it is in one stream. A source that failed hands over to the next of the same right; the same one again
 * comes at once after progress, else after a rest that doubles. A source that would only repeat itself gets no further
 * turn. What joiners brought is asked when all of the starter's are given up, and once it is known that he was shown
 * the blob: before that, his own sources alone say how the fill ends.
 */
export class Turns {
  readonly #sources: Sources
  readonly #attempts = new Map<Source, number>()
  /** Of each group, the place of the source that is asked next. */
  readonly #places = new Map<readonly Source[], number>()
  #now: { readonly group: readonly Source[]; readonly source: Source } | undefined
  #last: Failing | undefined

  constructor(sources: Sources) {
    this.#sources = sources
  }

  /** Why the starter's sources failed: the worst where each was asked. Of what joiners brought nothing is told. */
  get last(): Failing | undefined {
    return [...this.#sources.ownFailings, ...(this.#last ? [this.#last] : [])].reduce<Failing | undefined>(
      worse,
      undefined,
    )
  }

  /** The source to ask now, or undefined when each was given up. */
  next(isTold: boolean): Turn | undefined {
    const most = isTold ? ATTEMPTS_MAX.told : ATTEMPTS_MAX.untold
    for (const group of isTold ? this.#sources.groups : [this.#sources.own]) {
      const turn = this.#nextOf(group, most)
      if (turn) return turn
    }
    return undefined
  }

  /** Ends the turn of the source that `next` gave. After progress it is as good as new, and is asked again at once. */
  failed(failing: Failing, hadProgress: boolean): void {
    if (!this.#now) return
    const { group, source } = this.#now
    const attempts = hadProgress ? 0 : (this.#attempts.get(source) ?? 0) + 1
    this.#attempts.set(source, isLasting(failing) ? Number.POSITIVE_INFINITY : attempts)
    if (failing.at !== 'error') this.#sources.giveUp(source, failing)
    if (group === this.#sources.own) this.#last = worse(this.#last, failing)
    this.#places.set(group, (group.indexOf(source) + 1) % group.length)
  }

  #nextOf(group: readonly Source[], most: number): Turn | undefined {
    const first = this.#places.get(group) ?? 0
    for (const source of [...group.slice(first), ...group.slice(0, first)]) {
      const attempts = this.#attempts.get(source) ?? 0
      if (attempts >= most || this.#sources.isGivenUp(source)) continue
      this.#now = { group, source }
      return { source, restMs: attempts === 0 ? 0 : Math.min(REST_FIRST_MS * 2 ** (attempts - 1), REST_MAX_MS) }
    }
    return undefined
  }
}

const worse = (one: Failing | undefined, other: Failing): Failing => (one && rankOf(one) > rankOf(other) ? one : other)

/** One source's 404 says nothing where another's failure hides what it has; a refusal says more than an absence. */
const rankOf = (failing: Failing): number => ({ absent: 0, denied: 1, error: 2 })[failing.at]

/** Whether the same source would only repeat itself. */
export function isLasting(failing: Failing): boolean {
  if (failing.at !== 'error') return true
  const { reason, fault } = failing.error
  return reason === 'accountSpent' || (fault !== undefined && LASTING.has(fault))
}
