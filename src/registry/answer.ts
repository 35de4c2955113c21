import { STATUS_CODES } from 'node:http'
import { serializeBareItem, Token } from 'structured-headers'
import type { OciError } from '../base/errors.ts'
import type { CacheFacts } from '../cache/facts.ts'

/** Header names and values in turn, as `writeHead` takes them. */
export type Head = readonly string[]

/** On every answer (distribution-spec, "Determining Support" of old: dockerd looks for it). */
export const API_VERSION: Head = ['Docker-Distribution-API-Version', 'registry/2.0']

const CACHE = 'millpond'
/** Clients are never told to wait longer: podman sleeps what we say, four times, before it turns to the origin. */
const RETRY_AFTER_S_MAX = 5

/** The value of Cache-Status (RFC 9211 §2). The commonest ones are made without a library. */
export function cacheStatusOf(facts: CacheFacts): string {
  const { hit, fwd, fwdStatus, ttlS, stored, collapsed, detail } = facts
  if (hit && detail === undefined) return ttlS === undefined ? `${CACHE}; hit` : `${CACHE}; hit; ttl=${ttlS}`
  let text = CACHE
  if (hit) text += '; hit'
  else if (fwd) text += `; fwd=${fwd}`
  if (fwdStatus !== undefined) text += `; fwd-status=${fwdStatus}`
  if (ttlS !== undefined) text += `; ttl=${ttlS}`
  if (stored) text += '; stored'
  if (collapsed) text += '; collapsed'
  return detail === undefined ? text : `${text}; detail=${serializeBareItem(detailOf(detail))}`
}

/** A token where it is one, else a string; a string may hold printable ASCII alone (RFC 9651 §3.3.3). */
function detailOf(detail: string): Token | string {
  return /^[A-Za-z*][\w!#$%&'*+.^`|~:/-]*$/.test(detail) ? new Token(detail) : detail.replace(/[^ -~]/g, '?')
}

/** An error's answer: status, its own header fields, and the body that the specification wants of it. */
export function errorAnswerOf(error: OciError): { status: number; head: Head; body: Buffer } {
  const [status, code] = error.answer
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message: error.message }] }))
  const head = ['Content-Type', 'application/json', 'Content-Length', String(body.length)]
  if (status === 405) head.push('Allow', 'GET, HEAD')
  const retryAfterS = retryAfterOf(status, error.retryAfterMs)
  if (retryAfterS !== undefined) head.push('Retry-After', String(retryAfterS))
  return { status, head, body }
}

/** The same as text, for what never became a request: written to the socket as it is, which then is closed. */
export function bareAnswerOf(error: OciError): string {
  const { status, head, body } = errorAnswerOf(error)
  const fields = [...API_VERSION, 'Cache-Status', cacheStatusOf(factsOfError(error)), 'Connection', 'close', ...head]
  const lines = fields.map((text, at) => (at % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join('')
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines}\r\n${body}`
}

function retryAfterOf(status: number, retryAfterMs: number | undefined): number | undefined {
  if (status !== 429 && status !== 503) return undefined
  if (status === 503 || retryAfterMs === undefined) return RETRY_AFTER_S_MAX
  return Math.min(Math.max(Math.ceil(retryAfterMs / 1000), 1), RETRY_AFTER_S_MAX)
}

/** What an error says of the cache: that it answered by itself, or what upstream did. */
export function factsOfError(error: OciError): CacheFacts {
  const isOfUpstream = error.fault !== undefined || error.answer[0] >= 502
  if (!isOfUpstream) return { hit: false, detail: error.reason }
  const { upstreamStatus: fwdStatus, fault, reason } = error
  return { hit: false, fwd: 'uri-miss', ...(fwdStatus !== undefined && { fwdStatus }), detail: fault ?? reason }
}
