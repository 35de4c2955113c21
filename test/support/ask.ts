import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import https from 'node:https'

export type Asking = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | string[]>>
  readonly body?: Buffer
  /** PEM of whom to trust, where it is https. */
  readonly ca?: string
  /** Of the client's own certificate, in PEM. */
  readonly cert?: string
  readonly key?: string
  readonly signal?: AbortSignal
}

export type Answered = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Name, value, name, value, as they came. */
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  /** Whether the body came whole, by its length or its last chunk. */
  readonly isWhole: boolean
}

/**
 * One request on a connection of its own, with no header that isn't asked for; a body that is cut is told, not thrown.
 */
export function ask(url: string, asking: Asking = {}): Promise<Answered> {
  return open(url, asking).then(read)
}

/** The same up to the head: the body is the caller's to read. */
export function open(
  url: string,
  { method = 'GET', headers = {}, body, ca, cert, key, signal }: Asking = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { request } = url.startsWith('https:') ? https : http
    const sent = request(url, {
      method,
      headers: { ...headers },
      agent: false,
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
      ...(signal && { signal }),
    })
    sent.once('response', resolve)
    sent.once('error', reject)
    sent.end(body)
  })
}

async function read(message: IncomingMessage): Promise<Answered> {
  const pieces: Buffer[] = []
  try {
    for await (const piece of message) pieces.push(piece)
  } catch {
    // Cut: `complete` says so.
  }
  const { statusCode: status = 0, headers, rawHeaders, complete: isWhole } = message
  return { status, headers, rawHeaders, body: Buffer.concat(pieces), isWhole }
}
