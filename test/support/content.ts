import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { configBytes, type Described, describe, imageBytes, indexBytes, jsonBytes, seededBytes } from './images.ts'
import type { Act, Answer, Seen } from './misbehave.ts'
import { json } from './token-server.ts'

type Kept = { readonly bytes: Buffer; readonly mediaType: string }
type Held = { readonly manifests: Map<string, Kept>; readonly tags: Map<string, Digest> }
export type ImageOptions = {
  readonly layers?: number
  readonly layerBytes?: number
  readonly seed?: number
  readonly architecture?: string
}
export type FakeImage = {
  readonly digest: Digest
  readonly manifest: Buffer
  readonly config: Described
  readonly layers: readonly Described[]
  /** The bytes behind config and layers. */
  readonly bytesOf: (digest: Digest) => Buffer
}

/** What a fake registry holds, and its right answers. Blobs are shared by all repositories. */
export class Content {
  readonly #blobs = new Map<Digest, Buffer>()
  readonly #hidden = new Set<string>()
  readonly #repositories = new Map<string, Held>()
  readonly #hasReferrers: boolean

  constructor(hasReferrers: boolean) {
    this.#hasReferrers = hasReferrers
  }

  addBlob(bytes: Buffer): Digest {
    const digest = digestOf(bytes)
    this.#blobs.set(digest, bytes)
    return digest
  }

  /** The bytes as they are, or JSON of an object. */
  addManifest(
    path: string,
    document: Buffer | object,
    mediaType: string = MEDIA_TYPE.ociManifest,
    tag?: string,
  ): Digest {
    const bytes = Buffer.isBuffer(document) ? document : jsonBytes(document)
    const digest = digestOf(bytes)
    this.#held(path).manifests.set(digest, { bytes, mediaType })
    if (tag !== undefined) this.tag(path, tag, digest)
    return digest
  }

  addImage(path: string, tag: string | undefined, options: ImageOptions = {}): FakeImage {
    const { layers: count = 2, layerBytes = 4096, seed = 1, architecture } = options
    const config = configBytes(seed, architecture)
    const blobs = Array.from({ length: count }, (_, at) => seededBytes(seed * 1000 + at, layerBytes))
    for (const bytes of [config, ...blobs]) this.addBlob(bytes)
    const described = describe(config, 'application/vnd.oci.image.config.v1+json')
    const layers = blobs.map((bytes) => describe(bytes, 'application/vnd.oci.image.layer.v1.tar+gzip'))
    const manifest = imageBytes(described, layers)
    const digest = this.addManifest(path, manifest, MEDIA_TYPE.ociManifest, tag)
    const bytesOf = (wanted: Digest) => this.#blobs.get(wanted) ?? Buffer.alloc(0)
    return { digest, manifest, config: described, layers, bytesOf }
  }

  /** An index over one image a platform. */
  addIndex(
    path: string,
    tag: string | undefined,
    images: readonly (FakeImage & { platform?: object })[],
    more: object = {},
  ): Digest {
    const manifests = images.map((image, at) => ({
      ...describe(image.manifest, MEDIA_TYPE.ociManifest),
      platform: image.platform ?? { os: 'linux', architecture: ['amd64', 'arm64', 's390x', 'ppc64le'][at % 4] },
    }))
    return this.addManifest(path, indexBytes(manifests, more), MEDIA_TYPE.ociIndex, tag)
  }

  tag(path: string, tag: string, digest: Digest): void {
    this.#held(path).tags.set(tag, digest)
  }

  /** Takes away a tag, a manifest or a blob. */
  remove(path: string, reference: string): void {
    const held = this.#held(path)
    held.tags.delete(reference)
    held.manifests.delete(reference)
    this.#blobs.delete(reference as Digest)
  }

  /** A blob that this repository alone does not have. */
  hide(path: string, digest: Digest): void {
    this.#hidden.add(`${path}@${digest}`)
  }

  /** The right answer to a GET or HEAD. */
  protected read(seen: Seen, act: Act): Answer {
    if (seen.kind === 'ping') return json(200, {})
    if (seen.kind === 'manifest') return this.#manifest(seen)
    if (seen.kind === 'blob') return this.#blob(seen, act)
    if (seen.kind === 'tags') return this.#tags(seen)
    if (seen.kind === 'referrers' && this.#hasReferrers) return this.#referrers(seen)
    return unknown('UNSUPPORTED')
  }

  /** The right answer to a write, which is kept. */
  protected write(seen: Seen, body: Buffer): Answer {
    const query = new URL(seen.url, 'http://upload.test').searchParams
    if (seen.kind === 'upload' && seen.method !== 'PUT')
      return empty(202, { location: `/v2/${seen.path}/blobs/uploads/1` })
    if (seen.kind === 'upload') {
      const digest = this.addBlob(body)
      return empty(201, { location: `/v2/${seen.path}/blobs/${query.get('digest') ?? digest}` })
    }
    if (seen.kind === 'manifest' && seen.method === 'PUT') {
      const tag = seen.reference.includes(':') ? undefined : seen.reference
      const digest = this.addManifest(seen.path, body, seen.headers['content-type'], tag)
      return empty(201, { location: `/v2/${seen.path}/manifests/${digest}`, 'docker-content-digest': digest })
    }
    if (seen.method === 'DELETE') this.remove(seen.path, seen.reference)
    return empty(seen.method === 'DELETE' ? 202 : 405, {})
  }

  #held(path: string): Held {
    const found = this.#repositories.get(path) ?? { manifests: new Map(), tags: new Map() }
    this.#repositories.set(path, found)
    return found
  }

