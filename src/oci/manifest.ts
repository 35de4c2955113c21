import { OciError } from '../base/errors.ts'
import { type Digest, findDigest } from './digest.ts'
import { findJson, type JsonBounds } from './json.ts'
import { essenceOf, isIndexType, isManifestType, isSchema1Type, MEDIA_TYPE } from './media-types.ts'

/** Larger ones are refused: containerd refuses them anyway. */
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024
const DESCRIPTORS_MAX = 10_000
/** Descriptors with every field, and some dozens of names. */
const BOUNDS: JsonBounds = { depthMax: 32, valuesMax: 30 * DESCRIPTORS_MAX, namesMax: 10_000 }

export type Platform = { readonly os: string; readonly architecture: string; readonly variant?: string }

/** Points at content (image-spec, descriptor.md). `urls` is left out: it is never followed. */
export type Descriptor = {
  readonly digest: Digest
  readonly sizeBytes: number
  readonly mediaType: string
  readonly platform?: Platform
}

/** What of a manifest or an index matters to a cache. */
export type Manifest = {
  readonly mediaType: string
  readonly isIndex: boolean
  /** An index's manifests; else config and layers, or an artifact's blobs. */
  readonly children: readonly Descriptor[]
  readonly subject?: Descriptor
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

/**
 * What the bytes are. `unreadable` is no manifest that we know: by digest it is served as it came and not indexed;
 * by tag it may be a login page. `refused` contradicts itself or is of a kind that is not served at all.
 */
export type ManifestReading =
  | { readonly at: 'read'; readonly manifest: Manifest }
  | { readonly at: 'unreadable'; readonly mediaType: string }
  | { readonly at: 'refused'; readonly error: OciError }

type Fields = Readonly<Record<string, unknown>>

/** Reads a manifest as it came, with the Content-Type that came with it (image-spec, manifest.md, image-index.md). */
export function readManifest(bytes: Uint8Array, contentType: string | undefined): ManifestReading {
  const told = contentType === undefined ? undefined : essenceOf(contentType)
  if (told !== undefined && isSchema1Type(told)) return { at: 'refused', error: schema1() }
  const fields = fieldsOfBytes(bytes)
  if (!fields) return { at: 'unreadable', mediaType: told ?? MEDIA_TYPE.octets }
  const version = fieldOf(fields, 'schemaVersion')
  if (version === 1) return { at: 'refused', error: schema1() }
  const inside = stringOf(fieldOf(fields, 'mediaType'))
  const mediaType = mediaTypeOf(told, inside, fields)
  if (version !== 2) return { at: 'unreadable', mediaType }
  const contradiction = contradictionIn(fields, told, inside)
  if (contradiction) return { at: 'refused', error: new OciError('manifestInvalid', contradiction) }
  const children = childrenOf(fields)
  if (!children) return { at: 'unreadable', mediaType }
  return { at: 'read', manifest: manifestOf(fields, mediaType, children) }
}

/** The told type where it is a manifest's, else the one inside, else what the fields look like. */
function mediaTypeOf(told: string | undefined, inside: string | undefined, fields: Fields): string {
  if (told !== undefined && told !== '' && isManifestType(told)) return told
  if (inside !== undefined && isManifestType(inside)) return inside
  if (told !== undefined && told !== '' && !isGeneric(told)) return told
  return Object.hasOwn(fields, 'manifests') ? MEDIA_TYPE.ociIndex : MEDIA_TYPE.ociManifest
}

const isGeneric = (told: string): boolean =>
  told === 'application/json' || told === 'text/plain' || told === MEDIA_TYPE.octets

/** CVE-2021-41190: one document must not be an index to one reader and an image to another. */
function contradictionIn(fields: Fields, told: string | undefined, inside: string | undefined): string | undefined {
  if (Object.hasOwn(fields, 'manifests') && (Object.hasOwn(fields, 'layers') || Object.hasOwn(fields, 'config'))) {
    return 'the manifest has both manifests and layers'
  }
  if (inside !== undefined && told !== undefined && isManifestType(told) && inside !== told) {
    return 'the Content-Type of the manifest is not the mediaType inside it'
  }
  const shownAs = inside ?? told
  if (shownAs === undefined || !isManifestType(shownAs)) return undefined
  const isIndex = isIndexType(shownAs)
  if (isIndex ? Object.hasOwn(fields, 'layers') : Object.hasOwn(fields, 'manifests'))
    return 'the manifest is not of the kind it says it is'
  return undefined
}

function manifestOf(fields: Fields, mediaType: string, children: readonly Descriptor[]): Manifest {
  const subject = descriptorOf(fieldOf(fields, 'subject'))
  const artifactType = stringOf(fieldOf(fields, 'artifactType')) ?? configTypeOf(fields)
  const annotations = annotationsOf(fieldOf(fields, 'annotations'))
  return {
    mediaType,
    isIndex: isIndexType(mediaType),
    children,
    ...(subject && { subject }),
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  }
}

/** An image manifest without artifactType lends its config's media type (distribution-spec, "Listing Referrers"). */
const configTypeOf = (fields: Fields): string | undefined =>
  stringOf(fieldOf(fieldsOf(fieldOf(fields, 'config')), 'mediaType'))

function childrenOf(fields: Fields): readonly Descriptor[] | undefined {
  const listed = ['manifests', 'layers', 'blobs'].flatMap((key) => {
    const value = fieldOf(fields, key)
    return Array.isArray(value) ? value : []
  })
  if (Object.hasOwn(fields, 'config')) listed.unshift(fieldOf(fields, 'config'))
  if (listed.length > DESCRIPTORS_MAX) return undefined
  const children = listed.map(descriptorOf)
  return children.every((child) => child !== undefined) ? children : undefined
}

function descriptorOf(value: unknown): Descriptor | undefined {
  const fields = fieldsOf(value)
  const digest = findDigest(stringOf(fieldOf(fields, 'digest')) ?? '')
  const size = fieldOf(fields, 'size')
  if (!digest || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined
  const platform = platformOf(fieldOf(fields, 'platform'))
  return {
    digest,
    sizeBytes: size,
    mediaType: stringOf(fieldOf(fields, 'mediaType')) ?? MEDIA_TYPE.octets,
    ...(platform && { platform }),
  }
}

function platformOf(value: unknown): Platform | undefined {
  const fields = fieldsOf(value)
  const os = stringOf(fieldOf(fields, 'os'))
  const architecture = stringOf(fieldOf(fields, 'architecture'))
  const variant = stringOf(fieldOf(fields, 'variant'))
  if (os === undefined || architecture === undefined) return undefined
  return { os, architecture, ...(variant !== undefined && { variant }) }
}

function annotationsOf(value: unknown): Readonly<Record<string, string>> | undefined {
  const fields = fieldsOf(value)
  if (!fields) return undefined
  const strings = Object.entries(fields).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return Object.fromEntries(strings) // defines own keys, `__proto__` among them
}

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
}

/** Of its own alone, so that `__proto__` is a key like any other. */
const fieldOf = (fields: Fields | undefined, key: string): unknown =>
  fields !== undefined && Object.hasOwn(fields, key) ? fields[key] : undefined

const fieldsOfBytes = (bytes: Uint8Array): Fields | undefined =>
  bytes.length > MANIFEST_BYTES_MAX ? undefined : fieldsOf(findJson(bytes, BOUNDS))

const stringOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

const schema1 = (): OciError =>
  new OciError('manifestInvalid', 'this is a schema 1 manifest, which no current client uses; it is not served')
