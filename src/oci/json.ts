/** What is read at once: more would stop the process for longer than the size of the bytes allows (fault 60). */
export type JsonBounds = {
  readonly depthMax: number
  /** Of all objects and lists together, where an object or a list counts as four. */
  readonly valuesMax: number
  /** Of names that differ. Each that is new costs the parser a microsecond. */
  readonly namesMax: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const SPACE = 0x20
const [OPEN_OBJECT, OPEN_LIST, CLOSE_OBJECT, CLOSE_LIST] = [0x7b, 0x5b, 0x7d, 0x5d]

/**
 * What the bytes say as JSON (RFC 8259, UTF-8 without a mark); undefined where they are none, or go beyond the bounds.
 * That is counted before anything is made of them; where the count goes wrong, on what is no JSON, parsing ends too.
 */
export function findJson(bytes: Uint8Array, bounds: JsonBounds): unknown {
  if (!isBounded(bytes, bounds)) return undefined
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return undefined // not UTF-8 or not JSON: what that means is for the caller
  }
}

function isBounded(bytes: Uint8Array, { depthMax, valuesMax, namesMax }: JsonBounds): boolean {
  const names = new Set<number>() // their hashes: names that share one cost more bytes than they save
  let depth = 0
  let values = 0
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      const { end, hash } = stringAt(bytes, at)
      at = end
      if (isName(bytes, end + 1)) names.add(hash)
    } else if (byte === COMMA) values += 1
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
      values += 4
      depth += 1
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth -= 1
    if (depth > depthMax || values > valuesMax || names.size > namesMax) return false
  }
  return true
}

/** Where the string that begins here ends, and a hash of it (FNV-1a). */
function stringAt(bytes: Uint8Array, start: number): { readonly end: number; readonly hash: number } {
  let hash = 0x811c9dc5
  let end = start + 1
  for (; end < bytes.length && bytes[end] !== QUOTE; end += 1) {
    if (bytes[end] === BACKSLASH) end += 1
    hash = Math.imul(hash ^ (bytes[end] ?? 0), 0x01000193)
  }
  return { end, hash }
}

function isName(bytes: Uint8Array, after: number): boolean {
  let at = after
  while ((bytes[at] ?? COLON) <= SPACE) at += 1
  return bytes[at] === COLON
}
