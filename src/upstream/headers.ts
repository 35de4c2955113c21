import { OciError } from '../base/errors.ts'
import { type Digest, findDigest } from '../oci/digest.ts'

/** Headers as undici gives them: several lines of one name are an array. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** What `Content-Range` says: bytes `start` to `end`, exclusive, of `sizeBytes` if that is known. */
export type ContentRange = { readonly start: number; readonly end: number; readonly sizeBytes: number | undefined }

/** The value of a header that may come once. @throws {OciError} upstreamFailed, `header`: it came more than once */
export function oneOf(headers: Headers, name: string): string | undefined {
  const value = headers[name]
  if (!Array.isArray(value)) return value
  throw new OciError('upstreamFailed', 'upstream sent a header twice that must come once', {
    fault: 'header',
    cause: new Error(`${value.length} lines of ${name}`),
  })
}

/** The lines of a header that may come several times. */
export function linesOf(headers: Headers, name: string): readonly string[] {
  const value = headers[name]
  if (value === undefined) return []
  return typeof value === 'string' ? [value] : value
}

/** Bytes that are coming; undefined where no length was told, or that of an encoded form. */
export function lengthOf(headers: Headers): number | undefined {
  return isEncoded(headers) ? undefined : integerOf(oneOf(headers, 'content-length'))
}

/** The names of encodings applied, outermost last (RFC 9110 §8.4); identity is none. */
export function encodingsOf(headers: Headers): readonly string[] {
  const told = linesOf(headers, 'content-encoding').join(',').toLowerCase().split(',')
  return told.map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity')
}

export const isEncoded = (headers: Headers): boolean => encodingsOf(headers).length > 0

/** A claim: the bytes decide. Of an algorithm that isn't ours it is no claim. */
export function digestClaimedBy(headers: Headers): Digest | undefined {
  return findDigest(oneOf(headers, 'docker-content-digest') ?? '')
}

/** RFC 9110 §14.4, a single range of bytes; undefined where it is anything else. */
export function findContentRange(text: string): ContentRange | undefined {
  const [, first, last, size] = /^bytes +([0-9]{1,16})-([0-9]{1,16})\/([0-9]{1,16}|\*)$/i.exec(text.trim()) ?? []
  const start = integerOf(first)
  const end = integerOf(last)
  const sizeBytes = size === '*' ? undefined : integerOf(size)
  if (start === undefined || end === undefined || end < start) return undefined
  if (size !== '*' && (sizeBytes === undefined || end >= sizeBytes)) return undefined
  return { start, end: end + 1, sizeBytes }
}

/** What a 416 says of the size (RFC 9110 §15.5.17). */
export function sizeRefusedBy(headers: Headers): number | undefined {
  const [, size] = /^bytes +\*\/([0-9]{1,16})$/i.exec(oneOf(headers, 'content-range') ?? '') ?? []
  return integerOf(size)
}

function integerOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,16}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}
