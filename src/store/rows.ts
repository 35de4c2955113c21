import { z } from 'zod'
import { findDigest } from '../oci/digest.ts'
import type { Descriptor, Platform } from '../oci/manifest.ts'
import { findRegistryHost, parseRepositoryPath, parseTag, type Repository, type Tag } from '../oci/names.ts'
import type { Listing, ManifestFacts, Resolution } from './index.ts'
import type { Tables } from './schema.ts'

type ResolutionRow = Pick<Tables['resolutions'], 'digest' | 'confirmed' | 'gone'>
type ChildRow = Pick<Tables['children'], 'digest' | 'media_type' | 'size' | 'platform'>
type ListingRow = Omit<Tables['listings'], 'repository' | 'key'>
type UserRow = { readonly host: string; readonly path: string; readonly tag: string | null }

const platformJson = z.object({ os: z.string(), architecture: z.string(), variant: z.string().exactOptional() })

export function resolutionOf({ digest, confirmed, gone }: ResolutionRow): Resolution | undefined {
  const found = findDigest(digest)
  return found && { digest: found, confirmedMs: confirmed, goneMs: gone ?? undefined }
}

export function listingOf({ bytes, content_type, link, filters, confirmed }: ListingRow): Listing {
  return {
    bytes,
    contentType: content_type,
    link: link ?? undefined,
    filters: filters ?? undefined,
    confirmedMs: confirmed,
  }
}

/** Undefined where a row is not what we wrote: as good as unknown. */
export function factsOf(row: Tables['manifests'], children: readonly ChildRow[]): ManifestFacts | undefined {
  const digest = findDigest(row.digest)
  const descriptors = children.map(descriptorOf)
  if (!digest || !descriptors.every((each) => each !== undefined)) return undefined
  const subject = row.subject === null ? undefined : findDigest(row.subject)
  const annotations = row.annotations === null ? undefined : stringsIn(row.annotations)
  return {
    digest,
    mediaType: row.media_type,
    sizeBytes: row.size,
    children: descriptors,
    ...(subject && { subject }),
    ...(row.artifact_type !== null && { artifactType: row.artifact_type }),
    ...(annotations && { annotations }),
  }
}

export function descriptorOf(row: ChildRow): Descriptor | undefined {
  const digest = findDigest(row.digest)
  if (!digest) return undefined
  const platform: Platform | undefined =
    row.platform === null ? undefined : platformJson.safeParse(JSON.parse(row.platform)).data
  return { digest, sizeBytes: row.size, mediaType: row.media_type, ...(platform && { platform }) }
}

/** The strings in a JSON object that we wrote; its own keys alone, `__proto__` among them. */
function stringsIn(json: string): Readonly<Record<string, string>> {
  const entries: [string, unknown][] = Object.entries(JSON.parse(json))
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

/** Groups rows that come sorted by repository. */
export function usersOfRows(rows: readonly UserRow[]): { repository: Repository; tags: Tag[] }[] {
  const users: { repository: Repository; tags: Tag[] }[] = []
  let last: UserRow | undefined
  for (const row of rows) {
    if (row.host !== last?.host || row.path !== last.path) {
      const host = findRegistryHost(row.host)
      if (!host) continue
      users.push({ repository: { host, path: parseRepositoryPath(row.path) }, tags: [] })
      last = row
    }
    if (row.tag !== null) users.at(-1)?.tags.push(parseTag(row.tag))
  }
  return users
}
