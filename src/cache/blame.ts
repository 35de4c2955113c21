import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { FillEnd } from './fill.ts'
import { idOf, type Source } from './source.ts'

const CASES_MAX = 1_000
/** A source that sent wrong bytes for a digest is passed over for so long, where there is another. */
const BLAMED_MS = 60_000

type Case = { readonly liars: ReadonlySet<string>; readonly suspects: readonly string[] }

/**
 * Who brought bytes that were not the digest's. One alone is a liar; of several nobody knows which, and each is asked
 * alone then, so that wrong bytes are its own.
 */
export class Blame {
  readonly #cases = new LRUCache<Digest, Case>({ max: CASES_MAX, ttl: BLAMED_MS })

  /** How a fill of `digest` ended. */
  note(digest: Digest, end: FillEnd): void {
    const { liars, suspects } = this.#cases.get(digest) ?? { liars: new Set<string>(), suspects: [] }
    if (end.at === 'failed' && suspects.length > 1) {
      this.#cases.set(digest, { liars, suspects: [...suspects.slice(1), ...suspects.slice(0, 1)] })
    }
    if (end.at !== 'mismatch' || end.liars.length === 0) return
    const [only, ...others] = end.liars
    if (only === undefined || others.length > 0) this.#cases.set(digest, { liars, suspects: end.liars })
    else
      this.#cases.set(digest, { liars: new Set([...liars, only]), suspects: suspects.filter((name) => name !== only) })
  }

  /** Those of whom nothing bad is known: no other is asked besides the ones that a fill began with. */
  unblamed(digest: Digest, sources: readonly Source[]): readonly Source[] {
    const found = this.#cases.get(digest)
    return found ? sources.filter((source) => !isBlamed(found, idOf(source))) : sources
  }

  /** Whom to ask: those without blame; else the first suspect, alone; all, where each of them lied. */
  trusted(digest: Digest, sources: readonly Source[]): readonly Source[] {
    const found = this.#cases.get(digest)
    if (!found) return sources
    const others = sources.filter((source) => !found.liars.has(idOf(source)))
    const unsuspected = others.filter((source) => !found.suspects.includes(idOf(source)))
    if (unsuspected.length > 0) return unsuspected
    const suspect = found.suspects.flatMap((id) => others.filter((source) => idOf(source) === id))[0]
    if (suspect) return [suspect]
    this.#cases.delete(digest)
    return sources
  }
}

const isBlamed = ({ liars, suspects }: Case, id: string): boolean => liars.has(id) || suspects.includes(id)
