import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'

/** A request as rules see it. `summary` is `GET /v2/library/a/blobs/sha256:… bytes=4-`. */
export type Seen = {
  readonly summary: string
  readonly method: string
  readonly url: string
  readonly kind: 'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'token' | 'upload' | 'other'
  readonly path: string
  readonly reference: string
  readonly range: string | undefined
  readonly headers: IncomingHttpHeaders
}

/** What an answer does wrong; several may be combined. Offsets count the bytes of this response's body. */
export type Act = {
  /** Waits before anything else. */
  readonly delayMs?: number
  /** Never answers. */
  readonly hang?: boolean
  /** Resets the connection instead of answering. */
  readonly refuse?: boolean
  readonly status?: number
  /** Over the right ones; an array is several lines, `null` takes the header out. */
  readonly headers?: Readonly<Record<string, string | string[] | null>>
  readonly body?: Buffer | string
  readonly redirect?: string | ((seen: Seen) => string)
  /** FIN, RST, or silence after so many bytes of the body. */
  readonly cutAfter?: number
  readonly resetAfter?: number
  readonly stallAfter?: number
  readonly bytesPerSecond?: number
  /** Nothing after the first piece of the body before it resolves. */
  readonly until?: Promise<void>
  /** The bytes of each write when a pace is given; default a tenth of a second's worth. */
  readonly dripBytes?: number
  /** Flips one bit of the byte at this offset; negative counts from the end. */
  readonly corruptAt?: number
  /** Content-Length is the true one plus this. */
  readonly lengthBy?: number
  /** chunked; `close`: no length, ended by FIN; `http10`: the same by HTTP/1.0, RST where resetAfter is set. */
  readonly framing?: 'chunked' | 'close' | 'http10'
  /** To a Range: as if it were not there; another part; another total; no total; multipart; 416. */
  readonly range?: 'ignore' | 'shifted' | 'otherTotal' | 'unknownTotal' | 'multipart' | 'unsatisfiable'
  readonly encoding?: 'gzip'
  /** Sent after the body, beyond its Content-Length. */
  readonly surplus?: Buffer | string
}

export type Rule = {
  readonly match: RegExp | ((seen: Seen) => boolean)
  /** How many requests it applies to; then it is spent. */
  readonly times?: number
  readonly act: Act | ((seen: Seen) => Act)
}

/** An answer before it is made worse. */
export type Answer = {
  readonly status: number
  readonly headers: Record<string, string | string[]>
  readonly body: Buffer
  readonly isHead: boolean
}

const WRITE_BYTES = 64 * 1024

/** Sends `answer` as `act` says; `written` hears of body bytes that went out. Returns when all is sent or given up. */
export async function send(to: ServerResponse, answer: Answer, act: Act, written: (bytes: number) => void) {
  const worse = worsened(answer, act)
  const socket = to.socket
  if (!socket) return
  writeHead(to, worse, act)
  if (worse.isHead) return void to.end()
  const stop = Math.min(act.cutAfter ?? Infinity, act.resetAfter ?? Infinity, act.stallAfter ?? Infinity)
  const body = worse.body.subarray(0, Math.min(stop, worse.body.length))
  const stepBytes = act.bytesPerSecond
    ? (act.dripBytes ?? Math.max(1, Math.ceil(act.bytesPerSecond / 10)))
    : WRITE_BYTES
  for (let at = 0; at < body.length && !socket.destroyed; at += stepBytes) {
    const piece = body.subarray(at, at + stepBytes)
    if (act.until && at > 0) await act.until
    if (act.bytesPerSecond && at > 0) await sleep((stepBytes / act.bytesPerSecond) * 1000, undefined, { ref: false })
    if (await writeAll(act.framing === 'http10' ? socket : to, piece)) written(piece.length)
  }
  if (act.surplus !== undefined) await writeAll(socket, Buffer.from(act.surplus))
  if (act.stallAfter !== undefined) return to.flushHeaders()
  if (act.resetAfter !== undefined) return void socket.resetAndDestroy()
  const isShort = act.cutAfter !== undefined || (act.lengthBy ?? 0) > 0
  if (isShort || act.framing === 'http10') return void socket.destroySoon()
  to.end()
}

function worsened(answer: Answer, act: Act): Answer {
  const headers = { ...answer.headers }
  let body = typeof act.body === 'string' ? Buffer.from(act.body) : (act.body ?? answer.body)
  if (act.corruptAt !== undefined && body.length > 0) {
    body = Buffer.from(body)
    const at = act.corruptAt < 0 ? body.length + act.corruptAt : act.corruptAt
    body[at] = (body[at] ?? 0) ^ 1
  }
  if (act.encoding === 'gzip') {
    body = gzipSync(body)
    headers['content-encoding'] = 'gzip'
  }
  if (act.body !== undefined || act.encoding) headers['content-length'] = String(body.length)
  if (act.lengthBy !== undefined) headers['content-length'] = String(body.length + act.lengthBy)
  for (const [name, value] of Object.entries(act.headers ?? {})) {
    if (value === null) delete headers[name]
    else headers[name] = value
  }
  return { ...answer, status: act.status ?? answer.status, headers, body }
}

function writeHead(to: ServerResponse, { status, headers }: Answer, act: Act) {
  if (act.framing) delete headers['content-length']
  if (act.framing === 'close') {
    to.shouldKeepAlive = false
    to.useChunkedEncodingByDefault = false
  }
  if (act.framing === 'http10') {
    const lines = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((each) => `${name}: ${each}`))
    to.socket?.write(`HTTP/1.0 ${status} Answer\r\n${lines.join('\r\n')}\r\n\r\n`)
    return
  }
  to.writeHead(status, headers)
  to.flushHeaders()
}

/** Whether the piece was written; waits until it was handed to the kernel. */
function writeAll(to: NodeJS.WritableStream, piece: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const closed = () => resolve(false)
    to.once('close', closed)
    to.write(piece, (error) => {
      to.removeListener('close', closed)
      resolve(!error)
    })
  })
}
