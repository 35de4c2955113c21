import { createHash } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Image, MANIFEST_ACCEPT, manifestPath, TAG } from './images.ts'
import { startMillpond } from './millpond.ts'
import { startNginxCache, type Upstream } from './nginx.ts'
import type { ServerProcess } from './processes.ts'
import type { Who } from './question.ts'
import { startRegistry } from './registry.ts'

/** The contenders of one question, started afresh with nothing kept; closing it stops them and frees their folders. */
export class Field implements AsyncDisposable {
  readonly #servers: ReadonlyMap<Who, ServerProcess>
  readonly #owned: readonly ServerProcess[]
  readonly #folder: string

  constructor(servers: ReadonlyMap<Who, ServerProcess>, owned: readonly ServerProcess[], folder: string) {
    this.#servers = servers
    this.#owned = owned
    this.#folder = folder
  }

  [Symbol.iterator](): Iterator<[Who, ServerProcess]> {
    return this.#servers[Symbol.iterator]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#owned) await server[Symbol.asyncDispose]()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** What a question is given: the upstream, its images, and a way to start who is asked. */
export class Bench {
  readonly upstream: Upstream
  /** How often each figure is taken; the median is told. */
  readonly runs: number
  readonly #images: ReadonlyMap<string, Image>
  readonly #folder: string
  readonly #only: ReadonlySet<Who>
  #fields = 0

  constructor(o: {
    upstream: Upstream
    runs: number
    images: ReadonlyMap<string, Image>
    folder: string
    only: ReadonlySet<Who>
  }) {
    this.upstream = o.upstream
    this.runs = o.runs
    this.#images = o.images
    this.#folder = o.folder
    this.#only = o.only
  }

  image(name: string): Image {
    const image = this.#images.get(name)
    if (image === undefined) throw new Error(`no image ${name}`)
    return image
  }

  /** Starts those of `asked` that take part in this run. */
  async field(asked: readonly Who[], o: { upstreamPort?: number; fresh?: string } = {}): Promise<Field> {
    const folder = join(this.#folder, `field-${this.#fields++}`)
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { recursive: true })
    const servers = new Map<Who, ServerProcess>()
    const owned: ServerProcess[] = []
    const upstreamPort = o.upstreamPort ?? this.upstream.port
    for (const who of asked) {
      if (!this.#only.has(who)) continue
      const server =
        who === 'direct' ? this.upstream.server : await start(who, join(folder, who), upstreamPort, o.fresh)
      if (who !== 'direct') owned.push(server)
      servers.set(who, server)
    }
    return new Field(servers, owned, folder)
  }
}

function start(who: Exclude<Who, 'direct'>, folder: string, upstreamPort: number, fresh?: string) {
  switch (who) {
    case 'millpond':
      return startMillpond({ folder, upstreamPort, ...(fresh !== undefined && { fresh }) })
    case 'registry':
      return startRegistry({ folder, upstreamPort })
    case 'nginx':
      return startNginxCache({ folder, upstreamPort, sendfile: 'on' })
    case 'copying':
      return startNginxCache({ folder, upstreamPort, sendfile: 'off' })
    default:
      return who satisfies never
  }
}

export type Got = { readonly status: number; readonly ms: number }

/** One GET of the image's manifest, whole. @throws {Error} when a 200 brings other bytes than upstream's */
export async function getManifest(port: number, image: Image, reference: string = TAG): Promise<Got> {
  const startedMs = performance.now()
  const answer = await fetch(`http://127.0.0.1:${port}${manifestPath(image, reference)}`, {
    headers: { accept: MANIFEST_ACCEPT },
  })
  const bytes = Buffer.from(await answer.arrayBuffer())
  const ms = performance.now() - startedMs
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  if (answer.status === 200 && digest !== image.manifest.digest) throw new Error(`${image.name}: wrong manifest`)
  return { status: answer.status, ms }
}

/** Asks for the manifest by tag as any client does first, and holds it to a 200. */
export async function pullManifest(port: number, image: Image): Promise<void> {
  const { status } = await getManifest(port, image)
  if (status !== 200) throw new Error(`${image.name}: manifest answered ${status}`)
}
