import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { type Config, configSchema } from '../../src/base/config.ts'
import { openLog } from '../../src/base/log.ts'
import { type Server, type ServerOptions, startServer } from '../../src/server.ts'
import { type Answered, type Asking, ask } from './ask.ts'

/** As in the file, but that a fake registry may stand for its endpoints. */
type HouseUpstream = { readonly of?: Fake | readonly Fake[] } & Readonly<Record<string, unknown>>
type Fake = { readonly origin: string }

export type HouseOptions = Partial<Pick<ServerOptions, 'outside' | 'proxies' | 'freeKeptBytes'>> & {
  readonly upstreams?: Readonly<Record<string, HouseUpstream>>
  readonly cap?: string
  readonly wellKnown?: boolean
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly access?: Readonly<Record<string, unknown>>
  /** Left out: a new folder, which goes with the house. */
  readonly folder?: string
}

/** The default upstream's name, where a test doesn't care. */
const REGISTRY = 'registry.test'

/**
 * A whole server in this process, on ports of its own, with a folder of its own. Dropped with `await using`.
 *
 * @param fakes hold the content of `registry.test`, the default upstream, in the order in which they are asked
 */
export async function startHouse(fakes: Fake | readonly Fake[], options: HouseOptions = {}): Promise<House> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'millpond-house-')))
  const house = new House(folder, configOf([fakes].flat(), folder, options), options)
  try {
    await house.start()
    return house
  } catch (error) {
    await house[Symbol.asyncDispose]()
    throw error
  }
}

function configOf(fakes: readonly Fake[], folder: string, options: HouseOptions): Config {
  const { upstreams = {}, cap = '1GiB', wellKnown = false, tls, access = {} } = options
  const named = Object.entries(upstreams).map(([name, { of, ...more }]) => [name, { ...endpointsOf(of), ...more }])
  const first =
    fakes.length === 0 ? {} : { [REGISTRY]: { default: true, ...endpointsOf(fakes), ...upstreams[REGISTRY] } }
  return configSchema.parse({
    listen: '127.0.0.1:0',
    admin: { listen: '127.0.0.1:0' },
    disk: { folder, cap },
    upstreams: { ...Object.fromEntries(named), ...first },
    wellKnown,
    access,
    ...(tls && { tls }),
  })
}

const endpointsOf = (of: HouseUpstream['of']) => (of ? { endpoints: [of].flat().map(({ origin }) => origin) } : {})

export class House implements AsyncDisposable {
  readonly folder: string
  readonly config: Config
  /** What was logged, a JSON text a line; and the requests' own lines. */
  readonly logged: string[] = []
  readonly access: string[] = []
  readonly #options: HouseOptions
  #server: Server | undefined

  constructor(folder: string, config: Config, options: HouseOptions) {
    this.folder = folder
    this.config = config
    this.#options = options
  }

  get server(): Server {
    if (!this.#server) throw new Error('the house is not started')
    return this.#server
  }

  /** Where clients ask. */
  get origin(): string {
    const { listen, isTls } = this.server.facts()
    return `${isTls ? 'https' : 'http'}://${listen.host}:${listen.port}`
  }

  get adminOrigin(): string {
    const { host, port } = this.server.facts().admin ?? { host: '', port: 0 }
    return `http://${host}:${port}`
  }

  async start(): Promise<void> {
    const { outside = systemOutside, freeKeptBytes = 0, proxies = {} } = this.#options
    const log = await openLog({ level: 'debug', isPretty: false, to: { write: (line) => void this.logged.push(line) } })
    const accessSink = async (text: string) => void this.access.push(...text.trimEnd().split('\n'))
    this.#server = await startServer(this.config, {
      ...{ log, isPretty: false, outside, proxies, accessSink, freeKeptBytes },
    })
  }

  /** Drains and closes; `start` starts again on the same folder, at another port. */
  async stop(): Promise<void> {
    await this.#server?.stop()
    this.#server = undefined
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Resolves once no fill is under way. */
  quiet(): Promise<void> {
    return vi.waitFor(() => expect(this.server.fillsUnderWay).toBe(0), { timeout: 10_000, interval: 5 })
  }

  /** One request on a connection of its own. */
  ask(path: string, asking: Asking = {}): Promise<Answered> {
    return ask(`${this.origin}${path}`, asking)
  }

  getManifest(path: string, reference: string, asking: Asking = {}): Promise<Answered> {
    return this.ask(`/v2/${path}/manifests/${reference}`, asking)
  }

  getBlob(path: string, digest: string, asking: Asking = {}): Promise<Answered> {
    return this.ask(`/v2/${path}/blobs/${digest}`, asking)
  }

  askAdmin(path: string): Promise<Answered> {
    return ask(`${this.adminOrigin}${path}`)
  }

  /** One of the numbers at /metrics, by its whole name and labels. */
  async number(series: string): Promise<number | undefined> {
    const { body } = await this.askAdmin('/metrics')
    const line = body
      .toString()
      .split('\n')
      .find((each) => each.startsWith(`${series} `))
    return line === undefined ? undefined : Number(line.slice(series.length + 1))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    if (this.#options.folder === undefined) await rm(this.folder, { recursive: true, force: true })
  }
}
