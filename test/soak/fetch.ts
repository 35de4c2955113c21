import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** How a client reads a body; left out, it reads on to the end. Bytes count from the body's start. */
export type Reading = {
  readonly leaveAfter?: number
  readonly pauseAfter?: number
  readonly pauseMs?: number
  readonly bytesPerSecond?: number
}

export type Asking = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: http.Agent
  readonly reading?: Reading
  readonly signal: AbortSignal
}

/** What a client got. Times are monotonic milliseconds. */
export type Got = {
  readonly method: string
  readonly path: string
  /** The Range that was asked for. */
  readonly range: string | undefined
  /** 0 where no answer came. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** By its length or its last chunk. */
  readonly isWhole: boolean
  /** The client itself went before the end. */
  readonly hasLeft: boolean
  readonly why: string | undefined
  readonly beganMs: number
  readonly headMs: number | undefined
  readonly endedMs: number
}

/** A client gives up: longer than any answer may take. */
const PATIENCE_MS = 60_000

/** One request. Never rejects: what went wrong is told. */
export async function fetchFrom(origin: string, path: string, asking: Asking): Promise<Got> {
  const { method = 'GET', headers = {}, agent, reading = {} } = asking
  const began = performance.now()
  const late = new AbortController()
  const signal = AbortSignal.any([asking.signal, late.signal])
  const timer = setTimeout(() => late.abort(new Error('out of patience')), PATIENCE_MS)
  const got = { method, path, range: headers['range'], beganMs: began }
  const none = { status: 0, headers: {}, body: Buffer.alloc(0), isWhole: false, headMs: undefined }
  try {
    const message = await headOf(new URL(path, origin), { method, headers, agent, signal })
    const headMs = performance.now()
    const { statusCode: status = 0, headers: answered } = message
    const { body, hasLeft, why } = await bodyOf(message, reading, signal)
    const isWhole = message.complete && !hasLeft && isOfLength(method, status, answered, body)
    return { ...got, status, headers: answered, body, isWhole, hasLeft, why, headMs, endedMs: performance.now() }
  } catch (error) {
    return { ...got, ...none, hasLeft: asking.signal.aborted, why: reasonOf(error), endedMs: performance.now() }
  } finally {
    clearTimeout(timer)
  }
}

type Request = {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly agent: http.Agent | undefined
  readonly signal: AbortSignal
}

/** The path goes out as it is: a URL would tidy the hostile ones. */
function headOf(url: URL, { method, headers, agent, signal }: Request): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = url
    const path = `${url.pathname}${url.search}`
    const sent = http.request({ hostname, port, path, method, headers, agent: agent ?? false, signal })
    sent.once('response', resolve)
    sent.once('error', reject)
    sent.end()
  })
}

async function bodyOf(message: IncomingMessage, reading: Reading, signal: AbortSignal) {
  const { leaveAfter = Infinity, pauseAfter = Infinity, pauseMs = 0, bytesPerSecond } = reading
  const pieces: Buffer[] = []
  let bytes = 0
  let isPaused = false
  try {
    for await (const piece of message) {
      pieces.push(piece)
      bytes += piece.length
      if (bytes >= leaveAfter) return { body: Buffer.concat(pieces), hasLeft: true, why: undefined }
      if (bytesPerSecond) await sleep((piece.length / bytesPerSecond) * 1000, undefined, { signal })
      if (bytes >= pauseAfter && !isPaused) {
        isPaused = true
        await sleep(pauseMs, undefined, { signal })
      }
    }
    return { body: Buffer.concat(pieces), hasLeft: false, why: undefined }
  } catch (error) {
    return { body: Buffer.concat(pieces), hasLeft: signal.aborted, why: reasonOf(error) }
  }
}

function isOfLength(method: string, status: number, headers: IncomingHttpHeaders, body: Buffer): boolean {
  const length = headers['content-length']
  return method === 'HEAD' || status === 304 || length === undefined || Number(length) === body.length
}

function reasonOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : String(error)
}
