import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { type OciError, ociErrorOf, type Reason } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Outcome, Route as RouteLabel } from '../base/metrics.ts'
import type { CacheFacts } from '../cache/facts.ts'
import type { Digest } from '../oci/digest.ts'
import { API_VERSION, cacheStatusOf, errorAnswerOf, factsOfError, type Head } from './answer.ts'
import { type Asked, namespaceOf } from './request.ts'

/** One request, when it has ended: what the access line and the counters are made of. */
export type Done = {
  readonly method: string
  /** The client's own path, without the query. */
  readonly path: string
  readonly route: RouteLabel
  readonly status: number
  readonly outcome: Outcome
  readonly upstream: string | undefined
  readonly repository: string | undefined
  readonly digest: string | undefined
  /** Of the body, as handed to the connection. */
  readonly bytes: number
  readonly ms: number
  /** The client's address. */
  readonly from: string | undefined
}

/** What every exchange of a front has in common. `onDone` is called once for each request, whatever happened to it. */
export type Surroundings = {
  readonly clock: Clock
  readonly log: Log
  readonly onDone: (done: Done) => void
  /** What WWW-Authenticate says beside a 401. */
  readonly challengeOf: (request: IncomingMessage) => string | undefined
  /** Called with the reason of each error that is answered. */
  readonly onRefused: (reason: Reason) => void
  /** True from the drain's begin: each answer then is its connection's last. */
  isDraining: boolean
}

const LABEL_OF: Record<Asked['route'], RouteLabel> = {
  ping: 'ping',
  catalog: 'other',
  token: 'other',
  manifest: 'manifest',
  blob: 'blob',
  tags: 'tags',
  referrers: 'referrers',
  upload: 'write',
}

const CLIENT_CLOSED_STATUS = 499 // nobody sees it but the access line: the client was gone before it had a status
const CLOSE: Head = ['Connection', 'close']

