import { setTimeout as sleep } from 'node:timers/promises'
import { type Catalogue, publishCatalogue } from './catalogue.ts'
import { Folder } from './folder.ts'
import { Front } from './front.ts'
import { Millpond, type Settings } from './millpond.ts'
import { Publisher } from './publisher.ts'
import { startRegistry } from './registry.ts'
import { PRIVATE_PREFIX, READER, TokenServer } from './token-server.ts'

const LOOK_MS = 50
const IDLE_MS = 20_000

type Parts = Pick<House, 'millpond' | 'catalogue' | 'sizeOf' | 'fronts' | 'tokens'>
type SettingsOf = (folder: Folder, upstreams: Upstreams) => Promise<Partial<Settings>>
type Upstreams = Readonly<Record<UpstreamName, object>>
type Stacks = { readonly upstream: AsyncDisposableStack; readonly all: AsyncDisposableStack }

export type UpstreamName = 'docker.io' | 'registry.example'

/**
 * A whole neighbourhood on loopback: one registry with its token server, two upstreams in front of it (the one like
 * Docker Hub, with blobs elsewhere), and a Millpond that knows both.
 */
export class House implements AsyncDisposable {
  readonly millpond: Millpond
  readonly catalogue: Catalogue
  /** The size of whatever was published, by digest. */
  readonly sizeOf: ReadonlyMap<string, number>
  readonly fronts: Readonly<Record<UpstreamName, Front>>
  readonly tokens: TokenServer
  readonly #upstream: AsyncDisposableStack
  readonly #all: AsyncDisposableStack

  /** @param settingsOf what its Millpond is told besides its upstreams; files of it go into the folder */
  static async open(settingsOf: SettingsOf = async () => ({})): Promise<House> {
    await using all = new AsyncDisposableStack()
    const folder = all.use(await Folder.open())
    const upstream = all.use(new AsyncDisposableStack())
    const tokens = upstream.use(await TokenServer.open(folder))
    const registry = upstream.use(await startRegistry(folder, tokens))
    const fronts = {
      'docker.io': upstream.use(await Front.open(registry, tokens, { redirects: true })),
      'registry.example': upstream.use(await Front.open(registry, tokens, { redirects: false })),
    }
    const publisher = new Publisher(registry, tokens)
    const catalogue = await publishCatalogue(publisher, registry, folder)
    const upstreams = upstreamsOf(fronts)
    const settings = { upstreams, ...(await settingsOf(folder, upstreams)) }
    const millpond = all.use(await Millpond.start(folder, settings))
    return new House({ millpond, catalogue, sizeOf: publisher.sizeOf, fronts, tokens, upstream, all: all.move() })
  }

  private constructor(parts: Parts & Stacks) {
    this.millpond = parts.millpond
    this.catalogue = parts.catalogue
    this.sizeOf = parts.sizeOf
    this.fronts = parts.fronts
    this.tokens = parts.tokens
    this.#upstream = parts.upstream
    this.#all = parts.all
  }

  /** From now on both upstreams, their registry and their token server refuse every connection. */
  async stopUpstream(): Promise<void> {
    await this.#upstream.disposeAsync()
  }

  /** Resolves when no upstream has an answer under way: what goes on behind a pull is over. */
  async untilIdle(): Promise<void> {
    const endMs = performance.now() + IDLE_MS
    const isIdle = () => Object.values(this.fronts).every((front) => front.openCount === 0)
    for (let quiet = 0; quiet < 4; quiet = isIdle() ? quiet + 1 : 0) {
      if (performance.now() > endMs) throw new Error(`upstream still has answers under way after ${IDLE_MS} ms`)
      await sleep(LOOK_MS)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#all.disposeAsync()
  }
}

function upstreamsOf(fronts: Readonly<Record<UpstreamName, Front>>): Upstreams {
  const accounts = [{ ...READER, repositories: [`${PRIVATE_PREFIX}**`] }]
  return {
    'docker.io': { default: true, endpoints: [fronts['docker.io'].url], accounts },
    // Its tags are asked for again at each pull: an outage is then met by what was known last.
    'registry.example': {
      endpoints: [fronts['registry.example'].url],
      accounts,
      tags: [{ match: '**', fresh: '0s', stale: '0s' }],
    },
  }
}
