import picomatch from 'picomatch'
import type { RegistryHost, Repository, Tag } from '../oci/names.ts'
import { countsPulls } from './asks.ts'

type Use = { readonly repository: Repository; readonly tags: readonly Tag[] }
type Pin = { readonly isRepository: (path: string) => boolean; readonly isTag: ((tag: string) => boolean) | undefined }

/** What the configuration keeps from eviction: `repository` or `repository:tag` patterns of each upstream. */
export class Pins {
  #byHost: ReadonlyMap<RegistryHost, readonly Pin[]>

  constructor(patterns: Iterable<readonly [RegistryHost, readonly string[]]>) {
    this.#byHost = pinsOf(patterns)
  }

  replace(patterns: Iterable<readonly [RegistryHost, readonly string[]]>): void {
    this.#byHost = pinsOf(patterns)
  }

  /** Whether nothing is pinned at all: then nobody need be asked. */
  get isEmpty(): boolean {
    return this.#byHost.size === 0
  }

  /** Whether any use of a digest is a pinned one. */
  isPinned(uses: readonly Use[]): boolean {
    return uses.some(({ repository, tags }) => {
      const pins = this.#byHost.get(repository.host) ?? []
      const names = namesOf(repository)
      return pins.some(({ isRepository, isTag }) => names.some(isRepository) && (!isTag || tags.some(isTag)))
    })
  }
}

function pinsOf(patterns: Iterable<readonly [RegistryHost, readonly string[]]>) {
  const pinned = [...patterns].filter(([, each]) => each.length > 0)
  return new Map(pinned.map(([host, each]) => [host, each.map(pinOf)]))
}

/** No path has a colon, and no tag: what follows the last one is the tag's pattern. */
function pinOf(pattern: string): Pin {
  const colon = pattern.lastIndexOf(':')
  if (colon < 0) return { isRepository: picomatch(pattern), isTag: undefined }
  return { isRepository: picomatch(pattern.slice(0, colon)), isTag: picomatch(pattern.slice(colon + 1)) }
}

/** Docker Hub's official images are named with `library/` and without. */
function namesOf({ host, path }: Repository): readonly string[] {
  const isOfficial = countsPulls(host) && path.startsWith('library/')
  return isOfficial ? [path, path.slice('library/'.length)] : [path]
}
