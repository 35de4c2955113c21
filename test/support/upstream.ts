import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '../../src/oci/digest.ts'
import { Content } from './content.ts'
import { type Act, type Answer, type Rule, type Seen, send } from './misbehave.ts'
import { seenOf } from './seen.ts'
import { type AuthOptions, json, TokenServer } from './token-server.ts'

export type UpstreamOptions = {
  readonly auth?: AuthOptions
  /** Docker Hub's ratelimit headers; a manifest GET beyond `limit` is answered 429. */
  readonly hub?: { readonly limit: number; readonly retryAfter?: string }
  /** Whether there is a referrers API. */
  readonly referrers?: boolean
  /** Whether HEAD works; a status instead of the answer where it does not. */
  readonly headStatus?: number
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Left out: any that is free. */
  readonly port?: number
}

/** A real HTTP server that is a registry, and misbehaves by script. */
export class FakeUpstream extends Content implements AsyncDisposable {
  readonly requests: string[] = []
  readonly headersSeen: Seen['headers'][] = []
  /** Writes that were passed on: the request and its body. */
  readonly received: { readonly seen: Seen; readonly body: Buffer }[] = []
  readonly tokens: TokenServer
  bodyBytesSent = 0
  pullsCounted = 0
  /** Connections accepted so far. */
  connections = 0
  readonly #options: UpstreamOptions
  readonly #rules: { readonly rule: Rule; left: number }[] = []
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #port: number

  constructor(options: UpstreamOptions) {
    super(options.referrers ?? true)
    this.#port = options.port ?? 0
    this.#options = options
    this.tokens = new TokenServer(options.auth ?? { kind: 'none' })
  }

  get port(): number {
    return this.#port
  }

  get origin(): string {
    return `${this.#options.tls ? 'https' : 'http'}://127.0.0.1:${this.#port}`
  }

  get openConnections(): number {
    return this.#sockets.size
  }

  /** Listens, on the port it had before if it had one. */
  async start(): Promise<void> {
    const handle = (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response)
    const server = this.#options.tls ? createTlsServer(this.#options.tls, handle) : createServer(handle)
    server.keepAliveTimeout = 60_000
    server.on(this.#options.tls ? 'secureConnection' : 'connection', (socket: Socket) => this.#count(socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#server = server
    this.#port = (server.address() as AddressInfo).port
  }

  /** An outage: all connections reset, nobody listens. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const socket of this.#sockets) {
      if (this.#options.tls)
        socket.destroy() // a TLS socket cannot be reset
      else socket.resetAndDestroy()
    }
    if (server) await new Promise((resolve) => server.close(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** The latest rule that matches and is not spent is applied. */
  behave(rule: Rule): void {
    this.#rules.unshift({ rule, left: rule.times ?? Infinity })
  }

  /** Well-behaved again. */
  behaveWell(): void {
    this.#rules.length = 0
  }

  /** Requests whose summary holds `part`. */
  requestsOf(part: string | RegExp): readonly string[] {
    return this.requests.filter((each) => (typeof part === 'string' ? each.includes(part) : part.test(each)))
  }

  blobRequests(digest: Digest): readonly string[] {
    return this.requestsOf(`/blobs/${digest}`)
  }

  #count(socket: Socket) {
    this.connections++
    this.#sockets.add(socket)
    socket.on('error', () => {}) // the other side may reset whenever it likes
    socket.on('close', () => this.#sockets.delete(socket))
  }

  async #handle(request: IncomingMessage, response: ServerResponse) {
    const seen = seenOf(request)
    this.requests.push(seen.summary)
    this.headersSeen.push(seen.headers)
    response.on('error', () => {}) // see #count
    if (seen.method !== 'GET' && seen.method !== 'HEAD') return await this.#receive(seen, request, response)
    const act = this.#actOf(seen)
    if (act.delayMs) await sleep(act.delayMs, undefined, { ref: false })
    if (act.hang) return
    if (act.refuse) return void request.socket.resetAndDestroy()
    const answer = act.redirect === undefined ? this.#answer(seen, act) : redirectTo(act.redirect, seen)
    await send(response, { ...answer, isHead: seen.method === 'HEAD' }, act, (bytes) => {
      if (seen.kind === 'blob') this.bodyBytesSent += bytes
    })
  }

  async #receive(seen: Seen, request: IncomingMessage, response: ServerResponse) {
    const body = Buffer.concat(await request.toArray())
    this.received.push({ seen, body })
    const refusal = this.tokens.refusalOf(seen, this.origin)
    await send(response, refusal ?? this.write(seen, body), this.#actOf(seen), () => {})
  }

  #actOf(seen: Seen): Act {
    const found = this.#rules.find(({ rule, left }) => left > 0 && isMatch(rule, seen))
    if (!found) return {}
    found.left--
    return typeof found.rule.act === 'function' ? found.rule.act(seen) : found.rule.act
  }

  #answer(seen: Seen, act: Act): Answer {
    if (seen.kind === 'token') return this.tokens.answer(seen)
    const refusal = this.tokens.refusalOf(seen, this.origin)
    if (refusal) return refusal
    if (seen.method === 'HEAD' && this.#options.headStatus !== undefined) return json(this.#options.headStatus, {})
    const isPull = seen.kind === 'manifest' && seen.method === 'GET'
    const { hub } = this.#options
    if (isPull && hub && this.pullsCounted >= hub.limit) return tooMany(hub.retryAfter)
    if (isPull) this.pullsCounted++
    const answer = this.read(seen, act)
    if (hub && seen.kind === 'manifest') {
      answer.headers['ratelimit-limit'] = `${hub.limit};w=21600`
      answer.headers['ratelimit-remaining'] = `${hub.limit - this.pullsCounted};w=21600`
    }
    return answer
  }
}

const isMatch = ({ match }: Rule, seen: Seen): boolean =>
  typeof match === 'function' ? match(seen) : match.test(seen.summary)

function redirectTo(to: NonNullable<Act['redirect']>, seen: Seen): Answer {
  const location = typeof to === 'function' ? to(seen) : to
  return { status: 307, headers: { location, 'content-length': '0' }, body: Buffer.alloc(0), isHead: false }
}

function tooMany(retryAfter: string | undefined): Answer {
  const answer = json(429, { errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit' }] })
  if (retryAfter !== undefined) answer.headers['retry-after'] = retryAfter
  return answer
}

/** A registry on 127.0.0.1 that is dropped with `await using`. */
export async function startUpstream(options: UpstreamOptions = {}): Promise<FakeUpstream> {
  const upstream = new FakeUpstream(options)
  await upstream.start()
  return upstream
}
