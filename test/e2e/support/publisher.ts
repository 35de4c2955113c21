import { createHash } from 'node:crypto'
import type { Registry } from './registry.ts'
import type { TokenServer } from './token-server.ts'

export type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number }

const ANY_MANIFEST = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Puts content into the upstream's registry by the back door: none of it counts as a client's request. */
export class Publisher {
  readonly #registry: Registry
  readonly #tokens: TokenServer
  /** Every blob and manifest that was put there. */
  readonly sizeOf = new Map<string, number>()

  constructor(registry: Registry, tokens: TokenServer) {
    this.#registry = registry
    this.#tokens = tokens
  }

  async putBlob(repository: string, bytes: Buffer, mediaType: string): Promise<Descriptor> {
    const digest = digestOf(bytes)
    const opened = await this.#send('POST', repository, `/v2/${repository}/blobs/uploads/`)
    const url = new URL(opened.headers.get('location') ?? '', this.#base)
    url.searchParams.set('digest', digest)
    await this.#send('PUT', repository, `${url.pathname}${url.search}`, bytes, 'application/octet-stream')
    this.sizeOf.set(digest, bytes.length)
    return { mediaType, digest, size: bytes.length }
  }

  /** Under its digest, and under `tag` if there is one. */
  async putManifest(repository: string, manifest: { mediaType: string }, tag?: string): Promise<Descriptor> {
    const bytes = Buffer.from(JSON.stringify(manifest))
    const digest = digestOf(bytes)
    const path = `/v2/${repository}/manifests/${tag ?? digest}`
    await this.#send('PUT', repository, path, bytes, manifest.mediaType)
    this.sizeOf.set(digest, bytes.length)
    return { mediaType: manifest.mediaType, digest, size: bytes.length }
  }

  async resolve(repository: string, tag: string): Promise<string> {
    const answer = await this.#send('GET', repository, `/v2/${repository}/manifests/${tag}`)
    return answer.headers.get('docker-content-digest') ?? ''
  }

  get #base(): string {
    return `http://127.0.0.1:${this.#registry.port}`
  }

  async #send(method: string, repository: string, path: string, body?: Buffer, type?: string): Promise<Response> {
    const token = await this.#tokens.issue(repository, ['pull', 'push'])
    const headers = { authorization: `Bearer ${token}`, accept: ANY_MANIFEST, ...(type && { 'content-type': type }) }
    const init = { method, headers, ...(body && { body: new Uint8Array(body) }) }
    const answer = await fetch(`${this.#base}${path}`, init)
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return answer
  }
}
