import type { Caller } from '../base/caller.ts'
import { OciError } from '../base/errors.ts'
import { type Digest, findDigest } from './digest.ts'

declare const checked: unique symbol

/** A repository's path at its upstream, such as `library/alpine` (distribution-spec, "Pulling manifests", `<name>`). */
export type RepositoryPath = string & { readonly [checked]: 'path' }

/** A tag (distribution-spec, `<reference>` as a tag). */
export type Tag = string & { readonly [checked]: 'tag' }

/** A registry host as clients name it: lower case, with its port if it has one; never a URL. */
export type RegistryHost = string & { readonly [checked]: 'host' }

export type Reference = { readonly tag: Tag } | { readonly digest: Digest }

/** A repository: an upstream's registry host and a path there. The same path at two upstreams never meets. */
export type Repository = {
  readonly host: RegistryHost
  readonly path: RepositoryPath
  /** On whose behalf a private repository is asked for; absent where the upstream's own accounts serve. */
  readonly as?: Caller
}

const NAME_LENGTH_MAX = 255
// The specification's grammar part by part. The next one or two letters decide each step: matching is linear.
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const HOST_LENGTH_MAX = 253 + ':65535'.length
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/

/** @throws {OciError} nameInvalid */
export function parseRepositoryPath(text: string): RepositoryPath {
  if (text.length <= NAME_LENGTH_MAX && text.split('/').every((part) => COMPONENT.test(part))) {
    return text as RepositoryPath
  }
  throw new OciError('nameInvalid', 'the repository name does not follow the grammar of the distribution specification')
}

/** @throws {OciError} manifestUnknown: no such tag can exist (the conformance suite wants 404) */
export function parseTag(text: string): Tag {
  if (TAG.test(text)) return text as Tag
  throw new OciError('manifestUnknown', 'the tag does not follow the grammar of the distribution specification')
}

/** What has a colon is a digest or nothing, since no tag has one. @throws {OciError} digestInvalid, manifestUnknown */
export function parseReference(text: string): Reference {
  const digest = findDigest(text)
  if (digest) return { digest }
  if (text.includes(':')) throw new OciError('digestInvalid', 'the digest is not one of sha256 or sha512')
  return { tag: parseTag(text) }
}

/** A registry host in `text`, lower-cased, or undefined. */
export function findRegistryHost(text: string): RegistryHost | undefined {
  const lower = text.toLowerCase()
  const isHost = lower.length <= HOST_LENGTH_MAX && HOST.test(lower) && URL.canParse(`https://${lower}`)
  return isHost ? (lower as RegistryHost) : undefined
}
