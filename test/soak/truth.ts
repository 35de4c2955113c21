import type { Digest } from '../../src/oci/digest.ts'

type Span = { readonly digest: Digest | undefined; readonly fromMs: number }

/** What each tag pointed to upstream, when. Times are of the soak's own monotonic clock. */
export class Truth {
  readonly #history = new Map<string, Span[]>()

  /** From now on `tag` points to `digest`, or is no more. */
  say(repository: string, tag: string, digest: Digest | undefined, nowMs: number): void {
    const key = `${repository}:${tag}`
    this.#history.set(key, [...(this.#history.get(key) ?? []), { digest, fromMs: nowMs }])
  }

  /** Whether it pointed to `digest`, or (undefined) was not there, at any moment from `fromMs` to `toMs`. */
  wasTrue(repository: string, tag: string, digest: Digest | undefined, fromMs: number, toMs: number): boolean {
    const spans = this.#history.get(`${repository}:${tag}`) ?? [{ digest: undefined, fromMs: -Infinity }]
    return spans.some((span, at) => {
      const endMs = spans[at + 1]?.fromMs ?? Infinity
      return span.digest === digest && span.fromMs <= toMs && endMs >= fromMs
    })
  }
}
