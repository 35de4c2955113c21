import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { Gate } from './gate.ts'
import { close, listen } from './http.ts'
import type { Registry } from './registry.ts'
import type { TokenServer } from './token-server.ts'

const MANIFEST = /^\/v2\/(.+)\/manifests\/([^/]+)$/
const BLOB = /^\/v2\/(.+)\/blobs\/([^/]+)$/

/** What an upstream was asked for, counted where a real one would count it. */
class Counts {
  /** Pulls in Docker Hub's sense: GETs of a manifest that were answered with it, by `repository@digest`. */
  readonly pulls = new Map<string, number>()
  /** Bytes of bodies of blobs that left, by digest. */
  readonly blobBytes = new Map<string, number>()
  /** Each request: method and path. */
  readonly requests: string[] = []
  /** Requests that carried credentials to where they don't belong. */
  leaks = 0

  countPull(repository: string, digest: string): void {
    const key = `${repository}@${digest}`
    this.pulls.set(key, (this.pulls.get(key) ?? 0) + 1)
  }

  countBytes(digest: string, bytes: number): void {
    this.blobBytes.set(digest, (this.blobBytes.get(digest) ?? 0) + bytes)
  }
}

/**
 * The upstream as the world sees it: one registry host in front of the registry. With `redirects` it sends blobs away
 * to a store of its own, as Docker Hub does, and the store refuses whoever brings the registry's token along.
 */
export class Front implements AsyncDisposable {
  readonly counts = new Counts()
  /** Where a test may stop the bytes of blobs. */
  readonly gate = new Gate()
  /** Whether it answers 503 to everything, as a registry in trouble does. */
  isFailing = false
  readonly #registry: Registry
  readonly #tokens: TokenServer
  readonly #server: Server
  readonly #store: Server
  #redirects = false
  #url = ''
  #storeUrl = ''
  #open = 0

  static async open(registry: Registry, tokens: TokenServer, how: { redirects: boolean }): Promise<Front> {
    const front = new Front(registry, tokens)
    front.#url = await listen(front.#server)
    front.#storeUrl = await listen(front.#store)
    front.#redirects = how.redirects
    return front
  }

  private constructor(registry: Registry, tokens: TokenServer) {
    this.#registry = registry
    this.#tokens = tokens
    this.#server = createServer((asked, answer) => void this.#counted(asked, answer, () => this.#route(asked, answer)))
    this.#store = createServer((asked, answer) => void this.#counted(asked, answer, () => this.#give(asked, answer)))
  }

  get url(): string {
    return this.#url
  }

  get host(): string {
    return this.#url.replace('http://', '')
  }

  /** Answers under way. */
  get openCount(): number {
    return this.#open
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([close(this.#server), close(this.#store)])
  }

  #counted(asked: IncomingMessage, answer: ServerResponse, act: () => Promise<void>): Promise<void> {
    this.#open += 1
    answer.once('close', () => {
      this.#open -= 1
    })
    this.counts.requests.push(`${asked.method} ${asked.url?.replace(/\?.*/, '')}`)
    if (this.isFailing) return Promise.resolve(void answer.writeHead(503, { 'content-length': 0 }).end())
    return act().catch(() => void answer.destroy()) // a registry that was stopped is a connection that breaks
  }

  async #route(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = asked.url?.replace(/\?.*/, '') ?? ''
    const [, repository = '', digest = ''] = BLOB.exec(path) ?? []
    if (this.#redirects && asked.method === 'GET' && digest !== '' && (await this.#maySee(asked))) {
      const query = new URLSearchParams({ repository, digest, signature: 'e2e' })
      answer.writeHead(307, { location: `${this.#storeUrl}/blob?${query}`, 'content-length': 0 }).end()
      return
    }
    await this.#relay(asked, answer, asked.url ?? '/', asked.headers)
  }

  /** The blob store behind the redirect. */
  async #give(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    if (asked.headers.authorization !== undefined) {
      this.counts.leaks += 1
      answer.writeHead(400, { 'content-length': 0 }).end()
      return
    }
    const query = new URL(asked.url ?? '/', this.#storeUrl).searchParams
    const repository = query.get('repository') ?? ''
    const token = await this.#tokens.issue(repository, ['pull'])
    const headers = { ...asked.headers, authorization: `Bearer ${token}` }
    await this.#relay(asked, answer, `/v2/${repository}/blobs/${query.get('digest')}`, headers)
  }

  async #maySee(asked: IncomingMessage): Promise<boolean> {
    const told = await this.#ask('HEAD', asked.url ?? '/', asked.headers)
    told.resume()
    return told.statusCode === 200
  }

  async #relay(asked: IncomingMessage, answer: ServerResponse, target: string, headers: IncomingMessage['headers']) {
    const told = await this.#ask(asked.method ?? 'GET', target, headers, asked)
    const path = target.replace(/\?.*/, '')
    const status = told.statusCode ?? 502
    answer.writeHead(status, told.rawHeaders)
    const [, repository] = MANIFEST.exec(path) ?? []
    const [, , digest] = BLOB.exec(path) ?? []
    const isGet = asked.method === 'GET'
    if (isGet && repository !== undefined && status === 200) {
      this.counts.countPull(repository, String(told.headers['docker-content-digest']))
    }
    if (isGet && digest !== undefined && status < 300) await pipeline(told, this.#counting(digest), answer)
    else await pipeline(told, answer)
  }

  #counting(digest: string): (pieces: AsyncIterable<Buffer>) => AsyncGenerator<Buffer> {
    const { counts, gate } = this
    return async function* (pieces) {
      for await (const piece of pieces) {
        await gate.pass(counts.blobBytes.get(digest) ?? 0)
        counts.countBytes(digest, piece.length)
        yield piece
      }
    }
  }

  #ask(method: string, path: string, headers: IncomingMessage['headers'], body?: IncomingMessage) {
    return new Promise<IncomingMessage>((resolve, reject) => {
      const onward = request({ host: '127.0.0.1', port: this.#registry.port, method, path, headers, agent: false })
      onward.once('response', resolve).once('error', reject)
      if (body === undefined) onward.end()
      else body.pipe(onward)
    })
  }
}
