import { constants } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import fastifyOf, { type FastifyInstance } from 'fastify'
import type { Clock } from '../base/clock.ts'
import { OciError, type Reason } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { KIB } from '../base/units.ts'
import { type Access, OPEN, type Refusal } from './access.ts'
import { bareAnswerOf } from './answer.ts'
import { type Done, Exchange, type Surroundings } from './exchange.ts'
import { Pipelined } from './pipelined.ts'
import type { Registries } from './registries.ts'
import { Requests } from './requests.ts'
import { answer, type Passing, type RouteParts } from './routes.ts'
import { sendQueuesOf } from './send-queues.ts'
import { SlowClients } from './slow-clients.ts'
import { Sockets } from './sockets.ts'
import { type WriteParts, Writes } from './writes.ts'

export type FrontParts = Omit<RouteParts, 'requests'> &
  WriteParts & {
    readonly registries: Registries
    readonly clock: Clock
    readonly log: Log
    /** Called once for each request, when it has ended. */
    readonly onDone: (done: Done) => void
    /** What a client was refused for, once for each refusal. */
    readonly onRefused: (reason: Reason) => void
    /** Who may ask anything at all; left out: everyone. */
    readonly access?: Access
    readonly tls?: FrontTls | undefined
    readonly limits?: Partial<Limits>
  }

/** In PEM. Where `clientCa` is given, clients are asked for a certificate, and `access` judges it. */
export type FrontTls = {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  readonly clientCa?: string | Buffer
}

/** What clients may take (faults 21, 24, 25, 66). */
const LIMITS = {
  connections: 4_096,
  perAddress: Number.POSITIVE_INFINITY,
  minimumBytesPerS: KIB,
  headBytes: 64 * KIB, // a lazy puller's Range of 1,024 parts is 22 KiB
  headMs: 10_000,
  checkEveryMs: 5_000,
  requestMs: 60_000, // to come whole; a read has no body
  pushMs: 6 * 3_600_000, // the same where a push may come
  idleMs: 125_000, // longer than any client's own: else its next request meets our close
  requestsPerSocket: 1000,
  drainMs: 30_000,
}

export type Limits = typeof LIMITS

/** What is left of a refused body is read and dropped up to this; beyond it the connection is closed. */
const DROPPED_BYTES_MAX = 64 * KIB

/**
 * The listener for clients. Reads are answered ahead of fastify, whose reply machinery costs as much as a manifest hit
 * itself; the writes that are passed on are fastify's.
 */
export class Front implements AsyncDisposable {
  readonly server: http.Server
  readonly fastify: FastifyInstance
  readonly #parts: FrontParts
  readonly #routes: RouteParts
  readonly #access: Access
  readonly #limits: Limits
  readonly #around: Surroundings
  readonly #writes: Writes
  readonly #sockets: Sockets
  readonly #slow: SlowClients
  readonly #pipelined = new Pipelined()
  #handle: RequestListener = () => undefined
  /** By whose authorities the clients are judged that are connected. */
  #clientCa: string

