import { type Failing, idOf, type Source } from './source.ts'

/** More than any digest has that is pulled by many at once; who joins beyond it adds none. */
const SOURCES_MAX = 64

/**
 * Where one fill gets its bytes: its starter's own sources, and after these what those who joined brought, each by its
 * own right to the digest. So a fill outlives its starter's right, and asks nobody in another's name.
 */
export class Sources {
  /** The starter's, then each joiner's. */
  readonly #groups: Source[][]
  readonly #ids: Set<string>
  readonly #givenUp = new Map<Source, Failing>()

  constructor(own: readonly Source[]) {
    this.#groups = [[...own]]
    this.#ids = new Set(own.map(idOf))
  }

  /** Those of one right at a time, in the order in which they are asked. */
  get groups(): readonly (readonly Source[])[] {
    return this.#groups
  }

  get own(): readonly Source[] {
    return this.#groups[0] ?? []
  }

  /** Of `sources` those that are new; a stream under way may come to ask them. */
  add(sources: readonly Source[]): void {
    const news = sources.filter((source) => !this.#ids.has(idOf(source))).slice(0, SOURCES_MAX - this.#ids.size)
    if (news.length === 0) return
    this.#groups.push([...news])
    for (const source of news) this.#ids.add(idOf(source))
  }

  /** It said that it has no such blob, or none for us: no stream of this fill asks it again. */
  giveUp(source: Source, why: Failing): void {
    this.#givenUp.set(source, why)
  }

  isGivenUp(source: Source): boolean {
    return this.#givenUp.has(source)
  }

  /** Why the starter's own sources were given up, those that were. */
  get ownFailings(): readonly Failing[] {
    return this.own.flatMap((source) => this.#givenUp.get(source) ?? [])
  }
}
