/*
 * oci: the words of the distribution and image specifications, as types. Pure: no clock, no disk, no network.
 *
 * Promises: what has one of these types was checked by the one parser that makes it.
 * Read next: names.ts, media-types.ts, manifest.ts.
 */
import { createHash, type Hash, hash } from 'node:crypto'
import { OciError } from '../base/errors.ts'

declare const checked: unique symbol

/** `sha256:<64 hex>` or `sha512:<128 hex>`, lower case (image-spec, descriptor.md, "Digests"). */
export type Digest = string & { readonly [checked]: 'digest' }

export type Algorithm = 'sha256' | 'sha512'

const HEX_LENGTH_OF: Record<Algorithm, number> = { sha256: 64, sha512: 128 }
const TEXT_LENGTH_MAX = 'sha512:'.length + HEX_LENGTH_OF.sha512
const HEX = /^[0-9a-f]+$/

/** The digest in `text`, or undefined where it is none of ours. */
export function findDigest(text: string): Digest | undefined {
  if (text.length > TEXT_LENGTH_MAX) return undefined
  const colon = text.indexOf(':')
  const algorithm = text.slice(0, colon)
  if (algorithm !== 'sha256' && algorithm !== 'sha512') return undefined
  const hex = text.slice(colon + 1)
  return hex.length === HEX_LENGTH_OF[algorithm] && HEX.test(hex) ? (text as Digest) : undefined
}

/** @throws {OciError} digestInvalid: not a digest, or of an algorithm other than sha256 and sha512 */
export function parseDigest(text: string): Digest {
  const digest = findDigest(text)
  if (digest) return digest
  throw new OciError('digestInvalid', 'the digest is not sha256 or sha512 in lower-case hex of the right length')
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512'
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** The digest of whole bytes. */
export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}` as Digest
}

/** A hash to be fed in order, and compared by `matches`. */
export function hasherOf(digest: Digest): Hash {
  return createHash(algorithmOf(digest))
}

/** Whether what `hasher` was fed has this digest. Ends the hasher. */
export function matches(digest: Digest, hasher: Hash): boolean {
  return hasher.digest('hex') === hexOf(digest)
}
