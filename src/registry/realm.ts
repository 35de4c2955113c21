import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import { listenText } from '../base/listening.ts'
import type { CacheFacts } from '../cache/facts.ts'
import { CREDENTIALS_BYTES_MAX, type Credentials, findBasic } from './basic.ts'
import { Callers } from './callers.ts'
import type { Exchange } from './exchange.ts'
import { TOKEN_LIFE_MS, TokenSeal } from './token-seal.ts'

type RealmParts = {
  /** How clients reach us, where that is not as they say it: an origin. */
  readonly publicUrl: string | undefined
  readonly clock: Clock
}

/** A form longer than this is none of a client's. */
const FORM_BYTES_MAX = 64 * 1024
const ANSWERED_HERE: CacheFacts = { hit: false, detail: 'local' }

/**
 * A Bearer realm of our own: docker and podman send their credentials to nothing else. It refuses nobody, since it
 * knows nobody; whether upstream accepts credentials is found where they are used. (Docker's token authentication,
 * "Requesting a Token" and "OAuth2 Token Authentication".)
 */
export class Realm {
  readonly callers: Callers
  readonly #parts: RealmParts
  readonly #seal: TokenSeal

  constructor(parts: RealmParts) {
    this.#parts = parts
    this.#seal = new TokenSeal(parts.clock)
    this.callers = new Callers(this.#seal)
  }

  /** One challenge. That a token was sent and opens nothing is said: the client then asks for another. */
  challengeOf(request: IncomingMessage): string {
    const { authorization } = request.headers
    const isBad = authorization !== undefined && !this.callers.open(authorization)
    const origin = this.#parts.publicUrl ?? originOf(request)
    return `Bearer realm="${origin}/token",service="millpond"${isBad ? ',error="invalid_token"' : ''}`
  }

  /** Whoever has been here, or sends credentials, may begin. @throws {OciError} unauthorized */
  checkPing({ headers }: IncomingMessage): void {
    if (this.callers.open(headers.authorization)) return
    throw new OciError('unauthorized', 'a token is wanted, which anyone gets')
  }

  /** Answers a request for a token. @throws {OciError} requestInvalid, notServed */
  answer(exchange: Exchange): Promise<void> | undefined {
    const { method, headers } = exchange.request
    if (method === 'POST') return this.#answerForm(exchange)
    if (method !== 'GET' && method !== 'HEAD') throw new OciError('notServed', 'a token is had by GET or POST')
    this.#give(exchange, findBasic(headers.authorization))
    return undefined
  }

  async #answerForm(exchange: Exchange): Promise<void> {
    const form = await readForm(exchange)
    const [username, password] = [form.get('username'), form.get('password')]
    if (form.get('grant_type') !== 'password' || !username || password === null) {
      throw new OciError('requestInvalid', 'the one grant that is known here is a password')
    }
    this.#give(exchange, { username, password })
  }

  #give(exchange: Exchange, credentials: Credentials | undefined): void {
    const sizeBytes = credentials ? Buffer.byteLength(`${credentials.username}${credentials.password}`) : 0
    if (sizeBytes > CREDENTIALS_BYTES_MAX) throw new OciError('requestInvalid', 'these credentials are too long')
    const token = this.#seal.seal(credentials)
    const issuedAt = new Date(this.#parts.clock.wallMs()).toISOString()
    const told = { token, access_token: token, expires_in: TOKEN_LIFE_MS / 1000, issued_at: issuedAt }
    const body = Buffer.from(JSON.stringify(told))
    const type = ['Content-Type', 'application/json', 'Content-Length', String(body.length)]
    exchange.send(200, [...type, 'Cache-Control', 'no-store'], body, ANSWERED_HERE)
  }
}

/** Whole, and by its length: a body of unknown length is not read at all. */
async function readForm(exchange: Exchange): Promise<URLSearchParams> {
  const { request, response } = exchange
  const { 'content-length': length, 'content-type': type = '', expect } = request.headers
  const isForm = /^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(type)
  if (!isForm || length === undefined || Number(length) > FORM_BYTES_MAX) {
    throw new OciError('requestInvalid', 'a form is wanted, of a length that is told and 64 KiB at most')
  }
  if (expect !== undefined) response.writeContinue()
  const pieces: Buffer[] = []
  for await (const piece of request) pieces.push(piece)
  return new URLSearchParams(Buffer.concat(pieces).toString())
}

/** A Host as a URL has it (RFC 9110 §7.2): in a header of ours nothing else is repeated. */
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/

/** As the client asked; what a stranger's X-Forwarded-* says of it is not read (fault 70). */
function originOf({ headers, socket }: IncomingMessage): string {
  const scheme = socket instanceof TLSSocket ? 'https' : 'http'
  const { host = '' } = headers
  if (HOST.test(host)) return `${scheme}://${host}`
  return `${scheme}://${listenText({ host: socket.localAddress ?? '', port: socket.localPort ?? 0 })}`
}
