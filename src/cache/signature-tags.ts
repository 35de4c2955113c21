import { type Digest, findDigest } from '../oci/digest.ts'
import { parseTag, type Tag } from '../oci/names.ts'

const OF_DIGEST = /^(sha256|sha512)-([0-9a-f]+)(?:\.(?:sig|att|sbom))?$/
const BY_SUFFIX = /\.(?:sig|att|sbom)$/

/** Tags under which cosign keeps signatures, attestations and lists, and the referrers' fallback tag. */
export const isSignatureTag = (tag: Tag): boolean => OF_DIGEST.test(tag) || BY_SUFFIX.test(tag)

/** What such a tag is about, where it says so whole: `sha256-<hex>.sig` is about `sha256:<hex>`. */
export function subjectOf(tag: Tag): Digest | undefined {
  const [, algorithm, hex] = OF_DIGEST.exec(tag) ?? []
  return findDigest(`${algorithm}:${hex}`)
}

/** Lists the referrers of a digest where there is no API for them (distribution-spec, "Referrers Tag Schema"). */
export function referrersTagOf(digest: Digest): Tag {
  const [algorithm = '', encoded = ''] = digest.split(':')
  return parseTag(`${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`)
}
