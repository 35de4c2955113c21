import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance } from 'fastify'
import type { Dispatcher } from 'undici'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { RegistryHost } from '../oci/names.ts'
import type { Exchange } from './exchange.ts'
import { clientLocationOf, passedDownOf, passedUpOf, upstreamPathOf } from './passing.ts'
import type { Passing } from './routes.ts'

/** Where an upstream's writes go: one endpoint, since what is begun at one must be ended there. */
export type WriteTarget = {
  readonly host: RegistryHost
  readonly endpoint: URL
  readonly dispatcher: Dispatcher
  /** How long it may take none of a body, and how long it may think before it answers. */
  readonly answerMs: number
  readonly onAnswer: (status: number | 'error') => void
}

export type WriteParts = {
  readonly targets: readonly WriteTarget[]
  /** Clears what a write has made untrue: negative answers, tags, listings. Awaited before its client is answered. */
  readonly onWritten: (passing: Passing) => Promise<void>
}

/** A client may be silent for longer than upstream, whose silence it is told; undici counts in half seconds. */
const SLACK_MS = 2_000

type Underway = { readonly exchange: Exchange; readonly passing: Passing; readonly at: number }

/** The writes that are passed on, streaming both ways, by fresh requests of our own (faults 67, 79). */
export class Writes {
  readonly #parts: WriteParts
  readonly #log: Log
  readonly #underway = new WeakMap<object, Underway>()

  constructor(parts: WriteParts, log: Log) {
    this.#parts = parts
    this.#log = log
  }

  /** Takes an exchange that `handle`, fastify's, is then given. */
  pass(exchange: Exchange, passing: Passing, handle: () => void): void {
    const at = this.#parts.targets.findIndex(({ host }) => host === passing.target.repository.host)
    const target = this.#parts.targets[at]
    if (!target) throw new OciError('internal', 'no endpoint of this upstream takes writes')
    exchange.digest = digestIn(passing)
    exchange.request.setTimeout(target.answerMs + SLACK_MS) // node then destroys the socket of who stands still
    this.#underway.set(exchange.request, { exchange, passing, at })
    exchange.response.once('close', () => exchange.passed(exchange.response.statusCode))
    handle()
  }

  /** The path by which fastify finds the proxy: the request's meaning, in the specification's own form. */
  pathOf(request: IncomingMessage): string {
    const underway = this.#underway.get(request)
    return underway ? `${prefixOf(underway.at)}${upstreamPathOf(underway.passing, request.url ?? '')}` : '/'
  }

  /** One proxy for each upstream that takes writes. */
  async register(fastify: FastifyInstance): Promise<void> {
    fastify.setErrorHandler((error, request, reply) => {
      reply.hijack()
      this.#fail(request.raw, new OciError('requestInvalid', 'the write could not be passed on', { cause: error }))
    })
    for (const [at, target] of this.#parts.targets.entries()) {
      await fastify.register(httpProxy, {
        upstream: target.endpoint.href,
        prefix: prefixOf(at),
        undici: target.dispatcher,
        disableCache: true, // of URLs: each upload has its own
        disableRequestLogging: true,
        internalRewriteLocationHeader: false,
        replyOptions: {
          timeout: target.answerMs,
          retryDelay: () => null, // else a GET that meets a 503 would be sent ten times more
          rewriteRequestHeaders: (_request, headers) => passedUpOf(headers),
          rewriteHeaders: (headers, request) => this.#answerHeadersOf(request?.raw, headers, target),
          onResponse: (request, reply, response) => {
            target.onAnswer(reply.statusCode)
            void this.#written(request.raw, reply.statusCode).then(() => reply.send(bodyOf(response)))
          },
          onError: (reply, { error }) => {
            target.onAnswer('error')
            reply.hijack()
            this.#fail(reply.request.raw, failureOf(error))
          },
        },
      })
    }
  }

  #answerHeadersOf(request: object | undefined, told: IncomingHttpHeaders, target: WriteTarget) {
    const headers = passedDownOf(told)
    const underway = request && this.#underway.get(request)
    if (!underway) return headers
    const { ns } = underway.passing
    if (ns !== undefined) headers['oci-namespace'] = ns
    const location = told.location && clientLocationOf(told.location, underway.passing, target.endpoint)
    if (location) headers.location = location
    else delete headers.location
    return headers
  }

  /** Never rejects: the write is done, so its answer is told whatever becomes of what we knew. */
  async #written(request: { method?: string | undefined }, status: number): Promise<void> {
    const underway = this.#underway.get(request)
    if (!underway || !hasChanged(request.method, status)) return
    try {
      await this.#parts.onWritten(underway.passing)
    } catch (error) {
      this.#log.error({ error }, 'what a write made untrue could not be forgotten')
    }
  }

  #fail(request: object, error: OciError): void {
    this.#underway.get(request)?.exchange.fail(error)
  }
}

/** No client can write it: a path reaches fastify only by `pathOf`. */
const prefixOf = (at: number): string => `/to-${at}`

/** The body as the proxy has it; its type names the wrong one of node's messages. */
const bodyOf = (response: { readonly stream: unknown }): unknown => response.stream

function digestIn(passing: Passing): Digest | undefined {
  if (passing.route === 'blob') return passing.digest
  return passing.route === 'manifest' && 'digest' in passing.reference ? passing.reference.digest : undefined
}

/** A blob or a manifest came or went; an upload that is only begun or continued (202) has changed nothing. */
const hasChanged = (method: string | undefined, status: number): boolean =>
  status === 201 || (status >= 200 && status < 300 && (method === 'PUT' || method === 'DELETE'))

function failureOf(cause: Error): OciError {
  const isSlow = 'statusCode' in cause && cause.statusCode === 504
  return isSlow
    ? new OciError('upstreamSlow', 'upstream did not answer the write in time', { cause, fault: 'slow' })
    : new OciError('upstreamFailed', 'upstream could not be given the write', { cause, fault: 'connect' })
}
