import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export const KIB = 1024
export const MIB = 1024 * KIB
export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
/** docker-registry answers 404 to those who don't name the type. */
export const MANIFEST_ACCEPT = `${MANIFEST_TYPE}, application/vnd.docker.distribution.manifest.v2+json, */*`
export const TAG = 'latest'

/**
 * A blob is one pseudo-random pattern of its seed, repeated. The pattern's length is no multiple of any piece size, so
 * a client that knows the seed checks each byte at its offset by comparing memory, some ten times cheaper than hashing.
 * It is short enough to stay in a processor's cache while that is done.
 */
const PATTERN_BYTES = 128 * KIB + 4099

export type Blob = { readonly digest: string; readonly sizeBytes: number; readonly seed: string }
export type Image = {
  readonly name: string
  readonly manifest: { readonly digest: string; readonly text: string }
  readonly config: Blob
  readonly layers: readonly [Blob, ...Blob[]]
}

export function patternOf(seed: string): Buffer {
  return createHash('shake256', { outputLength: PATTERN_BYTES }).update(seed).digest()
}

export const manifestPath = (image: Image, reference: string): string => `/v2/${image.name}/manifests/${reference}`
export const blobPath = (image: Image, blob: Blob): string => `/v2/${image.name}/blobs/${blob.digest}`

/** Makes the images that upstream serves, in a folder that outlives the run: 2 GiB need making once. */
export class Images {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The image of this name: a config of 3 KiB, a layer of `layerBytes` and eight of 1 KiB. */
  async make(name: string, layerBytes: number): Promise<Image> {
    const noted = await this.#findNoted(name, layerBytes)
    if (noted) return noted
    await mkdir(join(this.#folder, 'blobs'), { recursive: true })
    await mkdir(join(this.#folder, 'notes'), { recursive: true })
    const config = await this.#makeBlob(`${name} config`, 3 * KIB)
    const layer = await this.#makeBlob(`${name} layer`, layerBytes)
    const small: Blob[] = []
    for (let nth = 0; nth < 8; nth++) small.push(await this.#makeBlob(`${name} small ${nth}`, KIB))
    const layers = [layer, ...small] as const
    const descriptorOf = (blob: Blob, mediaType: string) => ({ mediaType, digest: blob.digest, size: blob.sizeBytes })
    const text = JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: descriptorOf(config, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((each) => descriptorOf(each, 'application/vnd.oci.image.layer.v1.tar+gzip')),
    })
    const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`
    await writeFile(join(this.#folder, 'blobs', digest), text)
    const image: Image = { name, manifest: { digest, text }, config, layers }
    await writeFile(this.#notePath(name), JSON.stringify(image))
    return image
  }

  async #findNoted(name: string, layerBytes: number): Promise<Image | undefined> {
    const note = await readFile(this.#notePath(name), 'utf8').catch(() => undefined) // not made yet
    if (note === undefined) return undefined
    const image = JSON.parse(note) as Image
    const held = await stat(join(this.#folder, 'blobs', image.layers[0].digest)).catch(() => undefined) // gone: made anew
    return held?.size === layerBytes ? image : undefined
  }

  async #makeBlob(seed: string, sizeBytes: number): Promise<Blob> {
    const pattern = patternOf(seed)
    const hash = createHash('sha256')
    const growing = join(this.#folder, 'growing')
    const file = await open(growing, 'w')
    for (let left = sizeBytes; left > 0; left -= PATTERN_BYTES) {
      const piece = pattern.subarray(0, left)
      hash.update(piece)
      await file.appendFile(piece)
    }
    await file.close()
    const digest = `sha256:${hash.digest('hex')}`
    await rename(growing, join(this.#folder, 'blobs', digest))
    return { digest, sizeBytes, seed }
  }

  #notePath(name: string): string {
    return join(this.#folder, 'notes', `${name.replaceAll('/', '_')}.json`)
  }
}