  constructor(parts: FrontParts) {
    const { clock, log, onDone, onRefused } = parts
    this.#parts = parts
    this.#routes = { ...parts, requests: new Requests(parts.registries) }
    this.#limits = { ...LIMITS, ...parts.limits }
    this.#clientCa = String(parts.tls?.clientCa)
    this.#access = parts.access ?? OPEN
    const challenger = parts.realm ?? this.#access
    const challengeOf = (request: IncomingMessage) => challenger.challengeOf(request)
    this.#around = { clock, log, onDone, onRefused, challengeOf, isDraining: false }
    this.#writes = new Writes(parts, log)
    this.server = serverOf(parts, this.#limits)
    this.fastify = fastifyOf({
      clientErrorHandler: (error, socket) => this.#answerBroken(error, socket),
      rewriteUrl: (request) => this.#writes.pathOf(request as IncomingMessage),
      serverFactory: (handle) => {
        this.#handle = handle as RequestListener
        return this.server
      },
    })
    const { connections, perAddress, minimumBytesPerS } = this.#limits
    const onDropped = () => onRefused('tooManyConnections')
    this.#sockets = new Sockets(this.server, { clock, connections, perAddress, onDropped })
    const onSlow = () => onRefused('clientSlow')
    const { owed } = this.#sockets
    this.#slow = new SlowClients({ clock, bytesPerS: minimumBytesPerS, owed, onSlow, sendQueuesOf })
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      this.server.on(event, (request: IncomingMessage, response: ServerResponse) => this.#arrive(request, response))
    }
  }

  /** Requests that wait for their answer, or for the rest of it; what memory answers at once is never among them. */
  get answersUnderWay(): number {
    return this.#sockets.answersOwed
  }

  /** Listens; port 0 takes any that is free. */
  async listen(at: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.server.once('error', reject)
    this.server.listen({ ...at, backlog: 511 }, resolve)
    await promise
    this.server.off('error', reject)
    this.server.on('error', (error) => this.#parts.log.error({ error }, 'the listener failed'))
    const address = this.server.address()
    this.#slow.start()
    if (address === null || typeof address === 'string') throw new Error('the listener has no address')
    return address
  }

  /**
   * From now on another certificate is shown to those who come, and what was remembered of requests is judged anew.
   * Where other authorities count for clients, whoever is connected comes again.
   * @throws the library's error where the PEM is of no use: the old one is shown
   */
  renew(tls: FrontTls | undefined): void {
    if (tls && this.server instanceof https.Server) this.server.setSecureContext(tlsOf(tls, this.#limits))
    this.#routes.requests.forget()
    if (String(tls?.clientCa) !== this.#clientCa) this.#sockets.closeAll()
    this.#clientCa = String(tls?.clientCa)
  }

  /** Takes no one new, closes idle and silent connections, and waits for answers under way, 30 s at most (fault 84). */
  async drain(): Promise<void> {
    this.#around.isDraining = true
    await this.#sockets.drain(this.#limits.drainMs)
    this.#slow.stop()
    await this.fastify.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain()
  }

  /** Puts the proxies in place; before `listen`. */
  async open(): Promise<void> {
    await this.#writes.register(this.fastify)
    await this.fastify.ready()
  }

  /** One answer at a time, in the order in which they were asked for. */
  #arrive(request: IncomingMessage, response: ServerResponse): void {
    if (!Pipelined.isEarly(response)) this.#take(request, response)
    else if (!this.#pipelined.wait(request, response, () => this.#take(request, response))) {
      this.#parts.onRefused('overloaded')
      request.socket.destroy()
    }
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const exchange = new Exchange(request, response, this.#around)
    if (hasLargeBody(request) || isLastOfSocket(request, response)) exchange.isLast = true
    if (this.#sockets.isSurplus(socket)) {
      exchange.isLast = true
      exchange.fail(new OciError('tooManyConnections', 'too many clients are connected', { retryAfterMs: 5000 }))
      return
    }
    const refusal = this.#access.refusalOf(request)
    if (!(refusal instanceof Promise)) {
      this.#admit(exchange, refusal)
      // most answers from memory have left by now
      if (socket.writableLength > 0) this.#sockets.hold(socket, response)
      return
    }
    this.#sockets.hold(socket, response)
    void refusal.then((found) => this.#admit(exchange, found))
  }

  /** The one way to all that is served: whoever is refused learns nothing but that. */
  #admit(exchange: Exchange, refusal: Refusal): void {
    if (refusal) exchange.fail(refusal)
    else this.#answer(exchange)
  }

  #answer(exchange: Exchange): void {
    const { request, response } = exchange
    const misfit = misfitOf(request)
    if (misfit) {
      exchange.isLast = true
      exchange.fail(misfit)
      return
    }
    const answering = answer(exchange, this.#routes)
    if (answering === undefined) return
    this.#sockets.hold(request.socket, response)
    if (!(answering instanceof Promise)) this.#pass(exchange, answering)
  }

  /**
   * What is too slow or too large to become a request, or isn't HTTP. Nothing can be told where TLS never came about,
   * nor in the midst of another answer's body.
   */
  #answerBroken(thrown: Error & { readonly code?: string }, socket: Socket): void {
    const error = brokenOf(thrown.code ?? '')
    if (error) this.#parts.onRefused(error.reason)
    if (!error || !socket.writable || this.#sockets.owes(socket)) {
      socket.destroy()
      return
    }
    socket.write(bareAnswerOf(error))
    socket.destroySoon()
  }

  #pass(exchange: Exchange, passing: Passing): void {
    const { request, response } = exchange
    if (request.headers.expect !== undefined) response.writeContinue()
    this.#writes.pass(exchange, passing, () => this.#handle(request, response))
  }
}

/** A front whose writes are in place; `listen` opens it. */
export async function createFront(parts: FrontParts): Promise<Front> {
  const front = new Front(parts)
  await front.open()
  return front
}

function serverOf({ tls, targets }: FrontParts, limits: Limits): http.Server {
  const isPushed = targets.length > 0
  const options = {
    maxHeaderSize: limits.headBytes + 1, // node refuses what reaches it
    headersTimeout: limits.headMs,
    requestTimeout: isPushed ? limits.pushMs : limits.requestMs,
    connectionsCheckingInterval: limits.checkEveryMs,
    keepAliveTimeout: limits.idleMs,
  }
  const server = tls ? https.createServer({ ...options, ...tlsOf(tls, limits) }) : http.createServer(options)
  server.maxRequestsPerSocket = limits.requestsPerSocket
  return server
}

function tlsOf({ cert, key, clientCa }: FrontTls, { headMs }: Limits): https.ServerOptions {
  const own = { cert, key, handshakeTimeout: headMs }
  if (!clientCa) return own
  // A resumed session would be as trusted as it was when it began, whatever its certificate is worth by now.
  return {
    ...own,
    ca: clientCa,
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/** What node lets through though it is no request of HTTP/1.1 or 1.0 (fault 67). */
function misfitOf({ httpVersionMajor, httpVersionMinor, headers, rawHeaders }: IncomingMessage): OciError | undefined {
  if (httpVersionMajor !== 1) return new OciError('requestInvalid', 'only HTTP/1.1 and HTTP/1.0 are spoken here')
  // another coding, or any in HTTP/1.0, is framed by no two readers alike (RFC 9112 §6.1)
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (httpVersionMinor === 0 || coding.toLowerCase() !== 'chunked')) {
    return new OciError('requestInvalid', 'the one transfer coding that is understood here is chunked')
  }
  return hasTwoHosts(rawHeaders) ? new OciError('requestInvalid', 'a request has one Host') : undefined
}

/** node takes the first of two and lets the request through (fault 67). */
function hasTwoHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1
  }
  return hosts > 1
}

/**
 * node says `Connection: close` by itself then, but would go on reading and answer 503 (fault 25); it counts those of
 * HTTP/1.1 alone.
 */
const isLastOfSocket = ({ httpVersionMinor }: IncomingMessage, response: ServerResponse): boolean =>
  httpVersionMinor === 0 ||
  ('maxRequestsOnConnectionReached' in response && response.maxRequestsOnConnectionReached === true)

function hasLargeBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true
  const length = headers['content-length']
  return length !== undefined && Number(length) > DROPPED_BYTES_MAX
}

/** Undefined where nobody is there to be told: the client left, or its TLS never came about. */
function brokenOf(code: string): OciError | undefined {
  if (code === 'HPE_HEADER_OVERFLOW') return new OciError('headTooLarge', 'the head of the request is too large')
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new OciError('clientSlow', 'the request did not come in time')
  if (code === 'HPE_INVALID_EOF_STATE' || !code.startsWith('HPE_')) return undefined
  return new OciError('requestInvalid', 'this is not HTTP')
}
