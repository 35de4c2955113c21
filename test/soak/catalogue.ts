import type { Digest } from '../../src/oci/digest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import type { Content } from '../support/content.ts'
import { configBytes, type Described, describe, imageBytes, indexBytes, seededBytes } from '../support/images.ts'
import type { Random } from './random.ts'

const KIB = 1024
const MIB = 1024 * KIB
/** Where pieces, tails, checksums and small blobs begin and end. */
const EDGES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, MIB - 1, MIB, MIB + 1, 2 * MIB]
const REPOSITORIES_EACH = 3
const IMAGES_EACH = 4
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip'
const FOREIGN_TYPE = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'

export type Image = {
  readonly digest: Digest
  readonly config: Described
  /** Those that upstream has. */
  readonly layers: readonly Described[]
}

export type Repository = {
  readonly host: string
  readonly path: string
  readonly images: readonly Image[]
  /** Of the first two images, tagged `multi`. */
  readonly index: Digest
  /** Got with an account: nobody else may show it. */
  readonly isHeld: boolean
}

/** Where a host keeps its manifests, and its blobs if that is elsewhere. */
export type Shelf = { readonly host: string; readonly manifests: Content; readonly blobs: Content }

/** The tag that moves; `v0`, `v1`, … stay. */
export const MOVING_TAG = 'latest'
export const MINE = { host: 'token.test', path: 'mine/app' } as const
export const EVIL = { host: 'plain.test', path: 'evil/twin' } as const

/** All that the upstreams hold, and the bytes behind it. */
export class Catalogue {
  /** Shown to everyone. */
  readonly repositories: readonly Repository[]
  /** Shown to a caller who may read it upstream: the first tenant. */
  readonly mine: Repository
  /** Manifests too. */
  readonly bytesOf = new Map<Digest, Buffer>()
  /** What the hostile tenant knows of the others' private content: manifests, configs and layers. */
  readonly coveted: readonly Digest[]
  readonly #random: Random
  #seeds = 1

  /** @param foreignUrl what the manifests' foreign layers name: never to be followed */
  constructor(random: Random, shelves: readonly Shelf[], foreignUrl: string) {
    this.#random = random
    const shared = Array.from({ length: 6 }, () => this.#bytes(random.between(MIB, 4 * MIB)))
    this.repositories = shelves.flatMap((shelf) =>
      Array.from({ length: REPOSITORIES_EACH }, (_, at) => this.#repository(shelf, at, shared, foreignUrl)),
    )
    const home = shelves.find(({ host }) => host === MINE.host)
    if (!home) throw new Error(`there is no ${MINE.host}`)
    this.mine = this.#repositoryAt(home, MINE.path, [], foreignUrl, true)
    this.coveted = this.#plantEvil(shelves)
  }

  get workingSetBytes(): number {
    return [...this.bytesOf.values()].reduce((sum, { length }) => sum + length, 0)
  }

  sizeOf(digest: Digest): number {
    return this.bytesOf.get(digest)?.length ?? Number.NaN
  }

  #repository(shelf: Shelf, at: number, shared: readonly Buffer[], foreignUrl: string): Repository {
    const isHeld = shelf.host === 'token.test' && at > 0
    const path = isHeld ? `held/t${at}` : `${shelf.host.slice(0, 4)}/deep/r${at}`
    return this.#repositoryAt(shelf, path, isHeld ? [] : shared, foreignUrl, isHeld)
  }

  #repositoryAt(
    shelf: Shelf,
    path: string,
    shared: readonly Buffer[],
    foreignUrl: string,
    isHeld: boolean,
  ): Repository {
    const images = Array.from({ length: IMAGES_EACH }, (_, version) => {
      const isLarge = path.endsWith('r0') && version === 0
      const sizes = isLarge ? [this.#random.between(12, 20) * MIB] : [this.#size(), this.#size()]
      const own = sizes.map((size) => this.#bytes(size))
      const layers = shared.length > 0 ? [this.#random.pick(shared), ...own] : own
      return this.#image(shelf, path, `v${version}`, layers, foreignUrl)
    })
    const children = images.slice(0, 2).map(({ digest }, place) => ({
      ...describe(this.bytesOf.get(digest) ?? Buffer.alloc(0), MEDIA_TYPE.ociManifest),
      platform: { os: 'linux', architecture: place === 0 ? 'amd64' : 'arm64' },
    }))
    const index = this.#manifest(shelf, path, indexBytes(children), MEDIA_TYPE.ociIndex, 'multi')
    this.#referrer(shelf, path, images[0])
    return { host: shelf.host, path, images, index, isHeld }
  }

  #image(shelf: Shelf, path: string, tag: string, layers: readonly Buffer[], foreignUrl: string): Image {
    const config = configBytes(this.#seeds++)
    for (const bytes of [config, ...layers]) this.#blob(shelf, bytes)
    const described = describe(config, 'application/vnd.oci.image.config.v1+json')
    const held = layers.map((bytes) => describe(bytes, LAYER_TYPE))
    const absent = { ...describe(seededBytes(this.#seeds++, 10), FOREIGN_TYPE), urls: [`${foreignUrl}/layer`] }
    const bytes = imageBytes(described, this.#random.chance(0.3) ? [...held, absent] : held)
    const digest = this.#manifest(shelf, path, bytes, MEDIA_TYPE.ociManifest, tag)
    return { digest, config: described, layers: held }
  }

  #referrer(shelf: Shelf, path: string, of: Image | undefined): void {
    if (!of) return
    const config = Buffer.from('{}')
    this.#blob(shelf, config)
    const subject = describe(this.bytesOf.get(of.digest) ?? Buffer.alloc(0), MEDIA_TYPE.ociManifest)
    const bytes = imageBytes(describe(config, 'application/vnd.oci.empty.v1+json'), [], {
      subject,
      artifactType: 'application/vnd.soak.note',
      annotations: { path },
    })
    this.#manifest(shelf, path, bytes, MEDIA_TYPE.ociManifest)
  }

  /** A stranger's manifest that names what it must not get (fault 76). */
  #plantEvil(shelves: readonly Shelf[]): readonly Digest[] {
    const held = [...this.repositories.filter(({ isHeld }) => isHeld), this.mine]
    const images = held.flatMap(({ images: each }) => each)
    const named = images.flatMap(({ config, layers }) => [config, ...layers]).filter(({ size }) => size > 2)
    const home = shelves.find(({ host }) => host === EVIL.host)
    const [config, ...layers] = named
    if (!home || !config) throw new Error('nothing is held')
    this.#manifest(home, EVIL.path, imageBytes(config, layers), MEDIA_TYPE.ociManifest, MOVING_TAG)
    return [...images.map(({ digest }) => digest), ...named.map(({ digest }) => digest)]
  }

  #blob(shelf: Shelf, bytes: Buffer): void {
    shelf.manifests.addBlob(bytes)
    this.bytesOf.set(shelf.blobs.addBlob(bytes), bytes)
  }

  #manifest(shelf: Shelf, path: string, bytes: Buffer, mediaType: string, tag?: string): Digest {
    const digest = shelf.manifests.addManifest(path, bytes, mediaType, tag)
    this.bytesOf.set(digest, bytes)
    return digest
  }

  #bytes(length: number): Buffer {
    return seededBytes(this.#random.between(1, 2 ** 30), length)
  }

  #size(): number {
    if (this.#random.chance(0.3)) return this.#random.pick(EDGES)
    return Math.round(2 ** (10 + this.#random.next() * 12)) // 1 KiB to 4 MiB, as many small as large
  }
}
