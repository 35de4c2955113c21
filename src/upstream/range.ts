import { unusable } from './failure.ts'
import { findContentRange, type Headers, lengthOf, oneOf } from './headers.ts'
import type { Asked } from './told.ts'

/** Which bytes of a blob a body holds: from `start`, `bodyBytes` of them, of `sizeBytes` in all, where told. */
export type Held = {
  readonly start: number
  readonly bodyBytes: number | undefined
  readonly sizeBytes: number | undefined
}

/** The Range header for what is asked; undefined for all of it. */
export function rangeHeaderOf({ start, end }: Asked): string | undefined {
  if (start === 0 && end === undefined) return undefined
  return end === undefined ? `bytes=${start}-` : `bytes=${start}-${end - 1}`
}

/** A 200: the whole, whatever was asked. */
export function wholeHeld(headers: Headers): Held {
  const sizeBytes = lengthOf(headers)
  return { start: 0, bodyBytes: sizeBytes, sizeBytes }
}

/**
 * A 206, checked before a byte of it is used: it must hold one range that starts where we asked, and no more than we
 * asked (a server may send less, RFC 9110 §15.3.7).
 *
 * @throws {OciError} upstreamFailed, `range`
 */
export function partHeld(headers: Headers, asked: Asked): Held {
  const text = oneOf(headers, 'content-range')
  const told = text === undefined ? undefined : findContentRange(text)
  if (!told || rangeHeaderOf(asked) === undefined) throw wrong('the upstream sent a part that is none we can read')
  if (told.start !== asked.start || told.end > (asked.end ?? Number.POSITIVE_INFINITY)) {
    throw wrong('the upstream sent another part than was asked for')
  }
  const bodyBytes = told.end - told.start
  const length = lengthOf(headers)
  if (length !== undefined && length !== bodyBytes)
    throw wrong('the upstream sent a part of another length than it says')
  return { start: told.start, bodyBytes, sizeBytes: told.sizeBytes }
}

const wrong = (message: string) => unusable('range', message)
