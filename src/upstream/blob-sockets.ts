import type { OnReadOpts } from 'node:net'
import { setImmediate } from 'node:timers'
import type { buildConnector } from 'undici'
import type { Clock } from '../base/clock.ts'
import { type BlobAnswer, BlobSocket } from './blob-socket.ts'

const KEEP_ALIVE_MS = 30_000
/** Given up this long before upstream would close it: a request must not cross the close. */
const CLOSE_MARGIN_MS = 1_000
/** Origins whose bodies come without a plain length, and are left to undici. */
const LEFT_MAX = 1_000

type Ask = { readonly url: URL; readonly headers: Readonly<Record<string, string>>; readonly answer: BlobAnswer }
type Options = {
  readonly connectionsMax: number
  readonly clock: Clock
  /** Opens sockets by our guard's rules, whose bytes go to `onread`. */
  readonly connectorOf: (onread: OnReadOpts) => buildConnector.connector
}

/** The connections that bring blobs, kept alive, so many to an origin; who finds none free waits in line. */
export class BlobSockets {
  readonly #options: Options
  readonly #origins = new Map<string, Origin>()
  readonly #left = new Set<string>()
  #isClosed = false

  constructor(options: Options) {
    this.#options = options
  }

  /** Whether blobs of this origin come this way. */
  takes({ origin }: URL): boolean {
    return !this.#left.has(origin)
  }

  /** An origin that answered a blob without a plain length is left to undici from now on. */
  leave({ origin }: URL): void {
    if (this.#left.size < LEFT_MAX) this.#left.add(origin)
  }

  /** Sends, on a connection that has not served yet where `isFresh`. What goes wrong is the answer's end. */
  send(ask: Ask, isFresh: boolean): void {
    const { origin } = ask.url
    const found = this.#origins.get(origin) ?? new Origin(this.#options, () => this.#origins.delete(origin))
    this.#origins.set(origin, found)
    if (this.#isClosed) ask.answer.over(new Error('the upstream is closed'))
    else found.send(ask, isFresh)
  }

  /** Cuts whatever is under way. */
  close(): void {
    this.#isClosed = true
    for (const origin of this.#origins.values()) origin.close()
  }
}

/** The connections to one origin. */
class Origin {
  readonly #options: Options
  readonly #onEmpty: () => void
  readonly #all = new Set<BlobSocket>()
  /** With what takes back the timer that closes it; the one used last is last. */
  readonly #idle = new Map<BlobSocket, () => void>()
  readonly #waiting: Ask[] = []
  #isClosed = false

  constructor(options: Options, onEmpty: () => void) {
    this.#options = options
    this.#onEmpty = onEmpty
  }

  send(ask: Ask, isFresh: boolean): void {
    const idle = isFresh ? undefined : this.#takeIdle()
    if (idle) this.#sendOn(idle, ask)
    else if (isFresh || this.#all.size === 0) this.#connect(ask)
    else setImmediate(() => this.#sendOnOther(ask)) // one that ended its answer in this turn is free in the next
  }

  #sendOnOther(ask: Ask): void {
    const idle = this.#takeIdle()
    if (idle) this.#sendOn(idle, ask)
    else if (this.#isClosed) ask.answer.abort(new Error('the upstream is closed'))
    else if (this.#all.size < this.#options.connectionsMax) this.#connect(ask)
    else this.#waiting.push(ask)
  }

  close(): void {
    this.#isClosed = true
    for (const { answer } of this.#waiting.splice(0)) answer.abort(new Error('the upstream is closed'))
    for (const socket of this.#all) socket.destroy()
  }

  #takeIdle(): BlobSocket | undefined {
    const socket = [...this.#idle.keys()].at(-1)
    if (socket) this.#unidle(socket)
    return socket
  }

  #unidle(socket: BlobSocket): void {
    this.#idle.get(socket)?.()
    this.#idle.delete(socket)
  }

  #connect(ask: Ask): void {
    const { url, answer } = ask
    const socket = new BlobSocket({
      onFree: (free, idleMs) => this.#freed(free, idleMs),
      onClosed: (closed) => this.#gone(closed),
    })
    this.#all.add(socket)
    const connect = this.#options.connectorOf(socket.onread)
    connect(whereOf(url), (...[error, connected]) => {
      if (error) {
        answer.over(error)
        return this.#gone(socket)
      }
      socket.connected(connected)
      this.#sendOn(socket, ask)
    })
  }

  /** An ask that was given up meanwhile leaves the socket to the next. */
  #sendOn(socket: BlobSocket, ask: Ask): void {
    const { url, headers, answer } = ask
    try {
      if (!answer.isOver) socket.send(`${url.pathname}${url.search}`, url.host, headers, answer)
    } catch (error) {
      answer.over(error)
    }
    if (answer.isOver) this.#freed(socket, undefined)
  }

  #freed(socket: BlobSocket, idleMs = KEEP_ALIVE_MS + CLOSE_MARGIN_MS): void {
    if (!socket.isIdle) return // it closed meanwhile, which is told
    const next = this.#next()
    if (next) {
      this.#sendOn(socket, next)
    } else {
      const keptMs = Math.max(0, Math.min(KEEP_ALIVE_MS, idleMs - CLOSE_MARGIN_MS))
      const cancel = this.#options.clock.after(keptMs, () => socket.destroy())
      this.#idle.set(socket, cancel)
    }
  }

  #gone(socket: BlobSocket): void {
    this.#unidle(socket)
    this.#all.delete(socket)
    const next = this.#next()
    if (next) this.#connect(next)
    else if (this.#all.size === 0) this.#onEmpty()
  }

  /** The first that still waits. */
  #next(): Ask | undefined {
    for (;;) {
      const next = this.#waiting.shift()
      if (!next?.answer.isOver) return next
    }
  }
}

/** undici's connectors take a host name without the brackets of an IPv6 literal. */
const whereOf = (url: URL): buildConnector.Options => ({
  hostname: url.hostname.replace(/^\[|\]$/g, ''),
  host: url.host,
  protocol: url.protocol,
  port: url.port,
})
