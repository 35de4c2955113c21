import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { OnReadOpts, Socket } from 'node:net'
import { setImmediate } from 'node:timers'
import type { Clock } from '../base/clock.ts'
import { MIB } from '../base/units.ts'
import { type Awaited, type Events, type Head, Waiter } from './arrivals.ts'
import { isHangUp } from './failure.ts'
import { findResponseHead, HEAD_BYTES_MAX, type ResponseHead } from './response-head.ts'
import { Ring } from './ring.ts'

const PIECE_BYTES = MIB
const RING_BYTES = 2 * MIB
const HEAD_BYTES = 16 * 1024
const INFORMATIONAL_MAX = 8

/** Its body ends in a way that only a whole parser follows: it is to be asked for again through undici. */
export class UnknownEnd extends Error {
  override readonly name = 'UnknownEnd'
}

/** The answer to one request on a blob socket, as it arrives: read by the socket straight into what its reader gets. */
export class BlobAnswer implements Awaited {
  readonly head: Promise<Head>
  readonly #settle: PromiseWithResolvers<Head>
  readonly #events: Events
  readonly #waiter = new Waiter()
  #socket: BlobSocket | undefined
  #ring: Ring | undefined
  #leftBytes = 0
  #isPaused = false
  #hasBegun = false
  #isOnUsedSocket = false
  #end: { readonly error: unknown } | undefined

  constructor(events: Events) {
    this.#events = events
    this.#settle = Promise.withResolvers<Head>()
    this.head = this.#settle.promise
    void this.head.catch(() => undefined) // whoever awaits it hears of it; an ask that was given up has nobody
  }

  get arrivedBytes(): number {
    return this.#ring?.arrivedBytes ?? 0
  }

  get isOver(): boolean {
    return this.#end !== undefined
  }

  get error(): unknown {
    return this.#end?.error
  }

  get wasSent(): boolean {
    return this.#socket !== undefined
  }

  get wasStale(): boolean {
    return this.#isOnUsedSocket && !this.#hasBegun && isHangUp(this.error)
  }

  take(): Buffer {
    const piece = this.#ring?.take(PIECE_BYTES) ?? Buffer.alloc(0)
    if (this.#isPaused && this.#ring?.isFree(this.#leftBytes)) {
      this.#isPaused = false
      this.#socket?.resume()
    }
    return piece
  }

  waitFor(bytes: number, ms: number, clock: Clock): Promise<void> {
    if (this.arrivedBytes >= bytes || this.isOver) return Promise.resolve()
    return this.#waiter.wait(bytes, ms, clock)
  }

  abort(reason: unknown): void {
    if (this.isOver) return
    this.over(reason ?? new Error('given up'))
    this.#socket?.destroy()
  }

  // What its socket tells.

  sentOn(socket: BlobSocket, isUsed: boolean): void {
    this.#socket = socket
    this.#isOnUsedSocket = isUsed
    this.#events.onSent()
  }

  begins(): void {
    this.#hasBegun = true
  }

  /** @param rest what of the body came with the head */
  headed({ status, headers }: ResponseHead, bodyBytes: number, rest: Buffer): void {
    this.#leftBytes = bodyBytes
    if (bodyBytes > 0) this.#ring = new Ring(Math.min(RING_BYTES, bodyBytes))
    this.#ring?.put(rest)
    this.#settle.resolve({ status, headers })
    this.#took(rest.length)
  }

  /** Where the socket is to write what comes next; it may not yet. */
  get region(): Buffer | undefined {
    return this.#leftBytes > 0 ? this.#ring?.region(this.#leftBytes) : undefined
  }

  /** @returns whether more may be read at once */
  wrote(bytes: number): boolean {
    this.#ring?.wrote(bytes)
    this.#isPaused = bytes < this.#leftBytes && this.#ring?.isFree(this.#leftBytes - bytes) === false
    this.#took(bytes)
    return !this.#isPaused
  }

  over(error: unknown): void {
    if (this.isOver) return
    this.#end = { error }
    this.#settle.reject(error ?? new Error('ended without a head'))
    this.#events.onOver()
    this.#waiter.over()
  }

  #took(bytes: number): void {
    this.#leftBytes -= bytes
    if (bytes > 0) this.#events.onBytes(bytes)
    if (this.#leftBytes === 0) this.over(undefined)
    else this.#waiter.arrived(this.arrivedBytes, this.#isPaused ? 0 : Number.POSITIVE_INFINITY)
  }
}

type State =
  | { readonly at: 'connecting' | 'idle' | 'closed' }
  | { readonly at: 'head' | 'body'; readonly answer: BlobAnswer }

export type BlobSocketEvents = {
  /** It may be given another request; `idleMs` is how long it will be kept open, where upstream told. */
  readonly onFree: (socket: BlobSocket, idleMs: number | undefined) => void
  readonly onClosed: (socket: BlobSocket) => void
}