  #manifest({ path, reference }: Seen): Answer {
    const held = this.#held(path)
    const digest = held.tags.get(reference) ?? reference
    const found = held.manifests.get(digest)
    if (!found) return unknown('MANIFEST_UNKNOWN')
    const length = String(found.bytes.length)
    const headers = { 'content-type': found.mediaType, 'content-length': length, 'docker-content-digest': digest }
    return { status: 200, headers, body: found.bytes, isHead: false }
  }

  #blob({ path, reference, range, method }: Seen, act: Act): Answer {
    const bytes = this.#hidden.has(`${path}@${reference}`) ? undefined : this.#blobs.get(reference as Digest)
    if (!bytes) return unknown('BLOB_UNKNOWN')
    const headers = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': reference,
      'accept-ranges': 'bytes',
    }
    const [, from, to = ''] = /^bytes=([0-9]+)-([0-9]*)$/.exec(range ?? '') ?? []
    if (from === undefined || act.range === 'ignore' || method === 'HEAD') {
      return {
        status: 200,
        headers: { ...headers, 'content-length': String(bytes.length) },
        body: bytes,
        isHead: false,
      }
    }
    const end = to === '' ? bytes.length : Math.min(Number(to) + 1, bytes.length)
    return rangeAnswer(bytes, Number(from), end, headers, act)
  }

  #tags({ path, url }: Seen): Answer {
    const query = new URL(url, 'http://tags.test').searchParams
    const last = query.get('last') ?? ''
    const rest = [...this.#held(path).tags.keys()].sort().filter((tag) => tag > last)
    if (this.#held(path).tags.size === 0) return unknown('NAME_UNKNOWN')
    const count = Number(query.get('n') ?? rest.length)
    const tags = rest.slice(0, count)
    const answer = json(200, { name: path, tags })
    if (tags.length > 0 && tags.length < rest.length) {
      answer.headers['link'] = `</v2/${path}/tags/list?n=${count}&last=${tags.at(-1)}>; rel="next"`
    }
    return answer
  }

  #referrers({ path, reference, url }: Seen): Answer {
    const wanted = new URL(url, 'http://referrers.test').searchParams.get('artifactType')
    const manifests = [...this.#held(path).manifests].flatMap(([digest, { bytes, mediaType }]) => {
      const read = JSON.parse(String(bytes))
      if (read.subject?.digest !== reference) return []
      const artifactType = read.artifactType ?? read.config?.mediaType
      return wanted && wanted !== artifactType ? [] : [{ mediaType, digest, size: bytes.length, artifactType }]
    })
    const answer = json(200, { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests })
    answer.headers['content-type'] = MEDIA_TYPE.ociIndex
    if (wanted) answer.headers['oci-filters-applied'] = 'artifactType'
    return answer
  }
}

function rangeAnswer(bytes: Buffer, from: number, end: number, headers: Record<string, string>, act: Act): Answer {
  const total = bytes.length
  if (act.range === 'unsatisfiable' || from >= total) {
    const answer = json(416, { errors: [] })
    return { ...answer, headers: { ...answer.headers, 'content-range': `bytes */${total}` } }
  }
  const start = act.range === 'shifted' ? Math.max(0, from - 1) : from
  const body = bytes.subarray(start, end)
  const told = act.range === 'otherTotal' ? String(total + 7) : act.range === 'unknownTotal' ? '*' : String(total)
  const length = { 'content-length': String(body.length), 'content-range': `bytes ${start}-${end - 1}/${told}` }
  if (act.range !== 'multipart') return { status: 206, headers: { ...headers, ...length }, body, isHead: false }
  const part = `--x\r\ncontent-range: bytes ${start}-${end - 1}/${total}\r\n\r\n`
  const whole = Buffer.concat([Buffer.from(part), body, Buffer.from('\r\n--x--\r\n')])
  const multipart = { 'content-type': 'multipart/byteranges; boundary=x', 'content-length': String(whole.length) }
  return { status: 206, headers: { ...headers, ...multipart }, body: whole, isHead: false }
}

const unknown = (code: string): Answer => json(404, { errors: [{ code, message: code.toLowerCase() }] })
const empty = (status: number, headers: Record<string, string>): Answer => ({
  status,
  headers: { ...headers, 'content-length': '0' },
  body: Buffer.alloc(0),
  isHead: false,
})
