import { type Digest, digestOf } from '../../src/oci/digest.ts'

export type Content = { readonly digest: Digest; readonly bytes: Buffer }

/** Of a prime length, so that a piece at another offset is told from the right one. */
const PATTERN_BYTES = 1_009

/** Bytes that no other seed gives. */
export function contentOf(seed: number, sizeBytes: number): Content {
  const pattern = Buffer.alloc(PATTERN_BYTES)
  let state = (seed * 2654435761 + 1) >>> 0
  for (let offset = 0; offset < PATTERN_BYTES; offset += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    pattern[offset] = state >>> 24
  }
  const bytes = Buffer.alloc(sizeBytes, pattern)
  return { bytes, digest: digestOf(bytes) }
}