/**
 * One connection to an upstream that reads bodies straight into their readers' memory. undici's parser and streams cost
 * three times the CPU of everything else that a fill does; this way is taken for what has a plain length, all else is
 * left to undici.
 */
export class BlobSocket {
  readonly #events: BlobSocketEvents
  #socket: Socket | undefined
  #state: State = { at: 'connecting' }
  #head = Buffer.allocUnsafeSlow(HEAD_BYTES)
  #headBytes = 0
  #informational = 0
  #isKept = false
  #idleMs: number | undefined
  #served = 0

  constructor(events: BlobSocketEvents) {
    this.#events = events
  }

  /** For whoever connects: the socket's bytes come here. */
  readonly onread: OnReadOpts = {
    buffer: () => this.#region(),
    callback: (bytes) => this.#read(bytes),
  }

  /** Whether it may be given a request. */
  get isIdle(): boolean {
    return this.#state.at === 'idle' && this.#socket?.destroyed === false
  }

  connected(socket: Socket): void {
    this.#socket = socket
    this.#state = { at: 'idle' }
    let failure: unknown
    socket.on('error', (error) => {
      failure = error
    })
    socket.once('close', () => this.#closed(failure ?? hungUp()))
  }

  /** To be called on an idle one. @throws {TypeError} a header that is none */
  send(path: string, host: string, headers: Readonly<Record<string, string>>, answer: BlobAnswer): void {
    const lines = [`GET ${path} HTTP/1.1`, `host: ${host}`, 'connection: keep-alive']
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderName(name)
      validateHeaderValue(name, value)
      lines.push(`${name}: ${value}`)
    }
    this.#state = { at: 'head', answer }
    this.#informational = 0
    answer.sentOn(this, this.#served++ > 0)
    this.#socket?.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  }

  resume(): void {
    if (this.#state.at === 'body') this.#socket?.resume()
  }

  destroy(): void {
    this.#socket?.destroy()
  }

  /** Asked for after each read; what is read next goes there. */
  #region(): Buffer {
    return (this.#state.at === 'body' && this.#state.answer.region) || this.#head.subarray(this.#headBytes)
  }

  /** @returns false to stop reading until `resume` */
  #read(bytes: number): boolean {
    const state = this.#state
    switch (state.at) {
      case 'head':
        state.answer.begins()
        this.#headBytes += bytes
        return this.#readHead(state.answer)
      case 'body': {
        const goesOn = state.answer.wrote(bytes)
        if (state.answer.isOver) this.#ended()
        return goesOn
      }
      case 'connecting':
      case 'idle':
      case 'closed':
        this.destroy() // what nobody asked for: the surplus of one answer must not be the next (fault 3)
        return false
      default:
        return state satisfies never
    }
  }

  #readHead(answer: BlobAnswer): boolean {
    try {
      const arrived = this.#head.subarray(0, this.#headBytes)
      const head = findResponseHead(arrived)
      if (!head) return this.#grow()
      const rest = arrived.subarray(head.bytes)
      if (head.status < 200) return this.#passOver(head, rest, answer)
      if (head.body === 'other') throw new UnknownEnd(`a body without a plain length, status ${head.status}`)
      const ofBody = rest.subarray(0, head.body.bytes)
      this.#isKept = head.isKept && ofBody.length === rest.length
      this.#idleMs = head.idleMs
      this.#headBytes = 0
      this.#state = { at: 'body', answer }
      answer.headed(head, head.body.bytes, ofBody)
      if (answer.isOver) this.#ended()
      return true
    } catch (error) {
      answer.over(error)
      this.destroy()
      return false
    }
  }

  #grow(): boolean {
    if (this.#headBytes === this.#head.length && this.#head.length < HEAD_BYTES_MAX) {
      this.#head = Buffer.concat([this.#head], HEAD_BYTES_MAX)
    }
    return true
  }

  /** RFC 9110 §15.2: informational, the answer follows. */
  #passOver(head: ResponseHead, rest: Buffer, answer: BlobAnswer): boolean {
    if (head.status === 101 || ++this.#informational > INFORMATIONAL_MAX) throw new UnknownEnd(`status ${head.status}`)
    this.#headBytes = rest.copy(this.#head)
    return this.#readHead(answer)
  }

  #ended(): void {
    if (this.#state.at === 'closed') return
    this.#state = { at: 'idle' }
    if (!this.#isKept) this.destroy()
    // What is here already and was not asked for is read before another request could seem to ask for it.
    setImmediate(() => {
      if (this.isIdle) this.#events.onFree(this, this.#idleMs)
    })
  }

  #closed(error: unknown): void {
    const state = this.#state
    this.#state = { at: 'closed' }
    if (state.at === 'head' || state.at === 'body') state.answer.over(error)
    this.#events.onClosed(this)
  }
}

/** As undici says it, so that one reading of errors serves both. */
const hungUp = () => Object.assign(new Error('the other side closed the connection'), { code: 'UND_ERR_SOCKET' })
