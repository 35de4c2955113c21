import type { Head } from './arrivals.ts'
import { unusable } from './failure.ts'
import type { Headers } from './headers.ts'

/** Larger heads are refused; signed redirects run to some KiB. */
export const HEAD_BYTES_MAX = 64 * 1024

const END = Buffer.from('\r\n\r\n')
// RFC 9112 §4: the reason phrase may be empty, and servers leave out the space before it then.
const STATUS_LINE = /^HTTP\/1\.([01]) ([0-9]{3})(?: [\t -~\x80-\xff]*)?$/
// RFC 9110 §5.1, §5.5: no space before the colon, no control character in the value; a folded line has no name.
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)$/

export type ResponseHead = Head & {
  /** How many bytes it took. */
  readonly bytes: number
  /** How the body is told to end: after so many bytes, at once, or in a way that only a whole parser follows. */
  readonly body: { readonly bytes: number } | 'other'
  /** Whether the connection serves another request when the body has come. */
  readonly isKept: boolean
  /** How long an idle connection is kept open, where that was told. */
  readonly idleMs: number | undefined
}

/**
 * Reads the head of an HTTP/1.1 response (RFC 9112 §4, §5, §6.3) to a GET; undefined while it is not whole.
 * What is not by the grammar is refused, not mended.
 *
 * @throws {OciError} upstreamFailed, `header`
 */
export function findResponseHead(bytes: Buffer): ResponseHead | undefined {
  const end = bytes.indexOf(END)
  if (end < 0) {
    if (bytes.length >= HEAD_BYTES_MAX) throw improper('a head without end')
    return undefined
  }
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const [, minor, code] = STATUS_LINE.exec(first) ?? []
  if (minor === undefined) throw improper('no status line')
  const status = Number(code)
  const headers = headersOf(lines)
  const connection = tokensOf(headers['connection'])
  const isKept = minor === '1' && !connection.includes('close')
  const [, idleS] = /(?:^|[ ,])timeout=([0-9]{1,6})/i.exec(String(headers['keep-alive'] ?? '')) ?? []
  return {
    status,
    headers,
    bytes: end + END.length,
    body: bodyOf(status, headers),
    isKept,
    idleMs: idleS === undefined ? undefined : Number(idleS) * 1000,
  }
}

function headersOf(lines: readonly string[]): Headers {
  const headers = new Map<string, string | string[]>()
  for (const line of lines) {
    const [, name = '', value = ''] = FIELD_LINE.exec(line) ?? []
    if (name === '') throw improper('no field line')
    const key = name.toLowerCase()
    const before = headers.get(key)
    const trimmed = value.replace(/^[\t ]+|[\t ]+$/g, '')
    headers.set(key, before === undefined ? trimmed : [before, trimmed].flat())
  }
  return Object.fromEntries(headers)
}

/** RFC 9112 §6.3. Two lengths, or one beside a transfer coding, are an attack or a fault: never taken for a length. */
function bodyOf(status: number, headers: Headers): ResponseHead['body'] {
  const length = headers['content-length']
  if (headers['transfer-encoding'] !== undefined) {
    if (length !== undefined) throw improper('a length beside a transfer coding')
    return 'other'
  }
  if (status === 204 || status === 304) return { bytes: 0 }
  if (length === undefined || status < 200) return 'other'
  if (Array.isArray(length) || !/^[0-9]{1,16}$/.test(length)) throw improper('no proper length')
  return Number.isSafeInteger(Number(length)) ? { bytes: Number(length) } : 'other'
}

const tokensOf = (value: string | string[] | undefined): readonly string[] =>
  [value ?? []].flat().flatMap((line) =>
    line
      .toLowerCase()
      .split(',')
      .map((token) => token.trim()),
  )

const improper = (what: string) => unusable('header', 'the upstream sent what is no proper HTTP', new Error(what))
