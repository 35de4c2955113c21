import type { Digest } from '../oci/digest.ts'

/** Bytes `start` to `end`, exclusive. HTTP's inclusive end is known in this file alone. */
export type Span = { readonly start: number; readonly end: number }

/** What a Range header asks of bytes whose size is known. `whole` too where it is to be ignored. */
export type RangeRead =
  | { readonly at: 'whole' }
  | ({ readonly at: 'part' } & Span)
  | { readonly at: 'several' }
  | { readonly at: 'unsatisfiable' }

/** What is to be sent. */
export type Selection = RangeRead | { readonly at: 'unchanged' }

/** Header fields that choose among bytes (RFC 9110 §13.1, §14.2), as node:http gives them. */
export type SelectionHeaders = {
  readonly range?: string | undefined
  readonly 'if-range'?: string | undefined
  readonly 'if-none-match'?: string | undefined
}

const WHOLE: RangeRead = { at: 'whole' }
const UNSATISFIABLE: RangeRead = { at: 'unsatisfiable' }
// Sixteen digits are beyond any size and still a number; longer ones are no integer of ours (fault 26).
const INT_RANGE = /^([0-9]{1,16})-([0-9]{1,16})?$/
const SUFFIX_RANGE = /^-([0-9]{1,16})$/

/** A digest as a strong entity tag (RFC 9110 §8.8.3). */
export const etagOf = (digest: Digest): string => `"${digest}"`

/** Content-Range of a 206 (RFC 9110 §14.4). */
export const contentRangeOf = ({ start, end }: Span, sizeBytes: number): string =>
  `bytes ${start}-${end - 1}/${sizeBytes}`

/** Content-Range of a 416. */
export const unsatisfiedRangeOf = (sizeBytes: number): string => `bytes */${sizeBytes}`

/** The order of RFC 9110 §13.2.2: If-None-Match, then Range, which If-Range may switch off. HEAD ignores Range. */
export function selectionOf(
  headers: SelectionHeaders,
  bytes: { readonly digest: Digest; readonly sizeBytes: number },
  isHead: boolean,
): Selection {
  const etag = etagOf(bytes.digest)
  const unless = headers['if-none-match']
  if (unless !== undefined && isMatch(unless, etag)) return { at: 'unchanged' }
  const condition = headers['if-range']
  // Strong comparison; a date never equals, since nothing here has one.
  if (isHead || (condition !== undefined && condition.trim() !== etag)) return WHOLE
  return rangeOf(headers.range, bytes.sizeBytes)
}

/** Whether an If-None-Match names this entity tag; weak comparison (RFC 9110 §13.1.2). */
export function isMatch(ifNoneMatch: string, etag: string): boolean {
  if (ifNoneMatch.trim() === '*') return true
  return ifNoneMatch.split(',').some((each) => each.trim().replace(/^W\//, '') === etag)
}

/** Reads a Range header (RFC 9110 §14.1.1, §14.1.2). An unknown unit, or what isn't the grammar's, is ignored. */
export function rangeOf(header: string | undefined, sizeBytes: number): RangeRead {
  if (header === undefined) return WHOLE
  const equals = header.indexOf('=')
  if (header.slice(0, equals).trim().toLowerCase() !== 'bytes') return WHOLE
  const specs = header
    .slice(equals + 1)
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '') // a list's empty elements count for nothing (RFC 9110 §5.6.1.2)
  const [only] = specs
  if (only === undefined || !specs.every((spec) => INT_RANGE.test(spec) || SUFFIX_RANGE.test(spec))) return WHOLE
  return specs.length > 1 ? { at: 'several' } : oneOf(only, sizeBytes)
}

function oneOf(spec: string, sizeBytes: number): RangeRead {
  const [, suffix] = SUFFIX_RANGE.exec(spec) ?? []
  if (suffix !== undefined) return suffixOf(Number(suffix), sizeBytes)
  const [, first, last] = INT_RANGE.exec(spec) ?? []
  const start = Number(first)
  const end = last === undefined ? sizeBytes : Math.min(Number(last) + 1, sizeBytes)
  return start < end ? { at: 'part', start, end } : UNSATISFIABLE // last < first is one too: the suite wants 416
}

function suffixOf(lengthBytes: number, sizeBytes: number): RangeRead {
  if (lengthBytes === 0) return UNSATISFIABLE
  if (sizeBytes === 0) return WHOLE // satisfiable, but no Content-Range can say so
  return { at: 'part', start: Math.max(0, sizeBytes - lengthBytes), end: sizeBytes }
}