/** One request and the answer to it, which begins once and ends once. */
export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly isHead: boolean
  /** The request's meaning, once it was understood. */
  asked: Asked | undefined
  /** What the access line names; known at the latest when the answer begins. */
  digest: Digest | undefined
  /** The connection closes after it: there is more of the request than anyone will read. */
  isLast = false
  readonly #around: Surroundings
  readonly #startedMs: number
  /** Kept: a request lets go of its socket when its answer has gone, and a write's URL becomes upstream's. */
  readonly #socket: Socket
  readonly #url: string
  #facts: CacheFacts | undefined
  #left: AbortController | undefined
  #bytes = 0
  #isDone = false
  #isWatched = false
  /** Resumes the one write under way when the client has gone: its own callback may never come (fault 22). */
  #release: (() => void) | undefined

  constructor(request: IncomingMessage, response: ServerResponse, around: Surroundings) {
    this.request = request
    this.response = response
    this.isHead = request.method === 'HEAD'
    this.#around = around
    this.#socket = request.socket
    this.#url = request.url ?? ''
    this.#startedMs = around.clock.monotonicMs()
  }

  /** Aborts when the client leaves before the answer has ended. */
  get signal(): AbortSignal {
    if (this.#left) return this.#left.signal
    const left = new AbortController()
    this.#left = left
    if (this.response.destroyed) left.abort()
    else this.#watchClose()
    return left.signal
  }

  get hasLeft(): boolean {
    return this.response.destroyed || this.#socket.destroyed
  }

  /**
   * A whole answer. To a HEAD the same head goes without the body; `head` holds its Content-Length. A body as text has
   * a character for each byte (latin1): it leaves in one string with the head, which costs less than two pieces.
   */
  send(status: number, head: Head, body: Buffer | string | undefined, facts: CacheFacts): void {
    if (this.hasLeft) {
      this.#end('left', CLIENT_CLOSED_STATUS)
      return
    }
    this.#begin(status, head, facts)
    if (this.isHead || body === undefined) {
      this.response.end()
    } else {
      this.#bytes = body.length
      this.response.end(body, 'latin1')
    }
    this.#end(outcomeOf(status, facts), status)
  }

  /** The head of an answer whose body follows by `write` and `end`, or is cut by `cut`. */
  start(status: number, head: Head, facts: CacheFacts): void {
    this.#begin(status, head, facts)
    this.#watchClose()
    // A hit's bytes follow at once, in one packet with the head; others may keep the client waiting for their first.
    if (!facts.hit) this.response.flushHeaders()
  }

  /**
   * Hands a piece to the connection. Resolves when the piece may be overwritten (fault 48): true once it was taken,
   * false when the client has gone. Never rejects. One at a time.
   */
  write(piece: Buffer): Promise<boolean> {
    if (this.hasLeft) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#release = () => resolve(false)
      this.response.write(piece, (error) => {
        this.#release = undefined
        if (!error) this.#bytes += piece.length
        resolve(!error)
      })
    })
  }

  /** The body is whole. */
  end(): void {
    if (this.#isDone) return
    const status = this.response.statusCode
    this.response.end()
    this.#end(outcomeOf(status, this.#facts), status)
  }

  /** Ends short of Content-Length, by FIN: containerd resumes after that, and after nothing else (fault 23). */
  cut(thrown: unknown): void {
    if (this.#isDone) return
    const error = ociErrorOf(thrown)
    if (!this.hasLeft) this.#tell(error)
    const outcome = this.hasLeft ? 'left' : 'failed'
    this.#end(outcome, this.response.statusCode)
    this.response.destroy()
  }

  /** Answers an error, or cuts where the answer has begun. `extra` are header fields of its own. */
  fail(thrown: unknown, extra: Head = []): void {
    if (this.response.headersSent) {
      this.cut(thrown)
      return
    }
    const error = ociErrorOf(thrown)
    if (!this.hasLeft) this.#tell(error)
    this.#around.onRefused(error.reason)
    const { status, head, body } = errorAnswerOf(error)
    this.send(status, [...head, ...this.#challengeFor(error), ...extra], body, factsOfError(error))
  }

  /** Takes note of an answer that another hand wrote: a write that was passed on. */
  passed(status: number): void {
    this.#end(this.hasLeft && !this.response.writableFinished ? 'left' : passedOutcomeOf(status), status)
  }

  /** One challenge on one line: clients understand no more (RFC 9110 §11.6.1). */
  #challengeFor({ reason }: OciError): Head {
    const challenge = reason === 'unauthorized' ? this.#around.challengeOf(this.request) : undefined
    return challenge === undefined ? [] : ['WWW-Authenticate', challenge]
  }

  #begin(status: number, head: Head, facts: CacheFacts): void {
    this.#facts = facts
    const fields = [...API_VERSION, 'Cache-Status', cacheStatusOf(facts), ...head]
    const ns = this.asked ? this.asked.ns : this.#namespaceUnread()
    if (ns !== undefined) fields.push('OCI-Namespace', ns)
    if (this.isLast || this.#around.isDraining) fields.push(...CLOSE)
    this.response.writeHead(status, fields)
  }

  /** Told back only where it could be a host: what a stranger wrote is no header of ours. */
  #namespaceUnread(): string | undefined {
    const ns = namespaceOf(this.#url)
    return ns !== undefined && /^[A-Za-z0-9.:[\]-]{1,259}$/.test(ns) ? ns : undefined
  }

  #watchClose(): void {
    if (this.#isWatched) return
    this.#isWatched = true
    this.response.on('error', () => undefined) // a write that meets the client's leaving: `close` tells of it
    this.response.once('close', () => {
      this.#release?.()
      if (this.response.writableFinished) return
      this.#left?.abort()
      if (this.response.headersSent) this.#end('left', this.response.statusCode)
    })
  }

  #tell(error: OciError): void {
    const { log } = this.#around
    const facts = { error, path: this.#path() }
    if (error.reason === 'internal') log.error(facts, 'a request failed for a reason that nobody foresaw')
    else if (error.answer[0] >= 500) log.warn(facts, 'a request failed')
    else if (error.cause !== undefined) log.debug(facts, 'a request was refused')
  }

  #path(): string {
    const question = this.#url.indexOf('?')
    return question < 0 ? this.#url : this.#url.slice(0, question)
  }

  #end(outcome: Outcome, status: number): void {
    if (this.#isDone) return
    this.#isDone = true
    const { asked } = this
    const target = asked && 'target' in asked ? asked.target : undefined
    this.#around.onDone({
      method: this.request.method ?? '',
      path: this.#path(),
      route: asked ? LABEL_OF[asked.route] : 'other',
      status,
      outcome,
      upstream: target?.repository.host,
      repository: target?.repository.path,
      digest: this.digest,
      bytes: this.#bytes,
      ms: this.#around.clock.monotonicMs() - this.#startedMs,
      from: this.#socket.remoteAddress,
    })
  }
}

const passedOutcomeOf = (status: number): Outcome => (status >= 500 ? 'failed' : status >= 400 ? 'refused' : 'passed')

function outcomeOf(status: number, facts: CacheFacts | undefined): Outcome {
  if (status >= 500) return 'failed'
  if (status >= 400) return 'refused'
  if (!facts?.fwd) return facts?.ttlS !== undefined && facts.ttlS < 0 ? 'stale' : 'hit'
  if (facts.fwd === 'stale') return 'stale'
  return facts.collapsed ? 'joined' : 'miss'
}
